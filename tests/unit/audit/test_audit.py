"""Every kind of difference between log and store is found, and nothing else is."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from landline.audit import (
    Difference,
    Kind,
    OffsetRange,
    Report,
    StoredDelivery,
    StoredMessage,
    StoredQuarantine,
    audit,
)
from landline.model import Entry, Position, Positions
from landline.observability.metrics import AUDIT_METRICS
from landline.protocol.records import MessageRecord, ReceiptRecord

SECRET = "a secret"
EPOCH = 1 << 40


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


def sent(number: int, content: str = SECRET) -> bytes:
    to = f"bob{number % 3}"
    record = MessageRecord(uuid(number), None, f"dm:alice:{to}", "alice", (to,), content, "now")
    return record.encode()


def received(number: int, by: str | None = None) -> bytes:
    to = by or f"bob{number % 3}"
    return ReceiptRecord([uuid(number)], f"dm:alice:{to}", to, "2026").encode()


@dataclass
class World:
    """Log and store in lists. Message n stands in partition n % 2, its receipt behind it.

    Messages 0 to 9 were sent, the even ones received; the store agrees.
    """

    entries: list[Entry] = field(default_factory=list)
    stored: dict[int, StoredMessage] = field(default_factory=dict)
    delivered: dict[tuple[int, str], StoredDelivery] = field(default_factory=dict)
    quarantine: list[StoredQuarantine] = field(default_factory=list)
    position: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    ends: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})

    def append(self, partition: int, value: bytes) -> Position:
        position = Position(partition, self.ends[partition])
        self.entries.append(Entry(position, 1_000 + position.offset, "key", value))
        self.ends[partition] += 1
        return position

    def send(self, number: int) -> None:
        at = self.append(number % 2, sent(number))
        to = f"bob{number % 3}"
        self.stored[number] = StoredMessage(
            uuid(number), f"dm:alice:{to}", "alice", SECRET, at, 1_000 + at.offset
        )
        self.delivered[number, to] = StoredDelivery(uuid(number), to, to, False, at)

    def receive(self, number: int) -> None:
        self.append(number % 2, received(number))
        to = f"bob{number % 3}"
        self.delivered[number, to] = self.delivered[number, to]._replace(is_delivered=True)

    def to(self, number: int) -> tuple[int, str]:
        return number, f"bob{number % 3}"

    # The ports ---------------------------------------------------------------------------------

    async def applied(self) -> Positions:
        return self.position or self.ends

    async def spans(self) -> Mapping[int, OffsetRange]:
        return {each: OffsetRange(self.first[each], self.ends[each]) for each in self.ends}

    async def entries_between(self, start: Positions, end: Positions) -> list[Entry]:
        return [
            e for e in self.entries if start[e.position[0]] <= e.position[1] < end[e.position[0]]
        ]

    async def quarantined(self) -> AsyncIterator[Sequence[StoredQuarantine]]:
        for row in self.quarantine:
            yield [row]

    async def messages(self) -> AsyncIterator[Sequence[StoredMessage]]:
        rows = sorted(self.stored.values())
        for at in range(0, len(rows), 3):
            yield rows[at : at + 3]

    async def deliveries(self) -> AsyncIterator[Sequence[StoredDelivery]]:
        rows = sorted(self.delivered.values(), key=lambda row: row[:2])
        for at in range(0, len(rows), 2):
            yield rows[at : at + 2]


class Log:
    """The world's log: its port has a name that is also that of the list."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def spans(self) -> Mapping[int, OffsetRange]:
        return await self._world.spans()

    async def entries(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Entry]]:
        entries = await self._world.entries_between(start, end)
        for at in range(0, len(entries), 4):
            yield entries[at : at + 4]


@pytest.fixture
def world() -> World:
    world = World()
    for number in range(10):
        world.send(number)
        if number % 2 == 0:
            world.receive(number)
    return world


async def run(world: World, base: int = 0) -> tuple[Report, list[Difference]]:
    found: list[Difference] = []
    report = await audit(Log(world), world, found.append, lambda _text: None, base)
    assert report.counts.total() == len(found)
    assert not any(SECRET in difference.text for difference in found)
    return report, found


async def test_log_and_store_agree(world: World) -> None:
    report, found = await run(world)
    assert found == []
    assert (report.records, report.messages, report.deliveries) == (15, 10, 10)
    assert report.partitions == {0: (OffsetRange(0, 10), 10), 1: (OffsetRange(0, 5), 5)}


async def test_an_empty_log_and_an_empty_store_agree() -> None:
    report, found = await run(World())
    assert found == []
    assert report.records == 0


