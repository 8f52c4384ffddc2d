"""The rules of the project, each with a switch that turns it off.

A check that cannot fail is no check: with a rule switched off, the simulation has to report one of
the invariants that the rule is for. A mutant patches the real code, or gives the models a mistake
that an adapter could have. `docs/mutants.md` is made from this table.
"""

import asyncio
import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest import mock

from landline import writer
from landline.delivery import delivery, memory, receipts, sends, session, window
from landline.delivery.decisions import AppendMessage
from landline.errors import StoreUnavailable, Unstorable
from landline.gateway import hub, membership, repeats, replay, routing
from landline.model import (
    NOWHERE,
    Appended,
    Batch,
    NotAppended,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Stretch,
)
from landline.protocol import identity
from landline.protocol.fold import fold
from landline.protocol.partitions import partition_of
from simulation import models

Switch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    """A rule, its switch, the invariants that must break without it, and a seed that shows it.

    `source`: rows of docs/failure-catalogue.md that the rule answers, or the module that keeps it.
    """

    name: str
    rule: str
    source: str
    breaks: frozenset[str]
    seed: int
    switch: Switch


MUTANTS: list[Mutant] = []


def mutant(rule: str, source: str, breaks: str, seed: int) -> Callable[[Switch], Switch]:
    """Enter a switch into the table. `breaks`: any of these; `seed`: a schedule that shows it."""

    def enter(switch: Switch) -> Switch:
        name = switch.__name__.replace("_", " ")
        MUTANTS.append(Mutant(name, rule, source, frozenset(breaks.split()), seed, switch))
        return switch

    return enter


def _patch(target: Any, name: str, value: Any) -> AbstractContextManager[Any]:
    return mock.patch.object(target, name, value)


# Connecting and the sweep ------------------------------------------------------------------------


@mutant("`caught_up` waits until the store has reached the log's ends", "F44", "I2c", 1)
def barrier_ignored() -> AbstractContextManager[Any]:
    begin = session.Session.begin
    return _patch(session.Session, "begin", lambda self, _ends: begin(self, NOWHERE))


@mutant("the ends are read after the directory knows the session", "F44", "I2p", 8000)
def ends_before_register() -> AbstractContextManager[Any]:
    tell = membership.Membership._tell_directory
    enter = membership.Membership._read_ends
    known: dict[str, Positions] = {}

    async def first_the_ends(self: membership.Membership, decisions: Any) -> None:
        ends = await self._ends()
        known.update((decision.session, ends) for decision in decisions)
        await tell(self, decisions)

    async def with_known(self: membership.Membership, decisions: Any) -> None:
        for decision in decisions:
            answer = mock.AsyncMock(return_value=known[decision.session])
            with _patch(self, "_ends", answer):
                await enter(self, [decision])

    @contextmanager
    def switch() -> Iterator[None]:
        with (
            _patch(membership.Membership, "_tell_directory", first_the_ends),
            _patch(membership.Membership, "_read_ends", with_known),
        ):
            yield

    return switch()


@mutant("the sweep finds what no hint told", "F05", "I2b", 5)
def sweep_off() -> AbstractContextManager[Any]:
    return _patch(replay.Replay, "_sweep", mock.AsyncMock())


@mutant("a replay that failed is tried again", "F65", "I15 I2 I2b I2c", 3)
def replay_gives_up() -> AbstractContextManager[Any]:
    async def once(self: replay.Replay, decisions: Any) -> None:
        with suppress(TimeoutError, StoreUnavailable):
            self._give(decisions, await self._try(decisions, replay.STORE_SECONDS))

    return _patch(replay.Replay, "_read_pages", once)


@mutant("a mailbox that cannot be read stops nobody else's replay", "F83", "I15 I2b", 52)
def bad_mailbox_stops_all() -> AbstractContextManager[Any]:
    return _patch(replay.Replay, "_divide", mock.AsyncMock(side_effect=StoreUnavailable("all")))


