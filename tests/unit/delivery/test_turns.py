"""A session that lags behind a flood: what it is pushed, page by page, out of a store in memory."""

import random
from collections import defaultdict, deque
from collections.abc import Callable

import orjson
import pytest

from landline.delivery import ahead, memory, window
from landline.delivery import session as sessions
from landline.delivery.counters import Counters
from landline.delivery.decisions import AwaitApplied, Decision, ReadPending, Transmit
from landline.delivery.session import Session
from landline.model import Mailbox, Message, PendingQuery, Position
from landline.protocol import server_frames
from landline.protocol.limits import WINDOW
from support.clock import Clock
from support.owed import answer


class World:
    """A session of bob, the store, and a client that acknowledges in its own time."""

    def __init__(self, partitions: int) -> None:
        self.out: list[Decision] = []
        self.clock = Clock()
        self.is_slow = False  # then who reads waits for `answer`
        self.reads: deque[PendingQuery] = deque()
        self.session = Session(
            "s1",
            Mailbox("bob"),
            auto_ack=False,
            out=self.out,
            clock=self.clock,
            memory=memory.Memory(),
            counters=Counters(),
            bursting={},
        )
        self.ends = dict.fromkeys(range(partitions), 0)
        self.pending: dict[str, Message] = {}
        self.pushed: list[str] = []
        self.unacked: deque[str] = deque()
        self.receipts: deque[str] = deque()  # on their way into the store
        self.messages: dict[str, Message] = {}
        self.caught_up = 0
        self.answered = 0

    def begin(self) -> None:
        """The session is in the directory."""
        self.session.begin(dict(self.ends))
        self.settle()

    def flood(self, count: int, conversation: str = "flood") -> None:
        """So many messages of one conversation have been applied."""
        for _ in range(count):
            self.store(conversation, 0)

    def store(self, conversation: str, partition: int) -> str:
        """Somebody's message has been applied."""
        offset = self.ends[partition]
        self.ends[partition] += 1
        id = f"{partition}-{offset}"
        message = Message(
            id,
            conversation,
            "x",
            ("bob",),
            id,
            Position(partition, offset),
            0,
            conversation_id=number_of(conversation),
        )
        self.messages[id] = self.pending[id] = message
        return id

    def send(self, conversation: str) -> str:
        """Somebody's message has been appended, is offered, and applied."""
        self.offer(id := self.store(conversation, 0))
        return id

    def offer(self, id: str) -> None:
        """Offer a message that the store has."""
        message = self.messages[id]
        self.session.offer(message, server_frames.message(message, replay=False))
        self.settle()

    def hint(self, chance: random.Random) -> None:
        """Hints come late: the store has had these messages for some time."""
        for id in chance.sample(list(self.messages), min(20, len(self.messages))):
            self.offer(id)

    def settle(self) -> None:
        """Carry out what the session wants."""
        while self.out:
            decision = self.out.pop(0)
            if isinstance(decision, Transmit):
                frame = orjson.loads(decision.frame)
                if frame["type"] == "message":
                    self.pushed.append(frame["id"])
                    self.unacked.append(frame["id"])
                self.caught_up += frame["type"] == "caught_up"
            elif isinstance(decision, ReadPending):
                self.reads.append(decision.query)
                if not self.is_slow:
                    self.answer()
            else:
                assert isinstance(decision, AwaitApplied)
                self.session.pull()
            if not self.out:
                self.session.end_burst()

    def answer(self) -> None:
        """Let the store answer what was read."""
        for _ in range(len(self.reads)):
            self.answered += 1
            self.page(self.reads.popleft())

    def page(self, query: PendingQuery) -> None:
        """Let the store answer this query."""
        page = answer(self.pending.values(), query, dict(self.ends))
        self.session.page(query, page, lambda _id, _mailbox: False)

    def sweep(self) -> None:
        """Nobody told the session anything; the sweep looks."""
        query = self.session.sweep_query()
        if query is not None:
            self.page(query)
        self.settle()

    def acknowledge(self, count: int) -> None:
        """Acknowledge the oldest ones."""
        ids = [self.unacked.popleft() for _ in range(min(count, len(self.unacked)))]
        self.receipts += [each.id for each in self.session.window.acknowledge(ids)]
        self.session.resume()
        self.settle()

    def apply_receipts(self, count: int) -> None:
        """Take acknowledged rows out of the index."""
        for _ in range(min(count, len(self.receipts))):
            del self.pending[self.receipts.popleft()]

    def check(self) -> None:
        """Nothing came twice, and each conversation came in its order."""
        self.check_once()
        last: dict[tuple[str, int], int] = defaultdict(lambda: -1)
        for id in self.pushed:
            message = self.messages[id]
            partition, offset = message.position
            assert offset > last[message.conversation, partition]
            last[message.conversation, partition] = offset

    def check_once(self) -> None:
        """Nothing came twice, and what is remembered for that is bounded."""
        assert len(set(self.pushed)) == len(self.pushed)
        assert len(self.session.ahead._cursors) <= ahead.AHEAD_CONVERSATIONS + sessions.PAGE_ROWS
        assert len(self.session.pushed._positions) <= memory.REMEMBERED_IDS + WINDOW


