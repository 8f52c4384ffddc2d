"""The hub, where what it asks for fails."""

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from landline.adapters.clock import SystemClock
from landline.adapters.memory import MemoryDirectory, MemoryRoutingBus
from landline.adapters.sqlite import (
    Database,
    SqliteEventLog,
    SqliteMessageStore,
    SqliteRevocations,
)
from landline.auth.principal import Principal
from landline.config.limits import NO_LIMITS
from landline.delivery.decisions import AwaitApplied, Register, Unregister
from landline.errors import DirectoryUnavailable, LogUnavailable
from landline.gateway import hub as hubs
from landline.gateway import repeats
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.hub import Hub
from landline.gateway.pauses import Pause
from landline.model import (
    Appended,
    Device,
    Mailbox,
    Pending,
    PendingQuery,
    Position,
    Positions,
)
from landline.protocol.client_frames import Send
from landline.protocol.records import DeviceRecord, decode_record
from support.bench import make_heart
from support.devices import KnownDevices
from support.waiting import go_round, running, until


class Away(MemoryDirectory):
    """Takes nobody in, and remembers who left."""

    def __init__(self) -> None:
        super().__init__({}, "ws-1/run")
        self.left: list[tuple[str, str]] = []

    async def register(self, registrations: Collection[tuple[str, str]]) -> None:
        raise DirectoryUnavailable("not now")

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        self.left += registrations


class Silent(SqliteEventLog):
    """Does not tell its ends."""

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        raise LogUnavailable("not now")


class Stuck(SqliteMessageStore):
    """One partition is not applied, for whatever reason."""

    async def wait_applied(self, target: Positions) -> Positions:
        await asyncio.Event().wait()
        return target


class Client:
    """An open connection of alice's, and what it was told."""

    user = "alice"
    principal = Principal("alice")
    auto_ack = False
    device: str | None = None

    def __init__(self, session: str) -> None:
        self.session = session
        self.answers: list[dict[str, Any]] = []
        self.closed_with: tuple[int, str] | None = None

    def transmit(self, frame: bytes) -> None:
        self.answers.append(orjson.loads(frame))

    def close(self, code: int, reason: str) -> None:
        self.closed_with = code, reason

    def beat(self, now: float) -> None: ...

    def pause(self, why: Pause) -> None: ...

    def resume(self, why: Pause) -> None: ...


def make_hub(database: Database, directory: MemoryDirectory, **options: Any) -> Hub:
    """Return a hub with a sweep every 10 ms."""
    event_log, clock = options.pop("event_log", SqliteEventLog(database)), SystemClock()
    parts: dict[str, Any] = {
        "delivery": make_heart(clock, has_others=False),
        "store": SqliteMessageStore(database),
        "devices": KnownDevices(),
        "revocations": SqliteRevocations(database),
    }
    return Hub(
        clock=clock,
        new_id=lambda: str(uuid.uuid4()),
        event_log=event_log,
        directory=directory,
        bus=MemoryRoutingBus({}, "ws-1/run"),
        sweep_interval=0.01,
        device_expiry=3_600.0,
        gate=Gatekeeper("none"),
        doors=Doors(NO_LIMITS),
        **{**parts, **options},
    )


async def test_an_end_is_told_though_the_beginning_was_not(tmp_path: Path) -> None:
    """A directory asserts what it was told: a session it never heard the end of would stay."""
    database, directory = Database(tmp_path, lambda _why: None), Away()
    hub = make_hub(database, directory)
    await hub._membership._tell_directory([Register("s2", "alice"), Unregister("s1", "bob")])
    assert directory.left == [("bob", "s1")]
    await database.close()


async def test_a_session_does_not_wait_for_ever_for_a_partition_that_is_stuck(
    tmp_path: Path,
) -> None:
    """F64: it reads what there is of the others, and waits again."""
    database = Database(tmp_path, lambda _why: None)
    hub = make_hub(database, Away(), store=Stuck(database))
    async with asyncio.timeout(20):
        await hub._replay._wait_applied(AwaitApplied("s1", {0: 5}))
    await database.close()


