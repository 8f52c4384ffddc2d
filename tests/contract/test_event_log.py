"""What every `EventLog` keeps to, of one partition or many. Another adapter joins with a line in
`home`.
"""

import asyncio
import random
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from landline.adapters.kafka import KafkaCluster
from landline.errors import LogLost
from landline.model import Appended, AppendResult, Entry, NotAppended, Position
from landline.ports import EventLog
from landline_stack import Stack
from simulation.good_weather import ModelHome
from support.event_logs import (
    Appends,
    Follower,
    KafkaHome,
    LogHome,
    Record,
    SqliteHome,
    append_all,
    by_partition,
    in_order,
    read_all,
)
from support.stack import MakeTopic
from support.waiting import WAIT_SECONDS, go_round, paced, until

KEYS = [f"dm:user{number}:zoe" for number in range(40)]
ODD_KEYS = [
    "dm:a:b",
    "dm:ä:日本語",
    "dm:🦊:🦊",
    'dm:"a":b\\',
    "dm:'a';--:%s",
    "dm:$[0]:{b}",
    "dm:e\u0302:ê",
    "x" * 500,
]


@pytest.fixture(params=["sqlite", "model", pytest.param("kafka", marks=pytest.mark.stack)])
async def home(
    request: pytest.FixtureRequest, tmp_path: Path, patient_kafka: None
) -> AsyncIterator[LogHome]:
    made: LogHome
    match request.param:
        case "sqlite":
            made = SqliteHome(tmp_path / "data")
        case "kafka":
            stack: Stack = request.getfixturevalue("stack")
            make_topic: MakeTopic = request.getfixturevalue("make_topic")
            topic = make_topic(32, **{"message.timestamp.type": "LogAppendTime"})
            made = KafkaHome(KafkaCluster([stack.kafka_servers], "test"), topic)
        case "model":
            made = ModelHome()
    yield made
    await made.close()


@pytest.fixture
async def event_log(home: LogHome) -> EventLog:
    return await home.open()


def records(count: int, size_bytes: int = 100) -> list[Record]:
    """Return records of many keys, each value its own."""
    return [
        (KEYS[number * 7 % len(KEYS)], str(number).encode().ljust(size_bytes, b"."))
        for number in range(count)
    ]


# Appending ------------------------------------------------------------------------------------


async def test_every_append_is_settled_exactly_once_and_never_before_it_returned(
    event_log: EventLog,
) -> None:
    appends = Appends(event_log)  # it checks that done does not come from within append
    appends.append(records(500))
    await appends.acknowledged()
    appends.append(records(500))
    await appends.acknowledged()
    await event_log.close()
    assert set(appends.calls.values()) == {1}
    assert len(appends.calls) == 1_000


async def test_results_come_on_the_loop_s_thread(event_log: EventLog) -> None:
    threads: list[int] = []
    event_log.append("dm:a:b", b"x", lambda _result: threads.append(threading.get_ident()))
    await until(lambda: bool(threads), "it is settled")
    assert threads == [threading.get_ident()]


async def test_the_answer_to_one_append_may_make_the_next(event_log: EventLog) -> None:
    results: list[AppendResult] = []

    def go_on(result: AppendResult) -> None:
        results.append(result)
        if len(results) < 50:
            event_log.append("dm:a:b", str(len(results)).encode(), go_on)

    event_log.append("dm:a:b", b"0", go_on)
    await until(lambda: len(results) == 50, "the last is settled")
    values = [entry.value for entry in await read_all(event_log)]
    assert values == [str(number).encode() for number in range(50)]


async def test_of_one_key_results_and_offsets_come_in_the_order_of_the_appends(
    event_log: EventLog,
) -> None:
    appends = Appends(event_log)
    for _ in range(20):
        appends.append(records(100))
        await go_round()
    await appends.acknowledged()
    numbers: dict[str, list[int]] = defaultdict(list)
    positions: dict[str, list[Position]] = defaultdict(list)
    for number, result in appends.results.items():  # in the order in which they came
        assert isinstance(result, Appended)
        key = appends.records[number][0]
        numbers[key].append(number)
        positions[key].append(result.position)
    for theirs in numbers.values():
        assert theirs == sorted(theirs)
    for places in positions.values():
        assert len({place.partition for place in places}) == 1
        offsets = [place.offset for place in places]
        assert offsets == sorted(set(offsets))


async def test_a_position_belongs_to_one_record(event_log: EventLog) -> None:
    entries = await append_all(event_log, records(1_000))
    assert len({entry.position for entry in entries}) == 1_000