def number_of(conversation: str) -> int:
    """Return the store's own number of a conversation: here in the order of their names."""
    assert len(conversation) <= 8
    return int.from_bytes(conversation.encode().ljust(8, b"\0"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REMEMBERED_IDS", 8)
    monkeypatch.setattr(ahead, "AHEAD_CONVERSATIONS", 6)
    monkeypatch.setattr(sessions, "PAGE_ROWS", 8)
    for module in (sessions, window):
        monkeypatch.setattr(module, "WINDOW", 16)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("are_hints_late", [False, True])
@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_everything_comes_once_and_in_order_and_a_flood_delays_only_itself(
    seed: int, partitions: int, are_hints_late: bool
) -> None:
    chance = random.Random(seed)
    world = World(partitions)
    world.flood(chance.choice((0, 300)))
    others = [f"c{number}" for number in range(chance.choice((1, 5, 40)))]
    waiting: dict[str, int] = {}
    world.begin()
    for step in range(300):
        world.flood(3)
        if chance.random() < 0.1:
            conversation = chance.choice(others)
            place = int(conversation[1:]) % partitions
            waiting[world.store(conversation, place)] = step
        world.acknowledge(2)
        if step % 20 == 0:
            world.sweep()
        world.apply_receipts(chance.choice((0, 2, 2, 6)))
        if are_hints_late:
            world.clock.now += 1.0  # so that what is held is pushed before the pages have come
            world.hint(chance)
        for id in world.pushed[-40:]:
            waiting.pop(id, None)
        assert all(step - since < 120 for since in waiting.values())
    check = world.check_once if are_hints_late else world.check  # late ones come in any order
    check()
    assert world.caught_up == 1
    while world.unacked:  # the flood is over
        world.acknowledge(16)
        world.apply_receipts(100)
        if are_hints_late:
            world.hint(chance)
    check()
    assert len(world.pushed) == len(world.messages)


@pytest.mark.usefixtures("small")
def test_what_was_pushed_ahead_does_not_come_again_with_a_late_hint() -> None:
    """Its receipt is applied, its cursor forgotten, and it is still far behind the flood."""
    world = World(1)
    world.flood(300)
    quiet, never_pushed = world.store("quiet", 0), world.store("flood", 0)
    world.begin()
    while quiet not in world.pushed or quiet in world.unacked or world.session.ahead._cursors:
        world.acknowledge(4)
        world.apply_receipts(100)
    assert quiet not in world.session.pushed
    world.is_slow = True
    world.acknowledge(len(world.unacked))
    world.clock.now += sessions.DEAF_SECONDS + 1
    pushed = len(world.pushed)
    assert pushed < 200
    for id in (quiet, never_pushed):
        world.offer(id)
    assert world.pushed[pushed:] == [never_pushed], "the session hears what is new to it"
    world.is_slow = False
    world.answer()
    world.settle()
    while world.unacked:
        world.acknowledge(4)
        world.apply_receipts(100)
    assert sorted(world.pushed) == sorted(world.messages)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(3))
def test_many_conversations_behind_a_flood_all_have_their_turn(seed: int) -> None:
    """More than a session keeps cursors for, some of them busy all the time."""
    chance = random.Random(seed)
    world = World(1)
    world.flood(300)
    quiet = {world.store(f"quiet{number}", 0) for number in range(100)}
    for number in range(20):
        world.store(f"busy{number}", 0)
    world.begin()
    for _ in range(3_000):
        world.flood(2)
        world.store(f"busy{chance.randrange(20)}", 0)
        world.acknowledge(4)
        world.apply_receipts(8)
        if quiet <= set(world.pushed):
            break
    world.check()
    assert quiet <= set(world.pushed)


@pytest.mark.parametrize(
    ("flood", "acks", "quiet"), [(150, 100, 2), (150, 100, 5), (150, 20, 1), (150, 100, 1)]
)
def test_a_quiet_conversation_comes_in_good_time_at_any_rate(
    flood: int, acks: int, quiet: int
) -> None:
    """Messages and acks a second. What is pushed ahead stays pending until it is acknowledged."""
    world = World(1)
    world.begin()
    waiting: dict[str, float] = {}
    waited: list[float] = []
    due = {"flood": 0.0, "acks": 0.0, "quiet": 0.0}
    for tick in range(1, 1_201):
        world.clock.now += 0.05
        for name, rate in {"flood": flood, "acks": acks, "quiet": quiet}.items():
            due[name] += rate * 0.05
        while due["flood"] >= 1:
            due["flood"] -= 1
            world.send("flood")
        while due["quiet"] >= 1:
            due["quiet"] -= 1
            waiting[world.send("quiet")] = world.clock.now
        world.apply_receipts(100)
        world.acknowledge(int(due["acks"]))
        due["acks"] %= 1
        if tick % 200 == 0:
            world.sweep()
        come = [each for each in waiting if each in world.unacked or each in world.receipts]
        waited += [world.clock.now - waiting.pop(each) for each in come]
        assert all(world.clock.now - since < 15 for since in waiting.values())
    assert len(waiting) <= quiet * 8
    assert sorted(waited)[len(waited) // 2] < 5
    world.check()


@pytest.mark.parametrize("others", [0, 1, 40])
def test_live_messages_do_not_starve_the_older_ones_of_their_conversation(others: int) -> None:
    """The store needs a second for a page, and more comes live than the client acknowledges."""
    world = World(1)
    old = [world.store("flood", 0) for _ in range(1_000)]
    for number in range(others):
        world.store(f"other{number % 3}", 0)
    world.is_slow = True
    world.session.begin(dict(world.ends))
    world.clock.now += 6
    waited = 0
    for _ in range(300):
        world.clock.now += 0.1
        for _ in range(20):
            world.send("flood")
        waited += 1
        if world.reads and waited >= 10:
            waited = 0
            world.answer()
            world.settle()
        world.acknowledge(10)
        world.apply_receipts(100)
    assert set(old) <= set(world.pushed)
    assert world.caught_up == 1
    assert len(set(world.pushed)) == len(world.pushed)


def test_what_is_held_is_looked_through_once_however_many_cursors_a_page_forgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    drop = memory.Held.drop

    def count(self: memory.Held, is_known: Callable[[memory.HeldMessage], bool]) -> None:
        calls.append(len(world.session.ahead._cursors))
        drop(self, is_known)

    monkeypatch.setattr(memory.Held, "drop", count)
    world = World(1)
    world.flood(500)
    for number in range(20):
        world.store(f"quiet{number:02}", 0)
    world.begin()
    assert len(world.session.ahead._cursors) == 20
    world.unacked = deque(id for id in world.unacked if world.messages[id].conversation != "flood")
    world.acknowledge(20)
    world.apply_receipts(20)
    calls.clear()
    for _ in range(2):  # once round
        world.session.pull()
        world.settle()
    assert 1 <= len(calls) <= 2
    assert not world.session.ahead._cursors


def test_a_conversation_that_is_not_alone_leaves_room_for_others() -> None:
    world = World(1)
    world.flood(500)
    other = world.store("other", 0)
    world.begin()
    assert other in world.pushed
    assert len(world.pushed) < WINDOW
    flood = [id for id in world.pushed if id != other]
    for _ in range(5):  # the client acknowledges what is not the flood
        world.unacked = deque([other])
        world.acknowledge(1)
        world.apply_receipts(1)
        other = world.store("other", 0)
        assert world.session.sweep_query() is None
        world.settle()
        assert world.pushed[-1] == other
    assert [id for id in world.pushed if world.messages[id].conversation == "flood"] == flood


@pytest.mark.parametrize("acked", [1, 30, 127])
def test_a_session_that_waits_for_acks_pulls_for_a_quiet_conversation(acked: int) -> None:
    """There is room for it, and no ack need come for it."""
    world = World(1)
    world.begin()
    for _ in range(WINDOW + 50):
        world.send("flood")
    assert len(world.pushed) == WINDOW
    world.acknowledge(acked)
    world.clock.now += 5
    quiet = world.send("quiet")
    world.clock.now += 5
    world.send("flood")
    assert quiet in world.pushed


def test_a_session_that_waits_for_acks_pulls_for_quiet_ones_once_in_a_while() -> None:
    world = World(1)
    world.begin()
    for _ in range(WINDOW + 500):
        world.send("flood")
    world.acknowledge(100)
    before = world.answered
    for number in range(30):
        world.clock.now += 0.1
        world.send(f"quiet{number}")
        world.send("flood")
    # What was pushed live is read once more; after that it is a page a second.
    pages = WINDOW // sessions.PAGE_ROWS + 4
    assert world.answered - before <= pages
    world.clock.now += 1
    world.acknowledge(1)
    assert sum(world.messages[id].conversation != "flood" for id in world.pushed) == 30
    for _ in range(30):  # of the flood alone: no page by single message
        world.clock.now += 1
        world.send("flood")
    assert world.answered - before <= pages + 1


def test_a_conversation_that_is_alone_has_the_whole_window() -> None:
    world = World(1)
    world.flood(500, "alone")
    world.begin()
    assert len(world.pushed) == WINDOW
