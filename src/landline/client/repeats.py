"""Sends without an answer, and how those that the server could not take are repeated.

A server that says `busy` or `unavailable` is in trouble, and more sends would make that worse. So
the sends to that recipient wait in line. After a growing time one of them is tried. Once it is
taken the others follow, twice as many each time. Sends to other recipients do not wait: the trouble
may concern one conversation only.

A send whose answer was never seen goes before those that were not tried yet. The server looks for
it in the log first, and the others would overtake it meanwhile.
"""

import asyncio
import random
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

from landline.client.events import Acceptance
from landline.client.outbox import Draft
from landline.client.reconnecting import LONGEST_ASKED_SECONDS

# Sends without an answer at the server; it reads no more than these.
IN_FLIGHT = 128
# What is on its way behind a send that is too fast must be refused too, or it is accepted first.
# The server refuses it for half a second (`landline.delivery.intake`). So no more is on its way
# than a slow line carries in that time; the last one may be larger.
IN_FLIGHT_BYTES = 32 * 1024
FIRST_REPEAT_SECONDS = 0.5
LAST_REPEAT_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class UnansweredSend:
    """A draft and how far it has come.

    `place`: its place in the order of the calls. `is_uncertain`: some try may have reached the
    log. `forbidden`: how often its sender was told that they may not. `is_awaited`: a caller waits
    for the answer. `is_kept`: it is in the outbox, so a later chat sends it if this one ends.
    `is_in_line`: it waits in the line of its recipient.
    """

    draft: Draft
    answer: asyncio.Future[Acceptance]
    place: int
    is_uncertain: bool = False
    is_awaited: bool = False
    is_kept: bool = False
    is_in_line: bool = False
    forbidden: int = 0
    sent_at: float | None = None
    sent_bytes: int = 0

    def fail(self, problem: BaseException) -> None:
        """Give a problem as the answer."""
        self.answer.set_exception(problem)
        self.answer.exception()  # asyncio would complain where nobody waits for it


@dataclass(slots=True)
class _RecipientLine:
    """One recipient's sends: those that wait, those that were let through and are not written yet,
    those being tried, and how many may be.
    """

    waiting: list[UnansweredSend] = field(default_factory=list)
    let_through: set[UnansweredSend] = field(default_factory=set)
    tried: set[UnansweredSend] = field(default_factory=set)
    room: int = IN_FLIGHT
    refusals: int = 0
    timer: asyncio.TimerHandle | None = None

    def add(self, send: UnansweredSend) -> None:
        """Have a send wait, in its place."""
        if not send.is_in_line:
            send.is_in_line = True
            insort(self.waiting, send, key=_place)

    def next(self) -> UnansweredSend | None:
        """Take the send that may go now, if there is one."""
        ahead = (*self.tried, *self.let_through)
        if not self.waiting or len(ahead) >= self.room:
            return None
        send = self.waiting[0]
        if not send.is_uncertain and any(other.is_uncertain for other in ahead):
            return None
        del self.waiting[0]
        send.is_in_line = False
        self.let_through.add(send)
        return send

    def forget(self, send: UnansweredSend) -> bool:
        """Forget a send that is answered; it may still wait, where a server answers twice. Returns
        whether it was one of the line.
        """
        is_of_line = send.is_in_line or send in self.let_through or send in self.tried
        if send.is_in_line:
            send.is_in_line = False
            self.waiting.remove(send)
        self.let_through.discard(send)
        self.tried.discard(send)
        return is_of_line

    def call_back(self) -> None:
        """Have those wait again that are not written yet: one before them was refused."""
        while self.let_through:
            self.add(self.let_through.pop())


class RepeatLines:
    """The lines of the recipients to whom a send must be tried again."""

    def __init__(self, let_through: Callable[[UnansweredSend], None]) -> None:
        self._let_through = let_through
        self._lines: dict[str, _RecipientLine] = {}

    def holds_back(self, send: UnansweredSend) -> bool:
        """Say whether a send must wait in line. If so, it is let through when it may go; otherwise
        it has to be written now.
        """
        line = self._lines.get(send.draft.to)
        if line is None:
            if not send.is_uncertain:
                return False
            line = self._lines[send.draft.to] = _RecipientLine()
        if send in line.let_through:
            line.let_through.remove(send)
            line.tried.add(send)
            return False
        line.add(send)
        if line.timer is None:
            self._go_on(line)
        return True

    def refused(self, send: UnansweredSend, asked_seconds: float = 0.0) -> None:
        """The server could not take a send now. It waits, and so do those behind it."""
        line = self._lines.setdefault(send.draft.to, _RecipientLine())
        line.tried.discard(send)
        line.add(send)
        line.call_back()
        if line.timer is not None:
            return  # one of those that were on their way when the first was refused
        line.room = 1
        line.refusals += 1
        delay = repeat_delay(line.refusals, asked_seconds)
        line.timer = asyncio.get_running_loop().call_later(delay, self._try_again, line)

    def answered(self, send: UnansweredSend) -> None:
        """A send has its final answer: more of those that wait may go."""
        line = self._lines.get(send.draft.to)
        if line is None or not line.forget(send):
            return
        line.room += 1
        line.refusals = max(0, line.refusals - 1)
        if line.timer is None:
            self._go_on(line)
            if not line.tried and not line.let_through:
                del self._lines[send.draft.to]

    def clear(self) -> None:
        """Forget all lines: the connection is gone, and the next one begins with every send."""
        for line in self._lines.values():
            if line.timer is not None:
                line.timer.cancel()
            for send in line.waiting:
                send.is_in_line = False
        self._lines.clear()

    def _try_again(self, line: _RecipientLine) -> None:
        line.timer = None
        self._go_on(line)

    def _go_on(self, line: _RecipientLine) -> None:
        while (send := line.next()) is not None:
            self._let_through(send)


def repeat_delay(refusals: int, asked_seconds: float = 0.0) -> float:
    """Return the seconds before the next try: growing, with jitter, and at least what the server
    asked for.
    """
    ceiling = min(LAST_REPEAT_SECONDS, FIRST_REPEAT_SECONDS * 2 ** min(refusals - 1, 10))
    delay = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, not a secret
    return min(asked_seconds, LONGEST_ASKED_SECONDS) + delay


def _place(send: UnansweredSend) -> int:
    return send.place