async def test_times_are_those_of_the_log_and_the_same_for_every_reader(
    event_log: EventLog,
) -> None:
    entries = await append_all(event_log, records(100))
    times = {entry.position: entry.time_ms for entry in entries}
    assert {entry.position: entry.time_ms for entry in await read_all(event_log)} == times
    assert all(time_ms > 1_600_000_000_000 for time_ms in times.values())


async def test_what_it_holds_is_bounded_and_what_is_beyond_is_certainly_not_in_the_log(
    event_log: EventLog,
) -> None:
    """Appended faster than any log can take it; nothing is lost and nothing is doubtful."""
    value = bytes(16 * 1024)
    appends = Appends(event_log)
    appends.append((KEYS[number % len(KEYS)], value) for number in range(20_000))
    results = await appends.settled()
    refused = [result for result in results.values() if isinstance(result, NotAppended)]
    assert refused
    assert all(result.certain and result.reason for result in refused)
    assert set(appends.calls.values()) == {1}
    acknowledged = {entry.position for entry in appends.entries}
    assert len(acknowledged) == 20_000 - len(refused)
    assert {entry.position for entry in await read_all(event_log)} == acknowledged
    await append_all(event_log, records(10))  # and it goes on


async def test_twenty_thousand_records_in_one_go(event_log: EventLog) -> None:
    entries = await append_all(event_log, records(20_000))
    assert by_partition(await read_all(event_log)) == in_order(entries)


async def test_keys_and_values_come_back_as_they_went(event_log: EventLog) -> None:
    values = [b"", b"\x00", bytes(range(256)), "ä🦊".encode(), b'{"v":1}', bytes(200_000)]
    wanted = [(key, value) for key in ODD_KEYS for value in values]
    entries = await append_all(event_log, wanted)
    assert sorted((entry.key, entry.value) for entry in entries) == sorted(wanted)
    assert by_partition(await read_all(event_log)) == in_order(entries)


# Ends -----------------------------------------------------------------------------------------


async def test_ends_are_above_every_acknowledged_record(event_log: EventLog) -> None:
    appends = Appends(event_log)
    for _ in range(30):
        seen = len(appends.entries)
        appends.append(records(20))
        await until(lambda: len(appends.entries) > seen, "some are acknowledged")  # noqa: B023
        acknowledged = list(appends.entries)
        ends = await event_log.ends()
        for entry in acknowledged:
            assert entry.position.offset < ends[entry.position.partition]
    await appends.acknowledged()


async def test_ends_never_go_back(event_log: EventLog) -> None:
    before = await event_log.ends()
    assert before  # every partition is named, those without records too
    for _ in range(5):
        await append_all(event_log, records(50))
        after = await event_log.ends()
        assert after.keys() == before.keys()
        assert all(after[partition] >= end for partition, end in before.items())
        assert sum(after.values()) >= sum(before.values()) + 50
        before = after


async def test_the_end_of_a_key_s_partition_can_be_asked_for_alone(event_log: EventLog) -> None:
    entries = await append_all(event_log, records(50))
    ends = await event_log.ends()
    for entry in entries:
        partition = event_log.partition_of(entry.key)
        assert partition == entry.position.partition
        assert await event_log.ends({partition}) == {partition: ends[partition]}


# Reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_a_reader_brings_everything_once_and_in_order(
    event_log: EventLog, limit: int
) -> None:
    entries = await append_all(event_log, records(300))
    follower = await Follower.open(event_log, {})  # it checks that stretches meet
    read = await follower.read_until(await event_log.ends(), limit)
    assert by_partition(read) == in_order(entries)


async def test_a_reader_starts_anywhere(event_log: EventLog) -> None:
    entries = await append_all(event_log, records(400))
    ends = await event_log.ends()
    chance = random.Random(3)
    for _ in range(10):
        start = {partition: chance.randint(0, end) for partition, end in ends.items()}
        wanted = [entry for entry in entries if entry.position.offset >= start[entry.position[0]]]
        assert by_partition(await read_all(event_log, start)) == in_order(wanted)


async def test_a_reader_reads_on_where_another_has_ended(event_log: EventLog) -> None:
    entries = await append_all(event_log, records(300))
    positions: dict[int, int] = {}
    read: list[Entry] = []
    ends = await event_log.ends()
    while len(read) < 300:
        follower = await Follower.open(event_log, positions)
        await follower.read(50)
        await follower.reader.close()
        read += follower.entries
        positions = follower.positions
    assert by_partition(read) == in_order(entries)
    assert positions == {partition: end for partition, end in ends.items() if end}


async def test_a_reader_waits_for_what_comes(event_log: EventLog) -> None:
    start = await event_log.ends()
    follower = await Follower.open(event_log, start)
    for number in range(5):
        reading = await follower.begin_to_wait()
        [entry] = await append_all(event_log, [(KEYS[number], b"it came")])
        await reading
        assert follower.entries[-1] == entry
    await follower.reader.close()


