"""Sessions: what they are pushed and when, how they are closed, and the drain."""

from collections.abc import Callable

import pytest

from landline.delivery import decisions as d
from landline.delivery import memory
from landline.delivery.devices import Recognition
from landline.model import Mailbox, Message, Pending, Position
from landline.protocol.client_frames import BadFrame, Ping, decode
from landline.protocol.codes import CloseCode
from landline.protocol.limits import WINDOW
from support.bench import APPENDS, Bench, alice_and_bob, hint, message


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def test_a_session_is_welcomed_registered_and_only_then_reads(bench: Bench) -> None:
    bench.heart.connect("c", "carol", auto_ack=False)
    assert bench.of("c", "welcome")[0]["user"] == "carol"
    assert bench.pop(d.Register) == d.Register("c", "carol")
    assert not bench.has(d.ReadEnds)
    bench.heart.entered("c")
    bench.recognise(Recognition(Mailbox("carol")))
    assert not bench.has(d.ReadPending)
    bench.read_ends()
    assert bench.pop(d.ReadPending).query.mailbox == Mailbox("carol")


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


def test_a_message_to_oneself_is_pushed_to_oneself(bench: Bench) -> None:
    bench.deliver("a", "alice", ref="r")
    assert len(bench.of("a", "message")) == 1


def fill_window(bench: Bench) -> list[str]:
    """Fill bob's window. Returns the ids that are outstanding."""
    for number in range(WINDOW + 5):
        bench.deliver("a", "bob", ref=f"r{number}")
    ids = bench.got("b", "id")
    assert len(ids) == WINDOW
    return ids


def test_a_full_window_gets_nothing_more_and_reads_on_when_acks_come(bench: Bench) -> None:
    ids = fill_window(bench)
    assert not bench.has(d.ReadPending)
    bench.ack("b", *ids[:100])
    assert not bench.has(d.ReadPending), "not yet: half a window is worth a page"
    bench.ack("b", *ids[100:200])
    query = bench.pop(d.ReadPending).query
    assert not any(query.after.values()), "all that was pushed lies beyond the cursor"
    assert query.limit == 64


def test_a_session_that_has_caught_up_again_is_live_again(bench: Bench) -> None:
    fill_window(bench)
    bench.ack("b", *bench.got("b", "id"))
    bench.append()  # the receipts
    rest = [message(1_000 + n) for n in range(5)]
    bench.end = 2_000
    bench.page("b", *rest)
    assert bench.got("b", "id")[WINDOW:] == [m.id for m in rest]
    bench.deliver("a", "bob", ref="live")
    assert "replay" not in bench.of("b", "message")[-1]
    assert len(bench.of("b", "caught_up")) == 1


def test_a_session_that_remembers_too_much_reads_on_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window is open, so no ack will come that could set it going; and it need not wait for the
    sweep.
    """
    monkeypatch.setattr(memory, "PUSHED_IDS", 2)
    for number in range(2):
        bench.deliver("a", "bob", content=f"text {number}")
    bench.ack("b", *bench.got("b", "id"))
    bench.deliver("a", "bob", content="one too many")
    assert len(bench.of("b", "message")) == 2
    assert bench.has(d.ReadPending)


def test_a_hint_of_another_server_is_pushed_once(bench: Bench) -> None:
    for _ in range(2):
        bench.heart.routed(hint(message(5)))
    assert len(bench.of("b", "message")) == 1


def test_a_repeated_record_with_another_offset_is_not_pushed_again(bench: Bench) -> None:
    bench.heart.routed(hint(message(5)))
    again = message(5)
    other = Message(again.id, again.conversation, "alice", ("bob",), "m5", Position(0, 99), 0)
    bench.heart.routed(hint(other))
    assert len(bench.of("b", "message")) == 1


def test_the_sweep_finds_what_no_hint_told(bench: Bench) -> None:
    (asked,) = [asked for asked in bench.heart.sweep() if asked.session == "b"]
    assert asked.query.mailbox == Mailbox("bob")
    bench.end = 10
    bench.heart.page("b", asked.query, Pending((message(5),), True, {0: 10}))
    (pushed,) = bench.of("b", "message")
    assert pushed["replay"] is True
    bench.heart.routed(hint(message(5)))
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
    bench.deliver("a", "bob", ref="r")
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


def test_all_sessions_of_a_user_are_closed_and_nobody_else_s(bench: Bench) -> None:
    bench.join("b2", "bob")
    assert bench.heart.sessions_of("bob") == ("b", "b2")
    assert bench.heart.close_user("bob", CloseCode.FORBIDDEN, "why") == 2
    closes = [bench.pop(d.Close) for _ in range(2)]
    assert closes == [d.Close(id, CloseCode.FORBIDDEN, "why") for id in ("b", "b2")]
    assert not bench.has(d.Close)
    assert bench.heart.sessions_of("bob") == ()
    assert bench.heart.close_user("bob", CloseCode.FORBIDDEN, "why") == 0
    before = len(bench.frames["b"])
    bench.deliver("a", "bob", ref="r")
    bench.heart.receive("b", Ping())
    bench.take()
    assert len(bench.frames["b"]) == before, "it is pushed nothing more, and not heard"
    assert bench.heart.sessions_of("alice") == ("a",)


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
    bench.deliver("a", "bob", ref="r")
    assert len(bench.of("b2", "message")) == 1


def test_a_drain_is_not_taken_back_by_a_store_that_has_caught_up(bench: Bench) -> None:
    bench.join("a", "alice")
    bench.heart.drain()
    bench.heart.refuse_sends(None)
    bench.send("a", "bob")
    assert not bench.has(APPENDS)
    assert bench.of("a", "error")[0]["code"] == "busy"
