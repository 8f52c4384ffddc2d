"""Random logs of everything that a log can hold, good and bad, and random ways to read them."""

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from landline.model import (
    FIRST_TURN,
    NOWHERE,
    Batch,
    Entry,
    History,
    HistoryQuery,
    ListQuery,
    Mailbox,
    MemberStep,
    PendingQuery,
    Position,
    Positions,
    Role,
    Stretch,
    Turn,
)
from landline.protocol.fold import fold
from landline.protocol.identity import direct_conversation
from landline.protocol.limits import ROOM_MEMBERS
from landline.protocol.partitions import partition_of
from landline.protocol.records import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    RoomRecord,
)
from landline.protocol.times import rfc3339

USERS = ("alice", "bob", "carol", "Zoë")
STRANGER = "mallory"
DEVICES = ("phone", "laptop", "")  # the empty name is one too
NEVER_SEEN = "tablet"
ROOMS = tuple(f"room:0000000{n}-0000-8000-8000-0000000000aa" for n in range(1, 4))
# Some log holds it, though no server makes such a name.
FOREIGN = "notes"
DIRECT = tuple(
    direct_conversation(one, other)
    for one, other in [
        ("alice", "bob"),
        ("alice", "carol"),
        ("bob", "carol"),
        ("Zoë", "alice"),
        ("bob", "bob"),
    ]
)
TIME_MS = 1_767_323_045_678

# Partition -> its entries in their order.
Logs = Mapping[int, Sequence[Entry]]


