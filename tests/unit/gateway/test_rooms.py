"""Who is in a room: when the store is asked, what counts while it is away, and what is pushed."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from landline.delivery.decisions import PushToRoom, TellRoom
from landline.errors import StoreUnavailable
from landline.gateway import rooms as module
from landline.gateway.rooms import ROOM_SECONDS, Rooms
from landline.model import EventKind, Message, Position, Room
from landline.protocol.identity import room_conversation
from landline.protocol.records import ReadRecord
from support.clock import Clock
from support.conversations import ROOM, KnownConversations, known_log, room
from support.waiting import go_round

OTHER = room_conversation("alice", "another room")


class Heart:
    """Notes what is pushed to whom."""

    def __init__(self) -> None:
        self.pushed: list[tuple[int, list[str]]] = []
        self.ours: list[bool] = []
        self.left: list[str | None] = []
        self.told: list[tuple[ReadRecord, list[str]]] = []

    def push_to_room(
        self, message: Message, members: Any, *, is_ours: bool, left: str | None
    ) -> None:
        self.pushed.append((message.position.offset, list(members)))
        self.ours.append(is_ours)
        self.left.append(left)

    def tell_read(self, record: ReadRecord, members: Any) -> None:
        self.told.append((record, list(members)))


def heart() -> Any:
    """Return one in the place of a `Delivery`."""
    return Heart()


class Bench:
    """Rooms between a store, a log and a heart."""

    def __init__(self, *known: Room) -> None:
        self.clock = Clock()
        self.log = known_log()
        self.store = KnownConversations(*known)
        self.heart = heart()
        self.tasks: set[asyncio.Task[None]] = set()
        self.happened = 0
        self.rooms = Rooms(
            event_log=self.log,
            store=self.log,
            conversations=self.store,
            delivery=self.heart,
            clock=self.clock,
            spawn=self.spawn,
            happened=self.happen,
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def happen(self) -> None:
        self.happened += 1

    def know(self, *members: str, applied: int = 0) -> None:
        """Have the store say from now on that these are in the room."""
        self.store.known[ROOM] = room(*members, applied=applied)

    async def members(self, user: str | None = None) -> list[str] | None:
        """Return who is in the room, as it is found out for `user`."""
        found = await asyncio.wait_for(
            self.rooms.find_out(
                ROOM, lambda room: user is None or (room is not None and user in room.members)
            ),
            60,
        )
        return None if found is None else list(found.members)

    async def settle(self) -> None:
        """Let everything that can go on do so."""
        await go_round(20)

    @property
    def asked(self) -> int:
        return len(self.store.questions)


@pytest.fixture
def bench() -> Bench:
    return Bench(room("alice", "bob"))


def message(offset: int, kind: EventKind = EventKind.MESSAGE, conversation: str = ROOM) -> Message:
    id = f"00000000-0000-4000-8000-{offset:012}"
    data = None
    if kind is EventKind.MEMBER:
        data = '{"user":"carol","change":"add","role":"member"}'
    return Message(id, conversation, "alice", (), "text", Position(0, offset), 0, kind, data)


async def test_an_answer_is_good_for_a_second(bench: Bench) -> None:
    assert bench.rooms.recall(ROOM) is None
    assert await bench.members() == ["alice", "bob"]
    bench.clock.now += ROOM_SECONDS - 0.01
    assert bench.rooms.recall(ROOM) == room("alice", "bob")
    assert await bench.members("alice") == ["alice", "bob"]
    assert bench.asked == 1
    bench.clock.now += 0.01
    assert bench.rooms.recall(ROOM) is None
    await bench.members()
    assert bench.asked == 2


async def test_it_is_as_old_as_the_question_not_as_the_answer(bench: Bench) -> None:
    bench.store.may_answer.clear()
    finding = asyncio.create_task(bench.members())
    await bench.settle()
    bench.clock.now += ROOM_SECONDS
    bench.store.may_answer.set()
    assert await finding == ["alice", "bob"]
    assert bench.rooms.recall(ROOM) is None


async def test_all_who_want_to_know_share_one_question(bench: Bench) -> None:
    bench.store.may_answer.clear()
    finding = [asyncio.create_task(bench.members()) for _ in range(10)]
    await bench.settle()
    finding.pop().cancel()  # who gives up takes nobody with them
    bench.store.may_answer.set()
    assert [await each for each in finding] == [["alice", "bob"]] * 9
    assert bench.asked == 1


async def test_a_room_that_is_not_there_is_asked_for_each_time() -> None:
    bench = Bench()
    assert await bench.members() is None
    bench.know("alice")
    assert await bench.members() == ["alice"]


async def test_what_has_changed_is_old_at_once(bench: Bench) -> None:
    await bench.members()
    bench.rooms.changed(ROOM, 7)
    assert bench.rooms.recall(ROOM) is None
    bench.know("alice", applied=8)
    assert await bench.members() == ["alice"]
    assert bench.log.waited == [{0: 8}]
    assert bench.rooms.recall(ROOM) is not None


@pytest.mark.parametrize("is_known", [True, False])
async def test_the_store_is_asked_once_it_has_applied_the_change(is_known: bool) -> None:
    """Also where it is the first that is heard of the room."""
    bench = Bench(room("alice", "bob"))
    if is_known:
        await bench.members()
    asked = bench.asked
    bench.log.is_applied.clear()
    bench.rooms.changed(ROOM, 7)
    finding = asyncio.create_task(bench.members())
    await bench.settle()
    assert bench.asked == asked
    bench.know("alice", applied=8)
    bench.log.is_applied.set()
    assert await finding == ["alice"]


@pytest.mark.parametrize("is_known", [True, False])
async def test_an_answer_that_a_change_has_overtaken_is_old_already(is_known: bool) -> None:
    bench = Bench(room("alice", "bob", applied=7))
    if is_known:
        await bench.members()
        bench.clock.now += ROOM_SECONDS
    bench.store.may_answer.clear()
    finding = asyncio.create_task(bench.members())
    await bench.settle()
    bench.rooms.changed(ROOM, 7)
    bench.store.may_answer.set()
    await finding
    assert bench.rooms.recall(ROOM) is None
    bench.know("alice", applied=8)
    assert await bench.members() == ["alice"]
    assert bench.rooms.recall(ROOM) is not None


async def test_who_asks_after_a_change_is_not_given_the_answer_to_a_question_from_before(
    bench: Bench,
) -> None:
    """Somebody has asked already; a member is removed; whoever wants to know then, knows that."""
    bench.store.may_answer.clear()
    before = asyncio.create_task(bench.members())
    await bench.settle()
    bench.log.is_applied.clear()
    bench.rooms.changed(ROOM, 7)
    after = asyncio.create_task(bench.members("alice"))
    await bench.settle()
    assert bench.asked == 1
    bench.store.may_answer.set()
    assert await before == ["alice", "bob"]
    bench.know("alice", applied=8)
    bench.log.is_applied.set()
    assert await after == ["alice"]


async def test_an_answer_that_has_the_change_is_good(bench: Bench) -> None:
    await bench.members()
    bench.clock.now += ROOM_SECONDS
    bench.store.may_answer.clear()
    finding = asyncio.create_task(bench.members())
    await bench.settle()
    bench.know("alice", applied=8)
    bench.rooms.changed(ROOM, 7)
    bench.store.may_answer.set()
    await finding
    assert bench.rooms.recall(ROOM) == room("alice", applied=8)


async def test_while_the_store_is_away_what_was_known_last_is_good(bench: Bench) -> None:
    await bench.members()
    bench.clock.now += 60.0
    bench.store.is_away = True
    assert await bench.members("alice") == ["alice", "bob"]


async def test_while_the_store_hangs_too_and_then_nobody_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request would wait for as long as the store is asked, and what its session says next."""
    monkeypatch.setattr(module, "ASK_SECONDS", 0.02)
    await bench.members()
    bench.clock.now += 60.0
    bench.store.may_answer.clear()
    assert await bench.members("alice") == ["alice", "bob"]
    for _ in range(3):
        bench.clock.now += ROOM_SECONDS
        assert bench.rooms.recall(ROOM) == room("alice", "bob")
    await bench.settle()
    assert bench.asked == 3  # once for all three
    await asyncio.gather(*bench.tasks)
    bench.know("alice")
    bench.store.may_answer.set()
    bench.clock.now += ROOM_SECONDS
    bench.rooms.recall(ROOM)
    await bench.settle()
    assert bench.rooms.recall(ROOM) == room("alice")