@mutant("conversations take turns in a session that lags", "F85", "I2b", 8)
def no_turns() -> AbstractContextManager[Any]:
    pull = session.Session.pull

    def in_the_order_of_the_log(self: session.Session) -> None:
        self.ahead.turn = None
        pull(self)

    return _patch(session.Session, "pull", in_the_order_of_the_log)


@mutant("what was pushed ahead of the cursor is not pushed again", "F54, F85", "I5", 0)
def pushed_ahead_forgotten() -> AbstractContextManager[Any]:
    push = session.Session._push_rows

    def forget(self: session.Session, pending: Pending, is_settled: Any) -> Any:
        pushed = push(self, pending, is_settled)
        self.ahead._cursors.clear()
        return pushed

    return _patch(session.Session, "_push_rows", forget)


@mutant("a directory that is down costs latency only", "F48", "defect", 1)
def directory_is_needed() -> AbstractContextManager[Any]:
    @contextmanager
    def switch() -> Iterator[None]:
        never = type("Never", (Exception,), {})
        with _patch(membership, "Unavailable", never), _patch(routing, "Unavailable", never):
            yield

    return switch()


@mutant("only the owner removes a registration of the directory", "F46", "I2p", 80)
def directory_removal_unconditional() -> AbstractContextManager[Any]:
    return _patch(
        models.Registry,
        "remove",
        lambda self, _address, user, _session: self.registrations.pop(user, None),
    )


@mutant("a session's cleanup removes that session and no other", "F49", "I2p", 20)
def cleanup_removes_siblings() -> AbstractContextManager[Any]:
    leave = delivery.Delivery.disconnect

    def all_leave(self: delivery.Delivery, session_id: str) -> None:
        gone = self._sessions.get(session_id)
        leave(self, session_id)
        if gone is not None and gone.user in self._users:
            self._users[gone.user].clear()

    def fewer(self: delivery.Delivery, session_id: str) -> None:
        gone = self._sessions.get(session_id)
        if gone is not None:
            self._users.setdefault(gone.user, {})[session_id] = gone
        all_leave(self, session_id)

    return _patch(delivery.Delivery, "disconnect", fewer)


# A session ---------------------------------------------------------------------------------------


@mutant("an ack names messages, never a position", "F60", "I8", 11)
def ack_by_position() -> AbstractContextManager[Any]:
    acknowledge = window.Window.acknowledge

    def up_to(self: window.Window, ids: Sequence[str]) -> Any:
        known = self.ids()
        last = max((known.index(id) for id in ids if id in known), default=-1)
        return acknowledge(self, known[: last + 1])

    return _patch(window.Window, "acknowledge", up_to)


@mutant("an ack counts for what this session was pushed", "F69", "I8", 1)
def acks_of_anything() -> AbstractContextManager[Any]:
    take = receipts.Receipts.take
    acknowledge = delivery.Delivery._acknowledge

    def anything(self: delivery.Delivery, session: session.Session, ids: Sequence[str]) -> None:
        made_up = [(id, f"dm:{session.user}:{session.user}", "") for id in ids]

        def take_them(self: receipts.Receipts, recipient: str, acknowledged: Any) -> None:
            take(self, recipient, acknowledged or made_up)

        with _patch(receipts.Receipts, "take", take_them):
            acknowledge(self, session, tuple(ids))

    return _patch(delivery.Delivery, "_acknowledge", anything)


@mutant("at most `window` messages are outstanding", "F63", "I14", 1)
def window_unbounded() -> AbstractContextManager[Any]:
    return _patch(window.Window, "room", property(lambda _self: 1_000))


@mutant("a session is pushed a message once", "F06", "I5", 0)
def no_deduplication() -> AbstractContextManager[Any]:
    return _patch(session.Session, "_has", lambda _self, _message: False)


