"""The writer over a log and a store in memory: what it does when it is not alone, or not served."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import pytest

from landline import writer
from landline.errors import LogLost, LogUnavailable, StoreUnavailable, Unstorable
from landline.model import Batch, Entry, Position, Positions, Stretch
from landline.protocol.records import MessageRecord
from landline.writer import Writer
from support.waiting import running, until

POISON = "never to be stored"


def record(number: int, content: str = "text") -> bytes:
    """Return a message's record."""
    id = f"00000000-0000-8000-8000-{number:012}"
    return MessageRecord(id, None, "dm:a:b", "a", ("b",), content, "2026-01-01T00:00:00Z").encode()


class Log:
    """One partition of records in memory."""

    def __init__(self, *values: bytes) -> None:
        self.values = list(values)
        self.readers = 0

    async def ends(self) -> Positions:
        return {0: len(self.values)}

    async def open_reader(self, start: Positions) -> Any:
        self.readers += 1
        log, offset = self, start.get(0, 0)

        class Reader:
            async def read(self, limit: int) -> Sequence[Stretch]:
                nonlocal offset
                await until(lambda: offset < len(log.values), "there is a record")
                values = log.values[offset : offset + limit]
                entries = tuple(
                    Entry(Position(0, offset + n), 0, "dm:a:b", value)
                    for n, value in enumerate(values)
                )
                start, offset = offset, offset + len(entries)
                return [Stretch(0, start, offset, entries)]

            async def close(self) -> None:
                log.readers -= 1

        return Reader()


