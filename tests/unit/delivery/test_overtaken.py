"""Which position counts, where a repeat may have been faster than its original."""

from collections.abc import Callable

import pytest

from landline.delivery import decisions as d
from landline.delivery import intake, unread
from landline.delivery.sends import SLOW_SECONDS
from landline.model import Appended, Position
from support.bench import ASKS, Bench, alice_and_bob

SLOW = SLOW_SECONDS + 0.01


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def test_an_append_that_took_long_learns_which_position_won(bench: Bench) -> None:
    """The sender may have been repeated by another server meanwhile, and that one been faster."""
    bench.end = 9
    bench.deliver("a", "bob", ref="r", seconds=SLOW)
    assert not bench.of("a", "accepted")
    assert not bench.of("b", "message")
    bench.confirm(4)
    assert bench.got("a", "offset", "accepted") == [4]
    assert not bench.of("b", "message"), "the other server pushes it"


def test_a_server_without_others_asks_nothing_and_tells_nobody_for_a_slow_append() -> None:
    """A repeat of what is in flight joins it, and all recipients are here."""
    bench = alice_and_bob(has_others=False)
    bench.deliver("a", "bob", ref="slow", seconds=SLOW)
    assert bench.got("a", "offset", "accepted") == bench.got("b", "offset") == [0]
    bench.ack("b", *bench.got("b", "id"))
    bench.append()
    assert len(bench.of("a", "status")) == 1
    assert not bench.has((d.ConfirmPosition, d.RouteMessage, d.RouteStatus))


def test_without_others_too_an_append_may_come_behind_a_repeat() -> None:
    """A repeat that knows of it, and an original that comes when its sender has left: it may have
    repeated it through another connection, whose answer is forgotten by now.
    """
    bench = alice_and_bob(has_others=False)
    bench.end = 9
    bench.send("a", "bob", ref="again", retry=True)
    bench.find(None)
    bench.append()
    bench.confirm(4)
    assert bench.got("a", "offset", "accepted") == [4]
    bench.send("a", "bob", ref="late")
    bench.heart.disconnect("a")
    bench.append()
    bench.confirm(5)
    assert not bench.of("b", "message"), "who was faster has pushed them"


def test_what_comes_behind_a_message_that_is_confirmed_is_accepted_and_waits(
    bench: Bench,
) -> None:
    """Live messages of a conversation are pushed in the order of the log."""
    bench.deliver("a", "bob", ref="slow", seconds=SLOW)
    bench.deliver("a", "bob", ref="fast")
    assert bench.got("a", "ref", "accepted") == ["fast"]
    assert not bench.of("b", "message")
    slow = bench.pop(d.ConfirmPosition).flight
    bench.deliver("a", "bob", ref="slower", seconds=SLOW)
    bench.heart.position_confirmed(slow, Appended(Position(0, 0), 0))
    assert bench.got("b", "offset") == [0, 1]
    bench.confirm(2)
    bench.deliver("a", "bob", ref="last")
    assert bench.got("b", "offset") == [0, 1, 2, 3]


def test_a_slow_append_is_live_although_the_store_is_away(bench: Bench) -> None:
    """It is in the log, and a repeat of it is not: no server appends one without the store."""
    bench.deliver("a", "bob", ref="slow", seconds=SLOW)
    bench.deliver("a", "bob", ref="behind")
    assert not bench.of("b", "message")
    bench.confirm(None)
    assert bench.got("a", "ref", "accepted") == ["behind", "slow"]
    assert bench.got("b", "offset") == [0, 1]


def test_a_repeat_that_is_confirmed_holds_nobody_up(bench: Bench) -> None:
    """While the store is away its own sender waits on, and what is behind it is live."""
    bench.send("a", "bob", ref="repeated")
    bench.deliver("a", "bob", ref="repeated", retry=True)
    bench.deliver("a", "bob", ref="behind")
    first = bench.pop(d.ConfirmPosition)
    assert first.is_urgent
    bench.heart.position_unknown(first.flight, "the store is away")
    assert bench.got("b", "offset") == [1]
    second = bench.pop(d.ConfirmPosition)
    assert second.position == first.position
    assert not second.is_urgent
    assert not bench.of("a", "error")
    bench.heart.position_confirmed(second.flight, Appended(Position(0, 0), 0))
    accepted = [(each["ref"], each["offset"]) for each in bench.of("a", "accepted")]
    assert accepted == [("behind", 1), ("repeated", 0), ("repeated", 0)]
    assert bench.got("b", "offset") == [1], "not out of order"


def test_a_repeat_that_nobody_can_confirm_is_unknown(bench: Bench) -> None:
    bench.send("a", "bob", ref="repeated")
    bench.deliver("a", "bob", ref="repeated", retry=True)
    for _ in range(2):
        bench.confirm(None)
    assert bench.got("a", "outcome", "error") == ["unknown", "unknown"]
    assert not bench.has(ASKS)