@mutant("the cursor passes only what was pushed", "delivery/session.py", "I2b I2c I2", 4)
def cursor_passes_a_cut_page() -> AbstractContextManager[Any]:
    push = session.Session._push_rows

    def all_of_it(self: session.Session, pending: Pending, is_settled: Any) -> Any:
        return push(self, dataclasses.replace(pending, complete=True), is_settled)

    def page(self: session.Session, query: PendingQuery, pending: Pending, settled: Any) -> None:
        turn(self, query, dataclasses.replace(pending, complete=True), settled)

    turn = session.Session.page

    @contextmanager
    def switch() -> Iterator[None]:
        with (
            _patch(session.Session, "page", page),
            _patch(session.Session, "_push_rows", all_of_it),
        ):
            yield

    return switch()


@mutant("what arrives while catching up is held, or noted as missed", "F64", "I2p", 330)
def held_messages_dropped() -> AbstractContextManager[Any]:
    go_on = session.Session._go_live_or_on

    def forget(self: session.Session) -> None:
        self._held.take_all()
        go_on(self)

    return _patch(session.Session, "_go_live_or_on", forget)


@mutant("a session is live again when it has what it missed", "delivery/session.py", "I2p", 530)
def missed_not_noted() -> AbstractContextManager[Any]:
    return _patch(session.Session, "_miss", lambda _self, _position: None)


@mutant("who waits for the store for long hears live messages meanwhile", "F81", "I2d", 8)
def deaf_while_catching_up() -> AbstractContextManager[Any]:
    return _patch(session.Session, "_is_deaf_for_long", lambda _self: False)


@mutant("what is pushed while the store is away is remembered", "F81", "I5", 4)
def live_pushes_forgotten() -> AbstractContextManager[Any]:
    add = memory.Pushed.add
    push = session.Session._push_live

    def push_only(self: session.Session, message: Any, frame: bytes) -> None:
        is_live = self.state is session.State.LIVE
        with _patch(memory.Pushed, "add", add if is_live else lambda *_: None):
            push(self, message, frame)

    return _patch(session.Session, "_push_live", push_only)


@mutant("a session that ends gives its memory back", "F86", "I14", 7)
def memory_not_given_back() -> AbstractContextManager[Any]:
    return _patch(session.Session, "leave", lambda _self: None)


# Sends -------------------------------------------------------------------------------------------


@mutant("a timeout is `unknown`, never `rejected`", "F01", "I3 I12", 3)
def timeout_is_rejection() -> AbstractContextManager[Any]:
    fail = sends.Sends._fail
    return _patch(
        sends.Sends,
        "_fail",
        lambda self, flight, result: fail(self, flight, NotAppended(True, result.reason)),
    )


@mutant("a repeat is never answered `rejected`", "F01", "I12 I3", 28)
def repeat_is_rejected() -> AbstractContextManager[Any]:
    refuse = sends.Sends._refuse

    def always(self: sends.Sends, waiters: Any, reason: str) -> None:
        refuse(self, [dataclasses.replace(each, retry=False) for each in waiters], reason)

    return _patch(sends.Sends, "_refuse", always)


@mutant("a repeat is looked up in the store first", "gateway/repeats.py", "I7", 3)
def repeat_not_looked_up() -> AbstractContextManager[Any]:
    start = sends.Sends._start

    def at_once(self: sends.Sends, record: Any, waiter: Any) -> None:
        start(self, record, dataclasses.replace(waiter, retry=False))

    return _patch(sends.Sends, "_start", at_once)


@mutant("an appended repeat takes the position that the store has", "F33", "I7", 316)
def repeat_not_confirmed() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def believe(self: sends.Sends, flight: Any, result: Any) -> Any:
        if not flight.retry:
            return appended(self, flight, result)
        flight.retry = False
        with _patch(sends.Sends, "_may_be_repeated_elsewhere", lambda *_: False):
            return appended(self, flight, result)  # it is no slow original either

    return _patch(sends.Sends, "appended", believe)


