"""A message that comes by request has the three answers, and one of them always."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from landline.config.limits import MESSAGES_BURST, NO_LIMITS, Limits
from landline.delivery.decisions import AppendMessage, ConfirmPosition, FindOriginal, Transmit
from landline.errors import WebUnavailable
from landline.gateway import posts
from landline.gateway.checks import Checks
from landline.gateway.permissions import Ask, Authorizing, Permissions
from landline.gateway.posts import Posts
from landline.gateway.rooms import Rooms
from landline.model import Appended, AppendResult, MemberStep, NotAppended, Position, Role
from landline.protocol.client_frames import ChangeMember, Send
from landline.protocol.records import MemberRecord
from support.bench import make_heart
from support.clock import Clock
from support.conversations import ROOM, KnownConversations, known_log, room
from support.waiting import go_round

HELLO = Send("bob", "hello", "ref-1")
# What a user may send at once, where a message a second is the limit.
BURST = int(MESSAGES_BURST)


class Gateway:
    """As much of a hub as posts need. What the heart asks for waits in `asked`."""

    def __init__(self, ask: Ask | None = None, limits: Limits = NO_LIMITS) -> None:
        self.clock = Clock()
        ids = iter(f"00000000-0000-4000-8000-{number:012}" for number in range(1_000))
        self.heart = make_heart(self.clock, ids.__next__, limits=limits)
        self.asked: list[Any] = []
        permissions = None
        if ask is not None:
            permissions = Permissions(
                Authorizing(ask, 60.0, is_open=False), clock=self.clock, spawn=self.spawn
            )
        self.tasks: list[asyncio.Task[None]] = []
        log = known_log()
        self.store = KnownConversations(room("alice", "bob"))
        rooms = Rooms(
            event_log=log,
            store=log,
            conversations=self.store,
            delivery=self.heart,
            clock=self.clock,
            spawn=self.spawn,
            happened=self.happened,
        )
        checks = Checks(rooms, permissions, record_version=lambda: 2, is_for_everybody=True)
        self.posts = Posts(
            delivery=self.heart,
            new_id=ids.__next__,
            happened=self.happened,
            checks=checks,
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def happened(self) -> None:
        for decision in self.heart.take_decisions():
            if isinstance(decision, Transmit):
                self.posts.answer(decision.session, decision.frame)
            else:
                self.asked.append(decision)

    def pop(self, kind: type) -> Any:
        found = next(each for each in self.asked if isinstance(each, kind))
        self.asked.remove(found)
        return found

    def append(self, result: AppendResult | None = None) -> None:
        """Have the log answer."""
        result = result or Appended(Position(0, 7), 1_000)
        self.heart.message_appended(self.pop(AppendMessage).flight, result)
        self.happened()

    async def place(self, user: str, *, retry: bool = False, by: str = "alice") -> Any:
        """Begin to make somebody an admin of the room."""
        change = ChangeMember(ROOM, user, MemberStep.ADD, Role.ADMIN, "ref-1", retry)
        placing = asyncio.create_task(self.posts.place(by, change))
        await go_round(20)
        return placing

    def appended(self) -> tuple[str, str]:
        """Have the log answer. Returns who was to be changed, and how."""
        record = next(each for each in self.asked if isinstance(each, AppendMessage)).flight.record
        assert isinstance(record, MemberRecord)
        self.append()
        return record.user, record.change

    async def found(self, *, is_it: bool) -> str:
        """Have the store answer whether it has what was looked for. Returns how it would change."""
        found = self.pop(FindOriginal)
        stored = Appended(Position(0, 3), 500) if is_it else None
        self.heart.original_found(found.flight, stored)
        self.happened()
        await go_round(20)
        change: str = found.flight.record.change
        return change

    async def begin(self, send: Send = HELLO) -> asyncio.Task[bytes]:
        posting = asyncio.create_task(self.posts.post("alice", send))
        await go_round()
        return posting


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


async def answer(posting: asyncio.Task[bytes]) -> dict[str, Any]:
    frame: dict[str, Any] = orjson.loads(await asyncio.wait_for(posting, 60))
    return frame


async def test_it_is_accepted_once_the_log_has_it(gateway: Gateway) -> None:
    posting = await gateway.begin()
    assert not posting.done()
    gateway.append()
    said = await answer(posting)
    assert (said["type"], said["ref"], said["offset"]) == ("accepted", "ref-1", 7)
    assert said["conversation"] == "dm:alice:bob"
    assert len(gateway.posts) == 0


@pytest.mark.parametrize(("certain", "outcome"), [(True, "rejected"), (False, "unknown")])
async def test_what_the_log_refuses_is_told(gateway: Gateway, certain: bool, outcome: str) -> None:
    posting = await gateway.begin()
    gateway.append(NotAppended(certain, "not now"))
    said = await answer(posting)
    assert (said["type"], said["outcome"], said["ref"]) == ("error", outcome, "ref-1")


async def test_a_repeat_has_the_place_of_the_original(gateway: Gateway) -> None:
    posting = await gateway.begin(Send("bob", "hello", "ref-1", retry=True))
    found = gateway.pop(FindOriginal)
    gateway.heart.original_found(found.flight, Appended(Position(0, 3), 500))
    gateway.happened()
    assert (await answer(posting))["offset"] == 3
    assert not gateway.asked


async def test_two_requests_with_one_message_are_one_append(gateway: Gateway) -> None:
    both = [await gateway.begin() for _ in range(2)]
    gateway.append()
    assert [(await answer(each))["offset"] for each in both] == [7, 7]
    assert not [each for each in gateway.asked if isinstance(each, AppendMessage)]


async def test_who_has_gone_is_not_answered_and_the_message_goes_on(gateway: Gateway) -> None:
    """And as one who has left may have sent it elsewhere too, the store is asked for its place."""
    posting = await gateway.begin()
    posting.cancel()
    await go_round()
    assert len(gateway.posts) == 0
    gateway.append()
    assert gateway.pop(ConfirmPosition)


async def test_who_hears_nothing_is_told_that_it_is_unknown(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posts, "POST_SECONDS", 0.01)
    said = await answer(await gateway.begin())
    assert (said["code"], said["outcome"]) == ("unavailable", "unknown")


async def test_at_the_end_of_the_server_nobody_is_left_waiting(gateway: Gateway) -> None:
    posting = await gateway.begin()
    gateway.posts.end()
    assert (await answer(posting))["outcome"] == "unknown"


# Who may write to whom ------------------------------------------------------------------------


class Product:
    """Says yes to nobody but those who write to bob, and only once the gate is open."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def ask(self, _sender: str, to: str) -> bool:
        self.asked += 1
        await self.gate.wait()
        if to == "nobody-knows":
            raise WebUnavailable("it answers with status 500")
        return to == "bob"


