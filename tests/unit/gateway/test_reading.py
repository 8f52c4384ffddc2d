"""Questions about conversations: in which order they are answered, how fresh, and with what."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import orjson
import pytest

from landline.gateway import reading as module
from landline.gateway.reading import READERS, WAITING_QUESTIONS, Reading, bounds
from landline.model import (
    DeliveryStatus,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Message,
    Position,
    Role,
)
from landline.protocol.client_frames import AskDelivery, AskHistory, AskList, AskMembers, Question
from support.conversations import ROOM, KnownConversations, known_log, room
from support.waiting import go_round, until

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
MEMBERS = AskMembers("q", ROOM)
QUESTIONS = [
    AskList("q", None, 10),
    AskHistory("q", ROOM, None, None, 10),
    MEMBERS,
    AskDelivery("q", (ID,)),
]


class Client:
    """A connection, and what it was told."""

    user = "alice"

    def __init__(self, session: str = "s") -> None:
        self.session = session
        self.is_closing = False
        self.reads = True
        self.answers: list[dict[str, Any]] = []

    def transmit(self, frame: bytes) -> None:
        self.answers.append(orjson.loads(frame))

    def is_flushed(self) -> bool:
        return self.reads

    @property
    def requests(self) -> list[str]:
        return [each["request"] for each in self.answers]


class Bench:
    """Reading between a store and a log."""

    def __init__(self) -> None:
        self.log = known_log()
        self.store = KnownConversations()
        self.store.listed_members = [ListedMember("alice", Role.ADMIN, 7)]
        self.tasks: set[asyncio.Task[None]] = set()
        self.reading = Reading(
            event_log=self.log,
            store=self.log,
            conversations=self.store,
            tell=lambda client, frame: client.transmit(frame),
            spawn=self.spawn,
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, question: Question) -> dict[str, Any]:
        frame: dict[str, Any] = orjson.loads(await self.reading.answer("alice", question))
        return frame


@pytest.fixture
def bench() -> Bench:
    return Bench()


def message(offset: int, partition: int = 0) -> Message:
    return Message(ID, ROOM, "alice", (), "text", Position(partition, offset), 0)


# Turns -------------------------------------------------------------------------------------------


async def test_a_session_has_one_answer_at_a_time_in_the_order_of_its_questions(
    bench: Bench,
) -> None:
    client = Client()
    bench.store.may_answer.clear()
    for request in ("1", "2", "3"):
        bench.reading.put(client, AskMembers(request, ROOM))
    await go_round(20)
    assert len(bench.store.questions) == 1
    bench.store.may_answer.set()
    await until(lambda: len(client.answers) == 3, "all is answered")
    assert client.requests == ["1", "2", "3"]
    await until(lambda: not bench.tasks, "nothing is left")
    bench.reading.put(client, AskMembers("4", ROOM))
    await until(lambda: client.requests[-1] == "4", "it may ask again")


async def test_who_does_not_read_the_answer_gets_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEFT_SECONDS", 0.001)
    """Nor the first, while what was written before has not left."""
    client = Client()
    client.reads = False
    for request in ("1", "2"):
        bench.reading.put(client, AskMembers(request, ROOM))
    await asyncio.sleep(0.01)
    assert client.requests == []
    client.reads = True
    await until(lambda: client.requests == ["1", "2"], "both are answered")


async def test_questions_that_wait_are_bounded(bench: Bench) -> None:
    client = Client()
    bench.store.may_answer.clear()
    bench.reading.put(client, AskMembers("first", ROOM))
    await go_round(20)
    for number in range(WAITING_QUESTIONS):
        bench.reading.put(client, AskMembers(str(number), ROOM))
    assert client.answers == []
    bench.reading.put(client, AskMembers("one too many", ROOM))
    (error,) = client.answers
    assert (error["code"], error["request"]) == ("busy", "one too many")
    assert "outcome" not in error
    bench.store.may_answer.set()
    await until(lambda: len(client.answers) == WAITING_QUESTIONS + 2, "the others are answered")


async def test_sessions_take_turns_at_a_few_readers(bench: Bench) -> None:
    clients = [Client(str(number)) for number in range(READERS + 3)]
    bench.store.may_answer.clear()
    for client in clients:
        for _ in range(2):
            bench.reading.put(client, MEMBERS)
    await go_round(20)
    assert len(bench.store.questions) == READERS
    bench.store.may_answer.set()
    await until(lambda: all(len(each.answers) == 2 for each in clients), "all are answered")


async def test_whoever_leaves_has_nothing_more_looked_up(bench: Bench) -> None:
    client = Client()
    bench.store.may_answer.clear()
    for _ in range(5):
        bench.reading.put(client, MEMBERS)
    await go_round(20)
    client.is_closing = True
    bench.store.may_answer.set()
    await until(lambda: not bench.tasks, "it is over")
    assert len(bench.store.questions) == 1


# How fresh ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_was_accepted_before_the_question_is_applied_first(
    bench: Bench, question: Question
) -> None:
    bench.log.end = 9
    bench.log.is_applied.clear()
    asking = asyncio.create_task(bench.answer(question))
    await go_round(20)
    assert bench.log.waited == [{0: 9}]
    assert bench.store.questions == []
    bench.log.is_applied.set()
    await asking
    assert len(bench.store.questions) == 1


async def test_a_store_that_lags_is_not_waited_for_for_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.01)
    bench.log.is_applied.clear()
    assert (await bench.answer(MEMBERS))["type"] == "member_list"


async def test_a_log_that_is_away_is_no_reason_to_answer_nothing(bench: Bench) -> None:
    bench.log.is_away = True
    assert (await bench.answer(MEMBERS))["type"] == "member_list"


# Trouble -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_store_that_is_away_is_told_under_the_request(
    bench: Bench, question: Question
) -> None:
    bench.store.is_away = True
    error = await bench.answer(question)
    assert (error["type"], error["code"], error["request"]) == ("error", "unavailable", "q")
    assert "outcome" not in error, "nothing for the log is concerned"


async def test_a_store_that_hangs_is_told_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)
    bench.store.may_answer.clear()
    assert (await bench.answer(MEMBERS))["code"] == "unavailable"


@pytest.mark.parametrize("question", QUESTIONS)
async def test_nothing_is_read_before_the_cluster_has_gone_over(
    bench: Bench, question: Question
) -> None:
    bench.log.record_version = 1
    error = await bench.answer(question)
    assert (error["code"], error["request"]) == ("busy", "q")
    assert bench.store.questions == []


@pytest.mark.parametrize("question", [MEMBERS, AskHistory("q", ROOM, None, None, 10)])
async def test_what_is_not_there_and_what_is_somebody_else_s_is_one_answer(
    bench: Bench, question: Question
) -> None:
    bench.store.listed_members = None
    error = await bench.answer(question)
    assert (error["code"], error["request"]) == ("no_such_conversation", "q")


# What is answered --------------------------------------------------------------------------------


async def test_members_and_deliveries_are_asked_for_the_user(bench: Bench) -> None:
    bench.store.delivered = [DeliveryStatus(ID, "bob", True)]
    members = await bench.answer(MEMBERS)
    assert (members["type"], members["conversation"]) == ("member_list", ROOM)
    deliveries = await bench.answer(AskDelivery("q", (ID,)))
    assert [each["user"] for each in deliveries["items"]] == ["bob"]
    assert bench.store.questions == [("members", "alice", ROOM), ("statuses", "alice", ID)]


async def test_a_page_is_asked_for_as_the_client_did(bench: Bench) -> None:
    bench.store.page = HistoryPage((message(3), message(5)), False, {0: 9})
    page = await bench.answer(AskHistory("q", ROOM, 8, None, 2))
    assert bench.store.questions == [HistoryQuery("alice", ROOM, 8, None, 2)]
    assert [each["offset"] for each in page["messages"]] == [3, 5]
    assert (page["from"], page["to"], page["complete"]) == (3, 7, False)


@pytest.mark.parametrize(
    ("before", "after", "offsets", "complete", "expected"),
    [
        (None, None, [3, 5], False, (3, 19)),  # the newest: up to all that is applied
        (None, None, [3, 5], True, (0, 19)),
        (None, None, [], True, (0, 19)),
        (10, None, [3, 5], False, (3, 9)),
        (10, None, [3, 5], True, (0, 9)),
        (10, None, [], True, (0, 9)),
        (99, None, [5], False, (5, 19)),  # what is not applied yet is not known
        (None, 2, [3, 5], False, (3, 5)),  # there is more behind it
        (None, 2, [3, 5], True, (3, 19)),
        (None, 2, [], True, (3, 19)),
        (None, 99, [], True, (100, 99)),  # nothing is known so far ahead
        (None, None, [30], True, (0, 30)),
    ],
)
def test_a_page_has_all_that_is_visible_within_its_bounds(
    before: int | None,
    after: int | None,
    offsets: list[int],
    complete: bool,
    expected: tuple[int, int],
) -> None:
    query = HistoryQuery("alice", ROOM, before, after, 10)
    page = HistoryPage(tuple(map(message, offsets)), complete, {0: 20, 1: 500})
    assert bounds(query, page, 0) == expected


@pytest.mark.parametrize("after", [None, 5])
def test_the_bounds_of_a_store_that_has_applied_nothing(after: int | None) -> None:
    first, last = bounds(HistoryQuery("alice", ROOM, None, after, 10), HistoryPage((), True), 0)
    assert (first, last) == ((0, 0) if after is None else (6, 5))


def items(*names: str) -> list[ListedConversation]:
    return [ListedConversation(name, None, None, 1, 1_000, None, 0, 0) for name in names]


async def test_a_full_page_of_a_list_names_the_next(bench: Bench) -> None:
    bench.store.items = items("dm:alice:b", "dm:alice:c.d", "dm:alice:e")
    first = await bench.answer(AskList("q", None, 2))
    assert len(first["items"]) == 2
    await bench.answer(AskList("q", first["next"], 2))
    assert bench.store.questions == [
        ListQuery("alice", None, 2),
        ListQuery("alice", (1_000, "dm:alice:c.d"), 2),
    ]


async def test_the_last_page_names_none(bench: Bench) -> None:
    bench.store.items = items("dm:alice:b")
    assert "next" not in await bench.answer(AskList("q", None, 2))


@pytest.mark.parametrize(
    "after", ["", ".", "7", "7.", ".x", "-7.x", "\u0667.x", "x.x", "9" * 16 + ".x", "7.a\x00"]
)
async def test_a_place_in_the_list_that_is_none_of_ours_is_refused(
    bench: Bench, after: str
) -> None:
    """Before a store has to make sense of it."""
    error = await bench.answer(AskList("q", after, 2))
    assert (error["code"], error["request"]) == ("bad_frame", "q")
    assert bench.store.questions == []


# By request --------------------------------------------------------------------------------------


async def test_of_one_user_as_many_requests_wait_as_of_one_session(bench: Bench) -> None:
    bench.store.may_answer.clear()
    asked = [
        asyncio.create_task(bench.reading.ask("alice", MEMBERS)) for _ in range(WAITING_QUESTIONS)
    ]
    await go_round(20)
    error = orjson.loads(await bench.reading.ask("alice", MEMBERS))
    assert (error["type"], error["code"]) == ("error", "busy")
    other = asyncio.create_task(bench.reading.ask("bob", MEMBERS))
    bench.store.may_answer.set()
    answers = [orjson.loads(each) for each in await asyncio.gather(*asked, other)]
    assert {each["type"] for each in answers} == {"member_list"}
    assert orjson.loads(await bench.reading.ask("alice", MEMBERS))["type"] == "member_list"


async def test_the_product_in_nobodys_name_sees_who_is_in_a_room(bench: Bench) -> None:
    """As its first member does; and a room without any is none for anybody."""
    bench.store.known[ROOM] = room("bob", "alice")
    await bench.reading.ask("backend", MEMBERS, is_product=True)
    await bench.reading.ask("backend", MEMBERS)
    bench.store.known[ROOM] = room()
    await bench.reading.ask("backend", MEMBERS, is_product=True)
    await bench.reading.ask("backend", AskHistory(None, ROOM, None, None, 1), is_product=True)
    asked = [each[1] for each in bench.store.questions if each[0] == "members"]  # type: ignore[index]
    assert asked == ["bob", "backend", "backend"]
    assert isinstance(bench.store.questions[-1], HistoryQuery)
    assert bench.store.questions[-1].user == "backend"


# What must not happen ----------------------------------------------------------------------------


@pytest.mark.parametrize(("question", "left"), [
    (AskHistory("q", ROOM, None, None, 100), slice(-13, None)),
    (AskHistory("q", ROOM, None, -1, 100), slice(0, 13)),
])  # fmt: skip
async def test_a_page_is_bounded_in_bytes_as_they_are_written(
    bench: Bench, question: AskHistory, left: slice
) -> None:
    """What has to be escaped is six times as large as it is."""
    large = tuple(replace(message(offset), content="\x01" * 10_000) for offset in range(50))
    bench.store.page = HistoryPage(large, True, {0: 50})
    page = await bench.answer(question)
    assert [each["offset"] for each in page["messages"]] == list(range(50))[left]
    assert page["complete"] is False
    assert (page["from"], page["to"]) == ((37, 49) if question.after is None else (0, 12))


async def test_a_defect_costs_the_answer_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_arguments: object) -> None:
        raise OverflowError("surprise")

    monkeypatch.setattr(bench.store, "members", fails)
    client = Client()
    bench.reading.put(client, MEMBERS)
    bench.reading.put(client, AskList("2", None, 10))
    await until(lambda: client.requests == ["q", "2"], "both are answered")
    assert client.answers[0]["code"] == "unavailable"
