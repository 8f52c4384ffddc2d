"""Who may write to whom: what the product has said, for a while, and the questions that are open.

The product is asked before the first message of a sender to a recipient, and again when its answer
has grown old. All who wait for the same answer share one question. However the product does, nobody
waits longer than a question's deadline, and a product that is down is left alone for a moment.

What one user does is no trouble to others: they have few questions open at a time, and a product
that answers badly about a pair still answers.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from landline.delivery.flights import Bar
from landline.errors import BadAnswer, Unavailable
from landline.observability.logging import get_logger
from landline.observability.metrics import Measured, series
from landline.ports import Clock
from landline.protocol.codes import ErrorCode

# From the first who wants to know; the wait for a free place is part of it.
ASK_SECONDS: Final = 2.0
# What is remembered: some 30 MB when it is full, and the pairs that were needed last stay.
PAIRS: Final = 100_000
# At once, so that a burst of new pairs is no burst of connections for the product.
QUESTIONS: Final = 64
# Beyond this they would wait longer than the deadline at a product that takes 60 ms.
OPEN_QUESTIONS: Final = 2_048
# Of one sender: a small part of those asked at once, whatever else they have sent.
OPEN_QUESTIONS_OF_ONE: Final = 8
# Dropped at a time, when they have grown old: the event loop has other things to do.
FORGOTTEN_TOGETHER: Final = 500
# A pair that had no answer: or a sender who tries again at once would have the product asked.
FAILED_SECONDS: Final = 2.0
# After so many questions in a row without any answer nobody is asked for a second. So who writes to
# many at once waits for a few deadlines, not for one after the other. A status such as 500 is an
# answer: it may be about one pair only, which its sender has chosen.
FAILURES_IN_A_ROW: Final = 4
PAUSE_SECONDS: Final = 1.0
_WARN_SECONDS: Final = 30.0

Pair = tuple[str, str]
# `ask(sender, to)` says whether that is allowed. Raises: BadAnswer, where the answer says nothing;
# Unavailable, where there is none.
Ask = Callable[[str, str], Awaitable[bool]]

log = get_logger(__name__)


class Verdict(Enum):
    """What is known of a pair."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


# What it means for a send.
BARS: Final[Mapping[Verdict, Bar | None]] = {
    Verdict.ALLOWED: None,
    Verdict.REFUSED: Bar(ErrorCode.FORBIDDEN, "you may not write to this user"),
    Verdict.UNANSWERED: Bar(
        ErrorCode.BUSY, "whether you may write to this user cannot be found out now; send again"
    ),
}


class Authorizing(NamedTuple):
    """Who is asked, for how long an answer counts, and whether no answer lets a message through."""

    ask: Ask
    ttl_seconds: float
    is_open: bool


class _Known(NamedTuple):
    verdict: Verdict
    until: float


