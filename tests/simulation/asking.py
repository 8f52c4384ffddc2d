"""What a client asks about conversations, and how far it says that it has seen them.

A question has one answer, or none where the connection ends. A mark is repeated until it comes
back, or until the client has lost patience: whoever is not in the room hears that in an error that
does not say which mark it is about.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from landline.protocol.client_frames import (
    AskDelivery,
    AskHistory,
    AskList,
    AskMembers,
    MarkRead,
    Question,
)
from simulation.link import Link
from simulation.outgoing import digest_of
from simulation.surroundings import Surroundings
from simulation.weather import OUTSIDE

MARK_SECONDS = 3.0
MARK_TRIES = 4


@dataclass
class Asking:
    """The questions and marks of a user that wait."""

    world: Surroundings
    user: str
    waiting: dict[str, tuple[Link, Question, float]] = field(default_factory=dict)
    marks: dict[tuple[str, int], int] = field(default_factory=dict)  # -> how often it was said

    def ask(self, link: Link, question: Question) -> None:
        """Ask; `request` of the question names it."""
        assert question.request is not None, "answers have to be told apart"
        now = asyncio.get_running_loop().time()
        self.waiting[question.request] = (link, question, now)
        link.send(question)

    def ask_list(self, link: Link, after: str | None = None, limit: int = 100) -> None:
        """Ask for conversations."""
        self.ask(link, AskList(self._request(), after, limit))

    def ask_members(self, link: Link, conversation: str) -> None:
        """Ask who is in a conversation."""
        self.ask(link, AskMembers(self._request(), conversation))

    def ask_history(
        self,
        link: Link,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> None:
        """Ask for a page."""
        self.ask(link, AskHistory(self._request(), conversation, before, after, limit))

    def ask_delivery(self, link: Link, ids: tuple[str, ...]) -> None:
        """Ask who has received messages of one's own."""
        self.ask(link, AskDelivery(self._request(), ids))

    def _request(self) -> str:
        return self.world.next_name("q")

    def lost(self, link: Link) -> None:
        """A connection is gone, and no answer comes."""
        self.waiting = {name: each for name, each in self.waiting.items() if each[0] is not link}

    def answered(self, link: Link, frame: dict[str, Any]) -> None:
        """An answer is there. Whatever it leaves out is asked for next."""
        _, question, asked_at = self.waiting.pop(frame["request"])
        items = frame.get("items", [])
        told = ("from", "to", "complete", "next")
        fields: dict[str, Any] = {name: frame[name] for name in told if name in frame}
        if isinstance(question, AskHistory):
            fields |= {"before": question.before, "after": question.after, "limit": question.limit}
            items = [(each["offset"], each["id"], digest_of(each)) for each in frame["messages"]]
        if isinstance(question, AskList):
            fields |= {"after": question.after, "limit": question.limit}
            items = [
                each | {"title": digest_of({"type": "room", "title": each.get("title")})}
                for each in items
            ]
        self._note("answer", link, question, asked_at, what=frame["type"], items=items, **fields)
        if isinstance(question, AskHistory) and not frame["complete"]:
            further: dict[str, Any] = {"before": frame["from"]}
            if question.after is not None:
                further = {"after": frame["to"]}
            self.ask_history(link, question.conversation, **further, limit=question.limit)
        elif isinstance(question, AskList) and "next" in frame:
            self.ask_list(link, frame["next"], question.limit)

    def refused(self, link: Link, frame: dict[str, Any]) -> None:
        """There is no answer."""
        _, question, asked_at = self.waiting.pop(frame["request"])
        self._note("no_answer", link, question, asked_at, code=frame["code"])

    def _note(
        self, kind: str, link: Link, question: Question, asked_at: float, **fields: Any
    ) -> None:
        conversation = getattr(question, "conversation", None)
        self.world.note(
            kind,
            user=self.user,
            c=link.session,
            request=question.request,
            conversation=conversation,
            asked_at=asked_at,
            **fields,
        )

    # How far one has seen ---------------------------------------------------------------------

    def mark(self, link: Link, conversation: str, offset: int) -> None:
        """Say that everything up to there was seen."""
        self.marks[conversation, offset] = self.marks.get((conversation, offset), 0) + 1
        self.world.note(
            "mark", user=self.user, c=link.session, conversation=conversation, offset=offset
        )
        link.send(MarkRead(conversation, offset))
        loop = asyncio.get_running_loop()
        loop.call_later(MARK_SECONDS, self._mark_again, link, conversation, offset, context=OUTSIDE)

    def _mark_again(self, link: Link, conversation: str, offset: int) -> None:
        tries = self.marks.get((conversation, offset), MARK_TRIES)
        if tries < MARK_TRIES and link.is_open:
            self.mark(link, conversation, offset)
        else:  # it came back, or the next session will say how far it is
            self.marks.pop((conversation, offset), None)

    def seen(self, link: Link, frame: dict[str, Any]) -> None:
        """Somebody has seen a conversation up to somewhere. One's own mark is written down then,
        with every one before it.
        """
        self.world.note(
            "read",
            user=self.user,
            c=link.session,
            conversation=frame["conversation"],
            entries=frame["entries"],
        )
        for user, offset in frame["entries"]:
            if user == self.user:
                self.marks = {
                    (name, each): tries
                    for (name, each), tries in self.marks.items()
                    if name != frame["conversation"] or each > offset
                }
