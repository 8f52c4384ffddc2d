"""Sends on their way into the log: one flight per message id, three possible answers.

A send without `retry` goes straight to the log. A repeat (`retry`) is first looked for in the
store, once that has applied everything that the partition of its conversation holds now; if it is
not there it is appended, and looked for again: another server may have appended the original in
the meantime, and then that one's position is the message's.

A client that repeats a send may have been accepted already. So a repeat is never answered
`rejected`, only `accepted` or `unknown`.
"""

from collections import OrderedDict
from dataclasses import dataclass

from landline.delivery.decisions import AppendMessage, ConfirmPosition, Decision, FindOriginal
from landline.delivery.flights import Flight, Waiter
from landline.model import Appended, Message, Position
from landline.ports import Clock
from landline.protocol.frames import Send
from landline.protocol.identity import direct_conversation, message_id
from landline.protocol.records import MessageRecord
from landline.protocol.times import rfc3339

# What may be on its way to the log at once. The log bounds itself too; this bound is ours.
FLIGHTS = 32_768
FLIGHT_BYTES = 32 * 1024 * 1024
# Accepted ids remembered for repeats without `retry`.
RECENT_IDS = 16_384
RECENT_SECONDS = 120.0
# Other servers let a repeat wait for REPEAT_SECONDS before they look for its original. An original
# that is not in the log by then has been under way for longer than SLOW_SECONDS, so that its own
# server asks the store which of the two records counts, before it shows anybody an offset. The rest
# is for what goes unseen of the time before a frame was read (`landline.delivery.unread`).
REPEAT_SECONDS = 0.5
SLOW_SECONDS = 0.35


@dataclass(slots=True)
class Recent:
    """An acceptance of a message, for whoever repeats it.

    `is_confirmed`: the store has said that this is the message's position. Otherwise the log has,
    and another server may have appended the same message earlier.
    """

    conversation: str
    position: Position
    time_ms: int
    noted_at: float
    is_confirmed: bool


class Sends:
    """All flights of this server, and the acceptances it remembers."""

    def __init__(self, out: list[Decision], clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._bytes = 0
        self._recent: OrderedDict[str, Recent] = OrderedDict()  # quick at its front

    def __len__(self) -> int:
        return len(self._flights)

    def is_full(self) -> bool:
        """Say whether another flight would exceed the bounds."""
        return len(self._flights) >= FLIGHTS or self._bytes >= FLIGHT_BYTES

    def record(self, sender: str, send: Send, fresh_id: str | None) -> MessageRecord:
        """Return the record that a send stands for."""
        conversation = direct_conversation(sender, send.to)
        if send.ref is None:
            assert fresh_id is not None, "a send without ref needs a fresh id"
            id = fresh_id
        else:
            id = message_id(sender, send.ref, conversation, send.content)
        created_at = rfc3339(self._clock.wall_ms())
        return MessageRecord(
            id, send.ref, conversation, sender, (send.to,), send.content, created_at
        )

    def flight(self, message_id: str) -> Flight | None:
        """Return the flight of this message, if it is under way."""
        return self._flights.get(message_id)

    def recent(self, message_id: str, *, retry: bool) -> Recent | None:
        """Return the acceptance of this message, if it is remembered, and good enough: with `retry`
        the answer is the original position, which only the store knows.
        """
        recent = self._recent.get(message_id)
        return recent if recent is not None and (recent.is_confirmed or not retry) else None

    def start(self, record: MessageRecord, waiter: Waiter) -> None:
        """Start a flight: to the log, or for a repeat to the store first."""
        value = record.encode()
        flight = Flight(record, len(value), waiter.retry, self._clock.monotonic(), [waiter])
        waiter.size_bytes = flight.size_bytes
        self._flights[record.message_id] = flight
        self._bytes += flight.size_bytes
        if waiter.retry:
            self._out.append(FindOriginal(flight))
        else:
            self._out.append(AppendMessage(flight, value))

    def join(self, flight: Flight, waiter: Waiter) -> None:
        """Wait for a flight that is under way; for a repeat its position will be confirmed."""
        waiter.size_bytes = flight.size_bytes
        flight.waiters.append(waiter)
        flight.retry = flight.retry or waiter.retry

    def append_after_all(self, flight: Flight) -> None:
        """Append a repeat whose original is not in the log."""
        self._out.append(AppendMessage(flight, flight.record.encode()))

    def confirm(self, flight: Flight, appended: Appended, *, is_urgent: bool) -> None:
        """Find out whether an appended message has the position that counts. `is_urgent`: others
        wait behind it.
        """
        flight.appended = appended
        self._out.append(ConfirmPosition(flight, appended.position, is_urgent=is_urgent))

    def land(self, flight: Flight) -> list[Waiter]:
        """End a flight. Returns who waits for its answer."""
        if self._flights.pop(flight.record.message_id, None) is not None:
            self._bytes -= flight.size_bytes
        return flight.waiters

    def remember(self, message: Message, *, is_confirmed: bool) -> None:
        """Remember an acceptance. Only a message with a ref can be repeated."""
        now = self._clock.monotonic()
        self._recent.pop(message.id, None)  # what is confirmed later is newer: to the end
        self._recent[message.id] = Recent(
            message.conversation, message.position, message.time_ms, now, is_confirmed
        )
        if len(self._recent) > RECENT_IDS:
            self._recent.popitem(last=False)

    def forget_old(self) -> None:
        """Forget acceptances of long ago: an idle server remembers none."""
        horizon = self._clock.monotonic() - RECENT_SECONDS
        while self._recent:
            if next(iter(self._recent.values())).noted_at > horizon:
                return
            self._recent.popitem(last=False)
