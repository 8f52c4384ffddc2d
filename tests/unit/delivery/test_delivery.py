"""The heart, case by case: one server, every event by hand."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from landline.delivery import Delivery, flights, intake, memory, unread
from landline.delivery import decisions as d
from landline.delivery.receipts import RETRY_SECONDS
from landline.delivery.sends import SLOW_SECONDS
from landline.model import Appended, Message, NotAppended, Pending, Position
from landline.protocol.client_frames import Ack, BadFrame, Ping, Send, decode
from landline.protocol.codes import CloseCode
from landline.protocol.hints import StatusHint
from landline.protocol.limits import WINDOW
from support.clock import Clock

LOST = NotAppended(certain=False, reason="no answer")
REFUSED = NotAppended(certain=True, reason="the log is behind")

APPENDS = d.AppendMessage | d.AppendReceipts
ASKS = d.FindOriginal | d.ConfirmPosition


class Bench:
    """A heart with its decisions sorted: frames per session, and the rest in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        ids = iter(f"00000000-0000-4000-8000-{n:012}" for n in range(10_000))
        self.heart = Delivery(
            clock=self.clock,
            new_id=lambda: next(ids),
            server_id="ws-1",
            durability="model",
            ack_timeout=60.0,
        )
        self.frames: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[d.Decision] = []
        self.end = 0

    def take(self) -> None:
        """Take decisions: frames go to the clients, the rest waits in `asked`."""
        self.heart.end_turn()
        for decision in self.heart.take_decisions():
            if isinstance(decision, d.Transmit):
                frame = orjson.loads(decision.frame)
                self.frames.setdefault(decision.session, []).append(frame)
            else:
                self.asked.append(decision)

    def pop(self, kind: Any) -> Any:
        """Return the oldest decision of a kind that waits."""
        self.take()
        for index, decision in enumerate(self.asked):
            if isinstance(decision, kind):
                return self.asked.pop(index)
        raise AssertionError(f"no {kind} in {self.asked}")

    def has(self, kind: Any) -> bool:
        """Say whether a decision of a kind waits."""
        self.take()
        return any(isinstance(decision, kind) for decision in self.asked)

    def join(self, session: str, user: str, *, auto_ack: bool = False) -> None:
        """Connect a session and bring it to LIVE."""
        self.heart.connect(session, user, auto_ack=auto_ack)
        self.pop(d.Register)
        self.heart.registered(session, {0: self.end})
        self.page(session)

    def page(self, session: str, *messages: Message, complete: bool = True) -> None:
        """Answer the session's page."""
        asked = self.pop(d.ReadPending)
        assert asked.session == session
        until = {0: messages[-1].position.offset + 1} if messages else {}
        self.heart.page(session, asked.query, Pending(messages, complete, {0: self.end}, until))
        self.take()

    def send(self, session: str, to: str, content: str = "text", **fields: Any) -> None:
        """Have a session send."""
        self.heart.receive(session, Send(to, content, **fields))
        self.take()

    def append(self, result: NotAppended | None = None) -> Appended | NotAppended:
        """Let the log answer the oldest append."""
        append = self.pop(APPENDS)
        answer: Appended | NotAppended
        if result is None:
            answer = Appended(Position(0, self.end), self.clock.wall_ms())
            self.end += 1
        else:
            answer = result
        if isinstance(append, d.AppendMessage):
            self.heart.message_appended(append.flight, answer)
        else:
            self.heart.receipts_appended(append.batch, answer)
        self.take()
        return answer

    def of(self, session: str, kind: str) -> list[dict[str, Any]]:
        """Return the frames of one type that a session got."""
        self.take()
        return [frame for frame in self.frames.get(session, []) if frame["type"] == kind]


@pytest.fixture
def bench() -> Bench:
    """Two users with a live session each."""
    bench = Bench()
    bench.join("a", "alice")
    bench.join("b", "bob")
    return bench


def message(number: int, to: str = "bob") -> Message:
    """Return a stored message."""
    id = f"11111111-0000-4000-8000-{number:012}"
    return Message(id, f"dm:alice:{to}", "alice", (to,), f"m{number}", Position(0, number), 0)


