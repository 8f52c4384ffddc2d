"""Mutants of sends: answers, repeats, identity."""

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from landline.delivery import requests, sends
from landline.delivery.answers import Answers
from landline.delivery.decisions import AppendMessage
from landline.gateway import hub, repeats
from landline.model import (
    Appended,
    NotAppended,
    Position,
)
from landline.protocol import identity
from landline.protocol.identity import utf8_length
from landline.protocol.partitions import partition_of
from landline.protocol.records import MessageRecord
from simulation.log import Log, ModelEventLog
from simulation.mutants.mutant import mutant, patch


@mutant("a timeout is `unknown`, never `rejected`", "F01", "I3 I12", 3)
def timeout_is_rejection() -> AbstractContextManager[Any]:
    fail = sends.Sends._fail
    return patch(
        sends.Sends,
        "_fail",
        lambda self, flight, result: fail(self, flight, NotAppended(True, result.reason)),
    )


@mutant("a repeat is never answered `rejected`", "F01", "I12 I3", 11)
def repeat_is_rejected() -> AbstractContextManager[Any]:
    refuse = sends.Sends._refuse

    def always(self: sends.Sends, waiters: Any, *why: Any) -> None:
        refuse(self, [dataclasses.replace(each, retry=False) for each in waiters], *why)

    return patch(sends.Sends, "_refuse", always)


@mutant("a repeat is looked up in the store first", "gateway/repeats.py", "I7", 3)
def repeat_not_looked_up() -> AbstractContextManager[Any]:
    start = sends.Sends._start

    def at_once(self: sends.Sends, record: Any, waiter: Any, *more: Any) -> None:
        start(self, record, dataclasses.replace(waiter, retry=False), *more)

    return patch(sends.Sends, "_start", at_once)


@mutant("an appended repeat takes the position that the store has", "F33", "I7 I1", 307)
def repeat_not_confirmed() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def believe(self: sends.Sends, flight: Any, result: Any) -> Any:
        if not flight.retry:
            return appended(self, flight, result)
        flight.retry = False
        with patch(sends.Sends, "_may_be_overtaken", lambda *_: False):
            return appended(self, flight, result)  # it is no slow original either

    return patch(sends.Sends, "appended", believe)


@mutant(
    "a repeat waits for its original; one that took long, or whose sender has left, asks the store",
    "F04, F73",
    "I7",
    215,
)
def overtaken_original_not_confirmed() -> AbstractContextManager[Any]:
    @contextmanager
    def switch() -> Iterator[None]:
        no_doubts = patch(sends.Sends, "_may_be_overtaken", lambda *_: False)
        with no_doubts, patch(repeats.Repeats, "_let_originals_arrive", mock.AsyncMock()):
            yield

    return switch()


@mutant("a repeat waits for its own partition, no other", "gateway/repeats.py", "I12", 18)
def repeat_waits_for_all_partitions() -> AbstractContextManager[Any]:
    ends = ModelEventLog.ends
    return patch(ModelEventLog, "ends", lambda self, _partitions=None: ends(self))


@mutant("the work after an append goes on when the sender has left", "F03", "I2p", 4930)
def routing_dies_with_sender() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def die(self: sends.Sends, flight: Any, result: Any) -> Any:
        if any(each.sender in self._senders for each in flight.waiters):
            return appended(self, flight, result)
        self._flights.land(flight)
        return ()

    return patch(sends.Sends, "appended", die)


@mutant("nothing is refused after it was accepted", "F71", "I3 I12", 0)
def refused_after_append() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def refuse(self: sends.Sends, flight: Any, result: Any) -> Any:
        is_full = isinstance(result, Appended) and result.position.offset % 10 == 9
        if flight.retry or not is_full:
            return appended(self, flight, result)
        self._fail(flight, NotAppended(True, "the recipient's mailbox is full"))
        return ()

    return patch(sends.Sends, "appended", refuse)