@mutant(
    "a repeat waits for its original; one that took long, or whose sender has left, asks the store",
    "F04, F73",
    "I7",
    426,
)
def overtaken_original_not_confirmed() -> AbstractContextManager[Any]:
    @contextmanager
    def switch() -> Iterator[None]:
        no_doubts = _patch(sends.Sends, "_may_be_repeated_elsewhere", lambda *_: False)
        with no_doubts, _patch(repeats.Repeats, "_let_originals_arrive", mock.AsyncMock()):
            yield

    return switch()


@mutant("a repeat waits for its own partition, no other", "gateway/repeats.py", "I12", 18)
def repeat_waits_for_all_partitions() -> AbstractContextManager[Any]:
    ends = models.ModelEventLog.ends
    return _patch(models.ModelEventLog, "ends", lambda self, _partitions=None: ends(self))


@mutant("the work after an append goes on when the sender has left", "F03", "I2p", 19_410)
def routing_dies_with_sender() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def die(self: sends.Sends, flight: Any, result: Any) -> Any:
        if any(each.session in self._sessions for each in flight.waiters):
            return appended(self, flight, result)
        self._flights.land(flight)
        return ()

    return _patch(sends.Sends, "appended", die)


@mutant("nothing is refused after it was accepted", "F71", "I3 I12", 0)
def refused_after_append() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def refuse(self: sends.Sends, flight: Any, result: Any) -> Any:
        is_full = isinstance(result, Appended) and result.position.offset % 10 == 9
        if flight.retry or not is_full:
            return appended(self, flight, result)
        self._fail(flight, NotAppended(True, "the recipient's mailbox is full"))
        return ()

    return _patch(sends.Sends, "appended", refuse)


@mutant("a drain answers what is in flight by what became of it", "F72", "I3 I12", 3)
def drain_rejects() -> AbstractContextManager[Any]:
    drain = sends.Sends.drain

    def at_once(self: sends.Sends) -> None:
        drain(self)
        for flight in list(self._flights):
            self._fail(flight, NotAppended(True, "restarting"))

    return _patch(sends.Sends, "drain", at_once)


@mutant("`accepted` comes after the log's acknowledgement", "delivery/delivery.py", "I11 I1", 0)
def accepted_before_append() -> AbstractContextManager[Any]:
    append = models.ModelEventLog.append

    def hope(self: models.ModelEventLog, key: str, value: bytes, done: Any) -> None:
        append(self, key, value, lambda _result: None)
        self._loop.call_soon(done, _guess(self._log, key), context=self._context)

    return _patch(models.ModelEventLog, "append", hope)


@mutant(
    "a message is pushed after the log's acknowledgement", "delivery/delivery.py", "I11 I1 I3", 0
)
def pushed_before_append() -> AbstractContextManager[Any]:
    carry_out = hub.Hub._carry_out

    def push_first(self: hub.Hub, decision: Any, written: Any) -> None:
        if isinstance(decision, AppendMessage):
            log: models.Log = self._event_log._log  # type: ignore[attr-defined]
            flight = decision.flight
            self._delivery._push_local(flight.message(*_guess(log, flight.record.conversation)))
            self._happened()
        carry_out(self, decision, written)

    return _patch(hub.Hub, "_carry_out", push_first)


def _guess(log: models.Log, key: str) -> Appended:
    partition = partition_of(key, log.partitions)
    return Appended(Position(partition, log.ends[partition]), 0)


@mutant("other content is another message", "F07", "I4 I7", 7)
def id_without_content() -> AbstractContextManager[Any]:
    return _patch(
        sends,
        "message_id",
        lambda sender, ref, conversation, _content: identity.message_id(
            sender, ref, conversation, ""
        ),
    )