async def test_duplicates_late_receipts_and_what_is_not_applied_yet_are_no_differences(
    world: World,
) -> None:
    world.append(0, sent(2))
    world.append(0, received(2))
    world.append(1, sent(2))  # by a producer that counts partitions differently
    world.position = dict(world.ends)
    world.append(0, sent(50))
    world.append(1, received(3))
    world.append(1, b"garbage")
    assert (await run(world))[1] == []


async def test_what_the_log_no_longer_reaches_is_believed(world: World) -> None:
    world.first = {0: 7, 1: 4}
    world.entries = [e for e in world.entries if e.position.offset >= world.first[e.position[0]]]
    assert (await run(world))[1] == []


async def test_after_a_new_log_epoch_the_old_positions_are_right(world: World) -> None:
    for n, entry in enumerate(world.entries):
        partition, offset = entry.position
        # As it is after the partitions were raised: read again, and some sent again elsewhere.
        world.entries[n] = entry._replace(position=Position(1 - partition, EPOCH + offset))
    world.first = {0: EPOCH, 1: EPOCH}
    world.ends = {0: EPOCH + 5, 1: EPOCH + 10}
    report, found = await run(world, EPOCH)
    assert found == []
    assert report.records == 15
    world.stored[3] = world.stored[3]._replace(content="other")
    del world.stored[4]
    del world.delivered[world.to(4)]
    _, found = await run(world, EPOCH)
    assert {each.kind for each in found} == {
        Kind.MESSAGE_CHANGED, Kind.MESSAGE_MISSING, Kind.RECEIPT_MISSING,
    }  # fmt: skip


def lose_message(world: World) -> None:
    del world.stored[3]


def lose_old_message(world: World) -> None:
    world.first[1] = 4
    world.entries = [e for e in world.entries if e.position[0] == 0 or e.position[1] >= 4]
    del world.stored[3]


def lose_everything_of_a_message(world: World) -> None:
    del world.stored[3], world.delivered[world.to(3)]


def change(number: int, **facts: object) -> Callable[[World], None]:
    def doctor(world: World) -> None:
        world.stored[number] = world.stored[number]._replace(**facts)  # type: ignore[arg-type]

    return doctor


def change_delivery(number: int, **facts: object) -> Callable[[World], None]:
    def doctor(world: World) -> None:
        row = world.delivered[world.to(number)]
        world.delivered[world.to(number)] = row._replace(**facts)  # type: ignore[arg-type]

    return doctor


def owe_a_stranger(world: World) -> None:
    world.delivered[3, "mallory"] = world.delivered[world.to(3)]._replace(
        recipient="mallory", mailbox="mallory"
    )


def owe_nobody(world: World) -> None:
    del world.delivered[world.to(3)]


def owe_nobody_what_is_old(world: World) -> None:
    lose_old_message(world)
    del world.delivered[world.to(3)]
    world.stored[3] = StoredMessage(uuid(3), "dm:alice:bob0", "alice", "x", Position(1, 1), 1)


def move(position: Position) -> Callable[[World], None]:
    def doctor(world: World) -> None:
        change(3, position=position)(world)
        change_delivery(3, position=position)(world)

    return doctor


def make_up(world: World) -> None:
    world.stored[77] = world.stored[3]._replace(id=uuid(77))
    world.delivered[77, "bob0"] = world.delivered[world.to(3)]._replace(id=uuid(77))


def make_up_beyond_the_end(world: World) -> None:
    at = Position(1, 900)
    world.stored[77] = world.stored[3]._replace(id=uuid(77), position=at)
    world.delivered[77, "bob0"] = world.delivered[world.to(3)]._replace(id=uuid(77), position=at)


def owe_what_is_nowhere(world: World) -> None:
    world.delivered[77, "bob0"] = world.delivered[world.to(3)]._replace(id=uuid(77))


def receipt_by_a_stranger(world: World) -> None:
    world.append(1, received(3, "mallory"))
    world.delivered[3, "mallory"] = StoredDelivery(uuid(3), "mallory", "mallory", True, None)


def receipt_of_nothing(world: World) -> None:
    world.append(1, received(99))
    world.delivered[world.to(99)] = StoredDelivery(uuid(99), "bob0", "bob0", True, None)


def receipt_not_stored(world: World) -> None:
    world.append(1, received(3, "mallory"))


def put_in_quarantine(world: World) -> None:
    world.quarantine.append(StoredQuarantine(world.append(0, b"garbage"), "not JSON"))


def put_a_good_message_in_quarantine(world: World) -> None:
    world.quarantine.append(StoredQuarantine(world.append(0, sent(60)), "refused"))


def pass_over(world: World) -> None:
    world.append(0, b"garbage")


