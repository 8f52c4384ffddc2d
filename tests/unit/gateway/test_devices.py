"""Devices at the edge: what the store is asked, and how their records come into the log."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from landline.delivery import Delivery
from landline.delivery.decisions import OpenDevice, Recognise
from landline.delivery.devices import Recognition
from landline.gateway import devices
from landline.gateway.devices import OPEN_SECONDS, RECOGNISE_SECONDS, Devices, recognise
from landline.model import (
    Appended,
    AppendResult,
    Device,
    Mailbox,
    NotAppended,
    Position,
    Positions,
)
from landline.ports import EventLog
from landline.protocol.limits import USER_DEVICES
from landline.protocol.records import DeviceRecord, decode_record
from support.devices import KnownDevices
from support.replays import in_virtual_time
from support.waiting import running

PARTITIONS = 3
EVERY = frozenset(range(PARTITIONS))
NONE: frozenset[int] = frozenset()
PHONE = Mailbox("alice", "phone")
LOST = NotAppended(certain=False, reason="no leader")
DAY = 86_400.0


class Log:
    """An event log with three partitions. `hanging` ones do not answer until `answer`, `failing`
    ones fail so often.
    """

    partitions = PARTITIONS

    def __init__(self, hanging: frozenset[int] = NONE, **failing: int) -> None:
        self.hanging = hanging
        self.failing = {int(name[1:]): times for name, times in failing.items()}
        self.records: list[tuple[str, DeviceRecord, int]] = []
        self._waiting: list[tuple[int, Callable[[AppendResult], None]]] = []

    def append(
        self,
        key: str,
        value: bytes,
        done: Callable[[AppendResult], None],
        partition: int | None = None,
    ) -> None:
        record = decode_record(value)
        assert isinstance(record, DeviceRecord)
        assert partition is not None
        self.records.append((key, record, partition))
        if partition in self.hanging:
            self._waiting.append((partition, done))
        else:
            asyncio.get_running_loop().call_soon(self._answer, partition, done)

    def answer(self) -> None:
        """Those that hang answer now, and from now on."""
        self.hanging = NONE
        while self._waiting:
            self._answer(*self._waiting.pop(0))

    def _answer(self, partition: int, done: Callable[[AppendResult], None]) -> None:
        if self.failing.get(partition):
            self.failing[partition] -= 1
            done(LOST)
        else:
            done(Appended(Position(partition, len(self.records)), 0))

    @property
    def ended(self) -> list[tuple[str, int]]:
        """Return which devices were ended, and where."""
        return [
            (each.device, partition) for _, each, partition in self.records if not each.is_added
        ]

    @property
    def added(self) -> list[int]:
        """Return where a device was opened."""
        return [partition for _, each, partition in self.records if each.is_added]

    async def ends(self, _partitions: object = None) -> Positions:
        return dict.fromkeys(EVERY, len(self.records) + 1)


class LoopClock:
    """The loop's own time, and a date in 2025."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return 1_750_000_000_000 + int(self.monotonic() * 1000)


class Heart:
    """In the place of the heart: notes what it is told, and when."""

    def __init__(self) -> None:
        self.recognitions: list[tuple[str, Recognition | None]] = []
        self.told: list[tuple[float, Positions]] = []
        self.mailboxes: frozenset[Mailbox] = frozenset()
        self.nameless: set[str] = set()
        self.refused: list[str] = []

    def recognised(self, session: str, recognition: Recognition | None) -> None:
        self.recognitions.append((session, recognition))

    def opened(self, _session: str, opened: Positions) -> None:
        self.told.append((asyncio.get_running_loop().time(), opened))

    def has_nameless_sessions(self, user: str) -> bool:
        return user in self.nameless

    def refuse_device(self, session: str) -> None:
        self.refused.append(session)

    def device_mailboxes(self) -> frozenset[Mailbox]:
        return self.mailboxes


class Edge:
    """The part that carries out, between a log, a store and a heart."""

    def __init__(
        self, log: Log | None = None, *known: Device, expiry_seconds: float = 30 * DAY
    ) -> None:
        self.log = log or Log()
        self.store = KnownDevices(*known)
        self.heart = Heart()
        self.gone: set[str] = set()
        self.happened = 0
        self.elsewhere: set[str] = set()
        self.resumed: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.devices = Devices(
            event_log=cast("EventLog", self.log),
            store=self.store,
            delivery=cast("Delivery", self.heart),
            is_connected=lambda session: session not in self.gone,
            spawn=self._spawn,
            happened=self._happened,
            expiry_seconds=expiry_seconds,
            clock=LoopClock(),
            has_sessions_elsewhere=self._has_sessions_elsewhere,
            recognised=self.resumed.append,
        )

    async def _has_sessions_elsewhere(self, user: str) -> bool:
        await asyncio.sleep(0)
        return user in self.elsewhere

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    def _happened(self) -> None:
        self.happened += 1

    async def run_for(self, seconds: float) -> None:
        """Serve for so long, then end as the hub does: with all of its tasks."""
        async with running(self.devices.run()) as task:
            await asyncio.sleep(seconds)
            assert not task.done()
        for each in self.tasks:
            each.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def open(self, partitions: frozenset[int] = EVERY) -> None:
        self.devices.put(OpenDevice("s", PHONE, partitions))