def test_a_session_is_welcomed_registered_and_only_then_reads(bench: Bench) -> None:
    bench.heart.connect("c", "carol", auto_ack=False)
    assert bench.of("c", "welcome")[0]["user"] == "carol"
    assert bench.pop(d.Register) == d.Register("c", "carol")
    assert not bench.has(d.ReadPending)
    bench.heart.registered("c", {0: 0})
    assert bench.pop(d.ReadPending).query.mailbox == "carol"


def test_caught_up_waits_for_the_writer(bench: Bench) -> None:
    bench.heart.connect("c", "carol", auto_ack=False)
    bench.heart.registered("c", {0: 7})
    bench.page("c")
    assert not bench.of("c", "caught_up")
    assert bench.pop(d.AwaitApplied) == d.AwaitApplied("c", {0: 7})
    bench.end = 7
    bench.heart.applied("c")
    bench.page("c", message(3, "carol"))
    assert bench.of("c", "caught_up") == [{"type": "caught_up", "replayed": 1}]


def test_nothing_is_answered_or_pushed_before_the_log_has_answered(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    assert not bench.of("a", "accepted")
    assert not bench.of("b", "message")
    bench.append()
    assert bench.of("a", "accepted")[0]["ref"] == "r"
    assert bench.of("b", "message")[0]["id"] == bench.of("a", "accepted")[0]["id"]
    assert bench.has(d.RouteMessage)


def test_a_message_without_a_ref_gets_a_fresh_id_each_time(bench: Bench) -> None:
    for _ in range(2):
        bench.send("a", "bob")
        bench.append()
    first, second = bench.of("a", "accepted")
    assert first["id"] != second["id"]
    assert "ref" not in first


def test_a_message_to_oneself_is_pushed_to_oneself(bench: Bench) -> None:
    bench.send("a", "alice", ref="r")
    bench.append()
    assert len(bench.of("a", "message")) == 1


@pytest.mark.parametrize(
    ("result", "retry", "code", "outcome"),
    [
        (REFUSED, False, "busy", "rejected"),
        (LOST, False, "unavailable", "unknown"),
        (REFUSED, True, "unavailable", "unknown"),  # an earlier try may be in the log
        (LOST, True, "unavailable", "unknown"),
    ],
)
def test_the_fate_of_a_send(
    bench: Bench, result: NotAppended, retry: bool, code: str, outcome: str
) -> None:
    bench.send("a", "bob", ref="r", retry=retry)
    if retry:
        bench.heart.original_found(bench.pop(d.FindOriginal).flight, None)
    bench.append(result)
    (error,) = bench.of("a", "error")
    assert (error["code"], error["outcome"], error["ref"]) == (code, outcome, "r")
    assert not bench.of("b", "message")


def test_the_work_goes_on_when_the_sender_has_left(bench: Bench) -> None:
    bench.send("a", "bob")
    bench.heart.disconnect("a")
    bench.append()
    assert len(bench.of("b", "message")) == 1


def test_after_its_sender_has_left_a_message_with_a_ref_is_confirmed_first(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bench.heart.disconnect("a")
    appended = bench.append()
    assert isinstance(appended, Appended)
    assert not bench.of("b", "message")
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, appended)
    assert len(bench.of("b", "message")) == 1


def test_a_repeat_that_is_in_the_log_is_answered_with_the_original(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    found = Appended(Position(0, 42), 1_000)
    bench.heart.original_found(bench.pop(d.FindOriginal).flight, found)
    (accepted,) = bench.of("a", "accepted")
    assert (accepted["offset"], accepted["time"]) == (42, "1970-01-01T00:00:01.000Z")
    assert not bench.of("b", "message")
    assert not bench.has(APPENDS)


def test_a_repeat_that_is_not_in_the_log_is_appended_and_confirmed(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bench.heart.original_found(bench.pop(d.FindOriginal).flight, None)
    appended = bench.append()
    assert isinstance(appended, Appended)
    assert not bench.of("a", "accepted")
    confirm = bench.pop(d.ConfirmPosition)
    assert confirm.position == appended.position
    bench.heart.position_confirmed(confirm.flight, appended)
    assert len(bench.of("a", "accepted")) == len(bench.of("b", "message")) == 1


def test_a_repeat_that_was_overtaken_takes_the_others_position(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bench.heart.original_found(bench.pop(d.FindOriginal).flight, None)
    bench.end = 9
    bench.append()
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, Appended(Position(0, 4), 0))
    assert bench.of("a", "accepted")[0]["offset"] == 4
    assert not bench.of("b", "message"), "whoever appended the original pushes it"


def test_a_store_that_does_not_answer_leaves_a_repeat_unknown(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bench.heart.original_unknown(bench.pop(d.FindOriginal).flight, "no answer")
    assert bench.of("a", "error")[0]["outcome"] == "unknown"


def test_the_same_send_twice_at_once_is_one_append(bench: Bench) -> None:
    for _ in range(3):
        bench.send("a", "bob", ref="r")
    bench.append()
    first, *others = bench.of("a", "accepted")
    assert others == [first, first]
    assert not bench.has(APPENDS)
    bench.send("a", "bob", ref="r")
    assert bench.of("a", "accepted") == [first] * 4
    assert not bench.has(APPENDS)


def test_a_repeat_that_joins_its_original_learns_which_position_won(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bench.send("a", "bob", ref="r", retry=True)
    bench.end = 9
    bench.append()
    assert not bench.of("a", "accepted"), "another server may have been faster"
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, Appended(Position(0, 4), 0))
    assert [accepted["offset"] for accepted in bench.of("a", "accepted")] == [4, 4]
    assert not bench.of("b", "message"), "whoever appended the original pushes it"


def test_an_append_that_took_long_learns_which_position_won(bench: Bench) -> None:
    """The sender may have been repeated by another server meanwhile, and that one been faster."""
    bench.end = 9
    bench.send("a", "bob", ref="r")
    bench.clock.now += SLOW_SECONDS + 0.01
    bench.append()
    assert not bench.of("a", "accepted")
    assert not bench.of("b", "message")
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, Appended(Position(0, 4), 0))
    assert [accepted["offset"] for accepted in bench.of("a", "accepted")] == [4]
    assert not bench.of("b", "message"), "the other server pushes it"


def test_what_comes_behind_a_message_that_is_confirmed_is_accepted_and_waits(
    bench: Bench,
) -> None:
    """Live messages of a conversation are pushed in the order of the log."""
    bench.send("a", "bob", ref="slow")
    bench.clock.now += SLOW_SECONDS + 0.01
    bench.append()
    bench.send("a", "bob", ref="fast")
    bench.append()
    assert [accepted["ref"] for accepted in bench.of("a", "accepted")] == ["fast"]
    assert not bench.of("b", "message")
    slow = bench.pop(d.ConfirmPosition).flight
    bench.send("a", "bob", ref="slower")
    bench.clock.now += SLOW_SECONDS + 0.01
    bench.append()
    bench.heart.position_confirmed(slow, Appended(Position(0, 0), 0))
    assert [message["offset"] for message in bench.of("b", "message")] == [0, 1]
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, Appended(Position(0, 2), 0))
    bench.send("a", "bob", ref="last")
    bench.append()
    assert [message["offset"] for message in bench.of("b", "message")] == [0, 1, 2, 3]


def test_a_slow_append_is_live_although_the_store_is_away(bench: Bench) -> None:
    """It is in the log, and a repeat of it is not: no server appends one without the store."""
    bench.send("a", "bob", ref="slow")
    bench.clock.now += SLOW_SECONDS + 0.01
    bench.append()
    bench.send("a", "bob", ref="behind")
    bench.append()
    assert not bench.of("b", "message")
    bench.heart.position_unknown(bench.pop(d.ConfirmPosition).flight, "the store is away")
    assert [accepted["ref"] for accepted in bench.of("a", "accepted")] == ["behind", "slow"]
    assert [message["offset"] for message in bench.of("b", "message")] == [0, 1]


def test_a_repeat_that_is_confirmed_holds_nobody_up(bench: Bench) -> None:
    """While the store is away its own sender waits on, and what is behind it is live."""
    bench.send("a", "bob", ref="repeated")
    bench.send("a", "bob", ref="repeated", retry=True)
    bench.append()
    bench.send("a", "bob", ref="behind")
    bench.append()
    first = bench.pop(d.ConfirmPosition)
    assert first.is_urgent
    bench.heart.position_unknown(first.flight, "the store is away")
    assert [message["offset"] for message in bench.of("b", "message")] == [1]
    second = bench.pop(d.ConfirmPosition)
    assert second.position == first.position
    assert not second.is_urgent
    assert not bench.of("a", "error")
    bench.heart.position_confirmed(second.flight, Appended(Position(0, 0), 0))
    accepted = [(each["ref"], each["offset"]) for each in bench.of("a", "accepted")]
    assert accepted == [("behind", 1), ("repeated", 0), ("repeated", 0)]
    assert [message["offset"] for message in bench.of("b", "message")] == [1], "not out of order"


def test_a_repeat_that_nobody_can_confirm_is_unknown(bench: Bench) -> None:
    bench.send("a", "bob", ref="repeated")
    bench.send("a", "bob", ref="repeated", retry=True)
    bench.append()
    for _ in range(2):
        bench.heart.position_unknown(bench.pop(d.ConfirmPosition).flight, "the store is away")
    assert [error["outcome"] for error in bench.of("a", "error")] == ["unknown", "unknown"]
    assert not bench.has(ASKS)


def test_what_may_be_repeated_waits_for_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender has left or may have, or has repeated it. The sweep has the offset that counts."""
    bench.send("a", "bob", ref="left")
    bench.heart.disconnect("a")
    bench.append()
    bench.heart.position_unknown(bench.pop(d.ConfirmPosition).flight, "the store is away")
    bench.join("a", "alice")
    monkeypatch.setattr(intake, "SESSION_FLIGHTS", 1)
    bench.send("a", "bob", ref="not read")
    bench.clock.now += SLOW_SECONDS + 0.01
    bench.append()
    bench.heart.position_unknown(bench.pop(d.ConfirmPosition).flight, "the store is away")
    bench.send("a", "bob", ref="repeated")
    bench.send("a", "bob", ref="repeated", retry=True)
    bench.append()
    bench.heart.position_unknown(bench.pop(d.ConfirmPosition).flight, "the store is away")
    assert not bench.of("b", "message")


@pytest.mark.parametrize("seconds", [0.2, 0.6, 3.0, 30.0])
def test_after_a_pause_every_append_learns_which_position_won(bench: Bench, seconds: float) -> None:
    """What stood in the sockets is older than can be told."""
    bench.heart.pulse()
    bench.clock.now += seconds
    bench.heart.pulse()
    bench.clock.now += SLOW_SECONDS - 0.2 + 0.01 if seconds < SLOW_SECONDS else 0.0
    bench.send("a", "bob", ref="r")
    bench.append()
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, Appended(Position(0, 0), 0))
    assert len(bench.of("b", "message")) == 1
    for _ in range(120):
        bench.clock.now += unread.PULSE_SECONDS
        bench.heart.pulse()
    bench.send("a", "bob", ref="s")
    bench.append()
    assert not bench.has(ASKS)
    assert len(bench.of("a", "accepted")) == 2


def test_a_pause_counts_although_it_is_noticed_only_after_the_frames(bench: Bench) -> None:
    """Sockets are looked at before timers."""
    bench.heart.pulse()
    bench.clock.now += 2.0
    bench.send("a", "bob", ref="r")
    bench.heart.pulse()
    bench.append()
    assert bench.has(ASKS)


def test_what_waited_in_a_connection_learns_which_position_won(bench: Bench) -> None:
    """Its socket was not read: too many sends were in flight, or others had their turns."""
    since = bench.clock.now
    for _ in range(20):
        bench.clock.now += unread.PULSE_SECONDS
        bench.heart.pulse()
    bench.send("a", "bob", ref="r")
    bench.heart.left_unread("a", since)
    bench.append()
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, Appended(Position(0, 0), 0))
    bench.clock.now += unread.PULSE_SECONDS
    bench.send("a", "bob", ref="fresh")
    bench.append()
    bench.send("b", "alice", ref="another's")
    bench.append()
    assert not bench.has(ASKS)
    bench.heart.left_unread("gone", since)  # it has left meanwhile


def test_short_pauses_one_after_the_other_do_not_add_up(bench: Bench) -> None:
    """Or a sender who fills its window again and again would ask for every send."""
    for number in range(40):
        since = bench.clock.now
        bench.clock.now += 0.08
        bench.heart.pulse()
        bench.send("a", "bob", ref=f"r{number}")
        bench.heart.left_unread("a", since)
        bench.append()
    for number in range(10):  # nor do those of the process
        bench.clock.now += unread.STILL_SECONDS + 0.01
        bench.heart.pulse()
        bench.send("a", "bob", ref=f"s{number}")
        bench.append()
    assert not bench.has(ASKS)


def test_what_only_the_log_has_said_is_no_answer_to_a_repeat(bench: Bench) -> None:
    bench.end = 9
    bench.send("a", "bob", ref="r")
    bench.append()
    for _ in range(2):  # the second answer is remembered
        bench.send("a", "bob", ref="r", retry=True)
        if bench.has(d.FindOriginal):
            original = Appended(Position(0, 4), 0)
            bench.heart.original_found(bench.pop(d.FindOriginal).flight, original)
    assert [accepted["offset"] for accepted in bench.of("a", "accepted")] == [9, 4, 4]
    assert not bench.has(d.FindOriginal)


def test_too_many_flights_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FLIGHTS", 2)
    for ref in ("r1", "r2", "r3"):
        bench.send("a", "bob", ref=ref)
    (error,) = bench.of("a", "error")
    assert (error["code"], error["outcome"], error["ref"]) == ("busy", "rejected", "r3")
    bench.append()
    bench.send("a", "bob", ref="r3")
    assert len(bench.of("a", "error")) == 1


def test_a_session_with_many_sends_in_flight_is_not_read_further(bench: Bench) -> None:
    for number in range(128):
        bench.send("a", "bob", ref=f"r{number}")
    assert bench.pop(d.PauseReading) == d.PauseReading("a")
    for _ in range(63):
        bench.append()
    assert not bench.has(d.ResumeReading)
    bench.append()
    assert bench.pop(d.ResumeReading) == d.ResumeReading("a")


def test_a_session_with_large_sends_in_flight_is_not_read_further(bench: Bench) -> None:
    """Its own memory is the smaller matter: a commit of 4 MiB makes everybody wait."""
    for number in range(16):
        bench.send("a", "bob", ref=f"r{number}", content="x" * 16_384)
    assert bench.pop(d.PauseReading) == d.PauseReading("a")
    for _ in range(8):
        bench.append()
    assert not bench.has(d.ResumeReading)
    bench.append()
    assert bench.pop(d.ResumeReading) == d.ResumeReading("a")


def fill_window(bench: Bench) -> list[str]:
    """Fill bob's window. Returns the ids that are outstanding."""
    for number in range(WINDOW + 5):
        bench.send("a", "bob", ref=f"r{number}")
        bench.append()
    ids = [frame["id"] for frame in bench.of("b", "message")]
    assert len(ids) == WINDOW
    return ids


def test_a_full_window_gets_nothing_more_and_reads_on_when_acks_come(bench: Bench) -> None:
    ids = fill_window(bench)
    assert not bench.has(d.ReadPending)
    bench.heart.receive("b", Ack(tuple(ids[:100])))
    assert not bench.has(d.ReadPending), "not yet: half a window is worth a page"
    bench.heart.receive("b", Ack(tuple(ids[100:200])))
    query = bench.pop(d.ReadPending).query
    assert not any(query.after.values()), "all that was pushed lies beyond the cursor"
    assert query.limit == 64


def test_a_session_that_has_caught_up_again_is_live_again(bench: Bench) -> None:
    fill_window(bench)
    bench.heart.receive("b", Ack(tuple(frame["id"] for frame in bench.of("b", "message"))))
    bench.append()  # the receipts
    rest = [message(1_000 + n) for n in range(5)]
    bench.end = 2_000
    bench.page("b", *rest)
    assert [frame["id"] for frame in bench.of("b", "message")][WINDOW:] == [m.id for m in rest]
    bench.send("a", "bob", ref="live")
    bench.append()
    assert "replay" not in bench.of("b", "message")[-1]
    assert len(bench.of("b", "caught_up")) == 1


def test_a_session_that_remembers_too_much_reads_on_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window is open, so no ack will come that could set it going; nor need it wait for the
    sweep.
    """
    monkeypatch.setattr(memory, "PUSHED_IDS", 2)
    for number in range(2):
        bench.send("a", "bob", content=f"text {number}")
        bench.append()
    bench.heart.receive("b", Ack(tuple(frame["id"] for frame in bench.of("b", "message"))))
    bench.send("a", "bob", content="one too many")
    bench.append()
    assert len(bench.of("b", "message")) == 2
    assert bench.has(d.ReadPending)


def test_acknowledged_messages_are_not_pushed_again_while_the_receipt_is_on_its_way(
    bench: Bench,
) -> None:
    bench.send("a", "bob", ref="r")
    bench.append()
    (pushed,) = bench.of("b", "message")
    bench.heart.receive("b", Ack((pushed["id"],)))
    bench.heart.connect("b2", "bob", auto_ack=False)
    bench.heart.registered("b2", {0: 1})
    stored = Message(pushed["id"], "dm:alice:bob", "alice", ("bob",), "text", Position(0, 0), 0)
    bench.page("b2", stored)
    assert not bench.of("b2", "message")
    assert bench.of("b2", "caught_up") == [{"type": "caught_up", "replayed": 0}]


def test_receipts_share_a_record_and_the_sender_hears_of_them_together(bench: Bench) -> None:
    ids = []
    for ref in ("r1", "r2", "r3"):
        bench.send("a", "bob", ref=ref)
        bench.append()
    ids = [frame["id"] for frame in bench.of("b", "message")]
    for id in ids:
        bench.heart.receive("b", Ack((id,)))
    assert not bench.of("a", "status")
    bench.append()
    (status,) = bench.of("a", "status")
    assert (status["ids"], status["user"], status["status"]) == (ids, "bob", "DELIVERED")


def test_the_first_of_two_sessions_delivers_and_the_sender_hears_it_once(bench: Bench) -> None:
    bench.join("b2", "bob")
    bench.send("a", "bob", ref="r")
    bench.append()
    assert len(bench.of("b", "message")) == len(bench.of("b2", "message")) == 1
    id = bench.of("b", "message")[0]["id"]
    bench.heart.receive("b2", Ack((id,)))
    bench.append()
    bench.heart.receive("b", Ack((id,)))
    assert not bench.has(APPENDS)
    assert len(bench.of("a", "status")) == 1


def test_a_receipt_that_the_log_refused_is_tried_again_later(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bench.append()
    bench.heart.receive("b", Ack((bench.of("b", "message")[0]["id"],)))
    bench.append(LOST)
    assert not bench.has(APPENDS)
    assert not bench.heart.is_drained()
    bench.clock.now += RETRY_SECONDS
    bench.append()
    assert len(bench.of("a", "status")) == 1
    assert bench.heart.is_drained()


def test_an_ack_of_what_this_session_was_not_pushed_counts_for_nothing(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bench.append()
    id = bench.of("b", "message")[0]["id"]
    bench.heart.receive("a", Ack((id,)))
    assert not bench.has(APPENDS)
    assert bench.heart.counters.acks_ignored == 1


def test_with_ack_auto_written_is_delivered(bench: Bench) -> None:
    bench.join("c", "carol", auto_ack=True)
    bench.send("a", "carol", ref="r")
    bench.append()
    assert not bench.has(APPENDS)
    bench.heart.written("c")
    bench.append()
    assert len(bench.of("a", "status")) == 1


def test_a_hint_of_another_server_is_pushed_once(bench: Bench) -> None:
    for _ in range(2):
        bench.heart.routed(message(5))
    assert len(bench.of("b", "message")) == 1


def test_a_repeated_record_with_another_offset_is_not_pushed_again(bench: Bench) -> None:
    bench.heart.routed(message(5))
    again = message(5)
    bench.heart.routed(
        Message(again.id, again.conversation, "alice", ("bob",), "m5", Position(0, 99), 0)
    )
    assert len(bench.of("b", "message")) == 1


def test_the_sweep_finds_what_no_hint_told(bench: Bench) -> None:
    (asked,) = [asked for asked in bench.heart.sweep() if asked.session == "b"]
    assert asked.query.mailbox == "bob"
    bench.end = 10
    bench.heart.page("b", asked.query, Pending((message(5),), True, {0: 10}))
    (pushed,) = bench.of("b", "message")
    assert pushed["replay"] is True
    bench.heart.routed(message(5))
    assert len(bench.of("b", "message")) == 1, "the hint came after all"


@pytest.mark.parametrize(
    ("make_slow", "seconds", "reason"),
    [
        (lambda bench: None, 60.1, "no ack for 60 s"),
        (lambda bench: bench.heart.writable("b", False), 10.1, "no write progress for 10 s"),
    ],
)
def test_a_client_without_progress_is_closed(
    bench: Bench, make_slow: Callable[[Bench], None], seconds: float, reason: str
) -> None:
    bench.send("a", "bob", ref="r")
    bench.append()
    make_slow(bench)
    bench.clock.now += seconds - 0.2
    bench.heart.tick()
    assert not bench.has(d.Close)
    bench.clock.now += 0.2
    bench.heart.tick()
    assert bench.pop(d.Close) == d.Close("b", CloseCode.NO_PROGRESS, reason)


def test_an_idle_client_is_never_closed(bench: Bench) -> None:
    bench.clock.now += 100_000
    bench.heart.tick()
    assert not bench.has(d.Close)


def bad_frame() -> BadFrame:
    """Return what the validator says of a bad frame."""
    with pytest.raises(BadFrame) as caught:
        decode("nonsense")
    return caught.value


def test_the_twentieth_bad_frame_in_a_row_closes(bench: Bench) -> None:
    for _ in range(19):
        bench.heart.receive_bad("a", bad_frame())
    bench.heart.receive("a", Ping())
    for _ in range(19):
        bench.heart.receive_bad("a", bad_frame())
    assert not bench.has(d.Close)
    assert len(bench.of("a", "pong")) == 1
    bench.heart.receive_bad("a", bad_frame())
    assert bench.pop(d.Close).code == 1008
    assert len(bench.of("a", "error")) == 39


def test_draining_refuses_new_sends_and_answers_old_ones(bench: Bench) -> None:
    bench.send("a", "bob", ref="old")
    bench.heart.drain()
    bench.send("a", "bob", ref="new")
    assert bench.of("a", "error")[0]["outcome"] == "rejected"
    assert not bench.heart.is_drained()
    bench.append()
    assert bench.of("a", "accepted")[0]["ref"] == "old"
    assert bench.heart.is_drained()


def test_sessions_are_told_to_come_back_at_different_times(bench: Bench) -> None:
    bench.heart.close_all(200, 400)
    closes = [bench.pop(d.Close) for _ in range(2)]
    assert [close.reason for close in closes] == ["retry_after_ms=200", "retry_after_ms=300"]
    assert {close.code for close in closes} == {1012}
    assert bench.heart.session_count == 0


def test_a_cleanup_that_comes_late_does_not_remove_the_next_session(bench: Bench) -> None:
    bench.join("b2", "bob")
    bench.heart.disconnect("b")
    bench.heart.disconnect("b")
    bench.send("a", "bob", ref="r")
    bench.append()
    assert len(bench.of("b2", "message")) == 1


def test_a_sender_hears_once_though_two_servers_have_receipts(bench: Bench) -> None:
    """The recipient acknowledged on both: this server's own receipt, and the other one's hint."""
    bench.join("a", "alice")
    bench.join("b", "bob")
    bench.send("a", "bob")
    bench.append()
    (pushed,) = bench.of("b", "message")
    bench.heart.receive("b", Ack((pushed["id"],)))
    bench.append()
    assert len(bench.of("a", "status")) == 1
    bench.heart.routed(StatusHint("alice", (pushed["id"],), "bob", "2026-01-01T00:00:00.000Z"))
    bench.take()
    assert len(bench.of("a", "status")) == 1
    bench.heart.routed(StatusHint("alice", (pushed["id"],), "carol", "2026-01-01T00:00:00.000Z"))
    bench.take()
    assert [status["user"] for status in bench.of("a", "status")] == ["bob", "carol"]


def test_sends_that_are_refused_never_reach_the_log(bench: Bench) -> None:
    """The store is too far behind: `busy` for a first try, `unknown` for a repeat."""
    bench.join("a", "alice")
    bench.heart.refuse_sends("the store is too far behind")
    bench.send("a", "bob", ref="1")
    bench.send("a", "bob", ref="2", retry=True)
    assert not bench.has(APPENDS)
    assert not bench.has(ASKS)
    first, repeat = bench.of("a", "error")
    assert (first["code"], first["outcome"], first["ref"]) == ("busy", "rejected", "1")
    assert (repeat["code"], repeat["outcome"], repeat["ref"]) == ("unavailable", "unknown", "2")
    bench.heart.refuse_sends(None)
    bench.send("a", "bob", ref="1")
    bench.append()
    assert bench.of("a", "accepted")[0]["ref"] == "1"


def test_a_drain_is_not_taken_back_by_a_store_that_has_caught_up(bench: Bench) -> None:
    bench.join("a", "alice")
    bench.heart.drain()
    bench.heart.refuse_sends(None)
    bench.send("a", "bob")
    assert not bench.has(APPENDS)
    assert bench.of("a", "error")[0]["code"] == "busy"
