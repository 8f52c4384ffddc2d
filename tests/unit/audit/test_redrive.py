"""What is in quarantine is appended again when it can be read, and else it stays."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from landline.audit import QuarantinedRecord, Redriven, redrive
from landline.errors import LogUnavailable
from landline.model import (
    Appended,
    AppendResult,
    History,
    MemberStep,
    NotAppended,
    Position,
    Positions,
    Role,
)
from landline.ports import EventLog
from landline.protocol.records import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    RoomRecord,
    decode_record,
    redriven_from,
)

ROOM = "room:00000000-0000-8000-8000-0000000000aa"
ID = "00000001-0000-8000-8000-00000000c0de"
MESSAGE = MessageRecord(ID, None, "dm:a:b", "a", ("b",), "a secret", "now", data='{"a":[1]}')
RECEIPT = ReceiptRecord("dm:a:b", (ReceiptEntry("b", "phone", [ID]),), "now")
READ = ReadRecord("dm:a:b", (("b", 3),))
MADE = RoomRecord(ID, None, ROOM, "a", None, "Ideas", History.ALL, ("a",), "now")
ADDED = MemberRecord(ID, None, ROOM, "a", None, "b", MemberStep.ADD, Role.MEMBER, "now")
DEVICE = DeviceRecord("b", "phone", True)


class Log:
    """A log of three partitions, each with ten records, that may refuse some."""

    partitions = 3

    def __init__(self) -> None:
        self.appended: list[tuple[str, bytes, int | None]] = []
        self.refused: list[bytes] = []

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        return {0: 10, 1: 10}  # the last one cannot say

    def append(
        self, key: str, value: bytes, done: Callable[[AppendResult], None],
        partition: int | None = None,
    ) -> None:  # fmt: skip
        if any(each in value for each in self.refused):
            done(NotAppended(False, "no answer"))
            return
        self.appended.append((key, value, partition))
        done(Appended(Position(partition or 0, 9 + len(self.appended)), 0))


@dataclass
class Table:
    """The table, in pages of two rows. Rows are removed once they are in the log."""

    log: Log
    rows: list[QuarantinedRecord] = field(default_factory=list)

    async def records(self) -> AsyncIterator[Sequence[QuarantinedRecord]]:
        rows = sorted(self.rows)
        for at in range(0, len(rows), 2):
            yield rows[at : at + 2]

    async def remove(self, positions: Collection[Position]) -> None:
        origins = [redriven_from(value) for _key, value, _partition in self.log.appended]
        assert all(each in origins for each in positions)
        self.rows = [row for row in self.rows if row.position not in positions]


@pytest.fixture
def table() -> Table:
    return Table(Log())


async def run(table: Table) -> tuple[Redriven, list[str]]:
    told: list[str] = []
    done = await redrive(cast(EventLog, table.log), table, told.append)
    assert not any("secret" in line for line in told)
    return done, told


@pytest.mark.parametrize(
    ("value", "kind", "key"),
    [
        (MESSAGE.encode(), "message", "dm:a:b"),
        (MESSAGE.encode_2(), "message", "dm:a:b"),
        (RECEIPT.encode_2(), "receipt", "dm:a:b"),
        (READ.encode_2(), "read", "dm:a:b"),
        (MADE.encode_2(), "room", ROOM),
        (ADDED.encode_2(), "member", ROOM),
        (DEVICE.encode_2(), "device", "b"),
    ],
)
async def test_every_kind_goes_where_it_belongs_and_says_what_it_said(
    table: Table, value: bytes, kind: str, key: str
) -> None:
    table.rows = [QuarantinedRecord(Position(1, 7), value)]
    done, told = await run(table)
    assert (done.appended, done.staying, table.rows) == ({kind: 1}, 0, [])
    [(appended_key, appended, partition)] = table.log.appended
    assert (appended_key, partition) == (key, 1 if kind == "device" else None)
    assert decode_record(appended) == decode_record(value)
    assert redriven_from(appended) == Position(1, 7)
    at = "partition 1 offset 10" if kind == "device" else "partition 0 offset 10"
    assert told[0] == f"partition 1 offset 7: {kind}, appended again at {at}"
    is_deciding = kind in {"room", "member", "device"}
    assert len(told) == 1 + is_deciding
    if is_deciding:
        assert f"takes effect from {at} on, not at its old place" in told[1]


async def test_what_cannot_be_read_stays(table: Table) -> None:
    table.rows = [
        QuarantinedRecord(Position(0, 1), b"garbage"),
        QuarantinedRecord(Position(0, 2), b'{"v":3}'),
        QuarantinedRecord(Position(0, 3), MESSAGE.encode()),
        # It counts in its own partition alone, and that is gone.
        QuarantinedRecord(Position(3, 4), DEVICE.encode_2()),
    ]
    done, told = await run(table)
    assert (done.appended, done.staying) == ({"message": 1}, 3)
    assert [row.position.offset for row in table.rows] == [1, 2, 4]
    assert told[0].startswith("partition 0 offset 1: stays: not JSON")
    assert told[1] == "partition 0 offset 2: stays: version 3 is neither 1 nor 2"
    assert any("does not have its partition any more" in line for line in told)


async def test_what_comes_back_meanwhile_is_left_alone(table: Table) -> None:
    table.rows = [
        QuarantinedRecord(Position(0, 10), MESSAGE.encode()),
        QuarantinedRecord(Position(2, 10), MESSAGE.encode()),
    ]
    assert (await run(table))[0].appended == {"message": 1}
    assert [row.position for row in table.rows] == [Position(0, 10)]


async def test_a_row_stays_until_the_log_has_the_record(table: Table) -> None:
    table.log.refused = [b"dm:c:d"]
    other = MessageRecord(ID, None, "dm:c:d", "c", ("d",), "x", "now")
    table.rows = [
        QuarantinedRecord(Position(0, 1), other.encode_2()),
        QuarantinedRecord(Position(0, 2), MESSAGE.encode_2()),
        QuarantinedRecord(Position(0, 3), MESSAGE.encode_2()),
    ]
    with pytest.raises(LogUnavailable, match="the log did not take a record: no answer"):
        await run(table)
    assert [row.position.offset for row in table.rows] == [1, 3]


async def test_a_record_that_came_back_names_where_it_stood_last(table: Table) -> None:
    table.rows = [QuarantinedRecord(Position(0, 1), MESSAGE.encode_2())]
    await run(table)
    table.rows = [QuarantinedRecord(Position(0, 9), table.log.appended[0][1])]
    await run(table)
    assert redriven_from(table.log.appended[1][1]) == Position(0, 9)


@pytest.mark.parametrize(
    "value",
    [
        b"garbage",
        b'garbage "redriven_from":',
        b'{"redriven_from":7}',
        b'{"redriven_from":["a",1]}',
        b'{"data":{"redriven_from":[1,2]}}',
        MessageRecord(ID, None, "dm:a:b", "a", ("b",), '"redriven_from":[1,2]', "now").encode(),
    ],
)
def test_what_names_no_place_comes_from_none(value: bytes) -> None:
    assert redriven_from(value) is None
