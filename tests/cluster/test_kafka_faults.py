"""Kafka decides what was accepted: without it nothing is, and each answer is the truth."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import psutil
import pytest

from landline_stack.process import StackServer
from support.cluster import delete_topics
from support.faults import (
    AWAY_SECONDS,
    MESSAGES,
    RECOVERY_SECONDS,
    ROUTING,
    STRANDED_SECONDS,
    Fleet,
    admin,
    check_fates,
    immediate_again,
    killed,
    paused,
    talking,
)
from support.peer import Peer
from support.stack import create_topic, wait_for_leaders
from support.waiting import until

# A send has its answer by then: the adapter's own deadline is 14 s.
ANSWER_SECONDS = 30.0
MEMORY_BYTES = 256 * 1024 * 1024
SENDS_AWAY = 3_000

Fault = Callable[[StackServer], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize("fault", [killed, paused])
async def test_without_kafka_nothing_is_accepted_and_every_answer_is_true(
    fault: Fault, fleet: Fleet
) -> None:
    """Sends are answered `busy` or `unavailable` in time and held in bounded memory. Once it is
    back sends work without a restart, and what each answer said is what happened.
    """
    ws1, ws2 = await fleet.start()
    process = psutil.Process(ws1.pid)
    async with (
        Peer(ws1.ws_url, "alice") as alice,
        Peer(ws1.ws_url, "carol") as carol,
        Peer(ws2.ws_url, "bob") as bob,
    ):
        await immediate_again(alice, bob, ws2)
        before_bytes = process.memory_info().rss
        async with talking(alice, [bob, carol], 0.005):
            async with fault(fleet.stack.brokers[0]):
                back_at = time.monotonic() + AWAY_SECONDS
                # What was acknowledged before the fault may still be on its way to us.
                await until(lambda: "log" in ws1.get("/readyz")[1], "/readyz names it")
                accepted = len(alice.accepted)
                text = "x" * 10_000
                refs = [
                    await alice.send("carol", f"{number} {text}") for number in range(SENDS_AWAY)
                ]
                await until(
                    lambda: set(refs) <= {error.get("ref") for error in alice.errors},
                    "all are answered",
                    ANSWER_SECONDS,
                )
                await asyncio.sleep(back_at - time.monotonic())
                assert len(alice.accepted) == accepted
                grown_bytes = process.memory_info().rss - before_bytes
            assert grown_bytes < MEMORY_BYTES
            await asyncio.to_thread(wait_for_leaders, admin(fleet.stack), MESSAGES, 32)
            await until(
                lambda: len(alice.accepted) > accepted, "sends work again", RECOVERY_SECONDS
            )
        assert {error["code"] for error in alice.errors} <= {"busy", "unavailable"}
        await check_fates(alice, [bob, carol])
        await until(lambda: ws1.is_ready() and ws2.is_ready(), "both are ready again")
        await immediate_again(alice, bob, ws2)
        await fleet.until_stored(alice.accepted_ids)
        assert await fleet.stored() == alice.accepted_ids


async def test_the_routing_topic_deleted_costs_latency_only(fleet: Fleet) -> None:
    """Users of the other server are reached in time without it; and once it is there again, at
    once.
    """
    # More often than by default: what the sweep finds is stored a moment later.
    ws1, ws2 = await fleet.start(2, "--sweep-interval", "4s")
    async with Peer(ws1.ws_url, "alice") as alice, Peer(ws2.ws_url, "bob") as bob:
        await immediate_again(alice, bob, ws2)
        await asyncio.to_thread(delete_topics, fleet.stack.kafka_servers, [ROUTING])
        acceptance = await alice.send_and_wait("bob", "without it")
        await until(lambda: acceptance["id"] in bob.received, "bob has it", STRANDED_SECONDS)
        assert not alice.errors
        await asyncio.to_thread(create_topic, admin(fleet.stack), ROUTING, partitions=32)
        await immediate_again(alice, bob, ws2)
        await until(ws2.is_ready, "ws-2 is ready again")
        await check_fates(alice, [bob])