def tear_a_gap(world: World) -> None:
    world.position = {0: 10, 1: 2}
    world.first = {0: 0, 1: 4}
    for number in (5, 7):
        del world.stored[number], world.delivered[world.to(number)]
    world.entries = [e for e in world.entries if e.position[0] == 0]
    del world.stored[9], world.delivered[world.to(9)]


def go_back(world: World) -> None:
    world.position = {0: 10, 1: 7}


@pytest.mark.parametrize(
    ("doctor", "kind", "said"),
    [
        (lose_message, Kind.MESSAGE_MISSING, "from alice at partition 1 offset 1 was accepted"),
        (lose_old_message, Kind.MESSAGE_MISSING, "is owed to bob0 since partition 1 offset 1"),
        (lose_everything_of_a_message, Kind.MESSAGE_MISSING, uuid(3)),
        (change(3, sender="mallory"), Kind.MESSAGE_CHANGED, "sender (mallory, in the log alice)"),
        (change(3, conversation="dm:x:y"), Kind.MESSAGE_CHANGED, "conversation (dm:x:y, in the"),
        (change(3, content="another"), Kind.MESSAGE_CHANGED, "differs in content"),
        (change(3, time_ms=1), Kind.MESSAGE_CHANGED, "differs in time"),
        (owe_a_stranger, Kind.MESSAGE_CHANGED, "recipients (bob0, mallory, in the log bob0)"),
        (owe_nobody, Kind.MESSAGE_CHANGED, "recipients (nobody, in the log bob0)"),
        (owe_nobody_what_is_old, Kind.MESSAGE_CHANGED, "recipients (nobody)"),
        (change_delivery(3, mailbox="eve"), Kind.MESSAGE_CHANGED, "the mailbox of bob0 (eve)"),
        (change_delivery(3, position=Position(0, 1)), Kind.MESSAGE_CHANGED, "where it is owed to"),
        (move(Position(1, 4)), Kind.MESSAGE_MOVED, "stored at partition 1 offset 4, its first rec"),
        (move(Position(1, 0)), Kind.MESSAGE_MOVED, "first record is at partition 1 offset 1"),
        (move(Position(5, 7)), Kind.MESSAGE_MOVED, "stored at partition 5 offset 7"),
        (make_up, Kind.MESSAGE_UNKNOWN, "where the log does not have it"),
        (make_up_beyond_the_end, Kind.MESSAGE_UNKNOWN, "partition 1 offset 900"),
        (owe_what_is_nowhere, Kind.MESSAGE_UNKNOWN, "is neither stored nor in the log"),
        (change_delivery(2, is_delivered=False), Kind.RECEIPT_MISSING, "was received by bob2"),
        (receipt_not_stored, Kind.RECEIPT_MISSING, "was received by mallory"),
        (change_delivery(3, is_delivered=True), Kind.RECEIPT_UNKNOWN, "delivered to bob0, and the"),
        (receipt_by_a_stranger, Kind.RECEIPT_STRAY, "by mallory, who is no recipient of it"),
        (receipt_of_nothing, Kind.RECEIPT_STRAY, "by bob0, and there is no such message"),
        (put_in_quarantine, Kind.QUARANTINED, "partition 0 offset 10: not JSON"),
        (put_a_good_message_in_quarantine, Kind.QUARANTINED, "partition 0 offset 10: refused"),
        (pass_over, Kind.UNREADABLE, "partition 0 offset 10: not JSON: "),
        (tear_a_gap, Kind.LOG_GAP, "partition 1 offset 2: 2 records from here on are gone"),
        (go_back, Kind.LOG_WENT_BACK, "partition 1 offset 7: applied up to here, 2 more"),
    ],
)
async def test_a_difference_is_named(
    world: World, doctor: Callable[[World], None], kind: Kind, said: str
) -> None:
    doctor(world)
    _, found = await run(world)
    assert [each.kind for each in found] == [kind]
    assert said in found[0].text


async def test_many_losses_are_all_counted() -> None:
    """Whatever is lost, at any page's edge: each loss is found, and no more."""
    rng = random.Random(7)
    for _ in range(30):
        world = World()
        for number in range(rng.randrange(1, 60)):
            world.send(number)
        lost = {number for number in world.stored if rng.random() < 0.3}
        for number in lost:
            del world.stored[number], world.delivered[world.to(number)]
        report, _found = await run(world)
        assert report.counts == ({Kind.MESSAGE_MISSING: len(lost)} if lost else {})


def test_every_kind_is_a_label_of_the_metric() -> None:
    [declared] = [each for each in AUDIT_METRICS if each.name == "landline_audit_differences"]
    assert list(declared.labels["kind"]) == [str(kind) for kind in Kind]
