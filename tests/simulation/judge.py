"""Judges a history: the invariants of the project, stated once more, without the server's code.

It knows events, not servers, and works through them once in time order, then through what log and
store hold at the end. Each violation names its invariant and the message that it is about.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from simulation.conversations import Conversations, is_room
from simulation.invariants import Violation
from simulation.room_judge import RoomJudge
from simulation.seen import Devices, Event, Mailbox, Place, Send, Session, devices_session

# Within this long after `welcome` a session is in the directory.
_SETTLED = 0.5


class Judge:
    """Reads a history. `window`: what may be outstanding; `stranded`: seconds of I2b.

    `is_calm` False: hints are reordered, so live pushes may be as well. `is_fair` True: there were
    no faults. `tells_once` False: too little was remembered for it. One attribute per kind of fact.
    """

    def __init__(
        self,
        *,
        window: int,
        stranded: float,
        prompt: float,
        deaf: float,
        heard: float,
        keeps_order: bool,
        is_fair: bool,
        tells_once: bool,
        sees_all: bool,
        hears_all: bool,
        changes_late: float | None,
    ) -> None:
        self._window = window
        self._stranded = stranded
        self._prompt = prompt
        self._deaf = deaf
        self._heard = heard
        self._keeps_order = keeps_order
        self._is_fair = is_fair
        self._tells_once = tells_once
        self._sees_all = sees_all
        self._hears_all = hears_all
        self._changes_late = changes_late
        self.violations: list[Violation] = []
        self._sessions: dict[str, Session] = {}
        self._sends: dict[tuple[str, str, str, str], Send] = {}  # ref, user, to, digest
        self._latest: dict[tuple[str, str], Send] = {}  # user, ref
        self._accepted: dict[str, Send] = {}
        self._places: dict[str, Place] = {}
        self._ids: dict[Place, str] = {}
        self._received: dict[str, dict[str, float]] = defaultdict(dict)  # id -> user -> first time
        self._acked: dict[str, dict[str, float]] = defaultdict(dict)  # user -> id -> first time
        self._acked_on: dict[Mailbox, dict[str, float]] = defaultdict(dict)  # likewise
        self._received_on: dict[Mailbox, dict[str, float]] = defaultdict(dict)
        self._incomplete: set[Mailbox] = set()  # devices that were not open everywhere
        self._live_since: dict[Mailbox, float] = {}  # the first session of each device
        self._with_devices: dict[str, float] = {}  # users, and when the first one connected
        self._told_new: set[Mailbox] = set()  # devices, whose first welcome says so
        self._known_since: dict[Mailbox, float] = {}  # devices: since they are certainly owed all
        self._sent: dict[tuple[str, str, str], float] = {}  # sender, to, digest -> first invoke
        self._sent_by: dict[tuple[str, str, str], str] = {}
        self._answered: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._first_seen: dict[
            str, tuple[str, float]
        ] = {}  # id -> what, when it had to be in the log
        self._calm_at: float | None = None
        self._away_at = self._back_at = 0.0
        self._quiet_at: float | None = None
        self._noted: dict[str, list[Event]] = defaultdict(list)  # for later, by kind
        self._conversations = Conversations()
        self._applied: Mapping[int, int] = {}
        self._repeated: set[str] = set()  # digests
        self._floods: set[tuple[str, str]] = set()  # sender, recipient
        self._unreadable: set[str] = set()  # users
        self._without_ref: list[str] = []
        self._records: list[Event] = []
        self._rows: dict[str, list[Event]] = defaultdict(list)

    def judge(self, history: Iterable[Event]) -> list[Violation]:
        """Return every violation."""
        history = list(history)
        for event in history:
            # A device begins before its session has its welcome.
            if event["kind"] == "connect" and event["device"] is not None:
                began = min(event["began"], self._with_devices.get(event["user"], inf))
                self._with_devices[event["user"]] = began
        for event in history:
            handle = getattr(self, f"_on_{event['kind']}", None)
            if handle is not None:
                handle(event)
        self._judge_end()
        return self.violations

    def _violate(self, invariant: str, about: object, what: str) -> None:
        self.violations.append(Violation(invariant, str(about), what))

    # Events --------------------------------------------------------------------------------------

    def _on_phase(self, event: Event) -> None:
        if event["name"] == "calm":
            self._calm_at = event["t"]
        elif event["name"] == "away":
            self._away_at = event["t"]
        elif event["name"] == "back":
            self._back_at = event["t"]
        elif event["name"] == "quiet":
            self._quiet_at = event["t"]

    def _on_sample(self, event: Event) -> None:
        if event["what"] == "applied":
            before, self._applied = self._applied, event["value"]
            for partition, offset in before.items():
                if self._applied.get(partition, 0) < offset:
                    self._violate("I10", partition, f"applied went back from {offset}")
            self._noted["applied"].append(event)
            return
        invariant = {"unfinished": "I15", "repeat": "I12"}.get(event["what"], "I14")
        self._violate(invariant, event["what"], f"{event['value']}")

    def _on_flood(self, event: Event) -> None:
        """A client that floods waits for its own messages alone."""
        self._floods.add((event["by"], event["to"]))

    def _on_mailbox(self, event: Event) -> None:
        """Whose mailbox cannot be read gets nothing that only the store knows."""
        self._unreadable.add(event["user"])

    def _on_connect(self, event: Event) -> None:
        user, device = event["user"], event["device"]
        since: float = 0.0
        acked = self._acked[user]
        if device is not None:
            if event["is_new"] is not False:  # or it is not known
                if (user, device) in self._live_since:
                    self._incomplete.add((user, device))
                self._known_since.pop((user, device), None)
            if event["is_new"]:
                self._told_new.add((user, device))
            since = self._known_since.get((user, device), float(event["t"]))
            acked = self._acked_on[user, device]
        elif self._with_devices.get(user, inf) <= event["t"]:
            since = event["t"]  # it may use the default mailbox still, or one that is new
        owed = {
            id
            for id, send in self._accepted.items()
            if send.to == user
            and id not in acked
            and since <= send.first_at
            and _is_before(send, event)
        }
        is_auto = event["ack"] == "auto"
        self._sessions[event["c"]] = Session(
            user, device, event["began"], event["t"], is_auto, owed, since
        )

    def _on_live(self, event: Event) -> None:
        session = self._sessions[event["c"]]
        if session.live_at is not None:
            self._violate("I2c", event["c"], "caught_up twice")
        session.live_at = event["t"]
        acked = self._acked[session.user]
        if session.device is not None:
            self._live_since.setdefault(session.mailbox, event["t"])
            self._known_since.setdefault(session.mailbox, event["t"])
            acked = self._acked_on[session.mailbox]
        missing = session.owed - session.seen.keys() - acked.keys()
        if missing and not session.is_auto and self._sees_all:
            self._violate("I2c", event["c"], f"caught_up without {sorted(missing)}")

    def _on_disconnect(self, event: Event) -> None:
        if session := self._sessions.get(event["c"]):
            session.closed_at = event["t"]

    def _on_invoke(self, event: Event) -> None:
        sent = event["user"], event["to"], event["digest"]
        self._sent.setdefault(sent, event["t"])
        self._sent_by.setdefault(sent, event["c"])
        if event["retry"]:
            self._repeated.add(event["digest"])
        if event["ref"] is None:
            return
        send = self._sends.setdefault((event["ref"], *sent), Send(*sent, event["t"]))
        self._latest[event["user"], event["ref"]] = send
        send.tried(event["t"], event["c"], is_repeat=event["retry"])

    def _on_ok(self, event: Event) -> None:
        id = event["id"]
        self._place(id, event)
        self._first_seen.setdefault(id, ("accepted", event["t"]))
        if event["ref"] is None:
            self._without_ref.append(id)
            return
        send = self._accepted.get(id) or self._latest.get((event["user"], event["ref"]))
        if send is None:
            self._violate("I3", id, "accepted, but never sent")
            return
        if send.is_rejected:
            self._violate("I12", id, "accepted after it was rejected")
        if send.id is not None and send.id != id:
            self._violate("I7", id, f"the same send was accepted as {send.id}")
        if send.ok_at is None:
            send.id, send.ok_at = id, event["t"]
            if self._accepted.setdefault(id, send) is not send:
                self._violate("I7", id, "two sends have the same id")
            self._check_order(event, send)

    def _check_order(self, event: Event, send: Send) -> None:
        """I6c: what was answered before the other was sent lies before it."""
        answered = self._answered[event["conversation"]]
        for at, offset in answered:
            if at < send.first_at and offset >= event["offset"]:
                self._violate("I6", event["id"], f"behind {offset}, which was accepted before")
        answered.append((event["t"], event["offset"]))

    def _on_rejected(self, event: Event) -> None:
        self._noted["rejected"].append(event)
        send = self._latest[event["user"], event["ref"]]
        send.is_rejected = True
        if send.ok_at is not None:
            self._violate("I12", event["ref"], "rejected after it was accepted")

    def _on_recv(self, event: Event) -> None:
        session, id = self._sessions[event["c"]], event["id"]
        self._noted["recv"].append(event)
        if not is_room(event["to"]) and event["user"] not in (event["to"], event["sender"]):
            self._violate("I13", id, f"received by {event['user']}")
        sent_at = self._sent.get((event["sender"], event["to"], event["digest"]))
        if sent_at is None or sent_at > event["t"]:
            self._violate("I3", id, "received, but never sent")
        self._place(id, event)
        self._first_seen.setdefault(id, ("received", event["t"]))
        if id in session.seen:
            self._violate("I5", id, f"twice in session {event['c']}")
        elif self._is_fair:
            acked_at = self._acked_on[session.mailbox].get(id)
            # The user's first device opens a mailbox for sessions without one. What they had in the
            # moment before, from the default mailbox, it is owed again.
            is_other = session.device is None and session.user in self._with_devices
            if acked_at and acked_at + self._stranded < session.opened_at and not is_other:
                self._violate("I5", id, "again, long after it was acknowledged, without any fault")
        session.seen[id] = event["t"]
        self._received_on[session.mailbox].setdefault(id, event["t"])
        if event["replay"]:
            session.replayed.add(id)
        if not session.is_auto:
            session.unacked.add(id)
        if len(session.unacked) > self._window:
            self._violate("I14", event["c"], f"{len(session.unacked)} are not acknowledged")
        if event["to"] == event["user"] or is_room(event["to"]):
            self._received[id].setdefault(event["user"], event["t"])
        self._check_session_order(session, event)

    def _check_session_order(self, session: Session, event: Event) -> None:
        """I6a, I6b: what is replayed increases, and what is live from one sender."""
        conversation, offset = event["conversation"], event["offset"]
        if event["replay"]:
            if offset <= session.last_replay.get(conversation, -1):
                self._violate("I6", event["id"], f"replayed late in {event['c']}")
            session.last_replay[conversation] = offset
        elif event["what"] == "member":
            pass  # nothing tells which of several requests it is
        elif self._keeps_order and event["digest"] not in self._repeated:
            sent_by = self._sent_by.get((event["sender"], event["to"], event["digest"]), "")
            key = conversation, sent_by
            if offset <= session.last_live.get(key, -1):
                self._violate("I6", event["id"], f"pushed late in {event['c']}")
            session.last_live[key] = offset

    def _on_ack(self, event: Event) -> None:
        mailbox = self._sessions[event["c"]].mailbox
        for id in event["ids"]:
            self._acked[event["user"]].setdefault(id, event["t"])
            self._acked_on[mailbox].setdefault(id, event["t"])
        self._sessions[event["c"]].unacked.difference_update(event["ids"])

    def _on_status(self, event: Event) -> None:
        session = self._sessions[event["c"]]
        for id in event["ids"]:
            if not self._has_acked(event["by"], id):
                self._violate("I8", id, f"DELIVERED, but {event['by']} has not acknowledged")
            send = self._accepted.get(id)
            if send is not None and (send.user, send.to) != (event["user"], event["by"]):
                self._violate("I8", id, "the status of another's message")
            if (id, event["by"]) in session.told and self._tells_once:
                self._violate("I8", id, f"told twice in session {event['c']}")
            session.told.add((id, event["by"]))

    def _has_acked(self, user: str, id: str) -> bool:
        """Say whether this user has acknowledged what it had received."""
        return user == "auto" or (user in self._received[id] and id in self._acked[user])

    def _on_mark(self, event: Event) -> None:
        self._noted["mark"].append(event)

    def _on_read(self, event: Event) -> None:
        self._noted["read"].append(event)

    def _on_answer(self, event: Event) -> None:
        self._noted["answer"].append(event)

    def _on_no_answer(self, event: Event) -> None:
        self._noted["no_answer"].append(event)

    def _on_record(self, event: Event) -> None:
        self._records.append(event)

    def _on_row(self, event: Event) -> None:
        self._rows[event["table"]].append(event)

    def _place(self, id: str, event: Mapping[str, Any]) -> None:
        place = event["conversation"], event["offset"]
        known = self._places.setdefault(id, place)
        if known != place:
            self._violate("I7", id, f"is at {known} and at {place}")
        other = self._ids.setdefault(place, id)
        if other != id:
            self._violate("I7", id, f"is where {other} is: {place}")

    # The end -------------------------------------------------------------------------------------

    def _judge_end(self) -> None:
        logged: dict[str, Event] = {}
        # Id and recipient -> the place of the last record that says so.
        receipts: dict[tuple[str, str], tuple[int, int]] = {}
        foreign: set[tuple[int, int]] = set()
        devices = Devices()
        for record in self._records:
            if record["record"] == "event":
                if logged.setdefault(record["id"], record) is record:
                    self._conversations.note(record)
            elif record["record"] == "reads":
                self._conversations.note_reads(record)
                self._noted["reads"].append(record)
            elif record["record"] == "receipts":
                place = record["partition"], record["offset"]
                receipts.update(dict.fromkeys(record["receipts"], place))
            elif record["record"] == "device":
                devices.note(record)
            else:
                foreign.add((record["partition"], record["offset"]))
        self._judge_origin(logged)
        self._judge_log(logged)
        self._judge_delivered(logged)
        self._judge_devices(logged, devices)
        self._judge_receipts(receipts)
        self._judge_store(logged, foreign)
        statuses = self._judge_statuses(logged, receipts)
        self._judge_answers()
        self._judge_rooms(logged, statuses)

    def _judge_origin(self, logged: Mapping[str, Event]) -> None:
        """I3: what is in the log was sent, and its sender was not told that it is not there."""
        rejected = {
            key for key, send in self._sends.items() if send.is_rejected and send.tries == 1
        }
        anew = {key: send.anew_at or 0.0 for key, send in self._sends.items()}
        for id, record in logged.items():
            said = record["sender"], record["to"], record["digest"]
            key = record["ref"], *said
            if key in rejected or record["appended_at"] < anew.get(key, 0.0):
                self._violate("I3", id, "rejected, and in the log")
            if said not in self._sent:
                self._violate("I3", id, "in the log, but never sent")

    def _judge_log(self, logged: Mapping[str, Event]) -> None:
        """I1, I4, I11: what was accepted or pushed was in the log by then, and the same."""
        for id, (what, at) in self._first_seen.items():
            found = logged.get(id)
            if found is None:
                self._violate("I1", id, f"{what}, and not in the log")
            elif found["appended_at"] > at:
                self._violate("I11", id, f"{what} before it was in the log")
        for id, send in self._accepted.items():
            found = logged.get(id)
            if found is not None and found["digest"] != send.digest:
                self._violate("I4", id, "in the log with another content")

    def _judge_delivered(self, logged: Mapping[str, Event]) -> None:
        """I2: every recipient has received what was accepted, and in time."""
        for id in (*self._accepted, *self._without_ref):
            for recipient in self._recipients(logged.get(id)) - {"auto"}:
                received_at = self._received[id].get(recipient)
                if received_at is None:
                    self._violate("I2", id, f"accepted, and never received by {recipient}")
                if id in self._accepted:
                    self._judge_stranded(id, recipient, received_at)
                    self._judge_deaf(id, self._accepted[id])

    def _recipients(self, record: Event | None) -> frozenset[str]:
        """Return whom an event is for, its sender aside, unless it is to themselves."""
        if record is None:
            return frozenset()
        if not is_room(record["conversation"]):
            return frozenset(record["recipients"])
        return self._conversations.owed(record) - {record["sender"]}

    def _judge_devices(self, logged: Mapping[str, Event], devices: Devices) -> None:
        """I2, I13 of each device: it has what was logged while it was open, also what its user has
        sent from elsewhere; and nothing comes out of the store that it is not owed.
        """
        stored = {row["id"] for row in self._rows["messages"]}
        for id, record in logged.items():
            if id not in stored:
                continue  # it is in quarantine
            to_self = record["sender"] in record["recipients"]
            users = self._recipients(record) | {record["sender"]}
            if is_room(record["conversation"]):
                users &= self._conversations.owed(record)
            for user in users:
                opened = devices.open_at(user, record)
                for device in opened:
                    if (user, device) == (record["sender"], record["device"]) and not to_self:
                        self._judge_not_own(id, (user, device))
                    elif not devices.ends_after(user, device, record):
                        self._judge_device(id, (user, device))
                if opened and not devices.has_end(user, record):
                    self._judge_not_owed(id, user, opened)

        ended = {(each["user"], each["device"]) for each in devices.ends()}
        for mailbox, since in self._live_since.items():
            for id, send in self._accepted.items():
                is_owed = send.first_at > since and id in stored
                is_meant = is_owed and mailbox[0] in self._recipients(logged.get(id))
                if is_meant and mailbox not in ended | self._incomplete:
                    self._judge_device(id, mailbox)

    def _judge_device(self, id: str, mailbox: Mailbox) -> None:
        if id not in self._received_on[devices_session(mailbox)]:
            self._violate("I2", id, f"in the log, and never received on {mailbox}")

    def _judge_not_own(self, id: str, mailbox: Mailbox) -> None:
        if mailbox[1] and id in self._received_on[mailbox]:
            self._violate("I13", id, f"back on {mailbox}, from which it was sent")

    def _judge_not_owed(self, id: str, user: str, opened: frozenset[str]) -> None:
        for session in self._sessions.values():
            is_named = session.user == user and session.device is not None
            if is_named and id in session.replayed and session.device not in opened:
                self._violate("I13", id, f"replayed on {session.mailbox}, which is not owed it")

    def _judge_stranded(self, id: str, recipient: str, received_at: float | None) -> None:
        send = self._accepted[id]
        ok_at = send.ok_at
        is_excused = (send.user, recipient) in self._floods or recipient in self._unreadable
        if ok_at is None or is_excused:
            return
        if self._is_fair and self._has_settled(send, recipient):
            invariant, patience = "I2p", self._prompt
        elif self._calm_at is not None and ok_at >= self._calm_at:
            invariant, patience = "I2b", self._stranded
        else:
            return
        due = ok_at + patience
        for session in self._sessions.values():
            is_meant = session.user == recipient and recipient in self._with_devices
            is_owed = self._is_owed_all(session) < send.first_at
            if is_meant and is_owed and session.stays(ok_at, due):
                seen_at = self._received_on[session.mailbox].get(id)
                if seen_at is None or seen_at > due:
                    self._violate(invariant, id, f"too late on {session.mailbox}")
                    return
        if received_at is not None and received_at <= due:
            return
        for session in self._sessions.values():
            is_meant = session.user == recipient and recipient not in self._with_devices
            if is_meant and session.stays(ok_at, due):
                late = "never" if received_at is None else f"after {received_at - ok_at:.3f} s"
                self._violate(invariant, id, f"received by {recipient} {late}")
                return

    def _is_owed_all(self, session: Session) -> float:
        """Return from when on a session's device is owed all that is sent."""
        if self._is_fair and session.mailbox in self._told_new:
            return session.welcome_at
        return inf if session.live_at is None else session.live_at

    def _has_settled(self, send: Send, recipient: str) -> bool:
        """Say whether other servers know by now that the recipient is in the room."""
        for record, _ in self._conversations.changes_of(send.to, recipient):
            join = self._accepted.get(record["id"])
            if join is not send and (
                join is None or join.ok_at is None or join.ok_at + _SETTLED > send.first_at
            ):
                return False
        return True

    def _judge_deaf(self, id: str, send: Send) -> None:
        """I2d: sent while nothing but the store was away, to somebody who came in that time and
        was in the directory by then: what was sent before comes by replay.
        """
        ok_at = send.ok_at
        if not self._hears_all or ok_at is None or send.digest in self._repeated:
            return
        for session in self._sessions.values():
            due = max(ok_at, session.welcome_at + self._deaf) + self._heard
            is_meant = session.user == send.to and session.opened_at >= self._away_at
            is_away = session.welcome_at + _SETTLED <= send.first_at and due <= self._back_at
            is_judged = is_meant and is_away and session.stays(ok_at, due)
            if is_judged and session.seen.get(id, due) >= due:
                self._violate("I2d", id, f"{send.to} has waited for the store, and not heard")

    def _judge_receipts(self, receipts: Iterable[tuple[str, str]]) -> None:
        for id, recipient in receipts:
            # Also of one's own message, on another device: that is no delivery.
            if recipient != "auto" and id not in self._acked[recipient]:
                self._violate("I8", id, f"a receipt of {recipient}, who has not acknowledged")

    def _judge_store(self, logged: Mapping[str, Event], foreign: set[tuple[int, int]]) -> None:
        rows = {row["id"]: row for row in self._rows["messages"]}
        quarantined = {(row["partition"], row["offset"]) for row in self._rows["quarantine"]}
        for id, record in logged.items():
            place = record["partition"], record["offset"]
            row = rows.get(id)
            if row is None:
                if place not in quarantined:
                    self._violate("I9", id, "in the log, and not in the store")
                if id in self._accepted:
                    self._violate("I1", id, "accepted, and not in the store")
            elif (row["partition"], row["offset"]) != place:
                self._violate("I9", id, f"stored at {row['partition']}:{row['offset']}")
            elif any(row[each] != record[each] for each in ("sender", "recipients", "digest")):
                self._violate("I4", id, "stored otherwise than logged")
            if row is not None:
                self._place(id, row)
        if not foreign <= quarantined:
            self._violate("I9", foreign - quarantined, "in the log, and not in quarantine")
        applied = {row["partition"]: row["next"] for row in self._rows["applied"]}
        for record in self._records:
            if applied.get(record["partition"], 0) <= record["offset"]:
                self._violate("I10", record["offset"], "not applied")

    def _judge_statuses(
        self, logged: Mapping[str, Event], receipts: Mapping[tuple[str, str], tuple[int, int]]
    ) -> set[tuple[str, str, str]]:
        expected = set()
        for id in logged.keys() & {row["id"] for row in self._rows["messages"]}:
            for recipient in (
                self._recipients(logged[id]) if logged[id]["what"] == "message" else ()
            ):
                is_received = _is_behind(receipts.get((id, recipient)), logged[id])
                expected.add((id, recipient, "DELIVERED" if is_received else "UNDELIVERED"))
        found = {(row["id"], row["recipient"], row["status"]) for row in self._rows["status"]}
        for id, recipient, status in sorted(found ^ expected):
            self._violate("I9", id, f"log and store differ: {status} to {recipient}")
        return expected

    def _applied_at(self) -> dict[tuple[int, int], float]:
        """Return when the store had applied each change of who is in a room."""
        return {
            (record["partition"], record["offset"]): event["t"]
            for record in self._records
            if record["record"] == "event" and record["what"] == "member"
            for event in reversed(self._noted["applied"])
            if event["value"].get(record["partition"], 0) > record["offset"]
        }

    def _judge_rooms(
        self, logged: Mapping[str, Event], statuses: set[tuple[str, str, str]]
    ) -> None:
        RoomJudge(
            violate=self._violate,
            is_fair=self._is_fair,
            late=self._changes_late,
            sees_all=self._sees_all,
            logged=logged,
            stored={row["id"] for row in self._rows["messages"]},
            sessions=self._sessions,
            sends=self._sends,
            accepted=self._accepted,
            acked=self._acked,
            acked_on=self._acked_on,
            conversations=self._conversations,
            statuses=statuses,
            noted=self._noted,
            quiet_at=self._quiet_at,
            applied_at=self._applied_at(),
        ).judge()

    def _judge_answers(self) -> None:
        for (ref, *_), send in self._sends.items():
            if send.ok_at is None and not send.is_rejected:
                last = self._sessions.get(send.sessions[-1])
                if last is not None and last.closed_at is None:
                    self._violate("I12", ref, f"{send.user} has no answer")


def _is_behind(receipt: tuple[int, int] | None, record: Event) -> bool:
    """Say whether a receipt lies where it counts: behind the message, in the same partition."""
    if receipt is None:
        return False
    partition, offset = receipt
    return bool(partition == record["partition"] and offset > record["offset"])


def _is_before(send: Send, connect: Event) -> bool:
    """Say whether a send was accepted before a client began to connect."""
    return send.ok_at is not None and send.ok_at < connect["began"]
