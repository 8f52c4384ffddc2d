"""How much is unread, and how far people have seen: in thousands of conversations at once, after
sends, repeats, marks of any order, joins, purges and parts of the log again, what a fold of a few
lines says.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from contract.messages import uuid
from landline.model import (
    UNREAD_LIMIT,
    Entry,
    History,
    ListQuery,
    MemberStep,
    Positions,
    Role,
    Stretch,
)
from landline.model import Position as At
from landline.ports import ConversationStore
from landline.protocol.fold import fold
from landline.protocol.identity import direct_conversation
from landline.protocol.records import (
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    Record,
    RoomRecord,
)
from simulation.good_weather import ModelMessageStores
from support.stores import ReadingStores

TIME = "2026-01-02T03:04:05.678Z"
TIME_MS = 1_767_323_045_678
USERS = [f"user-{number}" for number in range(300)]
APPLIED_TOGETHER = 2_000
# SEQUENCES=10000 in the environment for as many.
SEQUENCES = 1_000


@dataclass
class Timeline:
    """What happens in one conversation, and what it comes to."""

    name: str
    users: list[str]
    ids: Iterator[str]
    partition: int
    events: dict[str, tuple[int, str]] = field(default_factory=dict)  # id -> offset, sender
    owed: set[tuple[str, str]] = field(default_factory=set)  # id, user
    read: dict[str, int] = field(default_factory=dict)  # of members
    told: list[MessageRecord] = field(default_factory=list)
    was_made: bool = False

    @property
    def is_room(self) -> bool:
        return self.name.startswith("room:")

    def next(self, chance: random.Random, offset: int) -> Record:
        """Return what happens at this offset, and note what it comes to."""
        kind = chance.choice(("say", "say", "say", "again", "read", "read", "ack", "member"))
        if self.is_room and not self.was_made:
            return self._make(offset)
        if kind == "read" and self.events:
            return self._mark(chance, offset)
        if kind == "ack" and self.owed:
            return self._acknowledge(chance)
        if kind == "again" and self.told:
            return chance.choice(self.told)
        if kind == "member" and self.is_room:
            return self._change(chance, offset)
        return self._say(chance, offset)

    def unread(self, user: str) -> int:
        seen = self.read[user]
        behind = sum(at > seen and sender != user for at, sender in self.events.values())
        return min(UNREAD_LIMIT, behind)

    def _say(self, chance: random.Random, offset: int) -> Record:
        sender = chance.choice(self.users)
        others = () if self.is_room else tuple(each for each in self.users if each != sender)
        id = self._note(offset, sender)
        record = MessageRecord(id, None, self.name, sender, others, "hello", TIME, None, None)
        self.told.append(record)
        return record

    def _make(self, offset: int) -> Record:
        first = self.users[:2]
        self.read = dict.fromkeys(first, offset - 1)
        id = self._note(offset, first[0])
        return RoomRecord(
            id, None, self.name, first[0], None, None, History.ALL, tuple(first), TIME
        )

    def _change(self, chance: random.Random, offset: int) -> Record:
        user = chance.choice(self.users)
        step = MemberStep.REMOVE if user in self.read else MemberStep.ADD
        if step is MemberStep.ADD:
            self.read[user] = offset - 1
        else:
            del self.read[user]
            self.owed = {(id, each) for id, each in self.owed if each != user}
        id = self._note(offset, "product")
        return MemberRecord(id, None, self.name, "product", None, user, step, Role.MEMBER, TIME)

    def _note(self, offset: int, sender: str) -> str:
        id = next(self.ids)
        if not self.is_room and not self.was_made:
            self.read = dict.fromkeys(self.users, 0)
        self.was_made = True
        self.events[id] = offset, sender
        self.owed |= {(id, user) for user in self.read if user != sender}
        return id

    def _mark(self, chance: random.Random, offset: int) -> Record:
        user = chance.choice(self.users)
        wanted = chance.choice([*(at for at, _ in self.events.values()), 0, 2**62])
        if user in self.read:
            self.read[user] = max(self.read[user], min(wanted, offset))
        return ReadRecord(self.name, ((user, wanted),))

    def _acknowledge(self, chance: random.Random) -> Record:
        user = chance.choice(sorted({user for _, user in self.owed}))
        ids = tuple(sorted(id for id, each in self.owed if each == user))
        self.owed -= {(id, user) for id in ids}
        return ReceiptRecord("any", (ReceiptEntry(user, None, ids),), TIME)


def conversations_of(chance: random.Random, count: int, partitions: int) -> list[Timeline]:
    """Return so many, half of them rooms, with nothing in them."""
    ids = iter(map(uuid, range(10**7)))
    made = []
    pairs = set[tuple[str, ...]]()
    for number in range(count):
        if number % 2:
            users = chance.sample(USERS, 3)
            name = f"room:{number:08x}-0000-8000-8000-0000000000aa"
        else:
            users = sorted(chance.sample(USERS, 2))
            if tuple(users) in pairs:
                continue
            pairs.add(tuple(users))
            name = direct_conversation(*users)
        made.append(Timeline(name, users, ids, chance.randrange(partitions)))
    return made


def write(
    chance: random.Random, sequences: Sequence[Timeline], ends: Positions, count: int
) -> dict[int, list[Entry]]:
    """Return what so many things make of the partitions, behind what they have."""
    logs: dict[int, list[Entry]] = {each: [] for each in ends}
    for _ in range(count):
        sequence = chance.choice(sequences)
        log = logs[sequence.partition]
        offset = ends[sequence.partition] + len(log)
        value = sequence.next(chance, offset).encode_2()
        place = At(sequence.partition, offset)
        log.append(Entry(place, TIME_MS + offset, sequence.name, value))
    return logs


async def apply(stores: ReadingStores, logs: dict[int, list[Entry]]) -> None:
    """Apply what is not applied yet."""
    store = await stores.open()
    applied = await store.applied()
    for partition, log in logs.items():
        left = [each for each in log if each.position.offset >= applied.get(partition, 0)]
        for start in range(0, len(left), APPLIED_TOGETHER):
            entries = left[start : start + APPLIED_TOGETHER]
            first, last = entries[0].position.offset, entries[-1].position.offset
            assert await store.apply(fold(Stretch(partition, first, last + 1, tuple(entries))))


async def check(conversations: ConversationStore, sequences: Sequence[Timeline]) -> None:
    """Compare every list of every user with the fold."""
    wanted: dict[str, dict[str, tuple[int, int]]] = {user: {} for user in USERS}
    for sequence in sequences:
        for user, seen in sequence.read.items():
            wanted[user][sequence.name] = seen, sequence.unread(user)
    for user in USERS:
        found: dict[str, tuple[int, int]] = {}
        after = None
        while page := await conversations.list(ListQuery(user, after, 100)):
            found |= {each.name: (each.read_offset, each.unread) for each in page}
            after = page[-1].last_time_ms, page[-1].name
        assert found == wanted[user]


@pytest.mark.timeout(600)
async def test_unread_and_read_offset_are_what_the_log_says(
    reading_stores: ReadingStores, conversations: ConversationStore
) -> None:
    chance = random.Random(13)
    count = int(os.environ.get("SEQUENCES", SEQUENCES))
    if isinstance(reading_stores, ModelMessageStores):
        count //= 10  # it looks at every conversation for each answer
    sequences = conversations_of(chance, count, reading_stores.partitions)
    ends = dict.fromkeys(range(reading_stores.partitions), 0)
    for part in range(3):
        logs = write(chance, sequences, ends, 4 * count)
        await apply(reading_stores, logs)
        await check(conversations, sequences)
        # Part of it again, and all of it again.
        for share in (chance.random(), 0):
            back = {each: int(ends[each] + share * len(log)) for each, log in logs.items()}
            await reading_stores.set_back(back)
            await apply(reading_stores, logs)
            await check(conversations, sequences)
        ends = {each: end + len(logs[each]) for each, end in ends.items()}
        if part < 2:
            await purge(reading_stores, sequences, TIME_MS + max(ends.values()) // 2)
            await check(conversations, sequences)


async def purge(stores: ReadingStores, sequences: Sequence[Timeline], before_ms: int) -> None:
    """Remove what is old and owed to nobody, here and there."""
    await stores.purge(before_ms)
    left = {str(row[0]) for row in (await stores.tables())["messages"]}
    for sequence in sequences:
        owed = {id for id, _ in sequence.owed}
        for id, (offset, _) in list(sequence.events.items()):
            may_go = id not in owed and TIME_MS + offset < before_ms
            assert may_go or id in left
            assert may_go <= (id not in left)
            if may_go:
                del sequence.events[id]
        sequence.told = [each for each in sequence.told if each.message_id in sequence.events]