class _Making:
    """A log that is being written. A conversation is in one partition, a device in all."""

    def __init__(self, chance: random.Random, partitions: int, *, repeats: bool) -> None:
        self.chance = chance
        self.repeats = repeats
        self.partitions = partitions
        self.logs: dict[int, list[Entry]] = {each: [] for each in range(partitions)}
        self._time_ms = TIME_MS
        self._ids = 0
        self._sent: list[tuple[str, str]] = []  # id and conversation
        self._begun: list[str] = []  # conversations with an event
        self._later: list[tuple[int, bytes]] = []  # copies of records of devices

    def step(self) -> None:
        """Write one record, or two."""
        kinds = {
            self._direct: 24,
            self._to_room: 16,
            self._receipts: 34,
            self._reads: 6,
            self._device: 8,
            self._room: 6,
            self._member: 14,
            self._repeat: 6 * self.repeats,
            self._garbage: 1,
        }
        [write] = self.chance.choices(list(kinds), list(kinds.values()))
        write()
        if self._later and self.chance.random() < 0.6:
            partition, value = self._later.pop(self.chance.randrange(len(self._later)))
            self._append(partition, "device", value)

    def _append(self, partition: int, key: str, value: bytes) -> None:
        log = self.logs[partition]
        after = log[-1].position.offset + 1 if log else 0
        hole = self.chance.choice((0, 0, 0, 1, 3))
        self._time_ms += self.chance.randrange(100)
        log.append(Entry(Position(partition, after + hole), self._time_ms, key, value))

    def _say(self, conversation: str, value: bytes) -> None:
        self._append(partition_of(conversation, self.partitions), conversation, value)

    def _user(self) -> str:
        return self.chance.choice(USERS) if self.chance.random() < 0.95 else STRANGER

    def _sending_device(self) -> str | None:
        return self.chance.choice((None, *DEVICES))

    def _data(self) -> str | None:
        return self.chance.choice((None, None, '{"reply_to":"é","n":[1,null]}'))

    def _event_id(self, conversation: str) -> str:
        self._ids += 1
        id = _uuid(self._ids)
        self._sent.append((id, conversation))
        self._begun.append(conversation)
        return id

    # Messages

    def _direct(self) -> None:
        if self.chance.random() < 0.05:
            record = self._message(FOREIGN, "alice", ("bob", "carol"))
        else:
            conversation = self.chance.choice(DIRECT)
            _, low, high = conversation.split(":")
            sender, recipient = self.chance.sample((low, high), 2)
            record = self._message(conversation, sender, (recipient,))
        value = record.encode() if self.chance.random() < 0.3 else record.encode_2()
        self._say(record.conversation, value)

    def _to_room(self) -> None:
        conversation = self.chance.choice(ROOMS)
        self._say(conversation, self._message(conversation, self._user(), ()).encode_2())

    def _message(
        self, conversation: str, sender: str, recipients: tuple[str, ...]
    ) -> MessageRecord:
        return MessageRecord(
            self._event_id(conversation),
            None,
            conversation,
            sender,
            recipients,
            "x" * self.chance.choice((1, 1, 9, 100)),
            rfc3339(self._time_ms),
            self._sending_device(),
            self._data(),
        )

    # Receipts and reads

    def _receipts(self) -> None:
        """Of some messages, by some of their mailboxes, and by others. Now and then in another
        partition, or before the message.
        """
        known = self.chance.choices(self._sent[-10:], k=4) if self._sent else []
        ids = [id for id, _conversation in known]
        if self.chance.random() < 0.1:
            ids.append(_uuid(self._ids + self.chance.randrange(1, 4)))  # to be sent soon
        if not ids:
            return
        conversation = known[0][1] if known and self.chance.random() < 0.9 else DIRECT[0]
        at = rfc3339(TIME_MS + self.chance.randrange(1_000_000))
        if self.chance.random() < 0.2:
            record = ReceiptRecord(conversation, (ReceiptEntry(self._user(), None, ids),), at)
            self._say(conversation, record.encode())
            return
        entries = tuple(
            ReceiptEntry(self._user(), self._receiving_device(), ids)
            for _ in range(self.chance.randrange(1, 8))
        )
        self._say(conversation, ReceiptRecord(conversation, entries, at).encode_2())

    def _receiving_device(self) -> str | None:
        return self.chance.choice((None, *DEVICES, *DEVICES, *DEVICES, NEVER_SEEN))

    def _reads(self) -> None:
        if not self._begun:
            return
        conversation = self.chance.choice(self._begun)
        entries = tuple(
            (self._user(), self.chance.choice((0, self.chance.randrange(60), 10**9)))
            for _ in range(self.chance.randrange(1, 4))
        )
        self._say(conversation, ReadRecord(conversation, entries).encode_2())

    # Devices and rooms

    def _device(self) -> None:
        record = DeviceRecord(
            self._user(), self.chance.choice(DEVICES), self.chance.random() < 0.65
        )
        self._later += [(each, record.encode_2()) for each in range(self.partitions)]

    def _room(self) -> None:
        conversation = self.chance.choice(ROOMS)
        title = self.chance.choice((None, "Ideas", "Ökonomie"))
        sender = self._user()
        history, members = None, None
        if conversation not in self._begun or self.chance.random() < 0.3:
            history = self.chance.choice(list(History))
            others = [each for each in USERS if each != sender and self.chance.random() < 0.6]
            if self.chance.random() < 0.04:  # full, or nearly
                many = ROOM_MEMBERS - 1 - len(others) - self.chance.choice((0, 1))
                others += [f"user{n:03}" for n in range(many)]
            self.chance.shuffle(others)
            members = (sender, *others)
        record = RoomRecord(
            self._event_id(conversation),
            None,
            conversation,
            sender,
            self._sending_device(),
            title,
            history,
            members,
            rfc3339(self._time_ms),
        )
        self._say(conversation, record.encode_2())

    def _member(self) -> None:
        conversation = self.chance.choice(ROOMS)
        [step] = self.chance.choices(list(MemberStep), (4, 4, 2))
        record = MemberRecord(
            self._event_id(conversation),
            None,
            conversation,
            self._user(),
            self._sending_device(),
            self._user(),
            step,
            self.chance.choice(list(Role)),
            rfc3339(self._time_ms),
        )
        self._say(conversation, record.encode_2())

    # What must not matter

    def _repeat(self) -> None:
        log = self.logs[self.chance.randrange(self.partitions)]
        if log:
            entry = self.chance.choice(log)
            self._append(entry.position.partition, entry.key, entry.value)

    def _garbage(self) -> None:
        value = self.chance.choice((b"", b"[]", b'{"v":3}', b'{"v":2,"kind":"typing"}', b"\xff"))
        self._append(self.chance.randrange(self.partitions), "?", value)


def random_logs(
    chance: random.Random, partitions: int = 1, records: int = 80, *, repeats: bool = True
) -> Logs:
    """Return the log of each partition. `repeats`: some records are there twice."""
    making = _Making(chance, partitions, repeats=repeats)
    for _ in range(records):
        making.step()
    return making.logs


