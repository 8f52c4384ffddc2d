"""What has to be known of a request before it may go to the log."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from landline.delivery.rooms import FULL, NO_ROOMS, NO_SUCH, NOT_YET, REF_TAKEN
from landline.gateway import checks as module
from landline.gateway.checks import Checked, Checks, Request
from landline.gateway.permissions import Authorizing, Permissions
from landline.gateway.rooms import Rooms
from landline.model import History, MemberStep, Role
from landline.protocol.client_frames import ChangeMember, ChangeRoom, Create, MarkRead, Send
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import room_conversation
from support.bench import make_heart
from support.clock import Clock
from support.conversations import ROOM, KnownConversations, known_log, room

SEND = Send("", "hello", "r", conversation=ROOM)
READ = MarkRead(ROOM, 7)
ADD = ChangeMember(ROOM, "dave", MemberStep.ADD, Role.MEMBER, "r")
TITLE = ChangeRoom(ROOM, "title", "r")
CREATE = Create("title", ("bob",), History.ALL, "the room")
DIRECT = Send("", "hello", "r", conversation="dm:alice:bob")


class Bench:
    """Checks of a room of alice, an admin, and bob."""

    def __init__(
        self, *, asks: bool = False, is_for_everybody: bool = True, has_room: bool = True
    ) -> None:
        self.clock = Clock()
        self.version = 2
        self.log = known_log()
        self.store = KnownConversations(*([room("alice", "bob")] if has_room else []))
        self.asked: list[tuple[str, str]] = []
        self.refused: set[str] = set()
        self.is_slow = False
        self.meanwhile: Callable[[], None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        permissions = None
        if asks:
            authorizing = Authorizing(self.ask, 60.0, is_open=False)
            permissions = Permissions(authorizing, clock=self.clock, spawn=self.spawn)
        rooms = Rooms(
            event_log=self.log,
            store=self.log,
            conversations=self.store,
            delivery=make_heart(self.clock),
            clock=self.clock,
            spawn=self.spawn,
            happened=lambda: None,
        )
        self.checks = Checks(
            rooms,
            permissions,
            record_version=lambda: self.version,
            is_for_everybody=is_for_everybody,
        )

    async def ask(self, sender: str, to: str) -> bool:
        self.asked.append((sender, to))
        if self.meanwhile is not None:
            self.meanwhile()
        if self.is_slow:
            await asyncio.Event().wait()
        return to not in self.refused

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def recall(
        self, request: Request, user: str = "alice", *, is_service: bool = False
    ) -> Checked | None:
        return self.checks.recall(user, request, is_service=is_service)

    async def find_out(
        self, request: Request, user: str = "alice", *, is_service: bool = False
    ) -> Checked:
        finding = self.checks.find_out(user, request, is_service=is_service)
        return await asyncio.wait_for(finding, 60)


async def test_a_direct_message_needs_no_room_and_no_wait() -> None:
    bench = Bench()
    assert bench.recall(Send("bob", "hello")) == Checked(Send("bob", "hello"))
    assert not bench.store.questions


@pytest.mark.parametrize("request_", [SEND, READ, ADD, TITLE])
async def test_a_room_is_found_out_once_and_then_recalled(request_: Request) -> None:
    bench = Bench()
    assert bench.recall(request_) is None
    assert await bench.find_out(request_) == Checked(request_)
    assert bench.recall(request_) == Checked(request_)
    assert len(bench.store.questions) == 1


@pytest.mark.parametrize("request_", [SEND, READ, ADD, TITLE])
async def test_a_stranger_is_never_refused_from_memory(request_: Request) -> None:
    """They may have become a member a moment ago."""
    bench = Bench()
    await bench.find_out(SEND)
    assert bench.recall(request_, "carol") is None
    assert await bench.find_out(request_, "carol") == Checked(request_, NO_SUCH)
    bench.store.known[ROOM] = room("carol", admins=["carol"])
    assert await bench.find_out(request_, "carol") == Checked(request_)


async def test_nothing_is_refused_from_memory() -> None:
    """Another server may have made somebody an admin, or room for one more."""
    bench = Bench()
    await bench.find_out(SEND)
    assert bench.recall(TITLE, "bob") is None
    checked = await bench.find_out(TITLE, "bob")
    assert checked.bar is not None
    assert checked.bar.code is ErrorCode.FORBIDDEN
    bench.store.known[ROOM] = room("alice", "bob", admins=["bob"])
    assert await bench.find_out(TITLE, "bob") == Checked(TITLE)


async def test_who_was_removed_while_the_product_was_asked_is_refused() -> None:
    bench = Bench(asks=True)
    await bench.find_out(SEND)
    bench.refused = set()
    again = replace(SEND, ref="other")
    bench.clock.now += 61.0  # its answer has grown old

    def removes_bob() -> None:
        bench.store.known[ROOM] = room("alice")
        bench.checks._rooms.changed(ROOM, 0)

    bench.meanwhile = removes_bob
    assert await bench.find_out(again, "bob") == Checked(again, NO_SUCH)
    assert bench.asked[-1] == ("bob", ROOM)


@pytest.mark.parametrize(
    ("user", "conversation", "to"),
    [
        ("alice", "dm:alice:bob", "bob"),
        ("bob", "dm:alice:bob", "alice"),
        ("alice", "dm:alice:alice", "alice"),
    ],
)
async def test_a_direct_conversation_is_the_same_message_as_its_user(
    user: str, conversation: str, to: str
) -> None:
    bench = Bench()
    named = Send("", "hello", "r", True, conversation, '{"a":1}')
    expected = Checked(Send(to, "hello", "r", True, "", '{"a":1}'))
    assert bench.recall(named, user) == expected
    assert await bench.find_out(named, user) == expected


@pytest.mark.parametrize("request_", [DIRECT, MarkRead("dm:alice:bob", 7)])
async def test_the_direct_conversation_of_others_is_none(request_: Request) -> None:
    bench = Bench()
    assert bench.recall(request_, "carol") == Checked(request_, NO_SUCH)


@pytest.mark.parametrize(
    "request_",
    [SEND, READ, ADD, TITLE, CREATE, MarkRead("dm:alice:bob", 1), Send("bob", "x", data="{}")],
)
async def test_what_only_version_2_can_say_comes_later(request_: Request) -> None:
    bench = Bench()
    bench.version = 1
    assert bench.recall(request_) == Checked(request_, NOT_YET)
    assert await bench.find_out(request_) == Checked(request_, NOT_YET)
    assert NOT_YET.code is ErrorCode.BUSY
    assert not bench.store.questions
    bench.version = 2
    assert (await bench.find_out(request_)).bar is not NOT_YET


@pytest.mark.parametrize("request_", [Send("bob", "hello", "r"), DIRECT])
async def test_a_direct_message_goes_in_version_1_however_it_is_addressed(request_: Send) -> None:
    bench = Bench()
    bench.version = 1
    assert bench.recall(request_) == Checked(Send("bob", "hello", "r"))


# Rooms that are to be made -----------------------------------------------------------------------


async def test_where_the_product_makes_rooms_nobody_else_does() -> None:
    bench = Bench(is_for_everybody=False, has_room=False)
    assert bench.recall(CREATE) == Checked(CREATE, NO_ROOMS)
    assert await bench.find_out(CREATE) == Checked(CREATE, NO_ROOMS)
    assert NO_ROOMS.code is ErrorCode.FORBIDDEN
    assert await bench.find_out(CREATE, is_service=True) == Checked(CREATE)
    assert bench.recall(SEND) is None, "in those that there are everybody writes"


async def test_a_room_without_a_ref_needs_no_look() -> None:
    bench = Bench()
    nameless = Create(None, (), History.ALL)
    assert bench.recall(nameless) == Checked(nameless)
    assert await bench.find_out(nameless) == Checked(nameless)


async def test_a_ref_that_has_made_a_room_is_looked_for_as_a_repeat() -> None:
    """It is either the same request, which is found, or another, which makes no room."""
    bench = Bench()
    assert room_conversation("alice", "the room") == ROOM
    assert bench.recall(CREATE) is None
    assert await bench.find_out(CREATE) == Checked(CREATE, REF_TAKEN)
    assert REF_TAKEN.is_looked_for
    assert bench.recall(CREATE) is None
    assert await bench.find_out(CREATE, "bob") == Checked(CREATE), "theirs is another room"


@pytest.mark.parametrize("names_creator", [True, False])
async def test_a_room_has_at_most_so_many_members_its_creator_included(names_creator: bool) -> None:
    bench = Bench()
    own = ("alice",) if names_creator else ()
    others = tuple(f"user{number}" for number in range(255))
    assert bench.recall(Create(None, own + others, History.ALL)) is not None
    assert bench.recall(Create(None, own + others, History.ALL)) == Checked(
        Create(None, own + others, History.ALL)
    )
    too_many = Create(None, (*own, *others, "one"), History.ALL)
    assert bench.recall(too_many) == Checked(too_many, FULL)


# Trouble -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [SEND, READ, ADD, TITLE, CREATE])
async def test_while_the_store_is_away_nothing_is_refused_for_good(request_: Request) -> None:
    bench = Bench()
    bench.store.is_away = True
    checked = await bench.find_out(request_)
    assert checked.bar is not None
    assert checked.bar.code is ErrorCode.BUSY


async def test_nor_is_a_stranger_while_the_store_lags() -> None:
    bench = Bench()
    bench.log.is_away = True
    checked = await bench.find_out(SEND, "carol")
    assert checked.bar is not None
    assert checked.bar.code is ErrorCode.BUSY


# The product -------------------------------------------------------------------------------------


async def test_the_product_is_asked_about_messages_in_rooms_too_but_not_about_the_rest() -> None:
    bench = Bench(asks=True)
    leave = ChangeMember(ROOM, "alice", MemberStep.REMOVE, Role.MEMBER, "r")
    for request in (TITLE, READ, leave):
        assert await bench.find_out(request) == Checked(request)
    assert bench.asked == []
    assert await bench.find_out(SEND) == Checked(SEND)
    assert bench.asked == [("alice", ROOM)]
    assert bench.recall(SEND) == Checked(SEND)


async def test_what_the_product_refuses_is_refused() -> None:
    bench = Bench(asks=True)
    bench.refused = {ROOM, "bob"}
    for request in (SEND, DIRECT):
        checked = await bench.find_out(request)
        assert checked.bar is not None
        assert checked.bar.code is ErrorCode.FORBIDDEN
    assert bench.asked == [("alice", ROOM), ("alice", "bob")]


async def test_who_may_not_write_to_somebody_may_not_put_them_into_a_room() -> None:
    bench = Bench(asks=True)
    bench.refused = {"dave"}
    makes = Create("title", ("alice", "bob", "dave", "zoe"), History.ALL, "another room")
    for request in (ADD, makes, replace(makes, ref=None)):
        assert bench.recall(request) is None or bench.asked
        checked = await bench.find_out(request)
        assert checked.bar is not None
        assert checked.bar.code is ErrorCode.FORBIDDEN
    assert bench.asked == [("alice", "dave"), ("alice", "bob")]
    assert await bench.find_out(CREATE) == Checked(CREATE, REF_TAKEN)
    allowed = replace(makes, members=("bob",), ref=None)
    assert bench.recall(allowed) == Checked(allowed)


async def test_the_product_is_given_so_long_for_all_of_a_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PERMISSION_SECONDS", 0.01)
    bench = Bench(asks=True)
    bench.is_slow = True
    checked = await bench.find_out(Create("title", ("bob", "zoe"), History.ALL, None))
    assert checked.bar is not None
    assert checked.bar.code is ErrorCode.BUSY


async def test_the_product_is_not_asked_for_strangers_nor_about_itself() -> None:
    bench = Bench(asks=True)
    assert await bench.find_out(SEND, "carol") == Checked(SEND, NO_SUCH)
    assert await bench.find_out(SEND, is_service=True) == Checked(SEND)
    assert bench.asked == []


async def test_the_product_in_nobodys_name_is_an_admin_of_every_room() -> None:
    bench = Bench()
    checks = bench.checks
    for request in (ADD, TITLE):
        found = await checks.find_out("backend", request, is_service=True, is_product=True)
        assert found == Checked(request)
        assert checks.recall("backend", request, is_service=True, is_product=True) == found
        assert await bench.find_out(request, "backend", is_service=True) == Checked(
            request, NO_SUCH
        )
    for as_member in (SEND, READ):
        found = await checks.find_out("backend", as_member, is_service=True, is_product=True)
        assert found == Checked(as_member, NO_SUCH)
    elsewhere = ChangeRoom(room_conversation("bob", "another"), "title", "r")
    found = await checks.find_out("backend", elsewhere, is_service=True, is_product=True)
    assert found == Checked(elsewhere, NO_SUCH)


# Somebody is to be a member with a role ----------------------------------------------------------


@pytest.mark.parametrize(("user", "is_product"), [("alice", False), ("backend", True)])
async def test_who_is_new_is_added_and_who_is_not_gets_the_role(
    user: str, is_product: bool
) -> None:
    bench = Bench()
    add_bob = replace(ADD, user="bob")
    assert await bench.checks.placing(user, ADD, is_product=is_product) == ADD
    found = await bench.checks.placing(user, add_bob, is_product=is_product)
    assert found == replace(add_bob, change=MemberStep.ROLE)
    bench.store.known[ROOM] = room("alice", "bob", "dave")
    found = await bench.checks.placing(user, ADD, is_product=is_product)
    assert found == replace(ADD, change=MemberStep.ROLE), "who was added a moment ago too"


async def test_who_is_in_a_room_of_others_is_not_told_by_the_time_it_takes() -> None:
    bench = Bench()
    questions = []
    for name in (ROOM, room_conversation("bob", "another")):
        for user in ("bob", "dave"):
            asked = ChangeMember(name, user, MemberStep.ADD, Role.ADMIN, "r")
            before = len(bench.store.questions), len(bench.log.waited)
            assert await bench.checks.placing("carol", asked) == asked
            questions.append(
                (len(bench.store.questions) - before[0], len(bench.log.waited) - before[1])
            )
            bench.clock.now += 60
    assert len(set(questions)) == 1, questions


async def test_before_there_are_rooms_nobody_is_placed() -> None:
    bench = Bench()
    bench.version = 1
    assert await bench.checks.placing("alice", ADD) == ADD
    assert not bench.store.questions
