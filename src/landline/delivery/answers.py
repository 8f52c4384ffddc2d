"""What senders are told of their sends."""

from collections.abc import Mapping
from math import ceil

from landline.delivery.acceptances import KnownAcceptance
from landline.delivery.counters import Counters
from landline.delivery.decisions import Decision, Transmit
from landline.delivery.flights import Waiter
from landline.delivery.sender import Sender
from landline.model import Message
from landline.protocol import server_frames
from landline.protocol.codes import ErrorCode, Outcome


class Answers:
    """Answers those senders that are still here, and counts the answers."""

    def __init__(
        self, senders: Mapping[str, Sender], out: list[Decision], counters: Counters
    ) -> None:
        self._senders = senders
        self._out = out
        self._counters = counters
        self.is_draining = False

    def accepted(
        self, waiters: list[Waiter], message_id: str, accepted: KnownAcceptance | Message
    ) -> None:
        """The message is in the log."""
        for waiter in waiters:
            self._counters.accepted += 1
            if waiter.sender in self._senders:
                frame = server_frames.accepted(
                    ref=waiter.ref,
                    id=message_id,
                    conversation=accepted.conversation,
                    offset=accepted.position.offset,
                    time_ms=accepted.time_ms,
                )
                self._out.append(Transmit(waiter.sender, frame))

    def rejected(self, waiter: Waiter, code: ErrorCode, reason: str) -> None:
        """The message is not in the log, and never will be."""
        if waiter.sender in self._senders:
            self._counters.rejected += 1
            self._error(waiter, code, Outcome.REJECTED, reason)

    def unknown(
        self, waiters: list[Waiter], reason: str, code: ErrorCode = ErrorCode.UNAVAILABLE
    ) -> None:
        """Nobody here knows whether the message is in the log, or will be."""
        for waiter in waiters:
            # While draining, silence and the close that follows make the client repeat as well.
            if waiter.sender in self._senders and not self.is_draining:
                self._counters.unknown += 1
                self._error(waiter, code, Outcome.UNKNOWN, reason)

    def too_fast(self, waiter: Waiter, wait_seconds: float, *, is_uncertain: bool) -> None:
        """Refuse what comes too early. `is_uncertain`: it may be in the log since an earlier try,
        or get there.
        """
        outcome = Outcome.UNKNOWN if is_uncertain else Outcome.REJECTED
        self._counters.rejected += not is_uncertain
        self._counters.unknown += is_uncertain
        wait_ms = ceil(wait_seconds * 1000)
        reason = f"this user sends too fast; send again after {wait_ms} ms"
        self._error(waiter, ErrorCode.TOO_FAST, outcome, reason, wait_ms)

    def _error(
        self,
        waiter: Waiter,
        code: ErrorCode,
        outcome: Outcome,
        reason: str,
        retry_after_ms: int | None = None,
    ) -> None:
        self._counters.error(code)
        error = server_frames.error(
            code, reason, outcome=outcome, ref=waiter.ref, retry_after_ms=retry_after_ms
        )
        self._out.append(Transmit(waiter.sender, error))