@mutant(
    "a repeat that comes too early is `unknown`, never `rejected`", "delivery/sends.py", "I12 I3", 3
)
def too_fast_repeat_is_rejected() -> AbstractContextManager[Any]:
    too_fast = Answers.too_fast

    def reject(self: Answers, waiter: Any, wait_seconds: float, **_: Any) -> None:
        too_fast(self, waiter, wait_seconds, is_uncertain=False)

    return patch(Answers, "too_fast", reject)


@mutant("limits come before the log", "delivery/sends.py", "I3 I12", 3)
def limited_after_append() -> AbstractContextManager[Any]:
    appended = sends.Sends.appended

    def seconds_too_early(self: sends.Sends, record: MessageRecord) -> float:
        sent = record.sender, utf8_length(record.content), self._clock.monotonic()
        if not (seconds := self._rates.missing(*sent)):
            self._rates.take(*sent)
        return seconds

    def slow_down(self: sends.Sends, flight: Any, result: Any) -> Any:
        is_new = isinstance(result, Appended) and not flight.retry
        if is_new and (seconds := seconds_too_early(self, flight.record)):
            self._land(flight)
            for waiter in flight.waiters:
                self._answers.too_fast(waiter, seconds, is_uncertain=waiter.retry)
            return ()
        return appended(self, flight, result)

    @contextmanager
    def switch() -> Iterator[None]:
        with (
            patch(sends.Sends, "_is_too_fast", lambda *_: False),
            patch(sends.Sends, "appended", slow_down),
        ):
            yield

    return switch()


@mutant("what comes too early is answered, never dropped", "delivery/sends.py", "I15", 3)
def too_fast_is_dropped() -> AbstractContextManager[Any]:
    return patch(Answers, "too_fast", lambda *_, **__: None)


@mutant("a drain answers what is in flight by what became of it", "F72", "I3 I12", 7)
def drain_rejects() -> AbstractContextManager[Any]:
    drain = sends.Sends.drain

    def at_once(self: sends.Sends) -> None:
        drain(self)
        for flight in list(self._flights._flights.values()):
            self._fail(flight, NotAppended(True, "restarting"))

    return patch(sends.Sends, "drain", at_once)


@mutant("`accepted` comes after the log's acknowledgement", "delivery/sends.py", "I11 I1", 0)
def accepted_before_append() -> AbstractContextManager[Any]:
    append = ModelEventLog.append

    def hope(self: ModelEventLog, key: str, value: bytes, done: Any) -> None:
        append(self, key, value, lambda _result: None)
        self._loop.call_soon(done, _guess(self._log, key), context=self._context)

    return patch(ModelEventLog, "append", hope)


@mutant(
    "a message is pushed after the log's acknowledgement", "delivery/delivery.py", "I11 I1 I3", 0
)
def pushed_before_append() -> AbstractContextManager[Any]:
    carry_out = hub.Hub._carry_out

    def push_first(self: hub.Hub, decision: Any, written: Any) -> None:
        if isinstance(decision, AppendMessage):
            log: Log = self._event_log._log  # type: ignore[attr-defined]
            flight = decision.flight
            message = flight.message(*_guess(log, flight.record.conversation))
            self._delivery._push_local(message, message.recipients)
            self._happened()
        carry_out(self, decision, written)

    return patch(hub.Hub, "_carry_out", push_first)


def _guess(log: Log, key: str) -> Appended:
    partition = partition_of(key, log.partitions)
    return Appended(Position(partition, log.ends[partition]), 0)


@mutant("other content is another message", "F07", "I4 I7", 0)
def id_without_content() -> AbstractContextManager[Any]:
    return patch(
        requests,
        "message_id",
        lambda sender, ref, conversation, _content, data: identity.message_id(
            sender, ref, conversation, "", data
        ),
    )


@mutant("nobody can take another user's id", "F08", "I7", 37)
def id_without_sender() -> AbstractContextManager[Any]:
    return patch(
        requests,
        "message_id",
        lambda _sender, ref, conversation, content, data: identity.message_id(
            "", ref, conversation, content, data
        ),
    )
