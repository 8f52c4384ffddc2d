"""Whatever sessions do, what they hold is bounded, and all of it is given back when they leave."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from landline.delivery import decisions as d
from landline.delivery import memory
from landline.delivery.memory import Budget, Held, Pushed
from landline.model import Message, Pending, Position
from landline.protocol.client_frames import Ack
from landline.protocol.server_frames import message as encode
from support.bench import hint, make_heart
from support.clock import Clock

SESSIONS = ("a", "b", "c")
SMALL = {
    "HELD_MESSAGES": 4,
    "HELD_BYTES": 3_000,
    "ALL_HELD_BYTES": 5_000,
    "REMEMBERED_IDS": 3,
    "PUSHED_IDS": 9,
    "OWN_IDS": 2,
    "ALL_PUSHED_BYTES": 10 * memory.PUSHED_ENTRY_BYTES,
}


@contextmanager
def small_bounds() -> Iterator[None]:
    """Have bounds that a few steps reach."""
    with ExitStack() as stack:
        for name, value in SMALL.items():
            stack.enter_context(mock.patch.object(memory, name, value))
        yield


def message(number: int) -> Message:
    """Return a message to the only user there is, in one of two partitions."""
    id = f"11111111-0000-4000-8000-{number:012}"
    content = "x" * (number * 97 % 900 + 1)
    return Message(id, "dm:a:b", "a", ("bob",), content, Position(number % 2, number), 0)


class Crowd:
    """Sessions of one user; the writer applies, and the store answers, when a step says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.heart = make_heart(self.clock, ack_timeout=1e9)
        self.sent = 0
        self.applied = 0
        self.asked: dict[str, d.ReadPending] = {}
        self.pushed: dict[str, list[str]] = {name: [] for name in SESSIONS}
        self.unacked: dict[str, list[str]] = {name: [] for name in SESSIONS}
        self.acked: set[str] = set()
        self.writable: dict[str, bool] = {}

    def take(self) -> None:
        """Carry decisions out, as far as a step is needed for it."""
        self.heart.end_turn()
        for decision in self.heart.take_decisions():
            if isinstance(decision, d.ReadPending):
                self.asked[decision.session] = decision
            elif isinstance(decision, d.Transmit) and b'"type":"message"' in decision.frame:
                id = decision.frame.split(b'"id":"')[1][:36].decode()
                self.pushed[decision.session].append(id)
                self.unacked[decision.session].append(id)
            elif isinstance(decision, d.AppendReceipts):
                self.acked.update(each.id for _, those in decision.batch.entries for each in those)

    def connect(self, name: str) -> None:
        self.leave(name)
        self.heart.connect(name, "bob", auto_ack=False)
        self.heart.registered(name, {0: self.sent, 1: self.sent})

    def leave(self, name: str) -> None:
        self.heart.disconnect(name)
        self.asked.pop(name, None)
        self.pushed[name], self.unacked[name] = [], []

    def send(self, _name: str) -> None:
        self.heart.routed(hint(message(self.sent)))
        self.sent += 1

    def send_many(self, name: str) -> None:
        for _ in range(6):
            self.send(name)

    def repeat(self, _name: str) -> None:
        self.heart.routed(hint(message(self.sent // 2)))

    def apply(self, _name: str) -> None:
        self.applied = self.sent

    def answer(self, name: str) -> None:
        if (asked := self.asked.pop(name, None)) is None:
            return
        query = asked.query
        rows = [message(n) for n in range(self.applied) if message(n).id not in self.acked]
        rows = [each for each in rows if each.position[1] >= query.after.get(each.position[0], 0)]
        rows.sort(key=lambda each: each.position)
        is_complete = len(rows) <= query.limit
        applied = {0: self.applied, 1: self.applied}
        self.heart.page(name, query, Pending(tuple(rows[: query.limit]), is_complete, applied))

    def catch_up(self, name: str) -> None:
        self.heart.applied(name)

    def ack(self, name: str) -> None:
        ids, self.unacked[name] = self.unacked[name], []
        self.heart.receive(name, Ack(tuple(ids)))

    def stop_reading(self, name: str) -> None:
        self.heart.writable(name, False)

    def read_on(self, name: str) -> None:
        self.heart.writable(name, True)

    def wait(self, _name: str) -> None:
        self.clock.now += 3.0
        self.heart.tick()


STEPS: tuple[Callable[[Crowd, str], None], ...] = (
    Crowd.connect,
    Crowd.leave,
    Crowd.send,
    Crowd.send_many,
    Crowd.repeat,
    Crowd.apply,
    Crowd.answer,
    Crowd.catch_up,
    Crowd.ack,
    Crowd.stop_reading,
    Crowd.read_on,
    Crowd.wait,
)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(SESSIONS)), max_size=60))
def test_bounds_hold_nothing_comes_twice_and_all_is_given_back(
    steps: list[tuple[Callable[[Crowd, str], None], str]],
) -> None:
    with small_bounds():
        crowd = Crowd()
        budgets = crowd.heart.memory
        for name in SESSIONS:
            crowd.connect(name)
        for step, name in steps:
            step(crowd, name)
            crowd.take()
            assert 0 <= budgets.held.used_bytes <= budgets.held.limit_bytes
            # A page is noted even where nothing is left: one for each session at the most.
            pages = len(SESSIONS) * 64 * memory.PUSHED_ENTRY_BYTES
            assert 0 <= budgets.pushed.used_bytes <= budgets.pushed.limit_bytes + pages
            for each in SESSIONS:
                assert len(set(crowd.pushed[each])) == len(crowd.pushed[each]), "twice"
        for name in SESSIONS:
            crowd.leave(name)
        assert budgets.held.used_bytes == budgets.pushed.used_bytes == 0