async def test_what_is_allowed_goes_to_the_log_and_not_before() -> None:
    product = Product()
    gateway = Gateway(product.ask)
    posting = await gateway.begin()
    await go_round(3)
    assert not gateway.asked
    product.gate.set()
    await go_round(5)
    gateway.append()
    assert (await answer(posting))["type"] == "accepted"
    again = await gateway.begin(Send("bob", "more", "ref-2"))
    gateway.append()
    assert (await answer(again))["type"] == "accepted"
    assert product.asked == 1


@pytest.mark.parametrize(
    ("to", "code"), [("carol", "forbidden"), ("nobody-knows", "busy"), ("alice", None)]
)
async def test_what_is_not_allowed_never_reaches_the_log(to: str, code: str | None) -> None:
    product = Product()
    product.gate.set()
    gateway = Gateway(product.ask)
    posting = await gateway.begin(Send(to, "hello", "ref-1"))
    await go_round(5)
    if code is None:
        gateway.append()
        assert (await answer(posting))["type"] == "accepted"
        return
    said = await answer(posting)
    assert (said["code"], said["outcome"], said["ref"]) == (code, "rejected", "ref-1")
    assert not gateway.asked


async def test_the_products_own_messages_are_asked_nobody_about() -> None:
    product = Product()
    gateway = Gateway(product.ask)
    posting = asyncio.create_task(
        gateway.posts.post("shop", Send("carol", "welcome", "ref-1"), is_service=True)
    )
    await go_round(3)
    gateway.append()
    assert (await answer(posting))["type"] == "accepted"
    assert product.asked == 0