async def test_clients_that_come_and_give_up_while_the_log_is_away_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken out of the directory at once, and what waited for them is forgotten."""
    monkeypatch.setattr(hubs, "TICK_SECONDS", 0.02)
    database, directory = Database(tmp_path, lambda _why: None), Away()
    hub = make_hub(database, directory, event_log=Silent(database))
    async with running(hub.run()):
        for round_ in range(200):
            client: Any = Client(f"s{round_}")
            hub.opened(client)
            await go_round()
            hub.closed(client, 1006)
            await go_round()
        await until(
            lambda: len(directory.left) == 200 and not hub._membership._joining,
            "all to be forgotten",
        )
    await database.close()


class Wide(SqliteEventLog):
    """Has two partitions, of which the second does not say where it ends."""

    def partition_of(self, key: str) -> int:
        return int("carol" in key)

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        if partitions is None or 1 in partitions:
            await asyncio.Event().wait()
        return {0: 0}


class Knowing(SqliteMessageStore):
    """Has applied everything, and has every message."""

    async def wait_applied(self, target: Positions) -> Positions:
        return target

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        return dict.fromkeys(message_ids, Appended(Position(0, 0), 0))


async def test_a_repeat_does_not_wait_for_the_partition_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for no stuck partition, and not behind repeats that wait for one."""
    monkeypatch.setattr(repeats, "FIND_SECONDS", 0.3)
    database = Database(tmp_path, lambda _why: None)
    hub = make_hub(database, Away(), event_log=Wide(database), store=Knowing(database))
    async with running(hub.run()):
        client: Any = Client("s1")
        hub.opened(client)
        for number, to in enumerate(("carol", "bob", "carol", "bob")):
            hub.received(client, Send(to, "text", f"r{number} to {to}", True))

        def answered(kind: str) -> list[str]:
            return [each["ref"].split()[-1] for each in client.answers if each["type"] == kind]

        await until(lambda: answered("accepted") == ["bob", "bob"], "an answer for bob's")
        await until(lambda: answered("error") == ["carol", "carol"], "no answer for carol's")
    await database.close()


class Noting(SqliteEventLog):
    """Notes what it is asked for, in order."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked: list[str] = []

    def append(self, key: str, value: bytes, *rest: Any) -> None:
        record = decode_record(value)
        assert isinstance(record, DeviceRecord)
        self.asked.append(f"{record.user}'s {record.device}")
        super().append(key, value, *rest)

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        self.asked.append("ends")
        return await super().ends(partitions)


class Empty(SqliteMessageStore):
    """Owes nobody anything, and notes what mailboxes it is asked for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.mailboxes: list[Mailbox] = []

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        self.mailboxes += [each.mailbox for each in queries if each.limit > 1]
        return [Pending((), True, {0: 1}) for _ in queries]


async def test_a_device_is_in_the_log_before_a_session_of_it_reads(tmp_path: Path) -> None:
    """One that is known is there already; who has devices and names none has one without a name."""
    database = Database(tmp_path, lambda _why: None)
    event_log, store = Noting(database), Empty(database)
    known = KnownDevices(Device("alice", "tablet", frozenset({0}), 0))
    hub = make_hub(database, Away(), event_log=event_log, store=store, devices=known)
    async with running(hub.run()):
        for session, device in (("s1", "phone"), ("s2", "tablet"), ("s3", None)):
            client: Any = Client(session)
            client.device = device
            hub.opened(client)
            mailbox = Mailbox("alice", device or "")
            await until(lambda: mailbox in store.mailboxes, "it reads")  # noqa: B023 - at once
    asked = [each for each in event_log.asked if each != "ends"]
    assert asked == ["alice's phone", "alice's "]
    assert event_log.asked.index("alice's phone") < event_log.asked.index("ends")
    last = event_log.asked.index("alice's ")
    assert "ends" in event_log.asked[last:]
    await database.close()


async def test_a_user_whose_sessions_are_ended_is_told_by_whom_and_is_not_let_in_again(
    tmp_path: Path,
) -> None:
    database = Database(tmp_path, lambda _why: None)
    hub = make_hub(database, MemoryDirectory({}, "ws-1/run"))
    await hub.listen()
    async with running(hub.run()):
        before: Any = Client("before")
        hub.opened(before)
        await until(lambda: bool(before.answers), "the session is welcomed")
        far_ms = hub.clock.wall_ms() + 3_600_000
        await hub.revocations.revoke("alice", far_ms, "backend")
        await until(lambda: before.closed_with is not None, "the session is closed")
        after: Any = Client("after")
        hub.opened(after)
        await go_round(5)
    assert before.closed_with == after.closed_with == (4403, "closed by an administrator")
    assert after.answers == []
    hub.closed(before, 4403)
    hub.closed(after, 4403)
    assert hub.connection_count == 0
    await database.close()


async def test_a_hub_finds_in_the_store_whose_sessions_are_to_end_and_who_is_refused(
    tmp_path: Path,
) -> None:
    database = Database(tmp_path, lambda _why: None)
    store = SqliteRevocations(database)
    await store.revoke("bob", SystemClock().wall_ms() + 3_600_000)
    hub = make_hub(database, MemoryDirectory({}, "ws-1/run"))
    await hub.listen()
    assert hub.revocations.is_refused("bob")
    async with running(hub.run()):
        client: Any = Client("s1")
        hub.opened(client)
        await until(lambda: bool(client.answers), "the session is welcomed")
        await store.revoke("alice", None)
        await until(lambda: client.closed_with is not None, "the session is closed")
    await database.close()
