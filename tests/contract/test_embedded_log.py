"""The embedded log alone: commits that lie, and readers far behind the end."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from landline.adapters.sqlite import Database, SqliteEventLog, SqliteMessageStore
from landline.adapters.sqlite.event_log import FILE_READ_BYTES
from landline.errors import LogLost, LogUnavailable
from landline.protocol.records import MessageRecord
from landline.writer import Writer
from support.event_logs import Appends, Follower, LyingDatabase, Record, append_all
from support.waiting import paced, until


def records(count: int, size_bytes: int = 100) -> list[Record]:
    """Return records, each value its own."""
    return [("dm:a:b", str(number).encode().ljust(size_bytes, b".")) for number in range(count)]


# Commits that lie -----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7, 1_000])
@pytest.mark.parametrize("seed", range(5))
async def test_a_reader_skips_nothing_though_commits_that_were_reported_as_failed_are_in_the_log(
    seed: int, limit: int, tmp_path: Path
) -> None:
    """A reader is at any distance behind the end: in the cached tail, in the hole that the
    cache has, or at the end, and what it reads is what the file has, offset by offset.
    """
    chance = random.Random(seed)
    database = LyingDatabase(tmp_path / "data")
    log = SqliteEventLog(database)
    follower = await Follower.open(log, {})  # it checks that stretches meet
    appends = Appends(log)
    for _ in range(60):
        database.is_lying = chance.random() < 0.3
        appends.append(records(chance.randrange(1, 10)))
        await appends.settled()
        acknowledged = max((entry.position.offset for entry in appends.entries), default=-1)
        for _ in range(chance.randrange(3)):
            if follower.positions.get(0, 0) <= acknowledged:
                await follower.read(limit)
    wanted = await database.read(
        lambda connection: connection.execute("SELECT offset, value FROM log").fetchall()
    )
    read = await follower.read_until(await log.ends(), limit)
    await follower.reader.close()
    assert [(entry.position.offset, entry.value) for entry in read] == wanted
    assert {entry.position for entry in appends.entries} <= {entry.position for entry in read}
    assert len(appends.entries) < len(read)
    await log.close()
    await database.close()


async def test_a_reader_at_the_end_is_told_of_a_commit_that_was_reported_as_failed(
    tmp_path: Path,
) -> None:
    """Nothing else is written afterwards: a repeat waits for what the log holds."""
    database = LyingDatabase(tmp_path / "data")
    log = SqliteEventLog(database)
    await append_all(log, records(10))
    follower = await Follower.open(log, await log.ends())
    reading = await follower.begin_to_wait()
    database.is_lying = True
    appends = Appends(log)
    appends.append([("dm:a:b", b"it is there")])
    await appends.settled()
    await until(reading.done, "the waiting reader has it")
    assert [entry.value for entry in follower.entries] == [b"it is there"]
    await follower.reader.close()
    await log.close()
    await database.close()


# What is old ------------------------------------------------------------------------------------

FAR_MS = 2**50  # in the future: everything is old


async def test_what_is_purged_cannot_be_read_and_what_follows_can(tmp_path: Path) -> None:
    """From memory and from the file alike, and after it was opened again."""
    database = Database(tmp_path / "data", lambda _why: None)
    log = SqliteEventLog(database)
    entries = await append_all(log, records(20))
    assert await log.purge(FAR_MS, 12, 5) == 5
    assert await log.purge(FAR_MS, 12, 100) == 7
    assert await log.purge(FAR_MS, 12, 100) == 0
    again = SqliteEventLog(database)  # it has nothing in memory
    for each in (log, again):
        assert await each.entries(12, 100) == entries[12:]
        assert await each.ends() == {0: 20}
        for start in (0, 11):
            with pytest.raises(LogLost, match=f"offset {start}, but it begins at 12"):
                await each.open_reader({0: start})
        follower = await Follower.open(each, {0: 12})
        assert await follower.read_until({0: 20}, 3) == entries[12:]
    with pytest.raises(LogLost, match="offset 11, but it begins at 12"):
        await again.entries(11, 100)
    await log.close()
    await again.close()
    await database.close()


async def test_a_reader_that_was_overtaken_is_told(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", lambda _why: None)
    await append_all(before := SqliteEventLog(database), records(20))
    log = SqliteEventLog(database)
    follower = await Follower.open(log, {0: 2})
    await follower.read(3)
    await log.purge(FAR_MS, 8, 100)
    with pytest.raises(LogLost, match="offset 5, but it begins at 8"):
        await follower.read(3)
    await before.close()
    await log.close()
    await database.close()


async def test_offsets_go_on_though_everything_was_purged(tmp_path: Path) -> None:
    """The next one is counted from the last that there is. So that one stays."""
    for _ in range(3):
        database = Database(tmp_path / "data", lambda _why: None)
        log = SqliteEventLog(database)
        end = (await log.ends())[0]
        entries = await append_all(log, records(10))
        assert [each.position.offset for each in entries] == list(range(end, end + 10))
        assert await log.purge(FAR_MS, end + 10, 1_000) == 10 - (end == 0)
        assert await log.ends() == {0: end + 10}
        assert await (await log.open_reader({0: end + 9})).read(10)
        await log.close()
        await database.close()


async def test_what_is_young_or_not_applied_stays(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", lambda _why: None)
    log = SqliteEventLog(database)
    entries = await append_all(log, records(10))
    assert await log.purge(entries[0].time_ms, 10, 100) == 0
    assert await log.purge(FAR_MS, 0, 100) == 0
    assert await log.entries(0, 100) == entries
    await log.close()
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(LogUnavailable, match="removed or moved away"):
        await log.purge(FAR_MS, 10, 100)
    await database.close()


# Far behind the end of the embedded log ---------------------------------------------------------


async def test_what_has_left_the_memory_is_read_by_bytes(tmp_path: Path) -> None:
    """A thousand small records, as many large ones as a megabyte holds, a huge one alone."""
    database = LyingDatabase(tmp_path / "data")
    log = SqliteEventLog(database)
    await append_all(log, records(2_000))
    await append_all(log, records(200, 16 * 1024))
    await append_all(log, records(3, 3 * 1024 * 1024))
    again = SqliteEventLog(database)  # it has nothing in memory
    follower = await Follower.open(again, {})
    sizes = []
    while follower.positions.get(0, 0) < 2_203:
        (stretch,) = await follower.read(1_000)
        sizes.append(len(stretch.entries))
        size_bytes = sum(len(entry.value) for entry in stretch.entries)
        assert size_bytes <= FILE_READ_BYTES or len(stretch.entries) == 1
    assert sizes == [1_000, 1_000, 64, 64, 64, 8, 1, 1, 1]
    await follower.reader.close()
    await log.close()
    await again.close()
    await database.close()


COMMIT_SECONDS = 0.05  # of a slow disk


async def test_a_writer_far_behind_catches_up_on_a_slow_disk_while_more_comes_in(
    tmp_path: Path,
) -> None:
    """100,000 records behind, and 1,000 a second more."""

    class SlowDatabase(Database):
        def _commit(self, jobs: list[Any]) -> list[Any]:
            time.sleep(COMMIT_SECONDS)
            return super()._commit(jobs)

    first = Database(tmp_path / "data", lambda _why: None)
    before = SqliteEventLog(first)
    for start in range(0, 100_000, 20_000):
        await append_all(before, map(message_record, range(start, start + 20_000)))
    await before.close()
    await first.close()
    database = SlowDatabase(tmp_path / "data", lambda _why: None)
    log, store = SqliteEventLog(database), SqliteMessageStore(database)
    appends = Appends(log)

    async def feed() -> None:
        async for number in paced(0.05):
            start = 100_000 + 50 * number
            appends.append(map(message_record, range(start, start + 50)))

    writer = Writer(log, store)
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(feed())]
    await until(
        lambda: len(appends.records) > 5_000 and writer.applied.get(0, 0) + 5_000 > log.end,
        "the writer is near the end",
        seconds=100,  # on a busy machine most of a minute
    )
    tasks[1].cancel()
    await appends.acknowledged()
    await until(lambda: writer.applied.get(0, 0) == log.end, "the writer is at the end")
    tasks[0].cancel()
    await asyncio.wait(tasks)
    counted = await database.read(
        lambda connection: connection.execute("SELECT count(*) FROM messages").fetchone()
    )
    assert counted == (100_000 + len(appends.records),)
    await log.close()
    await database.close()


def message_record(number: int) -> Record:
    """Return a message's record, each of another id."""
    id = f"00000000-0000-8000-8000-{number:012}"
    message = MessageRecord(id, None, "dm:a:b", "a", ("b",), "text", "2026-01-01T00:00:00Z")
    return "dm:a:b", message.encode()
