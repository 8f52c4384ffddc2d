"""A session that waits for the store for long still hears what is sent to it, at a bounded cost."""

from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from landline.delivery import decisions as d
from landline.delivery import memory, session
from landline.delivery.session import DEAF_SECONDS, PAGE_ROWS
from landline.model import Message, Pending, PendingQuery, Position, Positions
from landline.protocol.client_frames import Ack
from landline.protocol.limits import WINDOW
from support.bench import hint, make_heart
from support.clock import Clock

AWAY_SECONDS = DEAF_SECONDS + 1


class Server:
    """A heart whose store answers when the test says so. Messages come as hints do."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.heart = make_heart(self.clock)
        self.frames: dict[str, list[dict[str, Any]]] = {}
        self.asked: Counter[str] = Counter()
        self.queries: dict[str, PendingQuery] = {}

    def take(self) -> None:
        """Take decisions: frames go to the clients; of the rest it counts which there were."""
        self.heart.end_turn()
        for decision in self.heart.take_decisions():
            if isinstance(decision, d.Transmit):
                frame = orjson.loads(decision.frame)
                self.frames.setdefault(decision.session, []).append(frame)
            else:
                self.asked[type(decision).__name__] += 1
                if isinstance(decision, d.ReadPending):
                    self.queries[decision.session] = decision.query

    def connect(self, name: str, user: str = "bob", ends: Positions | None = None) -> None:
        """Connect a session that then waits for its first page."""
        self.heart.connect(name, user, auto_ack=False)
        self.heart.registered(name, ends or {0: 100})

    def wait(self, seconds: float = AWAY_SECONDS) -> None:
        """Let time pass, as the hub does."""
        self.clock.now += seconds
        self.heart.tick()

    def page(self, name: str, *rows: Message, complete: bool = True, end: int = 10_000) -> None:
        """Have the store answer a session's query."""
        self.answer(name, Pending(rows, complete, {0: end}))

    def answer(self, name: str, pending: Pending) -> None:
        """Have the store answer a session's query with this."""
        self.take()
        self.heart.page(name, self.queries.pop(name), pending)

    def ack(self, name: str, *ids: str) -> None:
        """Have a client acknowledge."""
        self.heart.receive(name, Ack(ids))

    def received(self, name: str = "b") -> list[dict[str, Any]]:
        """Return the messages that a session got."""
        self.take()
        return [frame for frame in self.frames[name] if frame["type"] == "message"]

    def offsets(self, name: str = "b") -> list[int]:
        """Return the offsets of the messages that a session got."""
        return [frame["offset"] for frame in self.received(name)]

    def has_caught_up(self, name: str = "b") -> bool:
        """Say whether a session was told that it has everything."""
        self.take()
        return any(frame["type"] == "caught_up" for frame in self.frames[name])


@pytest.fixture
def server() -> Server:
    """A server with a session of bob's that waits for the store."""
    server = Server()
    server.connect("b")
    return server


def message(offset: int, content: str = "text", partition: int = 0) -> Message:
    """Return a message to bob."""
    id = f"11111111-0000-4000-8000-{partition:03}{offset:09}"
    return Message(id, "dm:alice:bob", "alice", ("bob",), content, Position(partition, offset), 0)


def lag(server: Server) -> int:
    """Bring bob's session to LAGGING, its window open again, and its page asked for."""
    server.page("b", end=100)
    for offset in range(100, 100 + WINDOW + 1):
        server.heart.routed(hint(message(offset)))
    server.ack("b", *(frame["id"] for frame in server.received()))
    return 100 + WINDOW + 1


def test_what_came_while_catching_up_took_long_is_pushed_in_order_then_each_at_once(
    server: Server,
) -> None:
    for offset in (203, 201, 202):
        server.heart.routed(hint(message(offset)))
    server.wait(DEAF_SECONDS)
    assert server.offsets() == [], "the store may still answer in time"
    server.wait(0.1)
    assert server.offsets() == [201, 202, 203]
    server.heart.routed(hint(message(204)))
    assert server.offsets() == [201, 202, 203, 204]
    assert not any("replay" in frame for frame in server.received())
    assert not server.has_caught_up()
    assert server.heart.counters.pushed_live == 4


