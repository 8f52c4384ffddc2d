"""Acknowledgements: what counts, how it gets into the log, and who is told."""

import pytest

from landline.delivery import decisions as d
from landline.delivery import receipts
from landline.delivery.receipts import RETRY_SECONDS, Receipts
from landline.delivery.window import Acknowledged
from landline.model import Appended, Mailbox, Message, NotAppended, Position
from landline.protocol.hints import StatusHint
from landline.protocol.records import ReceiptRecord, decode_record
from support.bench import APPENDS, Bench, alice_and_bob
from support.clock import Clock

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


# By conversation and mailbox --------------------------------------------------------------------

PHONE, TABLET = Mailbox("bob", "phone"), Mailbox("bob", "tablet")


class Pile:
    """Receipts on their own, and what they want appended."""

    def __init__(self, version: int = 2) -> None:
        self.out: list[d.Decision] = []
        self.clock = Clock()
        self.receipts = Receipts(self.out, self.clock, lambda: version)

    def take(self, mailbox: Mailbox, *ids: str, conversation: str = "dm:alice:bob") -> None:
        """Have a mailbox acknowledge messages of a conversation."""
        self.receipts.take(mailbox, [Acknowledged(id, conversation, "alice", True) for id in ids])

    def flush(self) -> list[d.AppendReceipts]:
        """Return what is to be appended now."""
        self.receipts.flush()
        appends = [each for each in self.out if isinstance(each, d.AppendReceipts)]
        self.out.clear()
        return appends


def message_id(number: int) -> str:
    return f"11111111-0000-4000-8000-{number:012}"


def entries_of(append: d.AppendReceipts) -> list[tuple[str, str | None, list[str]]]:
    """Return what stands in a record: recipient, device, ids."""
    record = decode_record(append.value)
    assert isinstance(record, ReceiptRecord)
    assert record.conversation == append.batch.conversation
    return [(recipient, device, list(ids)) for recipient, device, ids in record.entries]


FIRST, SECOND, THIRD = map(message_id, range(3))


def test_a_record_has_the_receipts_of_a_conversation_by_mailbox() -> None:
    pile = Pile()
    pile.take(PHONE, FIRST)
    pile.take(TABLET, FIRST, SECOND)
    pile.take(PHONE, SECOND)
    pile.take(Mailbox("alice"), THIRD)
    (append,) = pile.flush()
    assert entries_of(append) == [
        ("bob", "phone", [FIRST, SECOND]),
        ("bob", "tablet", [FIRST, SECOND]),
        ("alice", None, [THIRD]),
    ]


def test_a_conversation_has_one_record_in_flight_and_keeps_no_other_waiting() -> None:
    pile = Pile()
    pile.take(PHONE, FIRST)
    (append,) = pile.flush()
    pile.take(TABLET, FIRST)
    pile.take(PHONE, SECOND, conversation="dm:bob:carol")
    (other,) = pile.flush()
    assert other.batch.conversation == "dm:bob:carol"
    pile.receipts.appended(append.batch)
    (rest,) = pile.flush()
    assert entries_of(rest) == [("bob", "tablet", [FIRST])]


def test_a_record_of_version_1_has_one_recipient() -> None:
    pile = Pile(version=1)
    pile.take(Mailbox("alice"), FIRST)
    pile.take(Mailbox("bob"), SECOND, THIRD)
    seen = []
    for _ in range(2):
        (append,) = pile.flush()
        assert b'"v":1,' in append.value
        seen += entries_of(append)
        pile.receipts.appended(append.batch)
    assert seen == [("alice", None, [FIRST]), ("bob", None, [SECOND, THIRD])]
    assert pile.receipts.is_empty()


def test_a_record_has_so_many_receipts_whoever_they_are_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receipts, "RECEIPTS_PER_RECORD", 3)
    pile = Pile()
    pile.take(PHONE, FIRST, SECOND)
    pile.take(TABLET, FIRST, SECOND, THIRD)
    seen = []
    while appends := pile.flush():
        (append,) = appends
        seen.append(entries_of(append))
        pile.receipts.appended(append.batch)
    assert seen == [
        [("bob", "phone", [FIRST, SECOND]), ("bob", "tablet", [FIRST])],
        [("bob", "tablet", [SECOND, THIRD])],
    ]
    assert pile.receipts.is_empty()


def test_a_record_that_the_log_refused_is_tried_again_for_each_of_its_mailboxes() -> None:
    pile = Pile()
    pile.take(PHONE, FIRST)
    pile.take(TABLET, SECOND)
    (append,) = pile.flush()
    pile.receipts.not_appended(append.batch)
    assert not pile.receipts.is_empty()
    pile.clock.now += RETRY_SECONDS
    (again,) = pile.flush()
    assert entries_of(again) == entries_of(append)


def test_receipts_that_wait_are_bounded_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "QUEUED_RECEIPTS", 3)
    pile = Pile()
    for _ in range(2):
        pile.take(PHONE, FIRST, SECOND)
    pile.take(TABLET, FIRST, SECOND)
    assert pile.receipts.dropped == 1
    pile.receipts.appended(pile.flush()[0].batch)
    pile.take(TABLET, SECOND, THIRD)
    assert pile.receipts.dropped == 1, "there is room again"
    assert entries_of(pile.flush()[0]) == [("bob", "tablet", [SECOND, THIRD])]


def test_what_one_mailbox_has_acknowledged_is_settled_for_that_one_alone() -> None:
    pile = Pile()
    pile.take(PHONE, FIRST)
    assert pile.receipts.is_settled(FIRST, PHONE)
    assert not pile.receipts.is_settled(FIRST, TABLET)
    assert not pile.receipts.is_settled(FIRST, Mailbox("bob"))


def test_another_device_is_still_pushed_what_one_has_acknowledged(bench: Bench) -> None:
    bench.join("c1", "carol", device="phone")
    bench.deliver("a", "carol", ref="r")
    (pushed,) = bench.of("c1", "message")
    bench.ack("c1", pushed["id"])
    for session, device in (("c2", "tablet"), ("c3", "phone")):
        bench.heart.connect(session, "carol", auto_ack=False, device=device)
        bench.heart.recognised(session, None)
        bench.heart.registered(session, {0: 1})
        stored = Message(pushed["id"], "dm:alice:carol", "alice", ("carol",), "", Position(0, 0), 0)
        bench.page(session, stored)
    assert bench.got("c2", "id") == [pushed["id"]]
    assert bench.of("c3", "message") == []


def test_a_sender_hears_once_of_a_message_though_two_devices_acknowledge_it(bench: Bench) -> None:
    bench.join("c1", "carol", device="phone")
    bench.join("c2", "carol", device="tablet")
    bench.deliver("a", "carol", ref="r")
    for session in ("c1", "c2"):
        bench.ack(session, *bench.got(session, "id"))
        assert isinstance(bench.append(), Appended)
    assert len(bench.of("a", "status")) == 1


def test_that_another_device_has_received_it_before_is_no_news(bench: Bench) -> None:
    bench.heart.connect("c", "carol", auto_ack=False, device="phone")
    bench.heart.recognised("c", None)
    bench.heart.registered("c", {0: 0})
    bench.end = 9
    row = Message(
        FIRST, "dm:alice:carol", "alice", ("carol",), "", Position(0, 5), 0, is_received=True
    )
    bench.page("c", row)
    bench.ack("c", FIRST)
    assert entries_of(bench.pop(d.AppendReceipts)) == [("carol", "phone", [FIRST])]
    assert bench.of("a", "status") == []