async def test_what_has_changed_is_waited_for_also_while_the_store_hangs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.02)
    await bench.members()
    bench.clock.now += ROOM_SECONDS
    bench.store.may_answer.clear()
    await bench.members("alice")
    bench.rooms.changed(ROOM, 7)
    assert bench.rooms.recall(ROOM) is None
    with pytest.raises(StoreUnavailable):
        await bench.members("alice")


async def test_unless_something_has_changed(bench: Bench) -> None:
    await bench.members()
    bench.rooms.changed(ROOM, 7)
    bench.store.is_away = True
    with pytest.raises(StoreUnavailable):
        await bench.members("alice")


async def test_nor_does_it_count_where_the_change_comes_during_the_question(bench: Bench) -> None:
    await bench.members()
    bench.clock.now += ROOM_SECONDS
    bench.store.is_away = True
    bench.store.may_answer.clear()
    finding = asyncio.create_task(bench.members("alice"))
    await bench.settle()
    bench.rooms.changed(ROOM, 7)
    bench.store.may_answer.set()
    with pytest.raises(StoreUnavailable):
        await finding


async def test_nothing_known_and_a_store_that_is_away_is_trouble(bench: Bench) -> None:
    bench.store.is_away = True
    with pytest.raises(StoreUnavailable):
        await bench.members()