def test_the_store_has_the_rest_and_nothing_comes_twice(server: Server) -> None:
    server.heart.routed(hint(message(150)))
    server.wait()
    server.heart.routed(hint(message(151)))
    server.ack("b", message(150).id)
    server.heart.routed(hint(message(150)))
    server.page("b", message(40), message(150), message(151), message(152))
    assert server.offsets() == [150, 151, 40, 152]
    assert server.has_caught_up()
    server.heart.routed(hint(message(151)))
    server.heart.routed(hint(message(20_000)))
    assert server.offsets() == [150, 151, 40, 152, 20_000]


def test_a_writer_that_is_away_leaves_nobody_deaf_either(server: Server) -> None:
    """The store answers, but does not get to where it has to be."""
    server.page("b", end=7)
    server.take()
    assert server.asked["AwaitApplied"] == 1
    server.wait()
    server.heart.routed(hint(message(200)))
    assert server.offsets() == [200]
    assert not server.has_caught_up()


def test_a_log_whose_ends_cannot_be_read_leaves_nobody_deaf_either() -> None:
    server = Server()
    server.heart.connect("b", "bob", auto_ack=False)
    server.wait()
    server.heart.routed(hint(message(200)))
    assert server.offsets() == [200]
    server.heart.registered("b", {0: 201})
    server.page("b", message(200), end=201)
    assert server.offsets() == [200]
    assert server.has_caught_up()


def test_a_session_that_lags_is_not_deaf_while_the_store_is_away(server: Server) -> None:
    end = lag(server)
    before = len(server.offsets())
    server.heart.routed(hint(message(end)))
    assert len(server.offsets()) == before, "a page is on its way"
    server.wait()
    server.heart.routed(hint(message(end + 1)))
    assert server.offsets()[before:] == [end, end + 1]


def test_a_session_that_lags_and_gets_its_pages_is_kept_in_order(server: Server) -> None:
    end = lag(server)
    before = len(server.offsets())
    for row in range(3):
        server.wait(DEAF_SECONDS - 1)
        server.heart.routed(hint(message(end + row)))
        server.page("b", message(100 + WINDOW + row), complete=False, end=100)
    assert server.offsets()[before:] == [100 + WINDOW + row for row in range(3)]


def test_a_session_that_waits_for_acks_does_not_count_that_as_waiting_for_the_store(
    server: Server,
) -> None:
    server.page("b", end=100)
    for offset in range(100, 100 + WINDOW + 1):
        server.heart.routed(hint(message(offset)))
    server.wait()
    server.ack("b", *(frame["id"] for frame in server.received()))
    server.heart.routed(hint(message(1_000)))
    assert len(server.offsets()) == WINDOW, "the page has been asked for just now"
    server.wait()
    assert server.offsets()[WINDOW:] == [1_000]


