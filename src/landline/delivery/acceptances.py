"""The acceptances that this server remembers, for clients that repeat a send without `retry`."""

from collections import OrderedDict
from dataclasses import dataclass

from landline.model import Message, Position
from landline.ports import Clock

REMEMBERED_ACCEPTANCES = 16_384
REMEMBERED_SECONDS = 120.0


@dataclass(slots=True)
class KnownAcceptance:
    """The answer that a message was given.

    `is_confirmed`: the store has said that this is the message's position. Otherwise the log has,
    and another server may have appended the same message earlier.
    """

    conversation: str
    position: Position
    time_ms: int
    noted_at: float
    is_confirmed: bool


class KnownAcceptances:
    """The last acceptances, by the message's id. Bounded; empty when idle."""

    __slots__ = ("_clock", "_remembered")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # An OrderedDict: a dict gets slow at its front, where it is emptied (it skips holes).
        self._remembered: OrderedDict[str, KnownAcceptance] = OrderedDict()

    def find(self, message_id: str, *, retry: bool) -> KnownAcceptance | None:
        """Return the acceptance of a message if it is remembered and good enough: with `retry` the
        answer is the original position, which only the store knows.
        """
        known = self._remembered.get(message_id)
        return known if known is not None and (known.is_confirmed or not retry) else None

    def remember(self, message: Message, *, is_confirmed: bool) -> None:
        """Remember an acceptance. Only a message with a ref can be repeated."""
        now = self._clock.monotonic()
        self._remembered.pop(message.id, None)  # what is confirmed later is newer: to the end
        self._remembered[message.id] = KnownAcceptance(
            message.conversation, message.position, message.time_ms, now, is_confirmed
        )
        if len(self._remembered) > REMEMBERED_ACCEPTANCES:
            self._remembered.popitem(last=False)

    def forget_old(self) -> None:
        """Forget acceptances of long ago."""
        horizon = self._clock.monotonic() - REMEMBERED_SECONDS
        while self._remembered and next(iter(self._remembered.values())).noted_at <= horizon:
            self._remembered.popitem(last=False)
