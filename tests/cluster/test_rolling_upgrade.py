"""Servers of the version before are replaced one by one, under load; then the store goes over."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.chatting import chatting, pairs, unexcused_outcomes
from support.cluster import Cluster, ClusterServer, Servers
from support.command import run_landline
from support.faults import refused, until_logged
from support.gadgets import check_once_and_in_order, come_and_go, device, welcome
from support.old_servers import age, renew
from support.peer import Peer, until_caught_up
from support.postgres import fetch
from support.waiting import until

pytestmark = pytest.mark.stack

OWED = 200


def landline(cluster: Cluster, command: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a command on the store; return its exit code and what it said."""
    env = {"LANDLINE_POSTGRES": cluster.postgres_url}
    code, said = run_landline(command, *arguments, env=env)
    return code, said.splitlines()


async def migrate(cluster: Cluster) -> tuple[int, list[str]]:
    """Run `landline migrate` while everything goes on."""
    return await asyncio.to_thread(landline, cluster, "migrate")


async def until_heard(peers: Sequence[Peer], count: int = 20) -> None:
    """Wait until so many more sends of each are accepted, and so many more have come to each."""
    accepted = [len(peer.accepted) + count for peer in peers]
    received = [len(peer.messages) + count for peer in peers]
    await until(
        lambda: all(
            len(peer.accepted) >= sent and len(peer.messages) >= came
            for peer, sent, came in zip(peers, accepted, received, strict=True)
        ),
        "everybody is heard",
    )


async def replace(server: ClusterServer, version: Callable[[ClusterServer], None]) -> None:
    """Stop a server as an operator does, and start it in another version."""
    assert await asyncio.to_thread(server.stop) == 0
    version(server)
    await asyncio.to_thread(server.start)


def check_order(peers: Sequence[Peer]) -> None:
    """What a session was owed comes in the order of the log."""
    for peer in peers:
        for visit in peer.visits:
            replayed = [each["offset"] for each in visit.of("message") if each.get("replay")]
            assert replayed == sorted(replayed)


async def check_devices(servers: Servers) -> None:
    """They work: one that is there and one that comes later, on two servers."""
    here, there = servers.here.ws_url, servers.there.ws_url
    assert (await come_and_go(there, "right0", "laptop"))["is_new"] is True
    async with (
        device(here, "left0", "phone") as alice,
        device(there, "left0", "tablet") as tablet,
        device(here, "right0", "phone") as phone,
    ):
        for peer in (alice, tablet, phone):
            assert welcome(peer)["is_new"] is True
            await until_caught_up(peer)
        sent = [await alice.send_and_wait("right0", f"to devices {n}") for n in range(50)]
        ids = [each["id"] for each in sent]
        for peer in (tablet, phone):
            await until(lambda: set(ids) <= peer.received, "both have them")  # noqa: B023
            assert Counter(each for each in peer.visit.message_ids if each in ids) == Counter(ids)
        await until(lambda: set(ids) <= set(alice.statuses), "they are delivered")
        async with device(there, "right0", "laptop") as laptop:
            assert welcome(laptop)["is_new"] is False
            await until_caught_up(laptop)
            check_once_and_in_order(laptop.visit, ids)


async def test_every_server_is_replaced_under_load_and_the_store_goes_over(
    cluster: Cluster, version_before: Path
) -> None:
    """Also one back again, half-way. No send ends as unknown, nothing is lost, and at the end
    there are devices.
    """

    def old(server: ClusterServer) -> None:
        age(server, version_before)

    ws_1, ws_2 = cluster.server("ws-1"), cluster.server("ws-2")
    servers = Servers([ws_1, ws_2])
    for each in (ws_1, ws_2):
        old(each)
    servers.start()
    async with Peer(ws_1.ws_url, "alice") as alice:
        owed = [(await alice.send_and_wait("carol", f"owed {n}"))["id"] for n in range(OWED)]
        async with Peer(ws_2.ws_url, "carol", acks=False) as carol:
            await until(lambda: set(owed) <= carol.received, "carol has them")
            await carol.raw({"type": "ack", "ids": owed[: OWED // 2]})
            await until(lambda: set(owed[: OWED // 2]) <= set(alice.statuses), "half is delivered")

    async with chatting(pairs(servers, 10)) as peers:
        await until_heard(peers)
        await replace(ws_1, renew)
        await until_heard(peers)
        await replace(ws_2, old)  # the new one writes meanwhile
        await until_heard(peers)
        await until_logged(ws_1, "store_in_format_1")

        code, said = await migrate(cluster)
        assert code == 1
        assert "stays in format 1, as the version before is run by ws-2" in said[-1]
        await until_heard(peers)
        await replace(ws_2, renew)
        await until_heard(peers)

        code, said = await migrate(cluster)
        assert (code, said[-1]) == (0, "store is in format 2; it went over")
        await until_heard(peers)
        for server in servers.every:
            await until_logged(server, "store_format_changed")
        await until_heard(peers)
    assert not unexcused_outcomes(peers, cluster.servers)
    check_order(peers)
    async with device(ws_1.ws_url, "carol", "phone") as carol:
        await until_caught_up(carol)
        check_once_and_in_order(carol.visit, owed[OWED // 2 :])
    await check_devices(servers)
    assert await migrate(cluster) == (0, [said[0], "store is in format 2"])

    old_one = cluster.server("ws-3")
    old(old_one)
    [sentence] = await refused(old_one)
    assert "was migrated by a newer Landline" in sentence
    servers.stop()
    assert not await fetch(cluster.postgres_url, "SELECT * FROM quarantine")
    code, said = landline(cluster, "audit", "--kafka", cluster.kafka)
    assert (code, said[-1]) == (0, "log and store agree")
