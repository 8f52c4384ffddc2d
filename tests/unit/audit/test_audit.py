"""Every kind of difference between log and store is found, and nothing else is."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from landline.audit import (
    Difference,
    Kind,
    OffsetRange,
    Report,
    StoredConversation,
    StoredDevice,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
)
from landline.model import Entry, History, MemberStep, Position, Role
from landline.observability.metrics import AUDIT_METRICS
from landline.protocol.records import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    RoomRecord,
    redriven,
)
from support.audits import ListedLog, ListedStore, differences

SECRET = "a secret"
EPOCH = 1 << 40
ROOM = "room:00000000-0000-8000-8000-0000000000aa"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


def reader(number: int) -> str:
    """Return who is written to."""
    return f"bob{number % 2}{number % 3}"


def talk(number: int) -> str:
    return f"dm:alice:{reader(number)}"


def sent(number: int, content: str = SECRET) -> bytes:
    to = reader(number)
    return MessageRecord(
        uuid(number), None, talk(number), "alice", (to,), content, "now", data='{"a":1}'
    ).encode_2()


def received(number: int, by: str | None = None, device: str | None = None) -> bytes:
    entry = ReceiptEntry(by or reader(number), device, [uuid(number)])
    return ReceiptRecord(talk(number), (entry,), "2026").encode_2()


@dataclass
class World:
    """Log and store in lists. Message n stands in partition n % 2, its receipt behind it.

    Messages 0 to 9 were sent, the even ones received; bob and carol are in a room in partition 1,
    dave was, and carol has two devices there; the store agrees.
    """

    entries: dict[int, list[Entry]] = field(default_factory=lambda: {0: [], 1: []})
    store: ListedStore = field(default_factory=ListedStore)
    first: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    position: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.conversations: dict[str, int] = {}
        self.mailboxes: dict[tuple[str, str], int] = {}

    @property
    def ends(self) -> dict[int, int]:
        return {each: self.end(each) for each in self.entries}

    def end(self, partition: int) -> int:
        entries = self.entries[partition]
        return entries[-1].position.offset + 1 if entries else 0

    def append(self, partition: int, value: bytes) -> Position:
        position = Position(partition, self.end(partition))
        self.entries[partition].append(Entry(position, 1_000 + position.offset, "key", value))
        return position

    def send(self, number: int) -> None:
        at = self.append(number % 2, sent(number))
        self.keep(uuid(number), talk(number), "alice", SECRET, at, data='{"a": 1}')
        for user in ("alice", reader(number)):
            self.join(talk(number), user, 0, 0)
        self.owe(reader(number), "*", at, talk(number))

    def receive(self, number: int) -> None:
        self.append(number % 2, received(number))
        row = self.pending(number)
        self.store.drop(row)

    def pending(self, number: int) -> StoredPending:
        return self.store.one(StoredPending, mailbox_id=self.mailboxes[reader(number), "*"],
                              position=self.message(number).position)  # fmt: skip

    def message(self, number: int) -> StoredMessage:
        return self.store.one(StoredMessage, id=uuid(number))

    # Rows --------------------------------------------------------------------------------------

    def keep(  # noqa: PLR0917 - the columns of a row
        self, id: str, conversation: str, sender: str, content: str, at: Position,
        kind: str = "message", data: str | None = None,
    ) -> None:  # fmt: skip
        time_ms = 1_000 + at.offset
        self.store.all.append(
            StoredMessage(id, conversation, sender, content, at, time_ms, kind, data)
        )
        is_room = conversation == ROOM
        number = self.conversations.setdefault(conversation, len(self.conversations) + 1)
        self.store.all = [
            row
            for row in self.store.all
            if not (isinstance(row, StoredConversation) and row.id == number)
        ]
        kind, history = ("room", "all") if is_room else ("direct", None)
        title = "Ideas" if is_room else None
        self.store.all.append(
            StoredConversation(number, conversation, kind, history, title, at.offset, time_ms)
        )

    def join(
        self, conversation: str, user: str, joined: int, read: int, role: str = "member"
    ) -> None:
        number = self.conversations[conversation]
        known = {(row.conversation_id, row.user) for row in self.store.of(StoredMember)}
        if (number, user) not in known:
            self.store.all.append(StoredMember(number, user, role, joined, len(known), read))

    def owe(
        self, user: str, device: str, at: Position, conversation: str, *, is_received: bool = False
    ) -> None:
        number = self.conversations[conversation]
        self.store.all.append(StoredPending(self.mailbox(user, device), at, number, is_received))

    def mailbox(self, user: str, device: str, since: int | None = None) -> int:
        if (user, device) not in self.mailboxes:
            number = self.mailboxes[user, device] = len(self.mailboxes) + 1
            begun = {} if since is None else {1: since}
            self.store.all.append(StoredDevice(number, user, device, begun))
        return self.mailboxes[user, device]

    # A room in partition 1 ---------------------------------------------------------------------

    def make_room(self) -> None:
        at = self.append(1, RoomRecord(
            uuid(100), None, ROOM, "bob", None, "Ideas", History.ALL, ("bob", "carol"), "now"
        ).encode_2())  # fmt: skip
        self.keep(uuid(100), ROOM, "bob", "", at, "room", '{"title":"Ideas"}')
        self.join(ROOM, "bob", at.offset, at.offset - 1, "admin")
        self.join(ROOM, "carol", at.offset, at.offset - 1)
        self.owe("carol", "*", at, ROOM)
        for step in (MemberStep.ADD, MemberStep.REMOVE):
            at = self.append(1, MemberRecord(
                uuid(101 + len(step)), None, ROOM, "bob", None, "dave", step, Role.MEMBER, "now"
            ).encode_2())  # fmt: skip
            data = f'{{"user":"dave","change":"{step}","role":"member"}}'
            self.keep(uuid(101 + len(step)), ROOM, "bob", "", at, "member", data)
            self.owe("carol", "*", at, ROOM)
        left = StoredFormerMember(self.conversations[ROOM], "dave", at.offset - 1, at.offset)
        self.store.all.append(left)

    def talk_with_devices(self) -> None:
        for device in ("phone", "laptop"):
            at = self.append(1, DeviceRecord("carol", device, True).encode_2())
            self.mailbox("carol", device, at.offset)
        at = self.append(1, MessageRecord(
            uuid(200), None, ROOM, "bob", (), SECRET, "now"
        ).encode_2())  # fmt: skip
        self.keep(uuid(200), ROOM, "bob", SECRET, at)
        for device in ("phone", "laptop"):
            self.owe("carol", device, at, ROOM)
        at = self.append(1, MessageRecord(
            uuid(201), None, ROOM, "carol", (), SECRET, "now", "phone"
        ).encode_2())  # fmt: skip
        self.keep(uuid(201), ROOM, "carol", SECRET, at)
        self.owe("bob", "*", at, ROOM)
        self.owe("carol", "laptop", at, ROOM, is_received=True)
        self.append(1, ReceiptRecord(
            ROOM, (ReceiptEntry("carol", "phone", [uuid(200)]),), "2026"
        ).encode_2())  # fmt: skip
        self.store.drop(self.owed("carol", "phone", 200))
        self.store.change(self.owed("carol", "laptop", 200), is_received=True)
        self.append(1, ReadRecord(ROOM, (("carol", at.offset),)).encode_2())
        self.store.change(self.member("carol"), read_offset=at.offset)

    def owed(self, user: str, device: str, number: int) -> StoredPending:
        at = self.message(number).position
        return self.store.one(StoredPending, mailbox_id=self.mailboxes[user, device], position=at)

    def member(self, user: str) -> StoredMember:
        return self.store.one(StoredMember, conversation_id=self.conversations[ROOM], user=user)

    def device(self, device: str) -> StoredDevice:
        return self.store.one(StoredDevice, user="carol", device=device)

    def room(self) -> StoredConversation:
        return self.store.one(StoredConversation, name=ROOM)


@pytest.fixture
def world() -> World:
    world = World()
    for number in range(10):
        world.send(number)
        if number % 2 == 0:
            world.receive(number)
    world.make_room()
    world.talk_with_devices()
    return world


async def run(world: World, base: int = 0) -> tuple[Report, list[Difference]]:
    world.store.position = world.position or world.ends
    held = {each: OffsetRange(world.first[each], end) for each, end in world.ends.items()}
    report, found = await differences(ListedLog(world.entries, held), world.store, base)
    assert not any(SECRET in difference.text for difference in found)
    return report, found


async def test_log_and_store_agree(world: World) -> None:
    report, found = await run(world)
    assert found == []
    assert (report.records, report.messages, report.pending) == (24, 15, 11)
    assert report.partitions == {0: (OffsetRange(0, 10), 10), 1: (OffsetRange(0, 14), 14)}


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
    for first in range(15):
        world.first = {0: min(first, 10), 1: first}
        assert (await run(world))[1] == []


async def test_a_message_that_stands_in_two_partitions_may_have_the_place_of_either(
    world: World,
) -> None:
    at = world.append(0, sent(3))
    row = world.pending(3)
    world.store.change(row, position=at)
    world.store.change(world.message(3), position=at, time_ms=1_000 + at.offset)
    conversation = world.store.one(StoredConversation, name=talk(3))
    world.store.change(conversation, last_offset=at.offset, last_time_ms=1_000 + at.offset)
    assert [each.kind for each in (await run(world))[1]] == []


async def test_after_a_new_log_epoch_the_old_positions_are_right(world: World) -> None:
    old, world.entries = world.entries, {0: [], 1: []}
    for partition, entries in old.items():
        # As it is after the partitions were raised: read again, and some sent again elsewhere.
        world.entries[1 - partition] = [
            entry._replace(position=Position(1 - partition, EPOCH + entry.position.offset))
            for entry in entries
        ]
    world.first = {0: EPOCH, 1: EPOCH}
    report, found = await run(world, EPOCH)
    assert found == []
    assert report.records == 24
    world.append(0, sent(20))  # the first one that was applied at its new position
    at = world.end(0) - 1
    world.keep(uuid(20), talk(20), "alice", SECRET, Position(0, at), data='{"a":1}')
    world.owe(reader(20), "*", Position(0, at), talk(20))
    assert (await run(world, EPOCH))[1] == []
    world.store.drop(world.pending(20))
    world.store.change(world.message(3), content="other")
    world.store.drop(world.message(4))
    _, found = await run(world, EPOCH)
    assert {each.kind for each in found} == {
        Kind.MESSAGE_CHANGED, Kind.MESSAGE_MISSING, Kind.PENDING_MISSING,
    }  # fmt: skip


async def test_what_was_received_may_have_been_purged(world: World) -> None:
    world.store.drop(world.message(2))
    world.store.below = {0: 5}
    assert (await run(world))[1] == []
    world.store.below = {0: 1}
    assert [each.kind for each in (await run(world))[1]] == [Kind.MESSAGE_MISSING]


async def test_a_repeat_of_what_is_nowhere_any_more_is_named_with_a_reservation(
    world: World,
) -> None:
    world.append(0, sent(2))
    world.store.drop(world.message(2))
    world.store.below = {0: 5}
    assert (await run(world))[1] == []  # the log has the first record as well
    world.first[0] = 4
    [found] = (await run(world))[1]
    assert found.kind == Kind.MESSAGE_MISSING
    assert found.text.endswith("is not stored, unless it repeats one that was purged")


async def test_what_is_still_owed_must_not_have_been_purged(world: World) -> None:
    world.store.drop(world.message(3))
    world.store.below = {1: 5}
    [found] = (await run(world))[1]
    assert found.kind == Kind.MESSAGE_MISSING
    assert f"is owed to {reader(3)} and is not stored" in found.text


async def test_a_record_that_stands_at_the_end_again_counts_there(world: World) -> None:
    """What was in quarantine, and has been appended again: the first place counts for nothing."""
    device = DeviceRecord("erin", "tab", True).encode_2()
    stands = world.append(0, redriven(sent(30), world.append(0, sent(30))))
    at = world.append(0, redriven(device, world.append(0, device)))
    world.mailbox("erin", "tab")
    world.store.change(world.store.one(StoredDevice, device="tab"), since={0: at.offset})
    world.keep(uuid(30), talk(30), "alice", SECRET, stands, data='{"a":1}')
    world.owe(reader(30), "*", stands, talk(30))
    assert (await run(world))[1] == []
    world.store.change(world.message(30), position=Position(0, stands.offset - 1))
    assert [each.kind for each in (await run(world))[1]] == [Kind.MESSAGE_MOVED]


async def test_read_marks_may_be_where_a_migration_has_put_them(world: World) -> None:
    record = MessageRecord(uuid(40), None, "dm:a:b", "a", ("b",), SECRET, "now")
    world.append(0, record.encode())
    at = world.append(0, record.encode().replace(uuid(40).encode(), uuid(41).encode()))
    for number, offset in ((40, at.offset - 1), (41, at.offset)):
        world.keep(uuid(number), "dm:a:b", "a", SECRET, Position(0, offset))
        world.owe("b", "*", Position(0, offset), "dm:a:b")
    world.join("dm:a:b", "a", 0, at.offset)
    world.join("dm:a:b", "b", 0, 0)
    assert (await run(world))[1] == []
    row = world.store.one(StoredMember, user="a")
    world.store.change(row, read_offset=at.offset + 1)
    assert [each.kind for each in (await run(world))[1]] == [Kind.MEMBER_CHANGED]


async def test_what_is_read_of_a_direct_conversation_began_at_offset_0_before(
    world: World,
) -> None:
    at = world.append(
        0, MessageRecord(uuid(40), None, "dm:a:b", "a", ("b",), SECRET, "now").encode_2()
    )
    world.keep(uuid(40), "dm:a:b", "a", SECRET, at)
    world.owe("b", "*", at, "dm:a:b")
    world.join("dm:a:b", "a", 0, 0)
    world.join("dm:a:b", "b", 0, -1)
    assert (await run(world))[1] == []
    world.store.change(world.store.one(StoredMember, user="a"), read_offset=1)
    assert [each.kind for each in (await run(world))[1]] == [Kind.MEMBER_CHANGED]


# Everything that can be wrong ------------------------------------------------------------------

Doctor = Callable[[World], None]


def lose_message(world: World) -> None:
    world.store.drop(world.message(3))


def lose_old_message(world: World) -> None:
    world.first[1] = 2
    world.store.drop(world.message(3))


def lose_everything_of_a_message(world: World) -> None:
    world.store.drop(world.pending(3))
    world.store.drop(world.message(3))


def change(number: int, **facts: object) -> Doctor:
    return lambda world: world.store.change(world.message(number), **facts)


def move(position: Position) -> Doctor:
    def doctor(world: World) -> None:
        world.store.change(world.pending(3), position=position)
        world.store.change(world.message(3), position=position)

    return doctor


def make_up(world: World, at: Position | None = None) -> None:
    row = world.message(3)
    at = at or row.position
    world.store.all.append(row._replace(id=uuid(77), position=at))
    if at != row.position:
        world.owe(reader(3), "*", at, talk(3))


def make_up_beyond_the_end(world: World) -> None:
    make_up(world, Position(1, 900))


def owe_what_is_nowhere(world: World) -> None:
    world.owe("bob", "*", Position(1, 900), ROOM)


def owe_a_stranger(world: World) -> None:
    world.owe("mallory", "*", world.message(3).position, talk(3))


def owe_nobody(world: World) -> None:
    world.store.drop(world.pending(3))


def owe_a_mailbox_of_nobody(world: World) -> None:
    world.store.change(world.pending(3), mailbox_id=999)


def owe_the_wrong_device(world: World) -> None:
    world.store.drop(world.owed("bob", "*", 201))
    world.owe("carol", "phone", world.message(201).position, ROOM)


def owe_who_was_removed(world: World) -> None:
    world.owe("dave", "*", world.message(200).position, ROOM)


def owe_in_another_conversation(world: World) -> None:
    other = world.conversations[talk(3)]
    world.store.change(world.owed("bob", "*", 201), conversation_id=other)


def own_is_not_received(world: World) -> None:
    world.store.change(world.owed("carol", "laptop", 201), is_received=False)


def receipt_is_not_stored(world: World) -> None:
    world.append(1, received(3))


def old_receipt_is_not_stored(world: World) -> None:
    world.first[1] = 3
    world.append(1, received(3))


def receipt_elsewhere_is_not_stored(world: World) -> None:
    world.store.change(world.owed("carol", "laptop", 200), is_received=False)


def stored_as_received(world: World) -> None:
    world.append(1, ReceiptRecord(ROOM, (ReceiptEntry("carol", "phone", [uuid(201)]),), "2026")
                 .encode_2())  # fmt: skip
    at = world.append(1, MessageRecord(uuid(202), None, ROOM, "bob", (), "x", "now").encode_2())
    world.keep(uuid(202), ROOM, "bob", "x", at)
    world.owe("carol", "phone", at, ROOM)
    world.owe("carol", "laptop", at, ROOM, is_received=True)


def receipt_by_a_stranger(world: World) -> None:
    world.append(1, received(3, "mallory"))


def receipt_by_a_stranger_to_the_room(world: World) -> None:
    entry = ReceiptEntry("mallory", None, [uuid(200)])
    world.append(1, ReceiptRecord(ROOM, (entry,), "2026").encode_2())


def receipt_of_nothing(world: World) -> None:
    world.append(1, received(99))


def lose_conversation(world: World) -> None:
    row = world.room()
    world.store.drop(row)
    for each in list(world.store.all):
        if getattr(each, "conversation_id", None) == row.id and not isinstance(each, StoredPending):
            world.store.drop(each)
    for each in world.store.of(StoredPending):
        if each.conversation_id == row.id:
            # As if it had got another number.
            world.store.change(each, conversation_id=row.id)


def change_room(**facts: object) -> Doctor:
    return lambda world: world.store.change(world.room(), **facts)


def make_up_a_conversation(world: World) -> None:
    world.store.all.append(StoredConversation(900, "dm:x:y", "direct", None, None, 3, 3))


def make_up_a_conversation_beyond_the_start(world: World) -> None:
    world.first = {0: 2, 1: 4}
    world.store.all.append(StoredConversation(900, "dm:x:y", "direct", None, None, 4, 3))


def lose_member(world: World) -> None:
    world.store.drop(world.member("carol"))


def change_member(**facts: object) -> Doctor:
    return lambda world: world.store.change(world.member("carol"), **facts)


def add_member(world: World) -> None:
    world.join(ROOM, "mallory", 9, 9)


def member_of_nothing(world: World) -> None:
    world.store.all.append(StoredMember(900, "mallory", "member", 0, 0, 0))


def former(world: World) -> StoredFormerMember:
    return world.store.one(StoredFormerMember)


def lose_former_member(world: World) -> None:
    world.store.drop(former(world))


def former_member_left_later(world: World) -> None:
    world.store.change(former(world), left_offset=14)


def add_former_member(world: World) -> None:
    world.store.all.append(former(world)._replace(user="mallory"))


def lose_device(world: World) -> None:
    # Nobody else is owed less: its row is another's.
    world.store.drop(world.device("phone"))


def device_since(**since: int) -> Doctor:
    return lambda world: world.store.change(
        world.device("phone"), since={int(each[1:]): at for each, at in since.items()}
    )


def add_device(world: World) -> None:
    world.store.all.append(StoredDevice(900, "bob", "tab", {1: 9}))


def keep_a_device_that_ended(world: World) -> None:
    world.store.all.append(StoredDevice(900, "bob", "tab", {}))


def put_in_quarantine(world: World) -> None:
    world.store.all.append(StoredQuarantine(world.append(0, b"garbage"), "not JSON"))


def put_a_good_message_in_quarantine(world: World) -> None:
    world.store.all.append(StoredQuarantine(world.append(0, sent(60)), "refused"))


def pass_over(world: World) -> None:
    world.append(0, b"garbage")


def tear_a_gap(world: World) -> None:
    world.position = {0: 10, 1: 14}
    world.first = {0: 0, 1: 16}
    for _ in range(4):
        world.append(1, sent(3))


def go_back(world: World) -> None:
    world.position = {0: 10, 1: 16}


@pytest.mark.parametrize(
    ("doctor", "kind", "said"),
    [
        (lose_message, Kind.MESSAGE_MISSING, "from alice at partition 1 offset 1 was accepted"),
        (lose_old_message, Kind.MESSAGE_MISSING, "at partition 1 offset 1 is owed to bob10 and"),
        (lose_everything_of_a_message, Kind.MESSAGE_MISSING, uuid(3)),
        (change(3, sender="mallory"), Kind.MESSAGE_CHANGED, "sender (mallory, in the log alice)"),
        (change(3, conversation="dm:x:y"), Kind.MESSAGE_CHANGED, "conversation (dm:x:y, in the"),
        (change(3, kind="room"), Kind.MESSAGE_CHANGED, "kind (room, in the log message)"),
        (change(3, content="another"), Kind.MESSAGE_CHANGED, "differs in content"),
        (change(3, data=None), Kind.MESSAGE_CHANGED, "differs in data"),
        (change(3, data="garbage"), Kind.MESSAGE_CHANGED, "differs in data"),
        (change(100, data='{"title":"x"}'), Kind.MESSAGE_CHANGED, "differs in data"),
        (change(3, time_ms=1), Kind.MESSAGE_CHANGED, "differs in time"),
        (move(Position(1, 8)), Kind.MESSAGE_MOVED, "stored at partition 1 offset 8, its first rec"),
        (move(Position(1, 0)), Kind.MESSAGE_MOVED, "first record is at partition 1 offset 1"),
        (move(Position(5, 7)), Kind.MESSAGE_MOVED, "stored at partition 5 offset 7"),
        (make_up, Kind.MESSAGE_UNKNOWN, "where the log does not have it"),
        (make_up_beyond_the_end, Kind.MESSAGE_UNKNOWN, "partition 1 offset 900"),
        (owe_what_is_nowhere, Kind.MESSAGE_UNKNOWN, "is neither stored nor in the log"),
        (owe_nobody, Kind.PENDING_MISSING, "to bob10, has not been received, and is not stored"),
        (owe_a_stranger, Kind.PENDING_UNKNOWN, "pending for mallory, and by the log is not owed"),
        (owe_who_was_removed, Kind.PENDING_UNKNOWN, "pending for dave, and by the log is not owed"),
        (owe_in_another_conversation, Kind.PENDING_CHANGED, f"in {ROOM}, and is stored in dm:"),
        (own_is_not_received, Kind.PENDING_CHANGED, "device 'laptop' of carol, is their own, and"),
        (receipt_is_not_stored, Kind.RECEIPT_MISSING, "for bob10, and by the log was received"),
        (old_receipt_is_not_stored, Kind.RECEIPT_MISSING, "and by the log was received"),
        (receipt_elsewhere_is_not_stored, Kind.RECEIPT_MISSING, "was received elsewhere, and is"),
        (stored_as_received, Kind.RECEIPT_UNKNOWN, "and the log has no receipt of it"),
        (receipt_by_a_stranger, Kind.RECEIPT_STRAY, "by mallory, who is no recipient of it"),
        (receipt_by_a_stranger_to_the_room, Kind.RECEIPT_STRAY, "by mallory, who is no recipient"),
        (receipt_of_nothing, Kind.RECEIPT_STRAY, "by bob10, and there is no such message"),
        (change_room(kind="direct"), Kind.CONVERSATION_CHANGED, "kind (direct)"),
        (change_room(history="joined"), Kind.CONVERSATION_CHANGED, "history (joined, in the log"),
        (change_room(title=None), Kind.CONVERSATION_CHANGED, "differs in title"),
        (change_room(last_offset=99), Kind.CONVERSATION_CHANGED, "last offset (99, in the log 11)"),
        (change_room(last_time_ms=9), Kind.CONVERSATION_CHANGED, "differs in last time"),
        (make_up_a_conversation, Kind.CONVERSATION_UNKNOWN, "dm:x:y is stored, and the log has no"),
        (make_up_a_conversation_beyond_the_start, Kind.CONVERSATION_UNKNOWN, "dm:x:y is stored"),
        (lose_member, Kind.MEMBER_MISSING, f"carol is a member of {ROOM}, and not stored as one"),
        (change_member(role="admin"), Kind.MEMBER_CHANGED, "role (admin, in the log member)"),
        (change_member(joined_offset=6), Kind.MEMBER_CHANGED, "where the membership began (6, in"),
        (change_member(read_offset=6), Kind.MEMBER_CHANGED, "what was read (6, in the log 11)"),
        (change_member(read_offset=14), Kind.MEMBER_CHANGED, "what was read (14, in the log 11)"),
        (add_member, Kind.MEMBER_UNKNOWN, f"mallory is stored as a member of {ROOM} since"),
        (member_of_nothing, Kind.MEMBER_UNKNOWN, "mallory is a member of no conversation"),
        (lose_former_member, Kind.MEMBER_MISSING, f"dave was a member of {ROOM} from offset 6 to"),
        (former_member_left_later, Kind.MEMBER_CHANGED, "membership ended (14, in the log 7)"),
        (add_former_member, Kind.MEMBER_UNKNOWN, "mallory is stored as a former member"),
        (lose_device, Kind.DEVICE_MISSING, "device 'phone' of carol began at partition 1 offset"),
        (device_since(_1=12), Kind.DEVICE_CHANGED, "'phone' of carol began at partition 1 offset"),
        (device_since(_1=8, _0=3), Kind.DEVICE_UNKNOWN, "open since partition 0 offset 3, and by"),
        (add_device, Kind.DEVICE_UNKNOWN, "device 'tab' of bob is stored as open since"),
        (keep_a_device_that_ended, Kind.DEVICE_UNKNOWN, "'tab' of bob is stored as open nowhere"),
        (put_in_quarantine, Kind.QUARANTINED, "partition 0 offset 10: not JSON"),
        (put_a_good_message_in_quarantine, Kind.QUARANTINED, "partition 0 offset 10: refused"),
        (pass_over, Kind.UNREADABLE, "partition 0 offset 10: not JSON: "),
        (tear_a_gap, Kind.LOG_GAP, "partition 1 offset 14: 2 records from here on are gone"),
        (go_back, Kind.LOG_WENT_BACK, "partition 1 offset 16: applied up to here, 2 more"),
    ],
)
async def test_a_difference_is_named(world: World, doctor: Doctor, kind: Kind, said: str) -> None:
    doctor(world)
    _, found = await run(world)
    assert [each.kind for each in found] == [kind]
    assert said in found[0].text


@pytest.mark.parametrize(
    ("doctor", "kinds"),
    [
        (owe_a_mailbox_of_nobody, {Kind.PENDING_MISSING, Kind.PENDING_UNKNOWN}),
        (owe_the_wrong_device, {Kind.PENDING_MISSING, Kind.PENDING_UNKNOWN}),
        (lose_conversation, {Kind.CONVERSATION_MISSING, Kind.PENDING_CHANGED}),
    ],
)
async def test_what_shows_in_two_places_is_named_in_both(
    world: World, doctor: Doctor, kinds: set[Kind]
) -> None:
    doctor(world)
    assert {each.kind for each in (await run(world))[1]} == kinds


async def test_many_losses_are_all_counted() -> None:
    """Whatever is lost, at any page's edge: each loss is found, and no more."""
    rng = random.Random(7)
    for _ in range(30):
        world = World()
        for number in range(rng.randrange(1, 60)):
            world.send(number)
        rows = world.store.of(StoredMessage)
        lost = [row for row in rows if rng.random() < 0.3]
        for row in lost:
            world.store.drop(row)
        report, _found = await run(world)
        assert report.counts == ({Kind.MESSAGE_MISSING: len(lost)} if lost else {})


def test_every_kind_is_a_label_of_the_metric() -> None:
    [declared] = [each for each in AUDIT_METRICS if each.name == "landline_audit_differences"]
    assert list(declared.labels["kind"]) == [str(kind) for kind in Kind]
