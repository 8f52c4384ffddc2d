"""PostgreSQL is where messages end up, not what they wait for: without it the log takes them."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

import pytest

from landline_stack.process import StackServer
from support.faults import (
    AWAY_SECONDS,
    Fleet,
    check_fates,
    first_line,
    killed,
    paused,
    pushes,
    talking,
)
from support.peer import Peer, until_caught_up
from support.waiting import until

Fault = Callable[[StackServer], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize("fault", [killed, paused])
async def test_without_postgres_messages_flow_and_a_new_session_waits(
    fault: Fault, fleet: Fleet
) -> None:
    """Sends are accepted and pushed at once, on both servers. A session that begins meanwhile has
    its welcome and waits in catching up; then it gets what it was owed before and since. A repeat
    is `unknown` until it can be looked up. The writer goes on by itself.
    """
    ws1, ws2 = await fleet.start()
    async with (
        Peer(ws1.ws_url, "alice") as alice,
        Peer(ws2.ws_url, "alice") as elsewhere,  # ws-2 does not remember what ws-1 accepted
        Peer(ws1.ws_url, "carol") as carol,
        Peer(ws2.ws_url, "bob") as bob,
        AsyncExitStack() as later,
    ):
        await bob_is_live(alice, bob)
        for number in range(30):
            await alice.send("dave", f"before {number}")
        first = await alice.send_and_wait("dave", "the last before", ref="repeated")
        async with fault(fleet.stack.postgres):
            await until(lambda: "store" in ws1.get("/readyz")[1], "ws-1 names it")
            await until(lambda: "store" in ws2.get("/readyz")[1], "ws-2 names it")
            await until(lambda: ws1.get("/readyz")[0] == 503, "a balancer leaves it out")
            dave = await later.enter_async_context(Peer(ws2.ws_url, "dave"))
            accepted = len(alice.accepted)
            live = pushes(ws1, "live"), pushes(ws2, "live")
            async with talking(alice, [bob, carol, dave], 0.05):
                await asyncio.sleep(AWAY_SECONDS)
                await until(lambda: len(alice.accepted) > accepted + 50, "sends are accepted")
                await until(lambda: pushes(ws1, "live") > live[0] + 15, "carol is served at once")
                await until(lambda: pushes(ws2, "live") > live[1] + 15, "bob is served at once")
            await elsewhere.repeat("dave", "the last before", "repeated")
            await until(lambda: bool(elsewhere.errors), "the repeat is answered")
            assert elsewhere.errors[0]["outcome"] == "unknown"
            assert not dave.visit.of("caught_up")
        await until_caught_up(dave)
        await until(lambda: ws1.is_ready() and ws2.is_ready(), "both are ready again")
        await check_fates(alice, [bob, carol, dave])
        assert not alice.rejected, alice.errors[:3]
        await fleet.until_stored(alice.accepted_ids)
        await until(lambda: "repeated" in elsewhere.accepted, "the repeat is accepted")
        again = elsewhere.accepted["repeated"]
        assert (again["id"], again["offset"]) == (first["id"], first["offset"])
    assert await fleet.stored() == alice.accepted_ids
    assert await fleet.fetch("SELECT * FROM quarantine") == []
    assert first_line(ws1, "writer_waits") or first_line(ws2, "writer_waits")
    assert first_line(ws1, "writer_continues") or first_line(ws2, "writer_continues")


def are_delivered(recipient: Peer, sender: Peer) -> bool:
    """Say whether all that has come counts as delivered."""
    return recipient.received <= set(sender.statuses)


async def bob_is_live(alice: Peer, bob: Peer) -> None:
    await until_caught_up(bob)
    acceptance = await alice.send_and_wait("bob", "warm up")
    await until(lambda: acceptance["id"] in bob.received, "bob has it")


@pytest.mark.parametrize("fault", [killed, paused])
async def test_a_user_who_reconnects_without_postgres_hears_what_is_sent_now(
    fault: Fault, fleet: Fleet
) -> None:
    """Catching up takes as long as it takes. What is sent meanwhile comes in the same session, on
    both servers, and is acknowledged; what was owed before comes when the store is back.
    """
    ws1, ws2 = await fleet.start()
    async with Peer(ws1.ws_url, "alice") as alice, AsyncExitStack() as later:
        await until_caught_up(alice)
        owed = [await alice.send_and_wait(user, f"{user}: 0") for user in ("bob", "carol")]
        await fleet.until_stored([each["id"] for each in owed])
        async with fault(fleet.stack.postgres):
            await until(lambda: "store" in ws1.get("/readyz")[1], "ws-1 names it")
            people = [
                await later.enter_async_context(Peer(url, user))
                for url, user in ((ws1.ws_url, "bob"), (ws2.ws_url, "carol"))
            ]
            # Not each is heard: one that the log took long for has to ask the store first.
            async with talking(alice, people, 0.1):  # the first before five seconds are over
                for each in people:
                    await until(lambda e=each: len(e.received) >= 20, f"{each.user} hears it")  # type: ignore[misc]
            for each in people:
                await until(partial(are_delivered, each, alice), "what is heard is delivered")
                assert len(each.visits) == 1
                assert not each.visit.of("caught_up")
                offsets = [message["offset"] for message in each.messages]
                assert offsets == sorted(offsets)
                assert not any(message.get("replay") for message in each.messages)
        for each in people:
            await until_caught_up(each)
        await check_fates(alice, people)
        for each, before in zip(people, owed, strict=True):
            assert before["id"] in each.visit.message_ids
            assert len(each.visits) == 1