async def test_a_store_that_hangs_is_not_waited_for_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.02)
    bench.store.may_answer.clear()
    with pytest.raises(TimeoutError):
        await bench.members()
    await asyncio.gather(*bench.tasks)
    # It did not answer last: nobody waits, and in the background it is asked again.
    with pytest.raises(StoreUnavailable):
        await bench.members()
    bench.store.may_answer.set()
    await bench.settle()
    assert await bench.members() == ["alice", "bob"]


async def test_nobody_waits_to_set_a_mark_while_the_store_is_away(bench: Bench) -> None:
    bench.store.is_away = True
    with pytest.raises(StoreUnavailable):
        await bench.members()
    bench.log.is_applied.clear()
    with pytest.raises(StoreUnavailable):
        await bench.rooms.find_direct("dm:alice:bob", "alice")
    assert bench.log.waited == []


async def test_a_stranger_is_looked_for_again_once_all_in_the_log_is_applied(bench: Bench) -> None:
    bench.log.end = 9
    bench.log.is_applied.clear()
    await bench.members()
    finding = asyncio.create_task(bench.members("carol"))
    await bench.settle()
    assert bench.log.waited == [{0: 9}]
    bench.know("alice", "carol")
    bench.log.is_applied.set()
    assert await finding == ["alice", "carol"]


@pytest.mark.parametrize("known", [[], [room("alice", "bob")]])
async def test_it_takes_a_stranger_as_long_whether_the_room_exists_or_not(
    known: list[Room],
) -> None:
    bench = Bench(*known)
    await bench.members("carol")
    assert bench.asked == 2
    assert len(bench.log.waited) == 1


async def test_a_stranger_is_not_answered_with_what_others_have_asked_before(
    bench: Bench,
) -> None:
    """Their question may have been too early: before the log was applied."""
    await bench.members()
    bench.log.is_applied.clear()
    stranger = asyncio.create_task(bench.members("carol"))
    await bench.settle()
    bench.clock.now += ROOM_SECONDS
    bench.store.may_answer.clear()
    other = asyncio.create_task(bench.members())
    await bench.settle()
    bench.log.is_applied.set()
    await bench.settle()
    assert not stranger.done()
    assert bench.asked == 3
    bench.store.may_answer.set()
    assert await other == await stranger == ["alice", "bob"]
    assert bench.asked == 4


@pytest.mark.parametrize("is_warm", [True, False])
async def test_a_room_of_others_takes_as_many_questions_as_none(is_warm: bool) -> None:
    for known in ((room("alice", "bob"),), ()):
        bench = Bench(*known)
        if is_warm:
            await bench.members()
        before = bench.asked
        await bench.members("carol")
        assert bench.asked - before == 2
        assert len(bench.log.waited) == 1


async def test_while_the_store_hangs_what_was_known_last_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first who asks finds out that it hangs; nobody waits for it after that."""
    monkeypatch.setattr(module, "ASK_SECONDS", 0.01)
    await bench.members()
    bench.clock.now += ROOM_SECONDS
    bench.store.may_answer.clear()
    bench.rooms.put(PushToRoom(message(1)))
    await asyncio.sleep(0.05)
    for offset in (2, 3):
        bench.rooms.put(PushToRoom(message(offset)))
    assert bench.heart.pushed == [(each, ["alice", "bob"]) for each in (1, 2, 3)]
    assert bench.rooms.dropped == 0
    assert bench.rooms.recall(ROOM, is_change=True) is None, "that is for the store to say"
    bench.rooms.changed(ROOM, 7)
    assert bench.rooms.recall(ROOM) is None, "somebody may have been removed"


async def test_long_after_the_store_was_away_what_was_known_then_counts_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have been removed since, and the hint of it lost."""
    monkeypatch.setattr(module, "ASK_SECONDS", 0.01)
    await bench.members()
    bench.clock.now += ROOM_SECONDS
    bench.store.is_away = True
    bench.rooms.put(PushToRoom(message(1)))
    await bench.settle()
    assert bench.heart.pushed == [(1, ["alice", "bob"])]
    bench.clock.now += module.LAST_WORD_SECONDS
    assert bench.rooms.recall(ROOM) is None