async def test_who_has_gone_before_the_answer_has_sent_nothing() -> None:
    product = Product()
    gateway = Gateway(product.ask)
    posting = await gateway.begin()
    await go_round(3)
    posting.cancel()
    product.gate.set()
    await go_round(5)
    assert not gateway.asked
    assert len(gateway.posts) == 0


async def test_a_post_that_waited_for_an_answer_may_be_overtaken() -> None:
    """And that is known to the moment: time goes by between two calls as well."""
    product = Product()
    gateway = Gateway(product.ask)
    gateway.clock.step = 0.001
    posting = await gateway.begin()
    await go_round(3)
    gateway.clock.now += 1.0
    product.gate.set()
    await go_round(5)
    gateway.append()
    assert not posting.done()
    confirm = gateway.pop(ConfirmPosition)
    gateway.heart.position_confirmed(confirm.flight, Appended(Position(0, 3), 1_000))
    gateway.happened()
    assert (await answer(posting))["offset"] == 3


async def test_who_sends_too_fast_has_nobody_asked() -> None:
    """What a user may send is counted before the question, once, and not again after it."""
    product = Product()
    gateway = Gateway(product.ask, Limits(messages=1))
    sends = [Send(f"user{number}", "hello", str(number)) for number in range(20)]
    posting = [await gateway.begin(send) for send in sends]
    await go_round(5)
    assert product.asked == BURST
    product.gate.set()
    await go_round(5)
    said = [await answer(each) for each in posting]
    codes = [each["code"] for each in said]
    assert codes == ["forbidden"] * BURST + ["too_fast"] * (20 - BURST)
    assert {each["outcome"] for each in said} == {"rejected"}


async def test_who_is_too_fast_with_what_waits_for_an_answer_is_not_told_it_is_rejected() -> None:
    product = Product()
    gateway = Gateway(product.ask, Limits(messages=1))
    posting = [await gateway.begin() for _ in range(BURST + 1)]
    await go_round(3)
    said = await answer(posting.pop())
    assert (said["code"], said["outcome"]) == ("too_fast", "unknown")
    posting.pop(0).cancel()
    product.gate.set()
    await go_round(5)
    gateway.append()
    assert {(await answer(each))["type"] for each in posting} == {"accepted"}
    assert not gateway.heart._sends._held, "nothing is kept of those that were asked about"


async def test_what_is_on_its_way_is_joined_and_nobody_is_asked() -> None:
    product = Product()
    product.gate.set()
    gateway = Gateway(product.ask)
    posting = [await gateway.begin()]
    await go_round(5)
    gateway.clock.now += 3_600.0
    product.gate.clear()
    posting.append(await gateway.begin())
    gateway.append()
    gateway.heart.position_confirmed(
        gateway.pop(ConfirmPosition).flight, Appended(Position(0, 7), 1_000)
    )
    gateway.happened()
    assert {(await answer(each))["offset"] for each in posting} == {7}
    assert (await answer(await gateway.begin()))["offset"] == 7, "so is what was accepted"
    assert product.asked == 1


