"""Answers questions about conversations from the store: lists, pages, members, deliveries.

What was accepted before a question is in its answer, as far as the store has applied it in good
time. A session has one answer at a time, and the next when that one has left: whoever asks much
waits for themselves alone. Sessions take turns at a few readers.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from landline.delivery.rooms import NO_SUCH, NOT_YET
from landline.errors import Unavailable
from landline.model import HistoryPage, HistoryQuery, ListQuery, Message, Positions
from landline.observability.logging import get_logger
from landline.ports import ConversationStore, EventLog, MessageStore
from landline.protocol import server_frames
from landline.protocol.client_frames import (
    AskDelivery,
    AskHistory,
    AskList,
    AskMembers,
    Question,
)
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import is_storable

ANSWER_SECONDS = 5.0
# How long an answer waits for the store to have applied what the log holds.
FRESH_SECONDS = 0.5
READERS = 4
# Of the events of an answer, as they are written; and of a character that JSON has to escape.
PAGE_BYTES = 768 * 1024
ESCAPED_BYTES = 6
# Who waits for that keeps no reader from others.
CATCHING_UP = 64
# Questions of one session that may wait, and how often it is looked whether an answer has left.
WAITING_QUESTIONS = 16
LEFT_SECONDS = 0.02

_TOO_MANY = f"wait for answers: {WAITING_QUESTIONS} questions wait already"

log = get_logger(__name__)


class Asker(Protocol):
    """A connection that asks."""

    session: str

    @property
    def user(self) -> str:
        """Return whose it is."""

    @property
    def is_closing(self) -> bool:
        """Say whether it has said goodbye, or is gone."""

    def is_flushed(self) -> bool:
        """Say whether everything written has left the process."""


class Reading:
    """Carries out questions."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        store: MessageStore,
        conversations: ConversationStore,
        tell: Callable[[Any, bytes], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`tell` gives an asker an answer, in this turn of the loop; `spawn` makes a task that the
        hub owns.
        """
        self._event_log = event_log
        self._store = store
        self._conversations = conversations
        self._tell = tell
        self._spawn = spawn
        self._waiting: dict[str, deque[Question]] = {}  # by session
        self._catching_up = asyncio.Semaphore(CATCHING_UP)
        self._readers = asyncio.Semaphore(READERS)
        self._asked: Counter[str] = Counter()  # users whose requests wait for an answer

    def put(self, asker: Asker, question: Question) -> None:
        """A session asks. Never blocks."""
        waiting = self._waiting.get(asker.session)
        if waiting is None:
            self._waiting[asker.session] = deque([question])
            self._spawn(self._serve(asker))
        elif len(waiting) < WAITING_QUESTIONS:
            waiting.append(question)
        else:
            error = server_frames.error(ErrorCode.BUSY, _TOO_MANY, request=question.request)
            self._tell(asker, error)

    async def _serve(self, asker: Asker) -> None:
        waiting = self._waiting[asker.session]
        try:
            while waiting and not asker.is_closing:
                # A client that does not read is cut off by its write timeout.
                while not (asker.is_flushed() or asker.is_closing):  # noqa: ASYNC110
                    await asyncio.sleep(LEFT_SECONDS)
                self._tell(asker, await self.answer(asker.user, waiting.popleft()))
                await asyncio.sleep(0)  # then it is written
        finally:
            del self._waiting[asker.session]

    async def ask(self, user: str, question: Question, *, is_product: bool = False) -> bytes:
        """Return the answer to a question that comes by request, as `answer` does. So many of one
        user may wait as of one session.
        """
        if self._asked[user] >= WAITING_QUESTIONS:
            return server_frames.error(ErrorCode.BUSY, _TOO_MANY)
        self._asked[user] += 1
        try:
            return await self.answer(user, question, is_product=is_product)
        finally:
            self._asked[user] -= 1
            if not self._asked[user]:
                del self._asked[user]

    async def answer(self, user: str, question: Question, *, is_product: bool = False) -> bytes:
        """Return the answer to a question of a user, as a frame; an `error` where there is none.
        `is_product`: the product's backend asks in nobody's name, and sees who is in which room.
        """
        if self._store.record_version == 1:
            return server_frames.error(NOT_YET.code, NOT_YET.reason, request=question.request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._catching_up:
                    await self._catch_up(question)
                async with self._readers:
                    if is_product and isinstance(question, AskMembers):
                        user = await self._member(question.conversation) or user
                    return await self._answer(user, question)
        except (TimeoutError, Unavailable) as error:
            log.warning("waiting", what="reading", reason=str(error) or "no answer in time")
            reason = "the store does not answer; ask again in a moment"
            return server_frames.error(ErrorCode.UNAVAILABLE, reason, request=question.request)
        except Exception:  # a defect: nothing is lost by it but this answer
            log.exception("question_failed", kind=type(question).__name__)
            reason = "the server has failed to answer this"
            return server_frames.error(ErrorCode.UNAVAILABLE, reason, request=question.request)

    async def _catch_up(self, question: Question) -> None:
        partitions = None
        if isinstance(question, AskHistory | AskMembers):
            partitions = {self._event_log.partition_of(question.conversation)}
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(FRESH_SECONDS):
                await self._store.wait_applied(await self._event_log.ends(partitions))

    async def _answer(self, user: str, question: Question) -> bytes:
        if isinstance(question, AskList):
            return await self._list(user, question)
        if isinstance(question, AskHistory):
            return await self._history(user, question)
        if isinstance(question, AskMembers):
            members = await self._conversations.members(user, question.conversation)
            if members is None:
                return _no_such(question)
            return server_frames.member_list(question.request, question.conversation, members)
        assert isinstance(question, AskDelivery), "there are no others"
        statuses = await self._conversations.statuses(user, question.ids)
        return server_frames.deliveries(question.request, statuses)

    async def _member(self, room: str) -> str | None:
        """Return somebody who is in the room, and sees what is asked for."""
        found = (await self._conversations.rooms([room])).get(room)
        return None if found is None else next(iter(found.members), None)

    async def _list(self, user: str, question: AskList) -> bytes:
        after = None if question.after is None else _place(question.after)
        if question.after is not None and after is None:
            reason = "after must be the next of the page before"
            return server_frames.error(ErrorCode.BAD_FRAME, reason, request=question.request)
        items = await self._conversations.list(ListQuery(user, after, question.limit))
        last = items[-1] if len(items) == question.limit else None
        following = None if last is None else f"{last.last_time_ms}.{last.name}"
        return server_frames.conversations(question.request, items, following)

    async def _history(self, user: str, question: AskHistory) -> bytes:
        query = HistoryQuery(
            user, question.conversation, question.before, question.after, question.limit
        )
        page = await self._conversations.history(query)
        if page is None:
            return _no_such(question)
        page = fitting(page, is_newest_first=query.after is None)
        partition = self._event_log.partition_of(question.conversation)
        first, last = bounds(query, page, partition)
        return server_frames.page(
            question.request,
            question.conversation,
            page.messages,
            first=first,
            last=last,
            complete=page.complete,
        )


def fitting(page: HistoryPage, *, is_newest_first: bool) -> HistoryPage:
    """Return as much of a page as fits into an answer, one event at least."""
    characters = sum(len(each.content) + len(each.data or "") for each in page.messages)
    if characters * ESCAPED_BYTES <= PAGE_BYTES:
        return page
    size_bytes = 0
    kept: list[Message] = []
    for message in reversed(page.messages) if is_newest_first else page.messages:
        size_bytes += len(server_frames.message(message, replay=False))
        if kept and size_bytes > PAGE_BYTES:
            break
        kept.append(message)
    if len(kept) == len(page.messages):
        return page
    if is_newest_first:
        kept.reverse()
    return replace(page, messages=tuple(kept), complete=False)


def bounds(query: HistoryQuery, page: HistoryPage, partition: int) -> tuple[int, int]:
    """Return from where to where a page has everything that is visible.

    What the store has not applied yet lies beyond it. A conversation whose log has grown may have
    events of an older epoch in another partition, which are all below.
    """
    offsets = [each.position.offset for each in page.messages]
    applied: Positions = page.applied
    newest = max([applied.get(partition, 0) - 1, *offsets, 0])
    if query.after is not None:
        last = max(newest, query.after) if page.complete else offsets[-1]
        return query.after + 1, last
    last = newest if query.before is None else min(query.before - 1, newest)
    return (0 if page.complete else offsets[0]), last


def _no_such(question: Question) -> bytes:
    return server_frames.error(NO_SUCH.code, NO_SUCH.reason, request=question.request)


def _place(text: str) -> tuple[int, str] | None:
    time_ms, _, name = text.partition(".")
    is_sound = time_ms.isascii() and time_ms.isdigit() and len(time_ms) <= 15
    return (int(time_ms), name) if is_sound and name and is_storable(name) else None
