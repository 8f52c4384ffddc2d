"""Judges what is particular to rooms, and what people were told about conversations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulation.conversations import Conversations, is_room, participants
from simulation.seen import Event, Mailbox, Send, Session

# Within this long after the `accepted` of a removal live pushes end, and sends as well.
_REMOVED_SECONDS = 2.0
# After this long the store has applied what was accepted, where nothing is wrong.
_FRESH_SECONDS = 0.5
# Marks of a conversation are written down together.
_MARKED_SECONDS = 2.9
# So many unread ones are counted; this means "or more".
_UNREAD = 100


@dataclass
class RoomJudge:
    """What there is to judge by. `late`: how long hints may be under way, if that is bounded."""

    violate: Callable[[str, object, str], None]
    is_fair: bool
    late: float | None
    sees_all: bool
    logged: Mapping[str, Event]
    stored: set[str]
    sessions: Mapping[str, Session]
    sends: Mapping[tuple[str, str, str, str], Send]  # ref, user, to, digest
    accepted: Mapping[str, Send]
    acked: Mapping[str, Mapping[str, float]]
    acked_on: Mapping[Mailbox, Mapping[str, float]]
    conversations: Conversations
    statuses: set[tuple[str, str, str]]
    noted: Mapping[str, list[Event]]  # by kind
    quiet_at: float | None
    applied_at: Mapping[tuple[int, int], float]  # of records

    def judge(self) -> None:
        """Judge all of it."""
        for event in self.noted["recv"]:
            if is_room(event["conversation"]) and event["id"] in self.logged:
                self._judge_push(event, self.logged[event["id"]])
        for session in self.sessions.values():
            self._judge_caught_up(session)
        for id, record in self.logged.items():
            if is_room(record["conversation"]):
                self._judge_sender(id, record)
        for event in self.noted["rejected"]:
            if event["code"] == "no_such_conversation":
                self._judge_rejected(event)
        for event in self.noted["read"]:
            self._judge_read(event)
        for event in self.noted["mark"] if self.is_fair else ():
            self._judge_mark(event)
        for event in self.noted["answer"]:
            judge = getattr(self, f"_judge_{event['what']}")
            judge(event)
        for event in self.noted["no_answer"]:
            self._judge_no_answer(event)

    # Who gets what -----------------------------------------------------------------------------

    def _judge_push(self, event: Event, record: Event) -> None:
        """I13: a member at its offset; who was removed, for a moment longer; who comes later only
        where members see everything.
        """
        id, user, name = event["id"], event["user"], record["conversation"]
        if user in self.conversations.members_at(id):
            self._judge_old(event, record)
            return
        if record["change"].get("user") == user and not event["replay"]:
            return  # they hear that they are removed
        if event["replay"]:
            self.violate("I13", id, f"replayed to {user}, who was no member")
            return
        changes = list(self.conversations.changes_of(name, user))
        joined = [each for each, is_in in changes if is_in]
        if not any(each["appended_at"] <= event["t"] for each in joined):
            self.violate("I13", id, f"pushed to {user}, who is no member")
            return
        left = [each for each, is_in in changes if not is_in and each["offset"] < record["offset"]]
        if not left:
            if self.conversations.histories[name] == "joined":
                self.violate("I13", id, f"pushed to {user}, who came later")
        elif not self._is_back(changes, record, event["t"]):
            self._judge_removed(event, left[-1])

    def _is_back(self, changes: list[tuple[Event, bool]], record: Event, at: float) -> bool:
        """Say whether a user has come again behind an event, and by then: they may see all of it,
        where members do.
        """
        return any(
            is_in and each["offset"] > record["offset"] and each["appended_at"] <= at
            for each, is_in in changes
        )

    def _judge_old(self, event: Event, record: Event) -> None:
        """What a member was owed is owed no more when they are removed: once the store has that."""
        for each, is_in in self.conversations.changes_of(record["conversation"], event["user"]):
            if is_in or each["offset"] < record["offset"]:
                continue
            if self.is_fair:
                self._judge_removed(event, each)
            elif event["replay"] and self.late is not None:
                applied_at = self.applied_at.get((each["partition"], each["offset"]), event["t"])
                if event["pushed_at"] > applied_at + _REMOVED_SECONDS:
                    self.violate("I13", event["id"], f"replayed to {event['user']}, long removed")

    def _judge_removed(self, event: Event, removal: Event) -> None:
        send = self.accepted.get(removal["id"])
        at = None if send is None else send.ok_at
        if at is None or self.late is None:
            return
        if event["pushed_at"] > at + _REMOVED_SECONDS + self.late:
            late = event["pushed_at"] - at
            self.violate("I13", event["id"], f"pushed to {event['user']}, removed {late:.3f} s ago")

    def _judge_caught_up(self, session: Session) -> None:
        """I2c, in rooms: what was accepted before a session began, while its user is in them."""
        if session.live_at is None or session.is_auto or not self.sees_all:
            return
        named = session.device is not None
        acked = self.acked_on.get(session.mailbox) if named else self.acked.get(session.user)
        for id, send in self.accepted.items():
            record = self.logged.get(id)
            if record is None or id not in self.stored or not is_room(record["conversation"]):
                continue
            is_before = send.ok_at is not None and send.ok_at < session.opened_at
            is_owed = session.user in self.conversations.owed(record) and send.user != session.user
            is_since = session.owed_since <= send.first_at
            is_acked = (acked or {}).get(id, session.live_at) < session.live_at
            is_late = session.seen.get(id, session.live_at + 1) > session.live_at
            if is_before and is_owed and is_since and not is_acked and is_late:
                self.violate("I2c", id, f"caught_up of {session.mailbox} without it")

    # Who may do what ---------------------------------------------------------------------------

    def _judge_sender(self, id: str, record: Event) -> None:
        """I13: members write, and admins change; for a moment longer those who were it."""
        name, sender, change = record["conversation"], record["sender"], record["change"]
        if record["members"] is not None:
            return  # whoever makes a room
        before = self.conversations.members_before(id)
        is_leaving = change.get("user") == sender and change.get("change") == "remove"
        needed = "" if change["type"] == "message" or is_leaving else "admin"
        if sender in before and needed in ("", before[sender]):
            return
        roles = [
            (step.members.get(sender), step)
            for step in self.conversations.steps[name]
            if step.offset < record["offset"]
        ]
        had = [step for role, step in roles if role is not None and needed in ("", role)]
        if not had:
            self.violate("I13", id, f"{sender} had no right to it")
            return
        lost = next(
            step.record for _, step in roles if step.offset > had[-1].offset
        )  # the first event without that right
        asked = self._asked_at(record)
        removal = self.accepted.get(lost["id"])
        if removal is None or removal.ok_at is None or asked is None or self.late is None:
            return
        if asked > removal.ok_at + _REMOVED_SECONDS + self.late:
            self.violate("I13", id, f"{sender} had lost the right to it")

    def _asked_at(self, record: Event) -> float | None:
        key = record["ref"], record["sender"], record["to"], record["digest"]
        send = self.sends.get(key) if record["ref"] is not None else None
        return None if send is None else send.first_at

    def _judge_rejected(self, event: Event) -> None:
        """I12: whoever is in a room all the while is not told that there is none."""
        for (ref, user, name, _), send in self.sends.items():
            is_it = (ref, user) == (event["ref"], event["user"]) and send.is_rejected
            if is_it and self._was_in_all_the_while(user, name, send.first_at, event["t"]):
                self.violate("I12", ref, f"{user} is told that there is no {name}")

    def _was_in_all_the_while(self, user: str, name: str, since: float, until: float) -> bool:
        """Say whether a user was certainly in a conversation from here to there."""
        was_in = False
        for record, is_in in self.conversations.changes_of(name, user):
            if is_in:
                send = self.accepted.get(record["id"])
                was_in = send is not None and send.ok_at is not None and send.ok_at < since
            elif record["appended_at"] <= until:
                was_in = False
        return was_in

    def _was_in(self, user: str, name: str, until: float) -> bool:
        """Say whether a user can have been in a conversation."""
        return user in participants(name) or any(
            is_in and record["appended_at"] <= until
            for record, is_in in self.conversations.changes_of(name, user)
        )

    def _is_removed(self, user: str, name: str, asked_at: float, until: float) -> bool:
        """Say whether a user was certainly removed before a question, and is not back."""
        is_removed = False
        for record, is_in in self.conversations.changes_of(name, user):
            send = self.accepted.get(record["id"])
            if not is_in:
                at = None if send is None else send.ok_at
                is_removed = at is not None and at + _FRESH_SECONDS < asked_at
            elif record["appended_at"] <= until:
                is_removed = False
        return is_removed

    # What people are told ----------------------------------------------------------------------

    def _judge_read(self, event: Event) -> None:
        """I11: a mark that comes back is in the log; I13: others see how far members are."""
        name, user = event["conversation"], event["user"]
        if not self._was_in(user, name, event["t"]):
            self.violate("I13", name, f"{user} is told how far others have seen it")
        for entry in event["entries"]:
            if not any(
                each["conversation"] == name
                and each["appended_at"] <= event["t"]
                and entry in [list(known) for known in each["entries"]]
                for each in self.noted["reads"]
            ):
                self.violate("I11", name, f"{entry} was told, and is not in the log")

    def _judge_mark(self, event: Event) -> None:
        """I2p: a mark comes back, or one that is further."""
        user, name, at = event["user"], event["conversation"], event["t"]
        due = at + _MARKED_SECONDS
        is_member = user in participants(name) or self._was_in_all_the_while(user, name, at, due)
        if not is_member or not self.sessions[event["c"]].stays(at, due):
            return
        if not any(
            each["c"] == event["c"]
            and each["conversation"] == name
            and at <= each["t"] <= due
            and any(user == who and offset >= event["offset"] for who, offset in each["entries"])
            for each in self.noted["read"]
        ):
            self.violate("I2p", name, f"the mark of {user} at {event['offset']} does not come back")

    def _judge_no_answer(self, event: Event) -> None:
        user, name = event["user"], event["conversation"]
        if event["code"] != "no_such_conversation":
            if self.is_fair or self._is_quiet(event):
                self.violate("I15", name, f"{user} has no answer: {event['code']}")
            return
        if not (self.is_fair or self._is_quiet(event)):
            return  # the store may be behind
        is_direct = user in participants(name) and self._is_there(name, event["asked_at"])
        since = event["asked_at"] - _FRESH_SECONDS
        if is_direct or self._was_in_all_the_while(user, name, since, event["t"]):
            self.violate("I12", name, f"{user} is told that there is none")

    def _is_there(self, name: str, at: float) -> bool:
        return any(step.record["appended_at"] + _FRESH_SECONDS < at
                   for step in self.conversations.steps.get(name, ()))  # fmt: skip

    def _is_quiet(self, event: Event) -> bool:
        return self.quiet_at is not None and event["asked_at"] >= self.quiet_at

    def _judge_access(self, event: Event) -> None:
        """I13: only members are told."""
        user, name = event["user"], event["conversation"]
        is_certain = self.is_fair or self._is_quiet(event)
        if not self._was_in(user, name, event["t"]):
            self.violate("I13", name, f"{user} is told of it, and was never in it")
        elif is_certain and self._is_removed(user, name, event["asked_at"], event["t"]):
            self.violate("I13", name, f"{user} is told of it, and is not in it any more")

    def _judge_page(self, event: Event) -> None:
        self._judge_access(event)
        name, first, last = event["conversation"], event["from"], event["to"]
        request, items = event["request"], event["items"]
        visible = [
            (each["offset"], each["id"], each["digest"])
            for each in self.conversations.visible(name, event["user"])
            if each["id"] in self.stored
        ]
        expected = [each for each in visible if first <= each[0] <= last]
        if strange := [each for each in items if each not in visible]:
            self.violate("I13", request, f"a page of {name} for {event['user']} has {strange}")
        elif items != expected:
            self.violate("I2", request, f"a page of {name}, {first} to {last}: {items}, {expected}")
        below = [each for each in visible if each[0] < first]
        beyond = [each for each in visible if each[0] > last]
        is_forward = event["after"] is not None
        is_left = bool(beyond) if is_forward else bool(below)
        if not event["complete"] and (not is_left or len(items) != event["limit"]):
            self.violate("I2", request, f"a page of {name} says wrongly that it is not complete")
        if event["complete"] and not is_forward and below:
            self.violate("I2", request, f"a page of {name} says wrongly that it is complete")
        if is_forward and first != event["after"] + 1:
            self.violate("I2", request, f"a page of {name} begins at {first}")
        if event["before"] is not None and last >= event["before"]:
            self.violate("I2", request, f"a page of {name} ends at {last}")
        is_to_be_fresh = event["complete"] if is_forward else event["before"] is None
        if is_to_be_fresh and (self.is_fair or self._is_quiet(event)):
            self._judge_fresh(event, [id for _, id, _ in beyond])

    def _judge_fresh(self, event: Event, missing: list[str]) -> None:
        """What was accepted before a question is in its answer."""
        for id in missing:
            send = self.accepted.get(id)
            if send is not None and send.ok_at is not None and send.ok_at < event["asked_at"]:
                self.violate("I2", id, f"accepted before {event['request']}, and not in its page")

    def _judge_member_list(self, event: Event) -> None:
        self._judge_access(event)
        name = event["conversation"]
        told = [(each["user"], each["role"]) for each in event["items"]]
        if not any(
            told == [*step.members.items()] for step in self.conversations.steps.get(name, ())
        ):
            self.violate("I9", name, f"{event['user']} is told of members {told}")
        if self._is_quiet(event):
            members = self.conversations.last_members(name)
            seen = self.conversations.seen.get(name, {})
            expected = [(user, role, seen[user]) for user, role in members.items()]
            found = [(each["user"], each["role"], each["read_offset"]) for each in event["items"]]
            if found != expected:
                self.violate("I9", name, f"members are {expected}, and {event['user']} has {found}")

    def _judge_conversations(self, event: Event) -> None:
        """In the quiet end a list says what the log adds up to. Its pages are judged together."""
        user = event["user"]
        for each in event["items"]:
            if not self._was_in(user, each["conversation"], event["t"]):
                self.violate("I13", each["conversation"], f"in the list of {user}")
        if not self._is_quiet(event):
            return
        names = [each["conversation"] for each in event["items"]]
        expected = self._list_of(user)
        place = 0
        if event["after"] is not None:
            last = event["after"].partition(".")[2]
            place = expected.index(last) + 1 if last in expected else len(expected)
        if names != expected[place : place + event["limit"]]:
            self.violate("I2", event["request"], f"{user} has {names} of the list {expected}")
        for item in event["items"]:
            if item["conversation"] in expected:
                self._judge_listed(user, item)

    def _list_of(self, user: str) -> list[str]:
        def place(name: str) -> tuple[int, bytes]:
            return -int(self._last(name)["appended_at"] * 1000), name.encode()

        names = [
            name
            for name in self.conversations.steps
            if user in self.conversations.last_members(name) and self._stored(name)
        ]
        return sorted(names, key=place)

    def _stored(self, name: str) -> list[Event]:
        steps = self.conversations.steps[name]
        return [each.record for each in steps if each.record["id"] in self.stored]

    def _last(self, name: str) -> Event:
        return self._stored(name)[-1]

    def _judge_listed(self, user: str, item: dict[str, Any]) -> None:
        name = item["conversation"]
        seen = self.conversations.seen[name][user]
        visible = [
            each for each in self.conversations.visible(name, user) if each["id"] in self.stored
        ]
        unread = [each for each in visible if each["offset"] > seen and each["sender"] != user]
        found = item["offset"], item["read_offset"], item["unread"], item.get("role")
        role = self.conversations.last_members(name)[user] if is_room(name) else None
        expected = self._last(name)["offset"], seen, min(len(unread), _UNREAD), role
        if found != expected or (role and item["title"] != self.conversations.titles[name]):
            self.violate("I9", name, f"{user} is told {found}, and it is {expected}")

    def _judge_deliveries(self, event: Event) -> None:
        """I8: what one asks of one's own messages is what the store shows."""
        for each in event["items"]:
            record = self.logged.get(each["id"])
            if record is None:
                self.violate("I9", each["id"], f"{event['user']} is told of what no log has")
            elif record["sender"] != event["user"]:
                self.violate("I13", each["id"], f"{event['user']} is told who has received it")
        if self._is_quiet(event):
            found = {(each["id"], each["user"], each["status"]) for each in event["items"]}
            for each in found - self.statuses:
                self.violate("I8", each[0], f"{event['user']} is told {each}")
