"""Reads a history in one pass: it becomes evidence."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.excuses import FaultSpan
from landline_verify.checker.fold import is_room
from landline_verify.checker.messages import Message, Send, Try
from landline_verify.checker.sessions import Session
from landline_verify.history.events import (
    Ack,
    Answer,
    AppliedRow,
    Ask,
    Connect,
    Disconnect,
    Dump,
    Event,
    FaultEvent,
    Invoke,
    Listed,
    Live,
    Mark,
    Marked,
    MemberRow,
    MessageRow,
    Ok,
    Paged,
    PendingRow,
    Phase,
    QuarantineRow,
    ReceiptsRecord,
    Record,
    Recv,
    Rejected,
    Run,
    Said,
    Sample,
    Status,
    StatusRow,
    Unknown,
)


def read_evidence(history: Sequence[Event]) -> Evidence:
    """Return what a history says."""
    return _Reading(history).evidence


class _Reading:
    """One pass over the events, and a second one over the messages that no ok names."""

    def __init__(self, history: Sequence[Event]) -> None:
        self.evidence = Evidence(history)
        self._unanswered: defaultdict[tuple[str, str], list[Try]] = defaultdict(list)
        self._take_all(history)
        self._match()

    def _take_all(self, events: Sequence[Event]) -> None:
        evidence, dumped = self.evidence, self.evidence.dumped
        takers: dict[type[Event], Callable[[int, Any], None]] = {
            Run: self._take_run,
            Phase: self._take_phase,
            Connect: self._take_connect,
            Live: self._take_live,
            Disconnect: self._take_disconnect,
            Invoke: self._take_invoke,
            Ok: self._take_ok,
            Rejected: self._take_answer,
            Unknown: self._take_answer,
            Recv: self._take_recv,
            Ack: self._take_ack,
            Status: self._take_status,
            FaultEvent: self._take_fault,
            Sample: lambda at, event: evidence.samples[event.what].append((at, event)),
            Dump: lambda _, event: dumped.is_complete.update({event.what: event.complete}),
            AppliedRow: lambda at, event: dumped.applied.append((at, event)),
            QuarantineRow: lambda at, event: dumped.quarantine.append((at, event)),
            MessageRow: lambda at, event: self._message(event.id).rows.append((at, event)),
            StatusRow: lambda at, event: self._message(event.id).status_rows.append((at, event)),
            PendingRow: self._take_pending,
            MemberRow: lambda at, event: dumped.members.append((at, event)),
            Mark: lambda at, event: evidence.marks.append((at, event)),
            Marked: lambda at, event: evidence.marked.append((at, event)),
            Ask: lambda at, event: evidence.asks.update({(event.c, event.request): (at, event)}),
            Listed: lambda at, event: evidence.listed.append((at, event)),
            Paged: self._take_page,
        }
        for at, event in enumerate(events):
            if isinstance(event, Record):
                self._take_record(at, event)
            elif (take := takers.get(type(event))) is not None:
                take(at, event)

    def _message(self, id: str) -> Message:
        message = self.evidence.messages.get(id)
        if message is None:
            message = self.evidence.messages[id] = Message(id)
        return message

    def _take_run(self, _: int, event: Run) -> None:
        self.evidence.run = event

    def _take_phase(self, _: int, event: Phase) -> None:
        self.evidence.phases.setdefault(event.name, event.t)

    def _take_connect(self, at: int, event: Connect) -> None:
        session = self.evidence.sessions[event.c] = Session(at, event)
        self.evidence.sessions_of[event.user].append(session)

    def _take_live(self, at: int, event: Live) -> None:
        if (session := self.evidence.sessions.get(event.c)) is not None and session.live is None:
            session.live = (at, event)

    def _take_disconnect(self, at: int, event: Disconnect) -> None:
        if (session := self.evidence.sessions.get(event.c)) is not None:
            session.ended_at, session.ended = at, event

    def _take_invoke(self, at: int, event: Invoke) -> None:
        send = self.evidence.sends.get((event.user, event.ref))
        if send is None:
            send = Send(event.user, event.to, event.ref, event.digest, event.what, event.people)
            self.evidence.sends[(event.user, event.ref)] = send
        elif (send.to, send.digest, send.what) != (event.to, event.digest, event.what):
            self.evidence.reused_refs.append(at)
        attempt = Try(at, event, event.retry)
        send.tries.append(attempt)
        waiting = self._unanswered[(event.c, event.ref)]
        waiting.append(attempt)
        if not all(each.is_retry for each in waiting):
            for each in waiting:
                each.is_retry = False

    def _take_answer(self, at: int, event: Answer) -> None:
        waiting = self._unanswered.get((event.c, event.ref))
        if waiting:
            attempt = waiting.pop(0)
            attempt.answered_at, attempt.answer = at, event
        else:
            self.evidence.surplus.append(
                (at, event, self.evidence.sends.get((event.user, event.ref)))
            )

    def _take_ok(self, at: int, event: Ok) -> None:
        self._take_answer(at, event)
        message = self._message(event.id)
        message.oks.append((at, event))
        send = self.evidence.sends.get((event.user, event.ref))
        if send is not None:
            send.id = send.id or event.id
            send.room = send.room or event.conversation
            message.send = message.send or send
            if message.send is not send:
                self.evidence.shared_ids.append((at, send, message))

    def _take_recv(self, at: int, event: Recv) -> None:
        self._message(event.id).recvs.append((at, event))
        if (session := self.evidence.sessions.get(event.c)) is not None:
            session.recvs.append((at, event))

    def _take_page(self, at: int, event: Paged) -> None:
        self.evidence.paged.append((at, event))
        for id, offset, digest in event.messages:
            self._message(id).paged.append((at, offset, digest))

    def _take_ack(self, at: int, event: Ack) -> None:
        for id in event.ids:
            self._message(id).acks.append((at, event))
        if (session := self.evidence.sessions.get(event.c)) is not None:
            session.acks.append((at, event))

    def _take_status(self, at: int, event: Status) -> None:
        for id in event.ids:
            self._message(id).statuses.append((at, event))

    def _take_pending(self, at: int, event: PendingRow) -> None:
        if event.id is None:
            self.evidence.dumped.groundless.append((at, event))
        else:
            self._message(event.id).pending_rows.append((at, event))

    def _take_fault(self, at: int, event: FaultEvent) -> None:
        if event.phase == "start":
            self.evidence.faults.append(FaultSpan(at, event.name, event.detail, event.t))
            return
        open_faults = [each for each in self.evidence.faults if each.stop == inf]
        for fault in reversed(open_faults):
            if fault.name == event.name:
                fault.stop = event.t
                return

    def _take_record(self, at: int, event: Record) -> None:
        self.evidence.dumped.records.append((at, event))
        if isinstance(event, Said):
            self._message(event.id).records.append((at, event))
        elif isinstance(event, ReceiptsRecord):
            for id in event.ids:
                self._message(id).receipts.append((at, event))

    def _match(self) -> None:
        """Find the send of each message that no ok names."""
        free: defaultdict[tuple[str, str, str], list[Send]] = defaultdict(list)
        for send in self.evidence.sends.values():
            if send.id is None:
                free[send.user, send.conversation, send.digest].append(send)
        for sends in free.values():
            sends.sort(key=lambda each: not each.is_rejected)  # the last is taken first
        for message in self.evidence.messages.values():
            if message.send is None:
                keys = [(who, where, what) for _, who, where, what in message.contents()]
                # What would make a room does not know which.
                keys += [(who, "", what) for who, where, what in keys if is_room(where)]
                sends = next((each for key in keys if (each := free.get(key))), [])
                if sends:
                    message.send = sends.pop()
                    message.send.id = message.id
                    if message.send.what == "create":
                        message.send.room = next(where for _, _, where, _ in message.contents())