@mutant("nobody can take another user's id", "F08", "I7", 11)
def id_without_sender() -> AbstractContextManager[Any]:
    return _patch(
        sends,
        "message_id",
        lambda _sender, ref, conversation, content: identity.message_id(
            "", ref, conversation, content
        ),
    )


# Receipts ----------------------------------------------------------------------------------------


@mutant("a receipt that the log did not take is tried again", "F58", "I15", 16)
def receipts_lost() -> AbstractContextManager[Any]:
    return _patch(receipts.Receipts, "not_appended", receipts.Receipts.appended)


@mutant("a sender is told once", "delivery/receipts.py", "I8", 4)
def told_twice() -> AbstractContextManager[Any]:
    return _patch(receipts.Told, "note_new", lambda _self, ids, _recipient: list(ids))


@mutant("a sender is told when the receipt is in the log", "F56, F58", "I8 I9", 1)
def delivered_when_pushed() -> AbstractContextManager[Any]:
    take = delivery.Delivery.take_decisions

    def acknowledge_first(self: delivery.Delivery) -> Any:
        for each in list(self._sessions.values()):
            self._acknowledge(each, each.window.ids())
        return take(self)

    return _patch(delivery.Delivery, "take_decisions", acknowledge_first)


# The writer and the store ------------------------------------------------------------------------


@mutant("rows and offset move in one transaction", "F19", "I1 I2 I2b I2c I9", 32)
def offset_before_rows() -> AbstractContextManager[Any]:
    def apply(self: models.Store, batch: Batch) -> bool:
        if self.applied.get(batch.partition, 0) != batch.start:
            return False
        self.applied[batch.partition] = batch.end
        asyncio.get_running_loop().call_later(
            self.weather.delay(), self.join, batch, context=models.OUTSIDE
        )
        return True

    return _patch(models.Store, "apply_one", apply)


@mutant("a partition moves by compare-and-set", "F21", "I10", 2)
def no_compare_and_set() -> AbstractContextManager[Any]:
    def apply(self: models.Store, batch: Batch) -> bool:
        self.applied[batch.partition] = batch.end
        self.join(batch)
        return True

    return _patch(models.Store, "apply_one", apply)


@mutant("facts and receipts only join", "F32", "I9 I15", 4)
def status_overwritten() -> AbstractContextManager[Any]:
    join = models.Store.join

    def upsert(self: models.Store, batch: Batch) -> None:
        for message in batch.messages:
            self.messages.pop(message.id, None)
            for recipient in message.recipients:
                self.receipts.pop((message.id, recipient), None)
        join(self, batch)

    return _patch(models.Store, "join", upsert)


@mutant("a message keeps its lowest position", "F33", "I7 I9", 4)
def last_position_wins() -> AbstractContextManager[Any]:
    join = models.Store.join

    def overwrite(self: models.Store, batch: Batch) -> None:
        join(self, batch)
        self.messages.update((message.id, message) for message in batch.messages)

    return _patch(models.Store, "join", overwrite)


@mutant("within a batch the first record is the message", "F33, F29", "I7 I9", 27)
def fold_keeps_the_last() -> AbstractContextManager[Any]:
    def backwards(stretch: Any) -> Batch:
        return fold(dataclasses.replace(stretch, entries=stretch.entries[::-1]))

    return _patch(writer, "fold", backwards)


@mutant("a record that can never be applied goes to quarantine", "F27", "I9", 3)
def garbage_skipped() -> AbstractContextManager[Any]:
    return _patch(
        writer, "fold", lambda stretch: dataclasses.replace(fold(stretch), quarantined=())
    )