class Store:
    """Applies by compare-and-set; refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.next = 0
        self.contents: list[str] = []
        self.quarantined: list[tuple[int, str]] = []
        self.before_apply: Callable[[], None] = lambda: None

    async def applied(self) -> Positions:
        return {0: self.next}

    async def apply(self, batches: Sequence[Batch]) -> bool:
        await asyncio.sleep(0)
        self.before_apply()
        (batch,) = batches
        if any(message.content == POISON for message in batch.messages):
            raise Unstorable("no column holds this")
        if batch.start != self.next:
            return False
        self.next = batch.end
        self.contents += [message.content for message in batch.messages]
        self.quarantined += [(bad.position.offset, bad.reason) for bad in batch.quarantined]
        return True


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "STAND_BY_SECONDS", 0.005)
    monkeypatch.setattr(writer, "IDLE_LOOK_SECONDS", 0.005)
    monkeypatch.setattr(writer, "LOOK_IN_TROUBLE_SECONDS", 0.005)
    monkeypatch.setattr(writer, "_FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(writer, "_LAST_BACKOFF_SECONDS", 0.01)


async def test_only_what_can_never_be_stored_is_quarantined() -> None:
    """The batch is halved until the culprit is alone; its neighbours are stored, in order."""
    contents = ["one", POISON, "two", "three", POISON, "four"]
    log = Log(*(record(n, content) for n, content in enumerate(contents)))
    store = Store()
    async with running(Writer(log, store).run()):  # type: ignore[arg-type]
        await until(lambda: store.next == len(contents), "all is applied")
    assert store.contents == ["one", "two", "three", "four"]
    assert store.quarantined == [(1, "no column holds this"), (4, "no column holds this")]


async def test_a_store_that_is_away_is_waited_for_and_quarantines_nothing() -> None:
    log, store = Log(record(1), record(2)), Store()
    failures = iter([StoreUnavailable("deadlock"), TimeoutError(), StoreUnavailable("read-only")])

    def fail() -> None:
        for error in failures:
            raise error

    store.before_apply = fail
    it = Writer(log, store)  # type: ignore[arg-type]
    async with running(it.run()):
        await until(lambda: store.next == 2, "all is applied")
        await until(lambda: it.trouble is None, "it says that it works")
    assert (store.contents, store.quarantined) == (["text", "text"], [])


async def test_a_store_that_answers_and_takes_nothing_is_trouble_all_the_time() -> None:
    """Not only between two tries: `/readyz` and `landline migrate` may ask at any time."""
    log, store = Log(record(1)), Store()
    it = Writer(log, store)  # type: ignore[arg-type]
    seen: list[str | None] = []

    def fail() -> None:
        seen.append(it.trouble)
        if len(seen) < 6:
            raise StoreUnavailable("the disk is full")

    store.before_apply = fail
    async with running(it.run()):
        await until(lambda: store.next == 1, "it is applied")
        await until(lambda: it.trouble is None, "it says that it works")
    assert seen == [None, *["the disk is full"] * 5]


async def test_trouble_is_over_when_there_is_nothing_to_apply() -> None:
    log, store = Log(), Store()
    answers = iter([StoreUnavailable("away")] * 3)
    seen: list[str | None] = []
    applied = store.applied

    async def ask() -> Positions:
        seen.append(it.trouble)
        for error in answers:
            raise error
        return await applied()

    store.applied = ask  # type: ignore[method-assign]
    it = Writer(log, store)  # type: ignore[arg-type]
    async with running(it.run()):
        await until(lambda: "away" in seen, "it is in trouble")
        await until(lambda: it.trouble is None, "it says that it works")


async def test_a_log_that_does_not_tell_its_ends_hinders_no_writer() -> None:
    """Whether trouble is over is asked beside the work, not before it."""
    log, store = Log(record(1), record(2)), Store()
    failures = iter([StoreUnavailable("deadlock")] * 2)

    def fail() -> None:
        for error in failures:
            raise error

    store.before_apply = fail
    log.ends = mock.AsyncMock(side_effect=LogUnavailable("a broker is silent"))  # type: ignore[method-assign]
    it = Writer(log, store)  # type: ignore[arg-type]
    async with running(it.run()):
        await until(lambda: store.next == 2, "all is applied")
        await until(lambda: it.trouble is None, "it says that it works")


async def test_trouble_ends_when_the_log_tells_again_that_there_is_nothing() -> None:
    log, store = Log(), Store()
    answers = iter([StoreUnavailable("away")])
    seen: list[str | None] = []
    applied, ends = store.applied, log.ends
    asked = 0

    async def ask() -> Positions:
        seen.append(it.trouble)
        for error in answers:
            raise error
        return await applied()

    async def tell() -> Positions:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise LogUnavailable("a broker is silent")
        return await ends()

    store.applied = ask  # type: ignore[method-assign]
    log.ends = tell  # type: ignore[method-assign]
    it = Writer(log, store)  # type: ignore[arg-type]
    async with running(it.run()):
        await until(lambda: "away" in seen, "it is in trouble")
        await until(lambda: it.trouble is None, "it says that it works")
    assert asked == 3


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("error", [TimeoutError, StoreUnavailable], ids=lambda it: it.__name__)
async def test_a_batch_that_the_store_cannot_take_in_time_is_tried_smaller(
    most: int, error: type[Exception]
) -> None:
    """And larger again, once it can. Nothing is skipped, nothing is quarantined."""
    sizes: list[int] = []

    class Slow(Store):
        async def apply(self, batches: Sequence[Batch]) -> bool:
            sizes.append(sum(len(batch.messages) for batch in batches))
            if sizes[-1] > most and self.next < 60:
                raise error("too much at once")
            return await super().apply(batches)

    log, store = Log(*(record(n, str(n)) for n in range(3_000))), Slow()
    async with running(Writer(log, store).run()):  # type: ignore[arg-type]
        await until(lambda: store.next == 3_000, "all is applied")
    assert store.contents == [str(n) for n in range(3_000)]
    assert store.quarantined == []
    assert max(sizes) == sizes[0] == 1_000
    assert max(sizes[sizes.index(min(sizes)) :]) > 500


async def test_one_that_was_overtaken_stands_by_and_takes_over() -> None:
    """Another writer moves the position under its feet, goes on for a while, and dies."""
    log, store = Log(record(1)), Store()

    def overtake() -> None:
        store.before_apply = lambda: None
        store.next = 1  # as if the other one had applied it
        log.values += [record(2), record(3)]

    store.before_apply = overtake
    async with running(Writer(log, store).run()):  # type: ignore[arg-type]
        await until(lambda: store.next == 3, "it has taken over")
    assert len(store.contents) == 2


async def test_a_store_that_goes_back_is_brought_forward_though_nobody_writes() -> None:
    """As one does that was restored from a backup under the running writer."""
    log, store = Log(record(1), record(2), record(3)), Store()
    async with running(Writer(log, store).run()):  # type: ignore[arg-type]
        await until(lambda: store.next == 3, "all is applied")
        store.next = 1
        await until(lambda: store.next == 3, "all is applied again")
    assert len(store.contents) == 5


async def test_one_that_stands_by_leaves_a_moving_store_alone() -> None:
    """Whenever it looks, the other one has applied something more, and is still behind."""

    class Moving(Store):
        asked = 0

        async def applied(self) -> Positions:
            self.asked += 1
            if self.asked > 1:
                log.values.append(record(self.asked))
                self.next = len(log.values) - 1
            return await super().applied()

    log, store = Log(record(0)), Moving()
    store.before_apply = lambda: setattr(store, "next", 1)
    async with running(Writer(log, store).run()):  # type: ignore[arg-type]
        await until(lambda: store.asked > 20, "it has looked twenty times")
    assert (store.contents, log.readers) == ([], 0)


async def test_one_that_stands_by_takes_a_stuck_partition_over() -> None:
    """The other one applies its neighbour all the time, but cannot read this one."""

    class Wide(Log):
        opened = 0

        async def ends(self) -> Positions:
            return {0: len(self.values), 1: 3}

        async def open_reader(self, start: Positions) -> Any:
            self.opened += 1
            return await super().open_reader(start)

    class HalfMoving(Store):
        async def applied(self) -> Positions:
            log.values.append(record(len(log.values)))
            self.next = len(log.values) - 1
            return {0: self.next, 1: 0}

    log, store = Wide(record(0)), HalfMoving()
    store.before_apply = lambda: setattr(store, "next", 1)
    async with running(Writer(log, store).run()):  # type: ignore[arg-type]
        await until(lambda: log.opened > 1, "it takes over")


async def test_a_lost_log_ends_it() -> None:
    class Gone(Log):
        async def open_reader(self, start: Positions) -> Any:
            raise LogLost("records 0 to 9 are gone")

    with pytest.raises(LogLost):
        await Writer(Gone(), Store()).run()  # type: ignore[arg-type]
