"""Mutants of receipts, of the writer and of the store."""

import asyncio
import dataclasses
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from landline import writer
from landline.delivery import delivery, receipts
from landline.errors import StoreUnavailable, Unstorable
from landline.model import (
    NOWHERE,
    Batch,
    Mailbox,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Stretch,
)
from landline.protocol.fold import fold
from simulation.log import ModelEventLog, ModelLogReader
from simulation.mutants.mutant import mutant, patch
from simulation.store import ModelMessageStore, Store
from simulation.weather import OUTSIDE

# Receipts ----------------------------------------------------------------------------------------


@mutant("a receipt that the log did not take is tried again", "F58", "I15", 27)
def receipts_lost() -> AbstractContextManager[Any]:
    return patch(receipts.Receipts, "not_appended", receipts.Receipts.appended)


@mutant("a sender is told once", "delivery/receipts.py", "I8", 4)
def told_twice() -> AbstractContextManager[Any]:
    return patch(receipts.Told, "note_new", lambda _self, ids, _recipient: list(ids))


@mutant("a sender is told when the receipt is in the log", "F56, F58", "I8 I9", 1)
def delivered_when_pushed() -> AbstractContextManager[Any]:
    end_turn = delivery.Delivery.end_turn

    def acknowledge_first(self: delivery.Delivery) -> None:
        for each in list(self._sessions.values()):
            self._acknowledge(each, each.window.ids())
        end_turn(self)

    return patch(delivery.Delivery, "end_turn", acknowledge_first)


# The writer and the store ------------------------------------------------------------------------


@mutant("rows and offset move in one transaction", "F19", "I1 I2 I2b I2c I9", 9)
def offset_before_rows() -> AbstractContextManager[Any]:
    def apply(self: Store, batch: Batch) -> bool:
        if self.applied.get(batch.partition, 0) != batch.start:
            return False
        self.applied[batch.partition] = batch.end
        asyncio.get_running_loop().call_later(
            self.weather.delay(), self.join, batch, context=OUTSIDE
        )
        return True

    return patch(Store, "apply_one", apply)


@mutant("a partition moves by compare-and-set", "F21", "I10", 2)
def no_compare_and_set() -> AbstractContextManager[Any]:
    def apply(self: Store, batch: Batch) -> bool:
        self.applied[batch.partition] = batch.end
        self.join(batch)
        return True

    return patch(Store, "apply_one", apply)


@mutant("the first record of a message is the message", "F32, F33", "I9 I15", 4)
def status_overwritten() -> AbstractContextManager[Any]:
    join = Store.join

    def upsert(self: Store, batch: Batch) -> None:
        for message in batch.messages:
            self.messages.pop(message.id, None)
        join(self, batch)

    return patch(Store, "join", upsert)


@mutant("within a batch the first record is the message", "F33, F29", "I7 I9", 54)
def fold_keeps_the_last() -> AbstractContextManager[Any]:
    def backwards(stretch: Stretch) -> Sequence[Batch]:
        return fold(dataclasses.replace(stretch, entries=stretch.entries[::-1]))

    return patch(writer, "fold", backwards)


@mutant("a record that can never be applied goes to quarantine", "F27", "I9", 1)
def garbage_skipped() -> AbstractContextManager[Any]:
    def forgetful(stretch: Stretch) -> Sequence[Batch]:
        return [dataclasses.replace(each, quarantined=()) for each in fold(stretch)]

    return patch(writer, "fold", forgetful)


@mutant("readers of the log trust offsets, not counts", "F79", "I1 I2 I9", 1)
def tail_counts() -> AbstractContextManager[Any]:
    """A cache of what this log acknowledged: it lacks what was denied, and takes the next one for
    it.
    """

    def take(self: ModelLogReader, limit: int) -> list[Stretch]:
        stretches = []
        for partition, start in self._at.items():
            entries = self._log.entries[partition]
            cached = [each for each in entries if each.position not in self._log.denied]
            first = bisect_left(entries, Position(partition, start), key=lambda each: each.position)
            if taken := tuple(cached[first : first + limit]):
                self._at[partition] = end = taken[-1].position.offset + 1
                stretches.append(Stretch(partition, start, end, taken))
        return stretches

    return patch(ModelLogReader, "_take", take)


@mutant("trouble of the store is never taken for poison", "F28", "I1 I9", 3)
def trouble_is_poison() -> AbstractContextManager[Any]:
    apply = ModelMessageStore.apply

    async def give_up(self: ModelMessageStore, batches: Sequence[Batch]) -> bool:
        try:
            return await apply(self, batches)
        except StoreUnavailable as error:
            raise Unstorable(str(error)) from error

    return patch(ModelMessageStore, "apply", give_up)


@mutant("a writer that stands by takes over", "F21", "I10 I15 I2b", 15)
def standby_for_ever() -> AbstractContextManager[Any]:
    async def stand_by(self: writer.Writer) -> None:
        while True:
            await self._ask_applied()
            await asyncio.sleep(writer.STAND_BY_SECONDS)

    return patch(writer.Writer, "_stand_by", stand_by)


@mutant("the writer starts from the store's offset", "F22, F24", "I10 I15 I9", 3)
def writer_starts_at_the_end() -> AbstractContextManager[Any]:
    open_reader = ModelEventLog.open_reader

    async def latest(self: ModelEventLog, _start: Positions) -> Any:
        return await open_reader(self, dict(self._log.ends))

    return patch(ModelEventLog, "open_reader", latest)


@mutant("`applied` is of the rows' own snapshot", "F36", "I2 I2b I2c", 128)
def applied_after_rows() -> AbstractContextManager[Any]:
    ask = ModelMessageStore.pending

    async def later(self: ModelMessageStore, queries: Any) -> Any:
        answers = await ask(self, queries)
        applied = await self.applied()
        return [dataclasses.replace(each, applied=applied) for each in answers]

    return patch(ModelMessageStore, "pending", later)


@mutant("pages go by position, never by OFFSET", "F35", "I2 I2b I2c I6 I15", 4)
def pages_by_offset() -> AbstractContextManager[Any]:
    skips: dict[Mailbox, int] = {}
    pending = Store.pending

    def by_count(self: Store, query: PendingQuery) -> Pending:
        skip = skips.get(query.mailbox, 0) if query.after else 0
        rows = pending(self, PendingQuery(query.mailbox, NOWHERE, 1_000)).messages
        skips[query.mailbox] = skip + query.limit
        taken = rows[skip : skip + query.limit]
        is_complete = len(rows) <= skip + query.limit
        return Pending(taken, is_complete, dict(self.applied), dict(self.applied))

    return patch(Store, "pending", by_count)


@mutant("pages are in the order of the log", "F64", "I6 I2 I2b I2c", 1)
def pages_by_id() -> AbstractContextManager[Any]:
    pending = Store.pending

    def by_id(self: Store, query: PendingQuery) -> Pending:
        page = pending(self, query)
        return dataclasses.replace(
            page, messages=tuple(sorted(page.messages, key=lambda each: each.id))
        )

    return patch(Store, "pending", by_id)


@mutant("a message goes to its recipients only", "delivery/delivery.py", "I13", 1)
def pushed_to_the_sender_too() -> AbstractContextManager[Any]:
    push = delivery.Delivery._push_local

    def to_both(self: delivery.Delivery, message: Any, users: Any) -> None:
        push(self, dataclasses.replace(message, device="another"), (*users, message.sender))

    return patch(delivery.Delivery, "_push_local", to_both)