@mutant("whoever follows the log trusts offsets, not counts", "F79", "I1 I2 I9", 4)
def tail_counts() -> AbstractContextManager[Any]:
    """A cache of what this log acknowledged: it lacks what was denied, and takes the next one for
    it.
    """

    def take(self: models.ModelLogReader, limit: int) -> list[Stretch]:
        stretches = []
        for partition, start in self._at.items():
            entries = self._log.entries[partition]
            cached = [each for each in entries if each.position not in self._log.denied]
            first = bisect_left(entries, Position(partition, start), key=lambda each: each.position)
            if taken := tuple(cached[first : first + limit]):
                self._at[partition] = end = taken[-1].position.offset + 1
                stretches.append(Stretch(partition, start, end, taken))
        return stretches

    return _patch(models.ModelLogReader, "_take", take)


@mutant("trouble of the store is never taken for poison", "F28", "I1 I9", 3)
def trouble_is_poison() -> AbstractContextManager[Any]:
    apply = models.ModelMessageStore.apply

    async def give_up(self: models.ModelMessageStore, batches: Sequence[Batch]) -> bool:
        try:
            return await apply(self, batches)
        except StoreUnavailable as error:
            raise Unstorable(str(error)) from error

    return _patch(models.ModelMessageStore, "apply", give_up)


@mutant("a writer that stands by takes over", "F21", "I10 I15 I2b", 29)
def standby_for_ever() -> AbstractContextManager[Any]:
    async def stand_by(self: writer.Writer) -> None:
        while True:
            await self._ask_applied()
            await asyncio.sleep(writer.STAND_BY_SECONDS)

    return _patch(writer.Writer, "_stand_by", stand_by)


@mutant("the writer starts from the store's offset", "F22, F24", "I10 I15 I9", 3)
def writer_starts_at_the_end() -> AbstractContextManager[Any]:
    open_reader = models.ModelEventLog.open_reader

    async def latest(self: models.ModelEventLog, _start: Positions) -> Any:
        return await open_reader(self, dict(self._log.ends))

    return _patch(models.ModelEventLog, "open_reader", latest)


@mutant("`applied` is of the rows' own snapshot", "F36", "I2 I2b I2c", 156)
def applied_after_rows() -> AbstractContextManager[Any]:
    ask = models.ModelMessageStore.pending

    async def later(self: models.ModelMessageStore, queries: Any) -> Any:
        answers = await ask(self, queries)
        applied = await self.applied()
        return [dataclasses.replace(each, applied=applied) for each in answers]

    return _patch(models.ModelMessageStore, "pending", later)


@mutant("pages go by position, never by OFFSET", "F35", "I2 I2b I2c I6 I15", 4)
def pages_by_offset() -> AbstractContextManager[Any]:
    skips: dict[str, int] = {}
    owed = models.Store.owed

    def by_count(self: models.Store, query: PendingQuery) -> Pending:
        skip = skips.get(query.mailbox, 0) if query.after else 0
        rows = owed(self, PendingQuery(query.mailbox, NOWHERE, 1_000)).messages
        skips[query.mailbox] = skip + query.limit
        taken = rows[skip : skip + query.limit]
        is_complete = len(rows) <= skip + query.limit
        return Pending(taken, is_complete, dict(self.applied), dict(self.applied))

    return _patch(models.Store, "owed", by_count)


@mutant("pages are in the order of the log", "F64", "I6 I2 I2b I2c", 3)
def pages_by_id() -> AbstractContextManager[Any]:
    owed = models.Store.owed

    def by_id(self: models.Store, query: PendingQuery) -> Pending:
        page = owed(self, query)
        return dataclasses.replace(
            page, messages=tuple(sorted(page.messages, key=lambda each: each.id))
        )

    return _patch(models.Store, "owed", by_id)


@mutant("a message goes to its recipients only", "delivery/delivery.py", "I13", 0)
def pushed_to_the_sender_too() -> AbstractContextManager[Any]:
    push = delivery.Delivery._push_local

    def to_both(self: delivery.Delivery, message: Any) -> None:
        people = (*message.recipients, message.sender)
        push(self, dataclasses.replace(message, recipients=people))

    return _patch(delivery.Delivery, "_push_local", to_both)