def test_live_messages_leave_room_for_the_page_that_is_on_its_way(server: Server) -> None:
    server.wait()
    for offset in range(200, 200 + WINDOW):
        server.heart.routed(hint(message(offset)))
    assert len(server.offsets()) == WINDOW // 2
    server.page("b", *(message(row) for row in range(PAGE_ROWS)), complete=False)
    assert server.offsets()[WINDOW // 2 :] == list(range(PAGE_ROWS))


def test_what_finds_no_room_in_the_window_goes_out_as_acks_come(server: Server) -> None:
    """The store is still away: what was sent while the window was full is not left to it."""
    server.wait()
    for offset in range(200, 200 + WINDOW):
        server.heart.routed(hint(message(offset)))
    ids = [frame["id"] for frame in server.received()]
    server.ack("b", *ids[:10])
    assert server.offsets() == list(range(200, 210 + WINDOW // 2))


def test_a_session_with_more_pushes_than_it_can_remember_misses_and_gets_them_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PUSHED_IDS", 5)
    monkeypatch.setattr(memory, "HELD_MESSAGES", 2)
    server.wait()
    for offset in range(200, 210):
        server.heart.routed(hint(message(offset)))
        server.ack("b", message(offset).id)
    assert server.offsets() == list(range(200, 205))
    server.page("b", *(message(offset) for offset in range(200, 210)))
    assert sorted(server.offsets()) == list(range(200, 210)), "each of them once"
    assert server.has_caught_up()


def test_a_slow_reader_gets_nothing_until_its_buffer_has_drained(server: Server) -> None:
    server.wait()
    server.heart.writable("b", False)
    server.heart.routed(hint(message(200)))
    assert server.offsets() == []
    server.heart.writable("b", True)
    assert server.offsets() == [200]


@pytest.mark.parametrize("is_late", [False, True])
def test_the_order_of_the_log_holds_whatever_order_hints_have(
    server: Server, is_late: bool
) -> None:
    for offset in (205, 201, 203, 203, 201):
        server.heart.routed(hint(message(offset)))
    if is_late:
        server.wait()
    server.page("b", end=100)
    assert server.offsets() == [201, 203, 205]


# Bytes -------------------------------------------------------------------------------------------


def test_what_is_held_is_bounded_in_bytes_for_a_session(server: Server) -> None:
    for offset in range(200, 400):
        server.heart.routed(hint(message(offset, "x" * 16_384)))
    assert 0 < server.heart.memory.held.used_bytes <= memory.HELD_BYTES
    server.page("b", end=100)
    server.heart.applied("b")
    rows = [message(offset, "x" * 16_384) for offset in range(200, 400)]
    for start in range(0, 200, 10):
        server.page("b", *rows[start : start + 10], complete=start == 190)
    assert sorted(server.offsets()) == list(range(200, 400)), "each of them once"


def test_what_is_held_is_bounded_in_bytes_for_all_sessions_together(server: Server) -> None:
    for number in range(200):
        server.connect(f"b{number}")
    for offset in range(200, 300):
        server.heart.routed(hint(message(offset, "x" * 16_384)))
    held = server.heart.memory.held
    assert held.limit_bytes * 0.95 < held.used_bytes <= held.limit_bytes
    for number in range(200):
        server.heart.disconnect(f"b{number}")
    assert 0 < held.used_bytes <= memory.HELD_BYTES, "those of the one that stayed"
    server.heart.disconnect("b")
    assert held.used_bytes == 0


@pytest.mark.parametrize("came_first", [True, False])
def test_sessions_that_acknowledge_nothing_make_no_other_deaf(
    server: Server, came_first: bool
) -> None:
    """They may take all that is held for sessions that wait."""
    if not came_first:
        server.heart.disconnect("b")
    for number in range(200):
        server.connect(f"e{number}", "eve")
    if not came_first:
        server.connect("b")
    server.wait()
    for offset in range(200, 500):
        server.heart.routed(hint(replace(message(offset, "x" * 16_000), recipients=("eve",))))
    for offset in range(500, 500 + 3 * WINDOW):
        server.heart.routed(hint(message(offset, "x" * 16_000)))
        assert server.offsets()[-1] == offset, "at once"
        server.ack("b", message(offset).id)


@pytest.mark.parametrize("sessions", [1, 40, 150])
def test_a_session_that_comes_late_finds_room_to_be_held_in(server: Server, sessions: int) -> None:
    """However many there are that have taken what they could get."""
    for number in range(sessions):
        server.connect(f"e{number}", "eve")
    for offset in range(200, 400):
        server.heart.routed(hint(replace(message(offset, "x" * 4_000), recipients=("eve",))))
    for offset in range(400, 404):
        server.heart.routed(hint(message(offset, "x" * 4_000)))
    server.page("b", end=400)
    assert server.offsets() == [400, 401, 402, 403]


def test_a_partition_that_stands_still_stops_live_messages_of_no_other(server: Server) -> None:
    """One early push that the cursor does not pass must not keep what the cursor has passed."""
    server.connect("c", ends={0: 100, 1: 100})
    server.answer("c", Pending((), True, {0: 50, 1: 100}))
    server.wait()
    server.heart.routed(hint(message(100)))
    server.ack("c", message(100).id)
    last = 100
    for _ in range(3 * memory.PUSHED_IDS // WINDOW):
        for offset in range(last, last + WINDOW):
            server.heart.routed(hint(message(offset, partition=1)))
            assert server.offsets("c")[-1] == offset, "at once"
            server.ack("c", message(offset, partition=1).id)
        server.frames["c"].clear()
        last += WINDOW
        server.heart.applied("c")
        server.answer("c", Pending((), True, {0: 50, 1: last}))
    assert server.heart.memory.pushed.used_bytes < 2_000 * memory.PUSHED_ENTRY_BYTES


def test_a_held_message_is_kept_once_not_as_text_and_as_frame(server: Server) -> None:
    content = "x" * 16_384
    server.heart.routed(hint(message(200, content)))
    (held,) = server.heart._sessions["b"]._held.take_all()
    assert not any(content == part for part in held)


def test_the_first_window_of_each_session_is_remembered_whatever_others_remember(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "ALL_PUSHED_BYTES", 10 * memory.PUSHED_ENTRY_BYTES)
    monkeypatch.setattr(memory, "OWN_IDS", 3)
    server = Server()
    for name in ("b", "b2"):
        server.connect(name)
    server.wait()
    for offset in range(200, 220):
        server.heart.routed(hint(message(offset)))
        for name in ("b", "b2"):
            server.ack(name, message(offset).id)
    counts = [len(server.offsets(name)) for name in ("b", "b2")]
    assert counts == [3 + 3] * 2, "of what two share each has a third: the last one is for others"
    assert server.heart.memory.pushed.used_bytes == 6 * memory.PUSHED_ENTRY_BYTES
    for name in ("b", "b2"):
        server.page(name, *(message(offset) for offset in range(200, 220)))
        assert sorted(server.offsets(name)) == list(range(200, 220)), "each of them once"
        server.heart.disconnect(name)
    assert server.heart.memory.pushed.used_bytes == 0


def test_the_figures_of_the_bounds() -> None:
    """What the pages on limits say."""
    assert session.DEAF_SECONDS == 5.0
    assert memory.HELD_BYTES == 1 << 20
    assert memory.ALL_HELD_BYTES == memory.ALL_PUSHED_BYTES == 64 << 20


def test_no_more_is_pushed_in_a_turn_than_the_write_buffer_holds(server: Server) -> None:
    """Whether there is room for more is known after it. Then the session goes on."""
    rows = [message(offset, "x" * 16_384) for offset in range(64)]
    server.page("b", *rows, complete=False)
    assert len(server.offsets()) == 16
    server.page("b", *rows[16:], complete=True)
    assert len(server.offsets()) == 32
    server.heart.writable("b", False)
    server.page("b", *rows[32:], complete=True)
    assert len(server.offsets()) == 32
    server.heart.writable("b", True)
    server.page("b", *rows[32:], complete=True)
    assert server.offsets() == list(range(48))


def test_a_client_that_acknowledges_nothing_has_its_window_full_however_large_the_frames(
    server: Server,
) -> None:
    """It may wait for `caught_up` before it does."""
    rows = [message(offset, "x" * 16_000) for offset in range(200)]
    while (pushed := len(server.offsets())) < len(rows):
        assert "b" in server.queries, f"it goes on after {pushed}"
        server.page("b", *rows[pushed : pushed + 64], complete=pushed + 64 >= 200)
    assert server.offsets() == list(range(200))
    assert server.has_caught_up("b")
