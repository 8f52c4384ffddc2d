"""Histories that never happened: correct clients and a correct deployment on virtual time, seeded.

What the contract allows does happen here: answers get lost, servers die, hints are dropped and the
sweep delivers, messages come again in later sessions, sends overlap and are repeated, the log is
away for a while, repeats are appended twice.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from landline_verify.history import events as e
from support.virtual import Draft, Message, Session, VirtualTime

By = Literal["client", "server", "network"]

SERVERS = ("ws-1", "ws-2")
PARTITIONS = 4
SWEEP = 10.0
LOAD_SECONDS = 60.0
FINAL_SECONDS = 25.0
BEHAVIOURS = (
    "steady", "hopping", "several", "dropping", "silent", "slow", "plain", "steady", "absent",
)  # fmt: skip


class Simulation(VirtualTime):
    """One run; `events` is its history."""

    def __init__(self, seed: int, *, users: int = 9, sends: int = 600, faults: bool = True) -> None:
        super().__init__()
        self.events: list[e.Event] = []
        self._chance = random.Random(seed)
        self._names = [f"u{number}" for number in range(users)]
        self._lives = {name: BEHAVIOURS[n % len(BEHAVIOURS)] for n, name in enumerate(self._names)}
        self._sessions: defaultdict[str, list[Session]] = defaultdict(list)
        self._messages: dict[str, Message] = {}
        self._owed: defaultdict[str, dict[str, Message]] = defaultdict(dict)
        self._receipts: set[tuple[str, str]] = set()
        self._log: dict[int, list[e.Record]] = {each: [] for each in range(PARTITIONS)}
        self._drafts: list[Draft] = []
        self._dead: set[str] = set()
        self._is_log_away = False
        self._is_final = False
        self._make(seed, sends, faults)

    # The run ---------------------------------------------------------------------------------

    def _make(self, seed: int, sends: int, faults: bool) -> None:
        urls = tuple(f"ws://{server}" for server in SERVERS)
        options = {"faults": ["server-kill", "kafka-pause", "redis-flush"] if faults else []}
        self.events.append(
            e.Run(0.0, e.VERSION, seed, urls, options, "2026-01-02T03:04:05Z", SWEEP, 10.0)
        )
        self._record(e.Phase(0.0, "load"))
        for name in self._names:
            self._at(self._chance.random(), partial(self._live, name))
        for number in range(sends):
            self._at(2 + (LOAD_SECONDS - 4) * number / sends, partial(self._compose, number))
        for second in range(int(LOAD_SECONDS + FINAL_SECONDS)):
            self._at(second + 0.5, self._sample)
        if faults:
            self._strike("redis-flush", "", 5, 8, lambda _: None)
            self._strike("server-kill", "ws-2", 12, 15, self._kill)
            self._strike("kafka-pause", "", 22, 24, self._take_log_away)
        self._at(LOAD_SECONDS, lambda: self._record(e.Phase(self._now, "heal")))
        self._at(LOAD_SECONDS + 2, self._finish)
        self._at(LOAD_SECONDS + FINAL_SECONDS, self._end)
        self._pass()
        self._dump()

    def _record(self, event: e.Event) -> None:
        self.events.append(event)

    def _strike(
        self, name: str, detail: str, start: float, stop: float, act: Callable[[bool], None]
    ) -> None:
        def begin() -> None:
            self._record(e.FaultEvent(self._now, name, "start", detail))
            act(True)

        def end() -> None:
            self._record(e.FaultEvent(self._now, name, "stop", detail))
            act(False)

        self._at(start, begin)
        self._at(stop, end)

    def _kill(self, is_dead: bool) -> None:
        if not is_dead:
            self._dead.clear()
            return
        self._dead.add("ws-2")
        for session in [*itertools.chain(*self._sessions.values())]:
            if session.server == "ws-2" and session.is_open:
                self._close(session, "network")

    def _take_log_away(self, is_away: bool) -> None:
        self._is_log_away = is_away

    def _sample(self) -> None:
        self._record(e.Sample(self._now, "rss:ws-1", 80e6 + self._chance.random() * 5e6))
        self._record(e.Sample(self._now, "applied", float(sum(map(len, self._log.values())))))
        self._record(e.Sample(self._now, "lag", 0.01))

    def _finish(self) -> None:
        self._is_final = True
        self._record(e.Phase(self._now, "final"))
        for name in self._names:
            for session in self._open_sessions(name):
                self._close(session, "client")
            for server in SERVERS:
                self._connect(name, server, is_steady=True)

    def _end(self) -> None:
        for session in [*itertools.chain(*self._sessions.values())]:
            if session.is_open:
                self._close(session, "client")
        self._record(e.Phase(self._now, "end"))
        self._agenda.clear()

    def _dump(self) -> None:
        t = self._now + 1
        first = self._messages
        for message in first.values():
            place = (message.partition, message.offset)
            self._record(
                e.MessageRow(
                    t, message.id, message.sender, message.conversation, message.digest, *place
                )
            )
            is_delivered = (message.id, message.to) in self._receipts
            status: Literal["DELIVERED", "UNDELIVERED"]
            status = "DELIVERED" if is_delivered else "UNDELIVERED"
            self._record(e.StatusRow(t, message.id, message.to, status))
            if not is_delivered:
                self._record(
                    e.PendingRow(t, message.to, None, *place, message.id, is_received=False)
                )
        names = {each.conversation: (each.sender, each.to) for each in first.values()}
        for conversation, both in names.items():
            for user in dict.fromkeys(both):
                self._record(e.MemberRow(t, conversation, user, "member", 0, -1))
        for partition, records in self._log.items():
            self._record(e.AppliedRow(t, partition, 100 + len(records)))
            for record in records:
                if isinstance(record, e.ForeignRecord) and record.garbage:
                    self._record(e.QuarantineRow(t, partition, record.offset, "not JSON"))
        self._record(e.Dump(t, "store", True))
        for records in self._log.values():
            self.events += [replace(record, t=t) for record in records]
        self._record(e.Dump(t, "log", True))

    # Clients ---------------------------------------------------------------------------------

    def _open_sessions(self, name: str) -> list[Session]:
        return [each for each in self._sessions[name] if each.is_open]

    def _live(self, name: str) -> None:
        life = self._lives[name]
        if self._is_final or life == "absent":
            return
        wanted = 2 if life == "several" else 1
        for number in range(wanted - len(self._open_sessions(name))):
            alive = [each for each in SERVERS if each not in self._dead]
            session = self._connect(name, alive[(len(self._sessions[name]) + number) % len(alive)])
            if life in ("hopping", "dropping", "silent"):
                by: By = "network" if life == "dropping" else "client"
                stay = self._chance.uniform(1, 6)
                self._after(stay, partial(self._close, session, by))

    def _connect(self, name: str, server: str, *, is_steady: bool = False) -> Session:
        life = "steady" if is_steady else self._lives[name]
        session = Session(name, f"c{next(self._numbers)}", server, is_auto=life == "plain")
        is_silent = life == "silent" and len(self._sessions[name]) % 2 == 0
        if session.is_auto or is_silent:
            session.acks_after = None
        elif life == "slow":
            session.acks_after = 1.0
        self._sessions[name].append(session)
        ack: Literal["client", "auto"] = "auto" if session.is_auto else "client"
        self._record(
            e.Connect(
                self._now, name, session.c, f"ws://{server}", server, f"s-{session.c}",
                "kafka:acks=all", ack, life,
            )
        )  # fmt: skip
        self._after(0.05, lambda: self._replay(session, is_first=True))
        self._after(SWEEP * self._chance.random(), lambda: self._sweep(session))
        for draft in self._drafts:
            if draft.user == name and not draft.is_answered:
                self._after(0.02, partial(self._try, draft, session))
        return session

    def _close(self, session: Session, by: By) -> None:
        if session.is_open:
            session.is_open = False
            code = 1000 if by == "client" else None
            self._record(e.Disconnect(self._now, session.user, session.c, code, by))
            self._after(self._chance.uniform(0.1, 1), lambda: self._live(session.user))

    def _compose(self, number: int) -> None:
        senders = [name for name in self._names if self._open_sessions(name)]
        if not senders:
            return
        user = self._chance.choice(senders)
        draft = Draft(user, self._chance.choice(self._names), f"r{number}")
        self._drafts.append(draft)
        sessions = self._open_sessions(user)
        self._try(draft, self._chance.choice(sessions))
        if self._chance.random() < 0.1:  # two at once, in whatever order they will stand
            other = Draft(user, draft.to, f"r{number}b")
            self._drafts.append(other)
            self._try(other, sessions[0])
        if len(sessions) > 1 and self._chance.random() < 0.3:
            self._after(self._chance.choice((0.001, 1)), lambda: self._try(draft, sessions[0]))

    def _try(self, draft: Draft, session: Session) -> None:
        if not session.is_open:
            return
        is_retry = draft.tries > 0 and self._chance.random() < 0.7
        draft.tries += 1
        digest = f"digest-of-{draft.ref}"
        self._record(
            e.Invoke(self._now, draft.user, session.c, draft.to, draft.ref, digest, is_retry)
        )
        self._after(
            self._chance.uniform(0.001, 0.02), lambda: self._handle(draft, session, is_retry)
        )

    def _try_again(self, draft: Draft, session: Session) -> None:
        if not draft.is_answered:
            self._try(draft, session)

    def _receive(self, session: Session, message: Message, is_replay: bool) -> None:
        if not session.is_open:
            return
        session.received += 1
        self._record(
            e.Recv(
                self._now, session.user, session.c, session.received, message.id,
                message.conversation, message.sender, message.to, message.digest, message.offset,
                "2026-01-02T03:04:05.678Z", is_replay,
            )
        )  # fmt: skip
        if session.acks_after is not None:
            self._after(session.acks_after, lambda: self._acknowledge(session, message))

    def _acknowledge(self, session: Session, message: Message) -> None:
        if session.is_open:
            self._record(e.Ack(self._now, session.user, session.c, (message.id,)))
            if self._chance.random() < 0.98:  # the rest is lost on its way
                self._after(0.005, lambda: self._take_receipt(session.user, message))

    # The deployment --------------------------------------------------------------------------

    def _handle(self, draft: Draft, session: Session, is_retry: bool) -> None:
        if session.server in self._dead:
            return
        luck = self._chance.random()
        if not is_retry and luck < 0.01:
            self._answer(e.Rejected, draft, session)
            return
        if self._is_log_away:
            if luck < 0.5:
                self._append(draft, is_first_hand=False)
            self._after(0.3, lambda: self._answer(e.Unknown, draft, session))
            return
        known = self._messages.get(f"id-of-{draft.ref}")
        offset = None if known is None else known.offset
        if known is None or (not is_retry and luck < 0.3):
            offset = self._append(draft, is_first_hand=not is_retry)
        if luck > 0.995:  # the answer is lost together with the connection
            self._close(session, "network")
            return
        message = self._messages[f"id-of-{draft.ref}"]
        self._after(
            self._chance.uniform(0.001, 0.01),
            lambda: self._accept(draft, session, message, offset or message.offset),
        )

    def _accept(self, draft: Draft, session: Session, message: Message, offset: int) -> None:
        if session.is_open:
            draft.is_answered = True
            self._record(
                e.Ok(
                    self._now, draft.user, session.c, draft.ref, message.id, message.conversation,
                    offset, "2026-01-02T03:04:05.678Z",
                )
            )  # fmt: skip

    def _answer(self, kind: type[e.Rejected | e.Unknown], draft: Draft, session: Session) -> None:
        if not session.is_open:
            return
        code = "busy" if kind is e.Rejected else "unavailable"
        self._record(kind(self._now, draft.user, session.c, draft.ref, code))
        if kind is e.Rejected:
            draft.is_answered = True  # given up
        else:
            self._after(0.5, lambda: self._try_again(draft, session))

    def _append(self, draft: Draft, *, is_first_hand: bool) -> int:
        conversation = f"dm:{min(draft.user, draft.to)}:{max(draft.user, draft.to)}"
        partition = sum(conversation.encode()) % PARTITIONS
        id = f"id-of-{draft.ref}"
        offset = self._write(
            partition,
            lambda t, offset: e.MessageRecord(
                t, partition, offset, id, draft.user, (draft.to,), conversation,
                f"digest-of-{draft.ref}",
            ),
        )  # fmt: skip
        if id not in self._messages:
            message = Message(id, draft.user, draft.to, draft.ref, conversation, partition, offset)
            self._messages[id] = self._owed[draft.to][id] = message
            for session in self._open_sessions(draft.to):
                if is_first_hand and self._chance.random() < 0.95:  # else the sweep will find it
                    self._push(session, message, is_replay=False)
        return offset

    def _write(self, partition: int, make: Callable[[float, int], e.Record]) -> int:
        records = self._log[partition]
        if self._chance.random() < 0.02:
            is_garbage = self._chance.random() < 0.5
            records.append(e.ForeignRecord(self._now, partition, 100 + len(records), is_garbage))
        records.append(make(self._now, 100 + len(records)))
        return 100 + len(records) - 1

    def _push(self, session: Session, message: Message, *, is_replay: bool) -> None:
        if message.id in session.pushed or not session.is_open:
            return
        session.pushed.add(message.id)
        arrives = max(session.line_free_at, self._now + self._chance.uniform(0.001, 0.02))
        session.line_free_at = arrives
        self._at(arrives, lambda: self._receive(session, message, is_replay))
        if session.is_auto:
            self._take_receipt(session.user, message)

    def _pending(self, user: str) -> list[Message]:
        return sorted(self._owed[user].values(), key=lambda each: each.offset)

    def _replay(self, session: Session, *, is_first: bool = False) -> None:
        if session.is_open:
            for message in self._pending(session.user):
                self._push(session, message, is_replay=True)
            if is_first:
                self._at(max(session.line_free_at, self._now), lambda: self._caught_up(session))

    def _caught_up(self, session: Session) -> None:
        if session.is_open:
            self._record(e.Live(self._now, session.user, session.c, session.received))

    def _sweep(self, session: Session) -> None:
        if session.is_open:
            self._replay(session)
            self._after(SWEEP, lambda: self._sweep(session))

    def _take_receipt(self, user: str, message: Message) -> None:
        if (message.id, user) in self._receipts:
            return
        self._receipts.add((message.id, user))
        del self._owed[user][message.id]
        partition = message.partition
        self._write(
            partition,
            lambda t, offset: e.ReceiptsRecord(
                t, partition, offset, ((user, None, (message.id,)),), message.conversation
            ),
        )
        for session in self._open_sessions(message.sender):
            self._after(0.005, partial(self._tell, session, user, message))

    def _tell(self, session: Session, by: str, message: Message) -> None:
        if session.is_open:
            time = "2026-01-02T03:04:05.678Z"
            self._record(e.Status(self._now, session.user, session.c, (message.id,), by, time))


def healthy(seed: int, *, users: int = 9, sends: int = 600, faults: bool = True) -> list[e.Event]:
    """Return the history of a run in which nothing went wrong that must not."""
    return Simulation(seed, users=users, sends=sends, faults=faults).events