def device(name: str, *, seen_ms: int = 0, opened: frozenset[int] = EVERY) -> Device:
    return Device("alice", name, opened, seen_ms)


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Warnings of this part."""
    lines: list[dict[str, Any]] = []

    class Lines:
        def warning(self, event: str, **fields: Any) -> None:
            lines.append({"event": event, **fields})

        def info(self, event: str, **fields: Any) -> None:
            del event, fields

    monkeypatch.setattr(devices, "log", Lines())
    return lines


# Which mailbox a session uses ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "known", "recognition"),
    [
        (PHONE, [], Recognition(PHONE, EVERY, NONE)),
        (PHONE, [device("phone")], Recognition(PHONE, NONE, EVERY)),
        (
            PHONE,
            [device("phone", opened=frozenset({1}))],
            Recognition(PHONE, frozenset({0, 2}), frozenset({1})),
        ),
        (PHONE, [device("tablet")], Recognition(PHONE, EVERY, NONE)),
        (Mailbox("alice"), [], Recognition(Mailbox("alice"))),
        (Mailbox("alice"), [device("phone")], Recognition(Mailbox("alice", ""), EVERY, NONE)),
        (Mailbox("alice"), [device("")], Recognition(Mailbox("alice", ""), NONE, EVERY)),
    ],
)
def test_what_the_devices_of_a_user_mean_for_a_session(
    asked: Mailbox, known: list[Device], recognition: Recognition
) -> None:
    assert recognise(asked, known, EVERY) == recognition
    assert recognition.is_new is bool(recognition.closed)


@in_virtual_time
async def test_sessions_that_come_together_are_asked_for_together() -> None:
    edge = Edge(None, device("phone"))
    for number in range(50):
        edge.devices.put(Recognise(f"s{number}", Mailbox(f"u{number}", "phone")))
    edge.devices.put(Recognise("alice", PHONE))
    await edge.run_for(0.1)
    assert edge.store.asked == [{"alice", *(f"u{number}" for number in range(50))}]
    recognitions = dict(edge.heart.recognitions)
    assert len(recognitions) == 51
    assert recognitions["alice"] == Recognition(PHONE, NONE, EVERY)
    assert recognitions["s0"] == Recognition(Mailbox("u0", "phone"), EVERY, NONE)
    assert edge.happened == 1


@pytest.mark.parametrize("hangs", [True, False])
def test_a_store_that_is_away_keeps_no_session_waiting(
    hangs: bool, warned: list[dict[str, Any]]
) -> None:
    @in_virtual_time
    async def run() -> None:
        edge = Edge()
        edge.store.hangs, edge.store.is_away = hangs, True
        edge.devices.put(Recognise("s", PHONE))
        await edge.run_for(RECOGNISE_SECONDS + 0.1)
        assert edge.heart.recognitions == [("s", None)]
        assert edge.happened == 1
        assert edge.log.records == []

    run()
    reason = "no answer in time" if hangs else "the store is away"
    assert warned == [{"event": "waiting", "what": "devices", "reason": reason}]


@in_virtual_time
async def test_nobody_is_asked_for_a_session_that_is_gone() -> None:
    """Nor has any device to make room for it."""
    edge = Edge(None, *(device(f"d{number}") for number in range(USER_DEVICES)))
    edge.gone.add("s")
    edge.devices.put(Recognise("s", PHONE))
    await edge.run_for(0.1)
    assert edge.store.asked == []
    assert edge.log.records == []


@in_virtual_time
async def test_what_waits_for_a_session_that_is_gone_is_forgotten() -> None:
    edge = Edge()
    for number in range(10):
        edge.devices.put(Recognise(f"s{number}", PHONE))
    edge.gone |= {f"s{number}" for number in range(1, 10)}
    edge.devices.forget_gone(1)
    assert len(edge.devices._recognising) == 1


# How many there are --------------------------------------------------------------------------


@in_virtual_time
async def test_the_device_that_was_unseen_longest_makes_room_for_one_too_many() -> None:
    known = [device(f"d{number}", seen_ms=100 + number) for number in range(1, USER_DEVICES)]
    known.insert(7, device("old", seen_ms=1, opened=frozenset({0, 2})))
    edge = Edge(None, *known)
    edge.devices.put(Recognise("s", PHONE))
    await edge.run_for(0.1)
    assert sorted(edge.log.ended) == [("old", 0), ("old", 2)]
    assert {key for key, _, _ in edge.log.records} == {"alice"}


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (USER_DEVICES - 1, PHONE),  # there is room
        (USER_DEVICES, Mailbox("alice", "d3")),  # it is one of them
        (USER_DEVICES, Mailbox("bob", "phone")),
    ],
)
@in_virtual_time
async def test_otherwise_no_device_has_to_make_room(known: int, asked: Mailbox) -> None:
    edge = Edge(None, *(device(f"d{number}") for number in range(known)))
    edge.devices.put(Recognise("s", asked))
    await edge.run_for(0.1)
    assert edge.log.records == []


@in_virtual_time
async def test_where_there_are_too_many_devices_the_next_one_ends_them_all() -> None:
    """Two came at the same moment, or a record was not appended."""
    edge = Edge(None, *(device(f"d{number}", seen_ms=number) for number in range(USER_DEVICES + 2)))
    edge.devices.put(Recognise("s", PHONE))
    await edge.run_for(0.1)
    assert {name for name, _ in edge.log.ended} == {"d0", "d1", "d2"}


# The record of a device ----------------------------------------------------------------------


@in_virtual_time
async def test_a_device_is_opened_in_every_partition_that_is_named() -> None:
    edge = Edge()
    edge.open(frozenset({0, 2}))
    await edge.run_for(0.1)
    assert sorted(edge.log.added) == [0, 2]
    (record,) = {record for _, record, _ in edge.log.records}
    assert record == DeviceRecord("alice", "phone", is_added=True)
    ((_, opened),) = edge.heart.told
    assert opened.keys() == {0, 2}
    assert edge.happened == 1


@in_virtual_time
async def test_a_partition_that_failed_is_tried_again_and_told_when_it_is_there() -> None:
    edge = Edge(Log(_1=3))
    edge.open()
    await edge.run_for(60.0)
    assert sorted(edge.log.added) == [0, 1, 1, 1, 1, 2]
    assert [set(opened) for _, opened in edge.heart.told] == [{0, 2}, {1}]


@in_virtual_time
async def test_a_partition_that_hangs_keeps_the_heart_waiting_no_longer_than_others() -> None:
    edge = Edge(Log(hanging=frozenset({1})))
    loop = asyncio.get_running_loop()
    began = loop.time()
    edge.open()
    loop.call_at(began + 40.0, edge.log.answer)
    await edge.run_for(60.0)
    (first, soon), (second, late) = edge.heart.told
    assert first - began == pytest.approx(OPEN_SECONDS, abs=0.1)
    assert soon.keys() == {0, 2}
    assert second - began == pytest.approx(40.0, abs=OPEN_SECONDS)
    assert late.keys() == {1}


@in_virtual_time
async def test_a_log_that_hangs_altogether_keeps_the_heart_waiting_no_longer_either() -> None:
    edge = Edge(Log(hanging=EVERY))
    edge.open()
    await edge.run_for(60.0)
    ((_, opened),) = edge.heart.told
    assert opened == {}
    assert sorted(edge.log.added) == [0, 1, 2], "what hangs is not appended once more"


@in_virtual_time
async def test_a_partition_that_failed_is_tried_again_while_another_one_hangs() -> None:
    edge = Edge(Log(hanging=frozenset({1}), _2=2))
    edge.open()
    await edge.run_for(60.0)
    assert [set(opened) for _, opened in edge.heart.told] == [{0}, {2}]
    assert sorted(edge.log.added) == [0, 1, 2, 2, 2]


@in_virtual_time
async def test_nothing_more_is_tried_for_a_session_that_is_gone() -> None:
    edge = Edge(Log(_1=1_000_000))
    edge.open()
    asyncio.get_running_loop().call_later(5.0, edge.gone.add, "s")
    await edge.run_for(20.0)
    tried = len(edge.log.records)
    assert all(task.done() for task in edge.tasks)
    await asyncio.sleep(100.0)
    assert len(edge.log.records) == tried


@in_virtual_time
async def test_what_is_under_way_ends_with_the_hub() -> None:
    """A task that is left fails the test."""
    edge = Edge(Log(hanging=EVERY))
    edge.open()
    await edge.run_for(0.5)


@in_virtual_time
async def test_what_hangs_ends_with_the_hub_too() -> None:
    edge = Edge(Log(hanging=EVERY))
    edge.open()
    await edge.run_for(OPEN_SECONDS + 1.0)


# That it is there ----------------------------------------------------------------------------


@in_virtual_time
async def test_that_a_device_is_there_is_noted_when_it_comes_and_now_and_then() -> None:
    edge = Edge(None, device("phone"))
    edge.devices.put(Recognise("s", PHONE))
    edge.devices.put(Recognise("t", Mailbox("bob")))
    edge.heart.mailboxes = frozenset({PHONE})
    await edge.run_for(3.5 * devices.SEEN_SECONDS)
    assert edge.store.noted == [{PHONE}] * 4


@in_virtual_time
async def test_it_is_noted_often_enough_where_devices_end_soon() -> None:
    edge = Edge(expiry_seconds=60.0)
    edge.heart.mailboxes = frozenset({PHONE})
    await edge.run_for(59.0)
    assert len(edge.store.noted) == devices.SEEN_TIMES - 1


@in_virtual_time
async def test_a_store_that_is_away_stops_nobody_from_noting_later() -> None:
    edge = Edge(expiry_seconds=60.0)
    edge.heart.mailboxes = frozenset({PHONE})
    edge.store.hangs = True
    asyncio.get_running_loop().call_later(40.0, setattr, edge.store, "hangs", False)
    await edge.run_for(59.0)
    assert edge.store.noted == [{PHONE}] * 2


def test_many_devices_are_noted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement for all of them would not be done in time, and each of them would end."""
    monkeypatch.setattr(devices, "SEEN_TOGETHER", 10)

    @in_virtual_time
    async def run() -> None:
        edge = Edge(expiry_seconds=60.0)
        edge.heart.mailboxes = frozenset(Mailbox(f"u{number}", "d") for number in range(25))
        await edge.run_for(8.0)
        assert [len(each) for each in edge.store.noted] == [10, 10, 5]
        assert frozenset().union(*edge.store.noted) == edge.heart.mailboxes

    run()


