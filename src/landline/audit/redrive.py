"""What stands in quarantine and can be read by now is put at the end of the log again.

There the writer applies it as it applies every record. A row of `quarantine` is removed once the
log has acknowledged its new record. Whatever stops this in between, the next time appends some of
them again, which changes nothing: a message has its id, and a receipt only joins. The new record
names the old position, so that whoever adds up the log knows that it does not count there.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from landline.audit.comparison import place
from landline.errors import LogUnavailable
from landline.model import Appended, AppendResult, Position
from landline.ports import EventLog
from landline.protocol.records import (
    BadRecord,
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptRecord,
    Record,
    RoomRecord,
    decode_record,
    redriven,
)

_KINDS: dict[type[Record], str] = {
    MessageRecord: "message",
    ReceiptRecord: "receipt",
    RoomRecord: "room",
    MemberRecord: "member",
    ReadRecord: "read",
    DeviceRecord: "device",
}
# Kinds that decide who is owed what comes after them.
_DECIDING = ("room", "member", "device")


class QuarantinedRecord(NamedTuple):
    """A row of `quarantine`."""

    position: Position
    value: bytes


class Quarantine(Protocol):
    """The table `quarantine`. Raises everywhere: StartupError."""

    def records(self) -> AsyncIterator[Sequence[QuarantinedRecord]]:
        """Yield what is in it, in the order of the positions, in pages of a bounded size. Rows of
        a page may be removed before the next one is asked for.
        """

    async def remove(self, positions: Collection[Position]) -> None:
        """Remove rows."""


@dataclass(slots=True)
class Redriven:
    """What was done: `appended` by kind. What stays cannot be read."""

    appended: Counter[str] = field(default_factory=Counter)
    staying: int = 0


class _Plan(NamedTuple):
    origin: Position
    kind: str
    key: str
    value: bytes
    partition: int | None


async def redrive(
    event_log: EventLog, quarantine: Quarantine, tell: Callable[[str], None]
) -> Redriven:
    """Append what can be read, remove its rows, and `tell` of each, never of its content.

    Raises: LogUnavailable when the log does not take a record, StartupError. What was told by then
    is done, and the rest is as it was.
    """
    done = Redriven()
    # What comes back to quarantine meanwhile stands beyond: it is not appended for ever.
    ends = await event_log.ends()
    async for page in quarantine.records():
        plans = []
        for row in page:
            if row.position.offset >= ends.get(row.position.partition, row.position.offset + 1):
                continue
            try:
                plans.append(_plan(event_log, row))
            except BadRecord as error:
                done.staying += 1
                tell(f"{place(row.position)}: stays: {error}")
        await _carry_out(event_log, quarantine, plans, tell, done)
    return done


def _plan(event_log: EventLog, row: QuarantinedRecord) -> _Plan:
    record = decode_record(row.value)
    kind, value = _KINDS[type(record)], redriven(row.value, row.position)
    if not isinstance(record, DeviceRecord):
        return _Plan(row.position, kind, record.conversation, value, None)
    # It counts in its own partition alone.
    if row.position.partition >= event_log.partitions:
        raise BadRecord("the log does not have its partition any more")
    return _Plan(row.position, kind, record.user, value, row.position.partition)


async def _carry_out(
    event_log: EventLog,
    quarantine: Quarantine,
    plans: Sequence[_Plan],
    tell: Callable[[str], None],
    done: Redriven,
) -> None:
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[AppendResult]] = []
    for plan in plans:
        waiting.append(loop.create_future())
        event_log.append(plan.key, plan.value, waiting[-1].set_result, plan.partition)
    results = [await each for each in waiting]
    appended = [
        (plan, result.position)
        for plan, result in zip(plans, results, strict=True)
        if isinstance(result, Appended)
    ]
    if appended:
        await quarantine.remove([plan.origin for plan, _position in appended])
    for plan, position in appended:
        done.appended[plan.kind] += 1
        tell(f"{place(plan.origin)}: {plan.kind}, appended again at {place(position)}")
        if plan.kind in _DECIDING:
            tell(
                f"warning: {place(plan.origin)}: this {plan.kind} record decides who is owed what."
                f" It takes effect from {place(position)} on, not at its old place"
            )
    for result in results:
        if not isinstance(result, Appended):
            raise LogUnavailable(f"the log did not take a record: {result.reason}")