async def test_what_may_have_changed_is_checked_after_the_question() -> None:
    """It takes seconds, in which an administrator may have sent the sender away."""
    happened: list[str] = []

    async def ask(*_asked: Any) -> bool:
        happened.append("asked")
        return True

    def check() -> None:
        happened.append("checked")
        raise PermissionError

    gateway = Gateway(ask)
    with pytest.raises(PermissionError):
        await gateway.posts.post("alice", HELLO, check=check)
    assert happened == ["asked", "checked"]
    assert gateway.asked == []
    assert len(gateway.posts) == 0


# Somebody is to be a member with a role ----------------------------------------------------------


@pytest.mark.parametrize(("user", "change"), [("bob", "role"), ("carol", "add")])
async def test_who_is_in_the_room_gets_the_role_and_who_is_not_is_added(
    gateway: Gateway, user: str, change: str
) -> None:
    placing = await gateway.place(user)
    assert gateway.appended() == (user, change)
    assert (await answer(placing))["type"] == "accepted"


@pytest.mark.parametrize(
    ("user", "other", "own"), [("bob", "add", "role"), ("carol", "role", "add")]
)
async def test_a_repeat_looks_for_what_it_may_have_been_then(
    gateway: Gateway, user: str, other: str, own: str
) -> None:
    placing = await gateway.place(user, retry=True)
    assert await gateway.found(is_it=False) == other
    assert not placing.done()
    assert await gateway.found(is_it=False) == own
    assert gateway.appended() == (user, own)
    gateway.heart.position_confirmed(
        gateway.pop(ConfirmPosition).flight, Appended(Position(0, 7), 1_000)
    )
    gateway.happened()
    assert (await answer(placing))["offset"] == 7


@pytest.mark.parametrize("user", ["bob", "carol"])
async def test_a_repeat_that_is_found_changes_nothing(gateway: Gateway, user: str) -> None:
    placing = await gateway.place(user, retry=True)
    await gateway.found(is_it=True)
    assert (await answer(placing))["offset"] == 3
    assert not gateway.asked


async def test_to_look_for_a_repeat_counts_for_its_user() -> None:
    gateway = Gateway(limits=Limits(messages=1))
    placing = [await gateway.place(f"user{number}", retry=True) for number in range(BURST + 1)]
    said = await answer(placing[-1])
    assert (said["code"], said["outcome"]) == ("too_fast", "unknown")
    assert len([each for each in gateway.asked if isinstance(each, FindOriginal)]) == BURST
    for each in placing:
        each.cancel()


async def test_a_repeat_that_cannot_be_looked_for_is_unknown(gateway: Gateway) -> None:
    placing = await gateway.place("bob", retry=True)
    gateway.heart.original_unknown(gateway.pop(FindOriginal).flight, "not now")
    gateway.happened()
    said = await answer(placing)
    assert (said["code"], said["outcome"], said["ref"]) == ("unavailable", "unknown", "ref-1")
    assert not gateway.asked


@pytest.mark.parametrize(
    ("retry", "code", "outcome"), [(False, "busy", "rejected"), (True, "unavailable", "unknown")]
)
async def test_while_the_store_is_away_nobody_is_placed(
    gateway: Gateway, retry: bool, code: str, outcome: str
) -> None:
    gateway.store.is_away = True
    said = await answer(await gateway.place("bob", retry=retry))
    assert (said["code"], said["outcome"], said["ref"]) == (code, outcome, "ref-1")
    assert not gateway.asked


async def test_nobody_is_placed_in_a_room_of_others(gateway: Gateway) -> None:
    said = await answer(await gateway.place("bob", by="carol"))
    assert (said["code"], said["outcome"]) == ("no_such_conversation", "rejected")


async def test_a_placing_has_an_answer_in_time_and_at_the_end(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.store.may_answer.clear()
    monkeypatch.setattr(posts, "POST_SECONDS", 0.01)
    assert (await answer(await gateway.place("bob")))["outcome"] == "unknown"
    gateway.posts.end()
    assert (await answer(await gateway.place("bob")))["outcome"] == "unknown"