class Permissions:
    """What the product has said of pairs of a sender and a recipient."""

    def __init__(
        self,
        authorizing: Authorizing,
        *,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`spawn` makes a task that the hub owns."""
        self.clock = clock
        self._ask, self._ttl_seconds, is_open = authorizing
        self._without_answer = Verdict.ALLOWED if is_open else Verdict.UNANSWERED
        self._spawn = spawn
        # An OrderedDict, and not a dict, whose front gets slow where it is emptied.
        self._known: OrderedDict[Pair, _Known] = OrderedDict()
        self._open: dict[Pair, asyncio.Future[Verdict]] = {}
        self._open_of: Counter[str] = Counter()  # by sender
        self._places = asyncio.Semaphore(QUESTIONS)
        self._failures_in_a_row = 0
        self._paused_until = float("-inf")
        self._warn_again_at = float("-inf")
        self._has_warned = False
        self._has_ended = False
        self._asked = self._allowed = self._refused = self._failed = 0

    def measure(self) -> Measured:
        """Return what the metrics show of the questions."""
        return _measured(self._asked, self._allowed, self._refused, self._failed)

    def recall(self, sender: str, to: str, *, is_service: bool = False) -> Verdict | None:
        """Return what holds now without a wait; None: `find_out`. Nobody is asked about the
        product's own messages, nor about those to oneself.
        """
        if is_service or sender == to:
            return Verdict.ALLOWED
        pair, now = (sender, to), self.clock.monotonic()
        known = self._known.get(pair)
        if known is not None and now < known.until:
            self._known.move_to_end(pair)
            return known.verdict
        if pair in self._open:
            return None
        if self._has_ended:
            return Verdict.UNANSWERED
        if now < self._paused_until:
            self._failed += 1
            return self._without_answer
        if self._open_of[sender] >= OPEN_QUESTIONS_OF_ONE or len(self._open) >= OPEN_QUESTIONS:
            self._failed += 1
            return Verdict.UNANSWERED  # open or not: the product would have answered
        return None

    async def find_out(self, sender: str, to: str) -> Verdict:
        """Return what the product says, within `ASK_SECONDS`. Whoever stops waiting stops nobody
        else.
        """
        pair = (sender, to)
        question = self._open.get(pair)
        if question is None:
            question = asyncio.get_running_loop().create_future()
            self._open[pair] = question
            self._open_of[sender] += 1
            self._spawn(self._put(pair, question))
        return await asyncio.shield(question)

    def forget_old(self) -> None:
        """Let time pass: forget answers that do not count any more. Those that were not needed for
        longest come first, so one that counts still may hide others, for its time.
        """
        now = self.clock.monotonic()
        for _ in range(FORGOTTEN_TOGETHER):
            pair, known = next(iter(self._known.items()), (None, None))
            if pair is None or known is None or now < known.until:
                return
            del self._known[pair]

    def end(self) -> None:
        """The server stops: whoever waits has no answer, and nobody is asked any more."""
        self._has_ended = True
        for question in self._open.values():
            if not question.done():
                question.set_result(Verdict.UNANSWERED)

    # Inside ----------------------------------------------------------------------------------

    async def _put(self, pair: Pair, question: asyncio.Future[Verdict]) -> None:
        is_asked = False
        try:
            async with asyncio.timeout(ASK_SECONDS), self._places:
                self._asked += 1
                is_asked = True
                is_allowed = await self._ask(*pair)
        except BadAnswer as error:
            self._failures_in_a_row = 0
            verdict = self._note_failure(pair, error)
        except (TimeoutError, Unavailable) as error:
            verdict = self._note_silence(pair, error) if is_asked else self._note_no_place()
        else:
            verdict = self._note_answer(pair, is_allowed)
        finally:
            del self._open[pair]
            self._open_of[pair[0]] -= 1
            if not self._open_of[pair[0]]:
                del self._open_of[pair[0]]
        if not question.done():
            question.set_result(verdict)

    def _note_answer(self, pair: Pair, is_allowed: bool) -> Verdict:
        self._failures_in_a_row = 0
        if self._has_warned:
            self._has_warned = False
            log.info("authorize_answers_again")
        verdict = Verdict.ALLOWED if is_allowed else Verdict.REFUSED
        self._allowed += is_allowed
        self._refused += not is_allowed
        self._remember(pair, verdict, self._ttl_seconds)
        return verdict

    def _note_no_place(self) -> Verdict:
        """Nothing was asked. That lets it through only where the product does not answer others."""
        self._failed += 1
        is_down = self.clock.monotonic() < self._paused_until
        return self._without_answer if is_down else Verdict.UNANSWERED

    def _note_silence(self, pair: Pair, error: Exception) -> Verdict:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:
            self._paused_until = self.clock.monotonic() + PAUSE_SECONDS
        return self._note_failure(pair, error)

    def _note_failure(self, pair: Pair, error: Exception) -> Verdict:
        now = self.clock.monotonic()
        self._failed += 1
        if now >= self._warn_again_at:
            self._warn_again_at = now + _WARN_SECONDS
            self._has_warned = True
            reason = str(error) or f"it did not answer within {ASK_SECONDS:g} s"
            log.warning("authorize_fails", reason=reason)
        self._remember(pair, self._without_answer, min(self._ttl_seconds, FAILED_SECONDS))
        return self._without_answer

    def _remember(self, pair: Pair, verdict: Verdict, seconds: float) -> None:
        self._known[pair] = _Known(verdict, self.clock.monotonic() + seconds)
        self._known.move_to_end(pair)
        if len(self._known) > PAIRS:
            self._known.popitem(last=False)


def _measured(asked: int, allowed: int, refused: int, failed: int) -> Measured:
    return {
        series("landline_authorize_asked_total"): asked,
        series("landline_authorize_allowed_total"): allowed,
        series("landline_authorize_refused_total"): refused,
        series("landline_authorize_failed_total"): failed,
    }


# Where nobody is asked: who alerts on these finds them all the same.
NOTHING_ASKED: Final = _measured(0, 0, 0, 0)