async def test_readers_do_not_disturb_each_other(event_log: EventLog) -> None:
    """One from the beginning, one from the present, while it is written."""
    old = await append_all(event_log, records(500))
    ends = await event_log.ends()
    first, second = await Follower.open(event_log, {}), await Follower.open(event_log, ends)
    appends = Appends(event_log)

    async def write() -> None:
        async for _ in paced(0.002, 25):
            appends.append(records(20))

    async def follow(follower: Follower, count: int) -> None:
        while len(follower.entries) < count:
            await follower.read(100)
        await follower.reader.close()

    await asyncio.gather(write(), follow(first, 1_000), follow(second, 500))
    new = await appends.acknowledged()
    assert by_partition(first.entries) == in_order([*old, *new])
    assert by_partition(second.entries) == in_order(new)


async def test_a_read_that_was_cancelled_costs_nothing_but_its_reader(event_log: EventLog) -> None:
    entries = await append_all(event_log, records(200))
    ends = await event_log.ends()
    follower = await Follower.open(event_log, {})
    await follower.read(50)
    positions = dict(follower.positions)
    await follower.reader.close()
    waiting = await Follower.open(event_log, ends)
    reading = await waiting.begin_to_wait()
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    await waiting.reader.close()
    rest = await read_all(event_log, positions)
    assert by_partition([*follower.entries, *rest]) == in_order(entries)


async def test_a_start_beyond_the_end_is_a_loss(event_log: EventLog) -> None:
    """The store has applied what the log does not hold: a person must decide (F26)."""
    await append_all(event_log, records(100))
    ends = await event_log.ends()
    await (await event_log.open_reader(ends)).close()
    for partition, end in ends.items():
        with pytest.raises(LogLost, match=str(end)):
            await _read_from(event_log, {**ends, partition: end + 1})


async def _read_from(event_log: EventLog, start: dict[int, int]) -> None:
    reader = await event_log.open_reader(start)
    await reader.close()


# Closing and coming back ----------------------------------------------------------------------


async def test_close_settles_what_was_appended(
    event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.adapters.kafka.event_log.LAST_APPENDS_SECONDS", WAIT_SECONDS)
    await append_all(event_log, records(1))  # it is connected
    appends = Appends(event_log)
    appends.append(records(2_000))
    await event_log.close()
    assert len(appends.results) == 2_000
    assert all(isinstance(result, Appended) for result in appends.results.values())


async def test_what_was_acknowledged_is_there_after_a_restart(home: LogHome) -> None:
    before = await append_all(await home.open(), records(1_000))
    again = await home.open()
    assert by_partition(await read_all(again)) == in_order(before)
    after = await append_all(again, records(1_000))
    assert by_partition(await read_all(again)) == in_order([*before, *after])
    assert not {entry.position for entry in before} & {entry.position for entry in after}


async def test_a_key_keeps_its_partition_for_ever(home: LogHome) -> None:
    homes = []
    for _ in range(2):
        event_log = await home.open()
        entries = await append_all(event_log, [(key, b"x") for key in [*KEYS, *ODD_KEYS] * 3])
        homes.append({(entry.key, entry.position.partition) for entry in entries})
    assert homes[0] == homes[1]
    assert len(homes[0]) == len(KEYS) + len(ODD_KEYS)


async def test_it_is_well_and_says_what_it_survives(event_log: EventLog) -> None:
    assert event_log.health() is None
    assert event_log.durability


async def test_any_mixture_of_writing_and_reading_comes_to_the_log(event_log: EventLog) -> None:
    """Random appends while readers come and go, each where an earlier one has ended."""
    chance = random.Random(11)
    appends = Appends(event_log)
    places: list[tuple[dict[int, int], list[Position]]] = [({}, [])]
    for _ in range(60):
        appends.append(records(chance.randrange(1, 40)))
        await asyncio.sleep(chance.choice([0, 0, 0.003]))
        if not appends.entries:
            continue
        start, before = chance.choice(places)
        ends = await event_log.ends()
        if any(start.get(partition, 0) < end for partition, end in ends.items()):
            follower = await Follower.open(event_log, start)
            await follower.read(chance.randrange(1, 200))
            await follower.reader.close()
            read = [entry.position for entry in follower.entries]
            places.append((follower.positions, before + read))
    wanted = {entry.position for entry in await appends.acknowledged()}
    for positions, read in places:
        below = {each for each in wanted if each.offset < positions.get(each.partition, 0)}
        assert set(read) == below
        assert len(read) == len(below)