def test_what_may_be_repeated_waits_for_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender has left or may have, or has repeated it. The sweep has the offset that counts."""
    bench.send("a", "bob", ref="left")
    bench.heart.disconnect("a")
    bench.append()
    bench.confirm(None)
    bench.join("a", "alice")
    monkeypatch.setattr(intake, "SESSION_FLIGHTS", 1)
    bench.deliver("a", "bob", ref="not read", seconds=SLOW)
    bench.confirm(None)
    bench.send("a", "bob", ref="repeated")
    bench.deliver("a", "bob", ref="repeated", retry=True)
    bench.confirm(None)
    assert not bench.of("b", "message")


def paused(bench: Bench) -> None:
    """Have the connection stop at its second send; both are answered in one go."""
    for ref in ("first", "second"):
        bench.send("a", "bob", ref=ref)
    bench.pop(d.PauseReading)
    bench.wait(SLOW)
    for _ in range(2):
        bench.append()
    bench.confirm(None)
    bench.pop(d.ResumeReading)


def read_late(bench: Bench) -> None:
    """There may be more where that came from."""
    bench.deliver("a", "bob", ref="sent before", seconds=SLOW)
    bench.heart.left_unread("a", bench.clock.now - 0.1)


def joined(bench: Bench) -> None:
    """One of two senders has left; it may have repeated it."""
    bench.join("a2", "alice")
    for session in ("a2", "a"):
        bench.send(session, "bob", ref="sent before")
    bench.heart.disconnect("a2")
    bench.wait(SLOW)
    bench.append()


def full(bench: Bench) -> None:
    bench.heart.writable("a", False)
    bench.deliver("a", "bob", ref="sent before", seconds=SLOW)


def full_a_moment_ago(bench: Bench) -> None:
    full(bench)
    bench.wait(unread.AFTER_SECONDS)
    bench.heart.writable("a", True)


def still(bench: Bench) -> None:
    """The timer of the pulse is behind what the store has answered."""
    bench.deliver("a", "bob", ref="sent before", seconds=SLOW)
    bench.clock.now += 2.0


def still_a_moment_ago(bench: Bench) -> None:
    still(bench)
    bench.heart.pulse()


@pytest.mark.parametrize(
    "stop", [paused, joined, read_late, full, full_a_moment_ago, still, still_a_moment_ago]
)
def test_an_end_that_may_have_come_unread_counts_as_an_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, stop: Callable[[Bench], None]
) -> None:
    """Its sender may have repeated it through another server, and that one been faster."""
    monkeypatch.setattr(intake, "SESSION_FLIGHTS", 2)
    stop(bench)
    bench.confirm(None)
    assert not bench.of("b", "message")
    bench.heart.writable("a", True)
    bench.wait(1.0)
    bench.deliver("a", "bob", ref="later", seconds=SLOW)
    bench.confirm(None)
    assert len(bench.of("b", "message")) == 1


@pytest.mark.parametrize(
    ("stop", "is_soon"),
    [(still, True), (still_a_moment_ago, True), (read_late, True), (full_a_moment_ago, True),
     (joined, False), (full, False)],
)  # fmt: skip
def test_a_store_that_refuses_at_once_need_not_decide_it(
    bench: Bench, stop: Callable[[Bench], None], is_soon: bool
) -> None:
    """A moment later all sockets are read, and the message is live: nobody has left."""
    stop(bench)
    flight = bench.pop(d.ConfirmPosition).flight
    assert bench.heart.may_be_known_soon(flight) is is_soon
    for _ in range(6):
        bench.heart.pulse()
        bench.clock.now += unread.PULSE_SECONDS
    assert not bench.heart.may_be_known_soon(flight)
    bench.heart.position_unknown(flight, "the store is away")
    assert len(bench.of("b", "message")) == is_soon


def test_a_repeat_is_not_waited_for(bench: Bench) -> None:
    bench.send("a", "bob", ref="repeated")
    bench.deliver("a", "bob", ref="repeated", retry=True)
    still(bench)
    assert not bench.heart.may_be_known_soon(bench.pop(d.ConfirmPosition).flight)


@pytest.mark.parametrize("seconds", [0.2, 0.6, 3.0, 30.0])
def test_after_a_pause_every_append_learns_which_position_won(bench: Bench, seconds: float) -> None:
    """What stood in the sockets is older than can be told."""
    bench.heart.pulse()
    bench.clock.now += seconds
    bench.heart.pulse()
    bench.clock.now += SLOW_SECONDS - 0.2 + 0.01 if seconds < SLOW_SECONDS else 0.0
    bench.deliver("a", "bob", ref="r")
    bench.confirm(0)
    assert len(bench.of("b", "message")) == 1
    for _ in range(120):
        bench.clock.now += unread.PULSE_SECONDS
        bench.heart.pulse()
    bench.deliver("a", "bob", ref="s")
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
    bench.confirm(0)
    bench.clock.now += unread.PULSE_SECONDS
    bench.deliver("a", "bob", ref="fresh")
    bench.deliver("b", "alice", ref="another's")
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
    for number in range(10):  # pauses of the process do not add up either
        bench.clock.now += unread.STILL_SECONDS + 0.01
        bench.heart.pulse()
        bench.deliver("a", "bob", ref=f"s{number}")
    assert not bench.has(ASKS)