@in_virtual_time
async def test_the_first_device_brings_one_for_sessions_that_have_none_now() -> None:
    """What comes until they have come again is owed to it: theirs is the default mailbox still."""
    edge = Edge()
    edge.elsewhere = {"alice"}
    edge.heart.nameless = {"bob"}
    for user in ("alice", "bob", "carol"):
        edge.devices.put(Recognise(user, Mailbox(user, "phone")))
    await edge.run_for(1.0)
    found = {user: each.with_nameless for user, each in edge.heart.recognitions if each}
    assert found == {"alice": True, "bob": True, "carol": False}


@in_virtual_time
async def test_the_one_without_a_name_is_in_the_log_before_the_first_device() -> None:
    edge = Edge()
    edge.devices.put(OpenDevice("s", Mailbox("alice", "phone"), EVERY, with_nameless=True))
    await edge.run_for(1.0)
    for partition in EVERY:
        names = [each.device for _at, each, where in edge.log.records if where == partition]
        assert names == ["", "phone"]
    assert edge.heart.told[0][1].keys() == EVERY


@in_virtual_time
async def test_a_device_that_was_there_a_moment_ago_makes_no_room() -> None:
    clock_ms = LoopClock().wall_ms()
    known = [Device("alice", f"d{n}", EVERY, clock_ms) for n in range(USER_DEVICES)]
    edge = Edge(None, *known)
    edge.devices.put(Recognise("s", Mailbox("alice", "new")))
    await edge.run_for(1.0)
    assert edge.log.records == []
    assert edge.heart.recognitions


