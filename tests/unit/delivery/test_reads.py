"""How far people have seen: what goes into the log and when, and who is told."""

from typing import Any

import pytest

from landline.delivery import decisions as d
from landline.delivery import reads
from landline.delivery.reads import READ_SECONDS, Reads
from landline.delivery.receipts import RETRY_SECONDS
from landline.model import Appended, NotAppended, Position
from landline.protocol.client_frames import MarkRead
from landline.protocol.hints import ReadHint
from landline.protocol.records import ReadRecord, decode_record
from support.bench import Bench
from support.clock import Clock
from support.conversations import ROOM

DIRECT = "dm:alice:bob"


class Desk:
    """Marks on their way, with a clock that stands still."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.out: list[Any] = []
        self.reads = Reads(self.out, self.clock)

    def flush(self, *, is_over: bool = False) -> list[tuple[str, dict[str, int]]]:
        """Return the records that go now."""
        self.reads.flush(is_over=is_over)
        records = [each.record for each in self.out]
        assert [decode_record(each.value) for each in self.out] == records
        self.out.clear()
        return [(each.conversation, dict(each.entries)) for each in records]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def record(conversation: str = ROOM, **marks: int) -> ReadRecord:
    return ReadRecord(conversation, tuple(marks.items()))


def test_the_first_mark_goes_at_once_and_then_one_record_in_two_seconds(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 1)
    assert desk.flush() == [(ROOM, {"alice": 1})]
    desk.reads.appended(record(alice=1))
    desk.reads.take("alice", ROOM, 2)
    desk.clock.now += READ_SECONDS - 0.1
    assert desk.flush() == []
    desk.clock.now += 0.2
    assert desk.flush() == [(ROOM, {"alice": 2})]


def test_the_furthest_of_each_user_goes(desk: Desk) -> None:
    for user, offset in (("alice", 3), ("alice", 9), ("alice", 4), ("bob", 0)):
        desk.reads.take(user, ROOM, offset)
    assert desk.flush() == [(ROOM, {"alice": 9, "bob": 0})]


def test_conversations_do_not_wait_for_each_other(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 1)
    desk.flush()
    desk.reads.take("alice", DIRECT, 1)
    assert desk.flush() == [(DIRECT, {"alice": 1})]


def test_one_record_of_a_conversation_is_in_flight(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 1)
    desk.flush()
    desk.reads.take("alice", ROOM, 2)
    desk.clock.now += 10 * READ_SECONDS
    assert desk.flush() == []
    desk.reads.appended(record(alice=1))
    assert desk.flush() == [(ROOM, {"alice": 2})]


def test_what_is_perhaps_not_in_the_log_goes_again_with_what_came_meanwhile(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 5)
    desk.reads.take("bob", ROOM, 5)
    desk.flush()
    desk.reads.take("alice", ROOM, 7)
    desk.reads.take("bob", ROOM, 3)
    desk.reads.not_appended(record(alice=5, bob=5))
    desk.clock.now += READ_SECONDS
    assert desk.flush() == [(ROOM, {"alice": 7, "bob": 5})]


def test_a_log_that_fails_is_left_alone_for_a_moment_at_the_end_too(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 5)
    desk.flush(is_over=True)
    desk.reads.not_appended(record(alice=5))
    assert desk.flush(is_over=True) == []
    assert not desk.reads.is_empty()
    desk.clock.now += RETRY_SECONDS
    assert desk.flush(is_over=True) == [(ROOM, {"alice": 5})]


def test_marks_that_wait_are_bounded_and_known_ones_still_move(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "QUEUED_READS", 2)
    for user, conversation in (("alice", ROOM), ("bob", ROOM), ("alice", DIRECT)):
        desk.reads.take(user, conversation, 1)
    desk.reads.take("bob", ROOM, 2)
    assert desk.reads.dropped == 1
    assert desk.flush() == [(ROOM, {"alice": 1, "bob": 2})]
    desk.reads.take("alice", DIRECT, 3)
    assert desk.flush() == [(DIRECT, {"alice": 3})], "there is room again"


def test_at_the_end_all_goes_at_once(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 1)
    desk.flush()
    desk.reads.appended(record(alice=1))
    desk.reads.take("alice", ROOM, 2)
    assert desk.flush(is_over=True) == [(ROOM, {"alice": 2})]
    assert not desk.reads.is_empty()
    desk.reads.appended(record(alice=2))
    assert desk.reads.is_empty()


def test_what_is_quiet_is_forgotten(desk: Desk) -> None:
    desk.reads.take("alice", ROOM, 1)
    desk.flush()
    desk.reads.appended(record(alice=1))
    desk.reads.forget_old()
    assert desk.reads._not_before
    desk.clock.now += READ_SECONDS
    desk.reads.forget_old()
    assert not desk.reads._not_before


# In the heart ------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    """Alice has two sessions, bob and carol one each."""
    bench = Bench()
    for session, user in (("a", "alice"), ("a2", "alice"), ("b", "bob"), ("c", "carol")):
        bench.join(session, user)
    return bench


def mark(bench: Bench, conversation: str, result: NotAppended | None = None) -> None:
    bench.heart.receive("a", MarkRead(conversation, 7))
    asked = bench.pop(d.AppendReads)
    bench.heart.reads_appended(asked.record, result or Appended(Position(0, 9), 0))


def told(bench: Bench) -> list[list[Any]]:
    return [bench.got(session, "entries", "read") for session in ("a", "a2", "b", "c")]


def test_a_mark_in_a_direct_conversation_is_told_to_both_once_it_is_in_the_log(
    bench: Bench,
) -> None:
    bench.heart.receive("a", MarkRead(DIRECT, 7))
    bench.take()
    assert told(bench) == [[], [], [], []]
    asked = bench.pop(d.AppendReads)
    bench.heart.reads_appended(asked.record, Appended(Position(0, 9), 0))
    entries = [[["alice", 7]]]
    assert told(bench) == [entries, entries, entries, []]
    assert bench.pop(d.RouteRead).users == ("alice", "bob")


def test_whom_to_tell_of_a_mark_in_a_room_is_found_out(bench: Bench) -> None:
    mark(bench, ROOM)
    asked = bench.pop(d.TellRoom)
    assert told(bench) == [[], [], [], []]
    bench.heart.tell_read(asked.record, {"alice": 1, "carol": 2})
    entries = [[["alice", 7]]]
    assert told(bench) == [entries, entries, [], entries]
    assert bench.pop(d.RouteRead).users == ("alice", "carol")


def test_a_mark_that_is_perhaps_not_in_the_log_is_told_to_nobody(bench: Bench) -> None:
    mark(bench, DIRECT, NotAppended(certain=True, reason="not now"))
    assert told(bench) == [[], [], [], []]
    assert not bench.heart.is_drained()


def test_a_mark_that_another_server_tells_of_goes_to_those_it_names(bench: Bench) -> None:
    bench.heart.routed(ReadHint(ROOM, [("dave", 3)], ("bob",)))
    assert told(bench) == [[], [], [[["dave", 3]]], []]
    assert not bench.has(d.RouteRead)


def test_a_server_of_its_own_tells_no_others() -> None:
    bench = Bench(has_others=False)
    bench.join("a", "alice")
    mark(bench, DIRECT)
    assert len(bench.of("a", "read")) == 1
    assert not bench.has(d.RouteRead)


def test_at_the_end_a_mark_is_waited_for(bench: Bench) -> None:
    mark(bench, DIRECT)
    bench.heart.receive("a", MarkRead(DIRECT, 8))
    assert not bench.has(d.AppendReads), "two seconds have not passed"
    bench.heart.drain()
    assert not bench.heart.is_drained()
    asked = bench.pop(d.AppendReads)
    bench.heart.reads_appended(asked.record, Appended(Position(0, 10), 0))
    assert bench.heart.is_drained()
