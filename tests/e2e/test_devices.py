"""Devices of a user on a real server: each has a mailbox of its own, and everything comes to it."""

import asyncio
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support.data_directory import NAME, read
from support.disk import FaultyDisk, needs_compiler
from support.faults import until_logged
from support.gadgets import (
    Program,
    check_once_and_in_order,
    check_statuses,
    come_and_go,
    device,
    welcome,
)
from support.peer import Peer, until_applied, until_caught_up
from support.server import ServerProcess
from support.waiting import until

COUNT = 1_000
# Less than that is enough where a server is killed all the time.
ROUNDS = 4


def devices_of(server: ServerProcess, user: str) -> dict[str, int | None]:
    """Return when each device of a user was there last, as the store says."""
    rows = read(
        server.data_dir / NAME,
        f"SELECT device, seen_at FROM devices WHERE user_name = '{user}' AND device <> '*'",
    )
    return dict(rows)  # type: ignore[arg-type]


def owed(server: ServerProcess, user: str) -> Counter[str]:
    """Return how many messages each mailbox of a user is owed; '*' is the default one."""
    rows = read(
        server.data_dir / NAME,
        "SELECT device, count(*) FROM pending JOIN devices USING (mailbox_id)"
        f" WHERE user_name = '{user}' GROUP BY device",
    )
    return Counter(dict(rows))  # type: ignore[arg-type]


async def until_owed(server: ServerProcess, user: str, **wanted: int) -> None:
    """Wait until the mailboxes of a user are owed so much."""
    await until(
        lambda: owed(server, user) == Counter(wanted),
        lambda: f"{user} is owed {wanted}, not {owed(server, user)}",
    )


# --- everything comes to each of them -------------------------------------------------------------


async def test_each_device_gets_each_message_once_and_in_order(server: ServerProcess) -> None:
    """Also the one that was away, also the sender's other one; the sender hears of one delivery.
    A device that comes later is owed nothing of all that.
    """
    url = server.ws_url
    first = await come_and_go(url, "bob", "laptop")
    assert (first["device"], first["is_new"]) == ("laptop", True)
    async with (
        device(url, "alice", "phone") as alice,
        device(url, "alice", "tablet") as tablet,
        device(url, "bob", "phone") as phone,
    ):
        for peer in (alice, tablet, phone):
            await until_caught_up(peer)
        for number in range(COUNT):
            await alice.send("bob", f"message {number}")
        await until(lambda: len(alice.accepted) == COUNT, "all are accepted")
        ids = alice.accepted_ids
        await until(lambda: phone.received == tablet.received == ids, "both have all of them")
        for peer in (phone, tablet):
            check_once_and_in_order(peer.visit, ids)
        assert not alice.messages, "what was sent from a device does not come back to it"
        for peer in (alice, tablet):
            await until(lambda: set(peer.statuses) == ids, "all are delivered")  # noqa: B023
        await until_owed(server, "alice")
        await until_owed(server, "bob", laptop=COUNT)

        async with device(url, "bob", "laptop") as laptop:
            assert welcome(laptop)["is_new"] is False
            await until_caught_up(laptop)
            assert laptop.visit.of("caught_up") == [{"type": "caught_up", "replayed": COUNT}]
            check_once_and_in_order(laptop.visit, ids)
            await until_owed(server, "bob")

            async with device(url, "bob", "watch") as watch:
                assert welcome(watch)["is_new"] is True
                await until_caught_up(watch)
                assert watch.visit.of("caught_up") == [{"type": "caught_up", "replayed": 0}]
                last = await alice.send_and_wait("bob", "to all three")
                for peer in (phone, laptop, watch):
                    await until(lambda: last["id"] in peer.received, "it has the last one")  # noqa: B023
                assert watch.visit.message_ids == [last["id"]]
        # The other device's acknowledgements were none of its business.
        for peer in (alice, tablet):
            await until(lambda: last["id"] in peer.statuses, "the last one is delivered")  # noqa: B023
            assert Counter(peer.statuses) == Counter([*ids, last["id"]])
            check_statuses(peer, "bob")