@in_virtual_time
async def test_a_user_brings_so_many_new_devices_in_a_minute() -> None:
    edge = Edge()
    for number in range(USER_DEVICES + 3):
        edge.devices.put(Recognise(f"s{number}", Mailbox("alice", f"d{number}")))
    await edge.run_for(1.0)
    assert len(edge.heart.recognitions) == USER_DEVICES
    assert edge.heart.refused == [f"s{USER_DEVICES + n}" for n in range(3)]
    edge.devices.put(Recognise("later", Mailbox("alice", "later")))
    await asyncio.sleep(devices.NEW_DEVICES_SECONDS)
    edge.devices.put(Recognise("later", Mailbox("alice", "later")))
    await edge.run_for(1.0)
    assert edge.heart.recognitions[-1][0] == "later"


@in_virtual_time
async def test_a_store_that_did_not_answer_keeps_nobody_else_waiting() -> None:
    edge = Edge()
    edge.store.hangs = True
    edge.devices.put(Recognise("first", Mailbox("alice", "phone")))
    await edge.run_for(RECOGNISE_SECONDS + 0.1)
    began = asyncio.get_running_loop().time()
    edge.devices.put(Recognise("second", Mailbox("alice", "phone")))
    await edge.run_for(0.1)
    assert edge.heart.recognitions == [("first", None), ("second", None)]
    assert edge.resumed == ["first", "second"]
    assert asyncio.get_running_loop().time() - began < RECOGNISE_SECONDS