def test_what_is_held_leaves_in_the_order_of_the_log_and_counts_by_its_bytes() -> None:
    shared = Budget(10_000)
    held = Held(shared)
    for number in (5, 1, 3, 1):
        assert held.add(message(number), encode(message(number), replay=False), is_news=True)
    frames = sum(len(encode(message(n), replay=False)) for n in (1, 3, 5))
    assert shared.used_bytes == frames + 3 * memory.HELD_ENTRY_BYTES
    seen: list[int] = []

    def is_done(each: memory.HeldMessage) -> bool:
        seen.append(each.position.offset)
        return len(seen) != 2

    held.drop(is_done)
    assert (seen, len(held)) == ([1, 3, 5], 1)
    held.drop(lambda each: each.position.offset == 3)
    assert shared.used_bytes == 0


def test_what_is_below_the_cursor_is_forgotten_earlier_where_memory_is_short() -> None:
    with small_bounds():
        shared = Budget(memory.ALL_PUSHED_BYTES)
        pushed = Pushed(shared)
        for number in range(20):
            pushed.add(str(number), Position(0, number))
        assert not pushed.has_room()
        pushed.forget_oldest({0: 12})
        assert "11" not in pushed
        assert "12" in pushed
        pushed.forget_oldest({0: 20})
        assert [str(n) in pushed for n in (17, 18, 19)] == [False, False, True]
        for number in range(20, 25):
            pushed.add(str(number), Position(0, number))
        assert pushed.has_room()
        pushed.forget_oldest({0: 25})
        assert [str(n) in pushed for n in (21, 22, 23, 24)] == [False, True, True, True]
        pushed.clear()
        assert shared.used_bytes == 0


@given(
    pushes=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=40, max_size=120),
    stuck=st.sets(st.integers(0, 2), max_size=2),
)
def test_a_partition_that_stands_still_keeps_its_own_ids_and_no_others(
    pushes: list[tuple[int, bool]], stuck: set[int]
) -> None:
    """Its messages are not applied: the cursor does not pass them, wherever they stand."""
    with small_bounds(), mock.patch.object(memory, "PUSHED_IDS", 1_000):
        shared = Budget(1_000 * memory.PUSHED_ENTRY_BYTES)
        pushed = Pushed(shared)
        positions: list[Position] = []
        for number, (partition, forgets) in enumerate(pushes):
            positions.append(Position(partition, number))
            pushed.add(str(number), positions[-1])
            if forgets:
                cursor = dict.fromkeys({0, 1, 2} - stuck, number + 1)
                pushed.forget_oldest(cursor)
                kept = [each for each in positions if str(each.offset) in pushed]
                below = [each for each in kept if each.partition not in stuck]
                assert len(below) <= memory.REMEMBERED_IDS + memory.OWN_IDS + 1
                assert below == [each for each in positions if each in set(below)][-len(below) :]
        assert all(str(each.offset) in pushed for each in positions if each.partition in stuck)
        pushed.clear()
        assert shared.used_bytes == 0


def test_a_session_has_room_again_once_its_cursor_passed_what_it_remembers() -> None:
    """Although the others have taken all that is shared."""
    shared = Budget(memory.ALL_PUSHED_BYTES)
    shared.take(memory.ALL_PUSHED_BYTES)
    pushed = Pushed(shared)
    for number in range(memory.OWN_IDS + 10):
        pushed.add(str(number), Position(0, number))
    for last in range(memory.OWN_IDS + 10, memory.OWN_IDS * 3):
        pushed.forget_oldest({0: last})
        assert pushed.has_room()
        pushed.add(str(last), Position(0, last))
    assert all(str(last - place) in pushed for place in range(memory.OWN_IDS // 2))
    pushed.clear()
    assert shared.used_bytes == memory.ALL_PUSHED_BYTES