async def test_rooms_that_are_wanted_meanwhile_are_asked_for_together() -> None:
    names = [room_conversation("alice", str(number)) for number in range(20)]
    bench = Bench(*(replace(room("alice", "bob"), name=name) for name in names))
    bench.store.may_answer.clear()
    finding = [
        asyncio.create_task(bench.rooms.find_out(name, lambda _room: True)) for name in names
    ]
    await bench.settle()
    assert bench.asked == 1
    bench.store.may_answer.set()
    assert [each.name for each in await asyncio.gather(*finding) if each] == names
    assert bench.asked <= 2


async def test_additions_that_are_under_way_count_until_the_store_has_them(bench: Bench) -> None:
    members = room("alice", "bob")
    bench.rooms.let_join(ROOM, "carol")
    bench.rooms.let_join(ROOM, "bob")
    assert bench.rooms.joining(members) == 1
    assert bench.rooms.joining(room("alice", "bob", "carol")) == 0
    bench.rooms.let_join(ROOM, "dave")  # and nothing comes of it
    bench.clock.now += module.JOINING_SECONDS + 1
    assert bench.rooms.joining(members) == 0


async def test_additions_are_noted_however_many_rooms_had_some_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_ROOMS", 2)
    for number in range(5):
        bench.rooms.let_join(room_conversation("alice", str(number)), "carol")
    bench.rooms.let_join(ROOM, "carol")
    assert bench.rooms.joining(room("alice", "bob")) == 1
    assert len(bench.rooms._joining) <= 2


async def test_a_hint_is_pushed_to_those_who_are_members_here_as_well(bench: Bench) -> None:
    """The other server may have known less, or the hint was long on its way."""
    bench.rooms.put(PushToRoom(message(1), frozenset({"bob", "carol"})))
    await bench.settle()
    assert bench.heart.pushed == [(1, ["bob"])]
    assert bench.heart.ours == [False]


async def test_there_is_a_direct_conversation_once_the_store_has_it(bench: Bench) -> None:
    assert not await bench.rooms.find_direct("dm:alice:bob", "alice")
    assert not bench.rooms.recall_direct("dm:alice:bob")
    bench.store.listed_members = []
    assert await bench.rooms.find_direct("dm:alice:bob", "alice")
    assert bench.rooms.recall_direct("dm:alice:bob")


async def test_a_store_that_lags_is_trouble_for_a_stranger_not_a_refusal(bench: Bench) -> None:
    await bench.members()
    bench.log.is_away = True
    with pytest.raises(StoreUnavailable):
        await bench.members("carol")


@pytest.mark.parametrize(("bound", "most"), [("REMEMBERED_ROOMS", 3), ("REMEMBERED_MEMBERS", 6)])
async def test_what_is_remembered_is_bounded_and_what_was_used_last_stays(
    bound: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, bound, most)
    names = [room_conversation("alice", str(number)) for number in range(4)]
    bench = Bench(*(replace(room("alice", "bob"), name=name) for name in names))
    for name in names[:3]:
        await bench.rooms.find_out(name, lambda _room: True)
    assert bench.rooms.recall(names[0]) is not None
    await bench.rooms.find_out(names[3], lambda _room: True)
    assert len(bench.rooms) == 3
    assert [bench.rooms.recall(name) is not None for name in names] == [True, False, True, True]


async def test_changes_of_rooms_that_are_never_asked_for_are_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_ROOMS", 3)
    bench = Bench()
    for number in range(10):
        bench.rooms.changed(room_conversation("alice", str(number)), 7)
    assert len(bench.rooms) == 3


# What is pushed ----------------------------------------------------------------------------------


async def test_what_is_known_is_pushed_without_a_wait(bench: Bench) -> None:
    await bench.members()
    bench.rooms.put(PushToRoom(message(1)))
    assert bench.heart.pushed == [(1, ["alice", "bob"])]
    assert bench.happened == 1, "or nobody carries it out before something else happens"
    assert not bench.tasks


async def test_what_waits_for_the_members_keeps_the_order_of_the_log(bench: Bench) -> None:
    bench.store.may_answer.clear()
    for offset in (1, 2):
        bench.rooms.put(PushToRoom(message(offset)))
    await bench.settle()
    finding = asyncio.create_task(bench.members())  # others learn it first
    bench.rooms.put(PushToRoom(message(3)))
    bench.store.may_answer.set()
    await finding
    bench.rooms.put(PushToRoom(message(4)))
    await bench.settle()
    assert [offset for offset, _ in bench.heart.pushed] == [1, 2, 3, 4]
    assert bench.asked == 1
    assert bench.happened == 4