async def test_a_server_that_is_killed_takes_nothing_from_any_device(server: ServerProcess) -> None:
    """At random moments; programs with the Python client reconnect. One device is away."""
    await come_and_go(server.ws_url, "bob", "laptop")
    async with (
        Program(server.ws_url, "alice", "phone") as alice,
        Program(server.ws_url, "alice", "tablet") as tablet,
        Program(server.ws_url, "bob", "phone") as phone,
    ):
        sending = asyncio.gather(
            *(alice.chat.send("bob", f"message {number}") for number in range(COUNT // 2))
        )
        for _ in range(ROUNDS):
            await asyncio.sleep(random.uniform(0.05, 0.5))
            server.kill()
            await asyncio.to_thread(server.start)
        acceptances = list(await sending)
        acceptances += [await alice.chat.send("bob", f"later {n}") for n in range(COUNT // 2)]
        ids = {each.id for each in acceptances}
        assert len(ids) == COUNT
        for program in (phone, tablet):
            await program.until_has(ids)
            assert Counter(program.ids) == Counter(ids)
            assert program.chat.is_new is False
        assert all(message.is_own for message in tablet.messages)
        assert not any(message.is_own for message in phone.messages)
        assert not alice.messages
        assert min(each.sessions for each in (alice, tablet, phone)) > 1
        await until_owed(server, "bob", laptop=COUNT)
        for program in (alice, tablet):
            assert max(Counter(program.delivered).values()) == 1
    async with device(server.ws_url, "bob", "laptop") as laptop:
        await until_caught_up(laptop)
        assert laptop.visit.of("caught_up") == [{"type": "caught_up", "replayed": COUNT}]
        check_once_and_in_order(laptop.visit, ids)
        await until_owed(server, "bob")
    assert (await come_and_go(server.ws_url, "bob", "watch"))["is_new"] is True
    assert not owed(server, "bob")


async def test_what_one_device_acknowledges_is_still_owed_to_the_other_after_a_kill(
    server: ServerProcess,
) -> None:
    """Half was acknowledged by one, the other half by the other, and then kill -9."""
    for name in ("phone", "laptop"):
        await come_and_go(server.ws_url, "bob", name)
    async with Peer(server.ws_url, "alice") as alice:
        ids = [(await alice.send_and_wait("bob", f"message {n}"))["id"] for n in range(100)]
        for name, half in (("phone", ids[:50]), ("laptop", ids[50:])):
            async with device(server.ws_url, "bob", name, acks=False) as bob:
                await until_caught_up(bob)
                check_once_and_in_order(bob.visit, ids)
                await bob.raw({"type": "ack", "ids": half})
                await until(lambda: set(half) <= set(alice.statuses), "they are delivered")  # noqa: B023
        await until_owed(server, "bob", phone=50, laptop=50)
        server.kill()
        server.start()
        for name, half in (("phone", ids[50:]), ("laptop", ids[:50])):
            async with device(server.ws_url, "bob", name) as bob:
                await until_caught_up(bob)
                check_once_and_in_order(bob.visit, half)
        await until_owed(server, "bob")
    assert Counter(alice.statuses) == Counter(ids)


async def test_a_message_to_oneself_comes_to_the_device_that_sent_it_too(
    server: ServerProcess,
) -> None:
    url = server.ws_url
    async with device(url, "alice", "phone") as phone, device(url, "alice", "laptop") as laptop:
        for peer in (phone, laptop):
            await until_caught_up(peer)
        sent = await phone.send_and_wait("alice", "a note")
        for peer in (phone, laptop):
            await until(lambda: peer.visit.message_ids == [sent["id"]], "it has the note")  # noqa: B023
        await until(lambda: bool(phone.statuses and laptop.statuses), "it is delivered")
        await until_owed(server, "alice")
    assert phone.statuses == laptop.statuses == [sent["id"]]


# --- sessions without a name ----------------------------------------------------------------------


@pytest.fixture
def sweeping(tmp_path: Path) -> ServerProcess:
    """A server that soon sees what has changed for a session that has caught up."""
    return ServerProcess(tmp_path / "data", args=["--sweep-interval", "1s"])


async def test_a_session_without_a_name_comes_again_when_the_first_device_comes(
    sweeping: ServerProcess,
) -> None:
    """From then on it is a device too. What nobody had acknowledged goes to whoever is first."""
    with sweeping as server:
        url = server.ws_url
        async with Peer(url, "alice") as alice, Peer(url, "bob", acks=False) as nameless:
            await until_caught_up(nameless)
            old = [(await alice.send_and_wait("bob", f"old {n}"))["id"] for n in range(10)]
            await until(lambda: nameless.visit.message_ids == old, "it has what is old")
            await nameless.raw({"type": "ack", "ids": old[:5]})
            await until(lambda: set(alice.statuses) == set(old[:5]), "half is delivered")
            await until_owed(server, "bob", **{"*": 5})

            async with device(url, "bob", "phone", acks=False) as phone:
                await until_caught_up(phone)
                assert welcome(phone)["is_new"] is True
                check_once_and_in_order(phone.visit, old[5:])
                await until(lambda: len(nameless.visits) > 1, "the other one comes again")
                assert nameless.visits[0].close_code == 1012
                assert nameless.visits[0].close_reason.startswith("retry_after_ms=")
                await until_caught_up(nameless)
                assert "device" not in welcome(nameless)
                check_once_and_in_order(nameless.visit, old[5:])
                assert devices_of(server, "bob").keys() == {"", "phone"}

                new = (await alice.send_and_wait("bob", "new"))["id"]
                for peer in (phone, nameless):
                    await until(lambda: new in peer.visit.message_ids, "both have the new one")  # noqa: B023
                await phone.raw({"type": "ack", "ids": [*old[5:], new]})
                await until(lambda: new in alice.statuses, "it is delivered")
                await until(
                    lambda: owed(server, "bob") == Counter({"": 1}),
                    "what was old has ended, and the new one is owed to the other",
                )
            nameless.acks = True
            await nameless.cut()
            await until(lambda: len(nameless.visits) > 2, "it comes once more")
            await until_caught_up(nameless)
            check_once_and_in_order(nameless.visit, [new])
            await until_owed(server, "bob")
        assert Counter(alice.statuses) == Counter([*old, new])
        assert "Traceback" not in server.log()


async def test_all_sessions_without_a_name_share_one_mailbox(server: ServerProcess) -> None:
    """With devices beside them as without: the first acknowledgement is for all of them."""
    url = server.ws_url
    await come_and_go(url, "bob", "phone")
    async with Peer(url, "alice") as alice:
        async with Peer(url, "bob") as one, Peer(url, "bob", acks=False) as other:
            for peer in (one, other):
                await until_caught_up(peer)
            sent = await alice.send_and_wait("bob", "hello")
            for peer in (one, other):
                await until(lambda: peer.visit.message_ids == [sent["id"]], "both have it")  # noqa: B023
            await until_owed(server, "bob", phone=1)
        async with Peer(url, "bob") as late:
            await until_caught_up(late)
            assert not late.messages


# --- devices end ----------------------------------------------------------------------------------


async def test_devices_that_nobody_uses_end_and_begin_again(tmp_path: Path) -> None:
    """What one of them had received is gone with them; the rest goes to the next one."""
    server = ServerProcess(tmp_path / "data", args=["--device-expiry", "2s"])
    with server:
        url = server.ws_url
        for name in ("phone", "laptop"):
            await come_and_go(url, "bob", name)
        async with Peer(url, "alice") as alice:
            ids = [(await alice.send_and_wait("bob", f"message {n}"))["id"] for n in range(10)]
            async with device(url, "bob", "phone", acks=False) as phone:
                await until_caught_up(phone)
                await until(lambda: phone.received >= set(ids), "the phone has them")
                # It may have ended meanwhile, where the machine stands still: its mailbox is
                # another one then, and the acknowledgement counts all the same.
                await phone.raw({"type": "ack", "ids": ids[:4]})
                await until(lambda: set(alice.statuses) == set(ids[:4]), "some are delivered")
            await until(lambda: not devices_of(server, "bob"), "none of them is left")
            await until_owed(server, "bob", **{"*": 6})
            assert server.log().count('"device_ended"') >= 2

            async with device(url, "bob", "tablet") as tablet:
                assert welcome(tablet)["is_new"] is True
                await until_caught_up(tablet)
                check_once_and_in_order(tablet.visits[0], ids[4:])
                await until(lambda: set(alice.statuses) == set(ids), "all are delivered")
                again = await come_and_go(url, "bob", "phone")
                assert (again["device"], again["is_new"]) == ("phone", True)
                last = await alice.send_and_wait("bob", "to those that are there")
                await until(lambda: last["id"] in tablet.received, "the tablet has it")
            await until(lambda: not devices_of(server, "bob"), "none of them is left")
            await until_owed(server, "bob")
        assert Counter(alice.statuses) == Counter([*ids, last["id"]])
        assert "Traceback" not in server.log()


async def test_that_a_device_is_there_is_noted_again_and_again(tmp_path: Path) -> None:
    """So it does not end, however long its session lasts."""
    server = ServerProcess(tmp_path / "data", args=["--device-expiry", "8s"])
    with server:
        async with device(server.ws_url, "bob", "phone") as phone:
            await until_caught_up(phone)
            for _ in range(2):
                before = devices_of(server, "bob").get("phone") or 0
                await until(
                    lambda: (devices_of(server, "bob").get("phone") or 0) > before,  # noqa: B023
                    "it is noted",
                )


async def test_the_seventeenth_device_ends_the_one_that_was_away_longest(
    server: ServerProcess,
) -> None:
    names = [f"device{number}" for number in range(16)]
    for name in names:
        assert (await come_and_go(server.ws_url, "bob", name))["is_new"] is True
    before = devices_of(server, "bob")
    assert before.keys() == set(names)
    # A user may not bring more in a minute, and none that was there lately makes room.
    async with connect(f"{server.ws_url}?username=bob&device=one.more") as socket:
        await asyncio.wait_for(socket.wait_closed(), 10.0)
        assert socket.close_code == 1013
    assert devices_of(server, "bob").keys() == set(names)
    server.end()
    with closing(sqlite3.connect(server.data_dir / NAME)) as file, file:
        file.execute("UPDATE devices SET seen_at = seen_at - 3600000")
    server.start()
    assert (await come_and_go(server.ws_url, "bob", "device0"))["is_new"] is False
    await until(
        lambda: (devices_of(server, "bob")["device0"] or 0) > (before["device0"] or 0),
        "it is noted that it was there",
    )
    async with Peer(server.ws_url, "alice") as alice:
        sent = await alice.send_and_wait("bob", "hello")
        assert (await come_and_go(server.ws_url, "bob", "one.more"))["is_new"] is True
        await until(
            lambda: devices_of(server, "bob").keys() == {*names, "one.more"} - {"device1"},
            "device1 has ended",
        )
        line = await until_logged(server, "device_ended")
        assert '"device":"device1"' in line.replace(" ", "")
        assert "too many devices" in line
        # What it was owed it is not owed any more; the others are.
        assert (await come_and_go(server.ws_url, "bob", "device1"))["is_new"] is True
        async with device(server.ws_url, "bob", "device3") as bob:
            await until_caught_up(bob)
            assert bob.visit.message_ids == [sent["id"]]
            assert len(devices_of(server, "bob")) == 16


# --- what is no device, and a store that does not answer ------------------------------------------


NO_NAMES = [
    "device=",
    "device=*",
    "device=a%20b",
    "device=a/b",
    "device=a%00",
    f"device={quote('é')}",
    f"device={'x' * 65}",
    "device=a&device=b",
]


async def test_what_is_no_name_of_a_device_is_refused(server: ServerProcess) -> None:
    for query in NO_NAMES:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.ws_url}?username=alice&{query}")
        assert refused.value.response.status_code == 400, query
        assert b"device" in refused.value.response.body
    for name in ("x" * 64, "a.b_c-D9"):
        assert (await come_and_go(server.ws_url, "alice", name))["device"] == name


@needs_compiler
async def test_a_store_that_is_held_up_does_not_keep_the_welcome(tmp_path: Path) -> None:
    """Whether the device is new nobody says then, and it begins when the store is there again."""
    disk = FaultyDisk(tmp_path, "pread", FaultyDisk.HOLD)
    server = ServerProcess(tmp_path / "data", env=disk.env)
    with server:
        async with Peer(server.ws_url, "alice") as alice:
            await come_and_go(server.ws_url, "bob", "phone")
            await alice.send_and_wait("bob", "before")  # what was read before is outdated now
            await until_applied(server.ws_url)
            await alice.send_and_wait("bob", "before too")
            disk.fail(server)
            async with (
                device(server.ws_url, "bob", "laptop") as laptop,
                device(server.ws_url, "bob", "phone") as phone,
            ):
                for peer in (laptop, phone):
                    assert "is_new" not in welcome(peer)
                    assert not peer.visit.of("caught_up")
                disk.repair(server)
                for peer in (laptop, phone):
                    await until_caught_up(peer)
                await until(
                    lambda: devices_of(server, "bob").keys() == {"laptop", "phone"}, "both are open"
                )
                after = await alice.send_and_wait("bob", "after")
                await until(lambda: after["id"] in laptop.received, "the laptop has it")
                await until(lambda: len(phone.received) == 3, "the phone has all of them")
        assert '"devices"' in await until_logged(server, "waiting")
        assert "Traceback" not in server.log()