def in_pieces(chance: random.Random, logs: Logs, starts: Positions = NOWHERE) -> list[list[Batch]]:
    """Return what these logs come to, cut and interleaved at random: what to apply, time by time.

    What a store makes of it must not depend on that, but for the numbers of conversations.
    `starts`: where to begin in each partition, at its last entry at the latest.
    """
    waiting = {
        partition: _cut(chance, log, starts.get(partition, 0))
        for partition, log in logs.items()
        if log
    }
    applied: list[list[Batch]] = []
    while waiting:
        partitions = chance.sample(list(waiting), chance.randrange(1, len(waiting) + 1))
        batches: list[Batch] = []
        for partition in partitions:
            for _ in range(chance.choice((1, 1, 2))):
                if waiting.get(partition):
                    batches += fold(waiting[partition].pop(0))
            if not waiting[partition]:
                del waiting[partition]
        applied.append(batches)
    return applied


def _cut(chance: random.Random, log: Sequence[Entry], first: int) -> list[Stretch]:
    partition = log[0].position.partition
    end = log[-1].position.offset + chance.choice((1, 1, 3))
    share = chance.choice((0.0, 0.05, 0.3, 1.0))
    cuts = (each for each in range(first + 1, end) if chance.random() < share)
    places = [first, *cuts, end]
    return [
        Stretch(
            partition,
            start,
            stop,
            tuple(each for each in log if start <= each.position.offset < stop),
        )
        for start, stop in pairwise(places)
    ]


def random_queries(
    chance: random.Random, partitions: int, conversation_ids: Mapping[str, int], count: int = 60
) -> list[PendingQuery]:
    """Return questions of everybody's mailboxes, from anywhere in the log, with turns and without.

    `conversation_ids`: the numbers that the asked store has given.
    """
    turns = [
        Turn(number + off, partition)
        for number in conversation_ids.values()
        for off in (0, 0, 1)
        for partition in range(partitions)
    ]
    queries = []
    for _ in range(count):
        user = chance.choice((*USERS, *USERS, STRANGER, "user007", "nobody"))
        mailbox = Mailbox(user, chance.choice((None, None, *DEVICES, *DEVICES, NEVER_SEEN)))
        after = {each: chance.randrange(60) for each in range(partitions) if chance.random() < 0.4}
        limit, limit_bytes = chance.choice((1, 2, 5, 12, 64)), chance.choice((1, 30, 400, 10_000))
        turn = chance.choice([None, FIRST_TURN, *chance.sample(turns, min(3, len(turns)))])
        cursors = {each: chance.randrange(80) for each in turns if chance.random() < 0.3}
        queries.append(PendingQuery(mailbox, after, limit, turn, limit_bytes, cursors))
    return queries


class Questions(NamedTuple):
    """What a `ConversationStore` is asked. `members`: who asks, and of which conversation;
    `statuses`: who asks, and of which messages.
    """

    rooms: list[str]
    lists: list[ListQuery]
    histories: list[HistoryQuery]
    members: list[tuple[str, str]]
    statuses: list[tuple[str, list[str]]]


def random_questions(
    chance: random.Random, message_ids: Sequence[str], count: int = 20
) -> Questions:
    """Return questions of members, of those who were one, and of strangers."""
    conversations = [*ROOMS, *ROOMS, *DIRECT, FOREIGN, "room:made-up", "dm:alice:nobody"]
    users = [*USERS, *USERS, *USERS, STRANGER, "user007", "nobody"]

    def place() -> int:
        return chance.choice((0, 10**9, *(chance.randrange(90) for _ in range(8))))

    histories = []
    for _ in range(2 * count):
        before, after = chance.choice(((None, None), (place(), None), (None, place())))
        limit, limit_bytes = chance.choice((1, 2, 5, 30, 100)), chance.choice((1, 30, 400, 10_000))
        user, conversation = chance.choice(users), chance.choice(conversations)
        histories.append(HistoryQuery(user, conversation, before, after, limit, limit_bytes))
    lists = []
    for _ in range(count):
        behind = (TIME_MS + chance.randrange(6_000), chance.choice(conversations))
        limit = chance.choice((1, 2, 5, 30))
        lists.append(ListQuery(chance.choice(users), chance.choice((None, behind)), limit))
    return Questions(
        [*ROOMS, "room:made-up", DIRECT[0]],
        lists,
        histories,
        [(chance.choice(users), chance.choice(conversations)) for _ in range(count)],
        [(user, [*message_ids, _uuid(0)]) for user in dict.fromkeys(users)],
    )


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"