async def test_a_room_that_waits_keeps_no_other_waiting(bench: Bench) -> None:
    bench.store.known[OTHER] = replace(room("carol"), name=OTHER)
    await bench.rooms.find_out(OTHER, lambda _room: True)
    bench.store.may_answer.clear()
    bench.rooms.put(PushToRoom(message(1)))
    bench.rooms.put(PushToRoom(message(2, conversation=OTHER)))
    assert bench.heart.pushed == [(2, ["carol"])]
    bench.store.may_answer.set()
    await bench.settle()
    assert [offset for offset, _ in bench.heart.pushed] == [2, 1]


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_change_is_pushed_to_whom_it_has_made_members(is_known: bool) -> None:
    """Also the very first event of a room."""
    bench = Bench(*([room("alice", "bob")] if is_known else []))
    if is_known:
        await bench.members()
    bench.log.is_applied.clear()
    bench.rooms.put(PushToRoom(message(7, EventKind.MEMBER)))
    bench.rooms.put(PushToRoom(message(8)))
    await bench.settle()
    assert bench.heart.pushed == []
    assert bench.log.waited == [{0: 8}]
    bench.know("alice", "bob", "carol", applied=8)
    bench.log.is_applied.set()
    await bench.settle()
    assert bench.heart.pushed == [(7, ["alice", "bob", "carol"]), (8, ["alice", "bob", "carol"])]


async def test_a_room_that_somebody_has_asked_for_before_it_was_made_is_asked_for_again() -> None:
    bench = Bench()
    bench.store.may_answer.clear()
    early = asyncio.create_task(bench.members())
    await bench.settle()
    bench.rooms.changed(ROOM, 7)
    bench.rooms.put(PushToRoom(message(7, EventKind.ROOM)))
    await bench.settle()
    bench.log.is_applied.clear()
    bench.store.may_answer.set()
    assert await early is None
    bench.know("alice", "bob", applied=8)
    bench.log.is_applied.set()
    await bench.settle()
    assert bench.heart.pushed == [(7, ["alice", "bob"])]


async def test_marks_are_told_in_their_turn(bench: Bench) -> None:
    record = ReadRecord(ROOM, (("alice", 1),))
    bench.rooms.put(TellRoom(record))
    assert bench.heart.told == []
    await bench.settle()
    assert bench.heart.told == [(record, ["alice", "bob"])]


async def test_pushes_whose_members_cannot_be_found_out_are_left_to_the_sweep(
    bench: Bench,
) -> None:
    bench.store.is_away = True
    for offset in (1, 2):
        bench.rooms.put(PushToRoom(message(offset)))
    await bench.settle()
    assert bench.heart.pushed == []
    assert bench.rooms.dropped == 2
    bench.store.is_away = False
    bench.rooms.put(PushToRoom(message(3)))
    await bench.settle()
    assert bench.heart.pushed == [(3, ["alice", "bob"])]


async def test_pushes_that_wait_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_PUSHES", 3)
    for offset in range(5):
        bench.rooms.put(PushToRoom(message(offset)))
    await bench.settle()
    assert [offset for offset, _ in bench.heart.pushed] == [0, 1, 2]
    assert bench.rooms.dropped == 2


async def test_their_memory_is_bounded_and_given_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_bytes = module._size_of(PushToRoom(message(1)))
    monkeypatch.setattr(module, "WAITING_BYTES", 4 * each_bytes - 1)
    for is_away in (True, False):
        bench.store.is_away = is_away
        dropped = bench.rooms.dropped
        for offset in range(5):
            bench.rooms.put(PushToRoom(message(offset)))
        assert bench.rooms.dropped - dropped == 2
        await bench.settle()
    assert [offset for offset, _ in bench.heart.pushed] == [0, 1, 2]


async def test_what_waited_is_not_pushed_to_whoever_has_joined_behind_it(bench: Bench) -> None:
    bench.store.known[ROOM] = room("alice", "bob", "carol", joined={"carol": 2})
    for offset in (1, 2, 3):
        bench.rooms.put(PushToRoom(message(offset)))
    await bench.settle()
    assert bench.heart.pushed == [
        (1, ["alice", "bob"]),
        (2, ["alice", "bob", "carol"]),
        (3, ["alice", "bob", "carol"]),
    ]
