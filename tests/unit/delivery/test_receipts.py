"""Acknowledgements: what counts, how it gets into the log, and who is told."""

import pytest

from landline.delivery.receipts import RETRY_SECONDS
from landline.model import Message, NotAppended, Position
from landline.protocol.hints import StatusHint
from support.bench import APPENDS, Bench, alice_and_bob

LOST = NotAppended(certain=False, reason="no answer")


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def test_acknowledged_messages_are_not_pushed_again_while_the_receipt_is_on_its_way(
    bench: Bench,
) -> None:
    bench.deliver("a", "bob", ref="r")
    (pushed,) = bench.of("b", "message")
    bench.ack("b", pushed["id"])
    bench.heart.connect("b2", "bob", auto_ack=False)
    bench.heart.registered("b2", {0: 1})
    stored = Message(pushed["id"], "dm:alice:bob", "alice", ("bob",), "text", Position(0, 0), 0)
    bench.page("b2", stored)
    assert not bench.of("b2", "message")
    assert bench.of("b2", "caught_up") == [{"type": "caught_up", "replayed": 0}]


def test_receipts_share_a_record_and_the_sender_hears_of_them_together(bench: Bench) -> None:
    ids = []
    for ref in ("r1", "r2", "r3"):
        bench.deliver("a", "bob", ref=ref)
    ids = bench.got("b", "id")
    for id in ids:
        bench.ack("b", id)
    assert not bench.of("a", "status")
    bench.append()
    (status,) = bench.of("a", "status")
    assert (status["ids"], status["user"], status["status"]) == (ids, "bob", "DELIVERED")


def test_the_first_of_two_sessions_delivers_and_the_sender_hears_it_once(bench: Bench) -> None:
    bench.join("b2", "bob")
    bench.deliver("a", "bob", ref="r")
    assert len(bench.of("b", "message")) == len(bench.of("b2", "message")) == 1
    id = bench.of("b", "message")[0]["id"]
    bench.ack("b2", id)
    bench.append()
    bench.ack("b", id)
    assert not bench.has(APPENDS)
    assert len(bench.of("a", "status")) == 1


def test_a_receipt_that_the_log_refused_is_tried_again_later(bench: Bench) -> None:
    bench.deliver("a", "bob", ref="r")
    bench.ack("b", *bench.got("b", "id"))
    bench.append(LOST)
    assert not bench.has(APPENDS)
    assert not bench.heart.is_drained()
    bench.clock.now += RETRY_SECONDS
    bench.append()
    assert len(bench.of("a", "status")) == 1
    assert bench.heart.is_drained()


def test_an_ack_of_what_this_session_was_not_pushed_counts_for_nothing(bench: Bench) -> None:
    bench.deliver("a", "bob", ref="r")
    id = bench.of("b", "message")[0]["id"]
    bench.ack("a", id)
    assert not bench.has(APPENDS)
    assert bench.heart.counters.acknowledged == 0


def test_with_ack_auto_written_is_delivered(bench: Bench) -> None:
    bench.join("c", "carol", auto_ack=True)
    bench.deliver("a", "carol", ref="r")
    assert not bench.has(APPENDS)
    bench.heart.written("c")
    bench.append()
    assert len(bench.of("a", "status")) == 1


def test_a_sender_hears_once_though_two_servers_have_receipts(bench: Bench) -> None:
    """The recipient acknowledged on both: this server's own receipt, and the other one's hint."""
    bench.join("a", "alice")
    bench.join("b", "bob")
    bench.deliver("a", "bob")
    (pushed,) = bench.of("b", "message")
    bench.ack("b", pushed["id"])
    bench.append()
    assert len(bench.of("a", "status")) == 1
    bench.heart.routed(StatusHint("alice", (pushed["id"],), "bob", "2026-01-01T00:00:00.000Z"))
    bench.take()
    assert len(bench.of("a", "status")) == 1
    bench.heart.routed(StatusHint("alice", (pushed["id"],), "carol", "2026-01-01T00:00:00.000Z"))
    bench.take()
    assert bench.got("a", "user", "status") == ["bob", "carol"]
