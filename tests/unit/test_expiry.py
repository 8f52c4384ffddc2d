"""Devices that nobody uses any more: who looks for them, and what ends them."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from landline import expiry
from landline.errors import StoreUnavailable
from landline.expiry import ANSWER_SECONDS, OWED_BY_DEVICE, WALK_SECONDS, DeviceExpiry
from landline.model import AppendResult, Device, Mailbox, NotAppended
from landline.ports import EventLog, MessageStore
from landline.protocol.records import DeviceRecord, decode_record
from support.devices import KnownDevices
from support.replays import in_virtual_time
from support.waiting import running

DAY = 86_400.0
OLD = Device("alice", "old", frozenset({0, 2}), 0)
FULL = Device("bob", "", frozenset({1}), 0)


class Log:
    """An event log that notes what is appended, and takes none of it."""

    def __init__(self) -> None:
        self.records: list[tuple[str, DeviceRecord, int | None]] = []

    def append(
        self,
        key: str,
        value: bytes,
        done: Callable[[AppendResult], None],
        partition: int | None = None,
    ) -> None:
        record = decode_record(value)
        assert isinstance(record, DeviceRecord)
        self.records.append((key, record, partition))
        done(NotAppended(certain=True, reason="no leader"))


class Store:
    """Says which records may be appended."""

    record_version = 2


class Walker:
    """A walker on a log and devices in memory."""

    def __init__(self, expiry_seconds: float = 30 * DAY) -> None:
        self.log, self.store, self.devices = Log(), Store(), KnownDevices()
        self.expiry = DeviceExpiry(
            cast("EventLog", self.log),
            cast("MessageStore", self.store),
            self.devices,
            expiry_seconds,
        )

    async def run_for(self, seconds: float) -> None:
        async with running(self.expiry.run()) as task:
            await asyncio.sleep(seconds)
            assert not task.done()


@in_virtual_time
async def test_a_walk_ends_what_the_store_names_wherever_it_is_open() -> None:
    walker = Walker()
    walker.devices.walk = [[(OLD, "unseen for 31 days")], [], [(FULL, "owed 100,001 messages")]]
    await walker.expiry.walk()
    assert walker.log.records == [], "a clock that was set may say so"
    await walker.expiry.walk()
    assert sorted(walker.log.records, key=str) == sorted(
        [
            ("alice", DeviceRecord("alice", "old", is_added=False), 0),
            ("alice", DeviceRecord("alice", "old", is_added=False), 2),
            ("bob", DeviceRecord("bob", "", is_added=False), 1),
        ],
        key=str,
    )


@in_virtual_time
async def test_a_walk_looks_at_all_of_them_a_few_at_a_time() -> None:
    walker = Walker()
    walker.devices.walk = [[], [], []]
    await walker.expiry.walk()
    every = (30 * DAY, OWED_BY_DEVICE)
    assert [look[:2] for look in walker.devices.looks] == [every] * 3
    afters = [None, Mailbox("looked at 0", ""), Mailbox("looked at 1", "")]
    assert [look[2] for look in walker.devices.looks] == afters
    assert {look[3] for look in walker.devices.looks} == {expiry.LOOKED_AT_TOGETHER}


@in_virtual_time
async def test_many_devices_that_end_at_the_same_time_do_not_flood_the_log() -> None:
    """Each of their records is a step of its own for every writer."""
    walker = Walker()
    every = frozenset(range(32))
    outlived = [(Device(f"u{number}", "old", every, 0), "why") for number in range(100)]
    walker.devices.walk = [outlived, outlived]
    await walker.expiry.walk()
    walk = asyncio.create_task(walker.expiry.walk())
    for _ in range(10):
        before = len(walker.log.records)
        await asyncio.sleep(1.0)
        assert 0 < len(walker.log.records) - before <= 6 * 32
    await walk
    assert len(walker.log.records) == 200 * 32


@in_virtual_time
async def test_what_was_not_ended_is_found_by_the_next_walk() -> None:
    walker = Walker()
    walker.devices.walk = [[(FULL, "why")]]
    await walker.run_for(WALK_SECONDS * 3.5)
    assert len(walker.log.records) >= 2


@in_virtual_time
async def test_one_that_was_seen_between_two_walks_does_not_end() -> None:
    walker = Walker()
    for seen_ms in range(5):
        walker.devices.walk = [[(FULL._replace(seen_ms=seen_ms), "why")]]
        await walker.expiry.walk()
    assert walker.log.records == []


@in_virtual_time
async def test_a_walk_that_failed_goes_on_where_it_was() -> None:
    walker = Walker()
    walker.devices.walk = [[(OLD, "why")], [], [(FULL, "why")]]
    await walker.expiry.walk()
    walk = asyncio.create_task(walker.expiry.walk())
    await asyncio.sleep(0.1)
    walker.devices.is_away = True
    with pytest.raises(StoreUnavailable):
        await walk
    failed_at = walker.devices.looks.pop()[2]
    walker.devices.is_away = False
    await walker.expiry.walk()
    assert walker.devices.looks[4][2] == failed_at
    assert {record.user for _key, record, _partition in walker.log.records} == {"alice", "bob"}


@in_virtual_time
async def test_walks_are_often_enough_where_devices_end_soon() -> None:
    walker = Walker(expiry_seconds=60.0)
    await walker.run_for(60.0)
    assert expiry.WALKS <= len(walker.devices.looks) <= 2 * expiry.WALKS


@pytest.mark.parametrize("hangs", [True, False])
@in_virtual_time
async def test_a_store_that_is_away_is_asked_again(hangs: bool) -> None:
    walker = Walker(expiry_seconds=60.0)
    walker.devices.hangs, walker.devices.is_away = hangs, True
    await walker.run_for(60.0)
    assert len(walker.devices.looks) >= 60.0 / (60.0 / expiry.WALKS + ANSWER_SECONDS)
    walker.devices.hangs = walker.devices.is_away = False
    walker.devices.looks.clear()
    walker.devices.walk = [[(FULL, "why")]]
    await walker.run_for(40.0)
    assert walker.log.records


@in_virtual_time
async def test_nothing_is_ended_while_servers_may_run_that_know_no_devices() -> None:
    walker = Walker(expiry_seconds=60.0)
    walker.store.record_version = 1
    walker.devices.walk = [[(FULL, "why")]]
    await walker.run_for(120.0)
    assert walker.devices.looks == []
    walker.store.record_version = 2
    await walker.run_for(60.0)
    assert walker.log.records
