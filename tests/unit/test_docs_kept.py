"""What the docs say of how long the log is kept, and of devices where partitions were raised."""

import re

from landline.config.settings import Settings
from landline.gateway.devices import recognise
from landline.model import Batch, Device, DeviceChange, Mailbox, Message, PendingQuery, Position
from support.pages import ROOT
from support.tables import Tables

PHONE, LAPTOP, DEFAULT = Mailbox("bob", "phone"), Mailbox("bob", "laptop"), Mailbox("bob")


def test_every_page_names_the_default_of_keep_log() -> None:
    named = {}
    for page in (ROOT / "docs").glob("*.md"):
        text = " ".join(page.read_text(encoding="utf-8").split())
        named[page.name] = [int(each) for each in re.findall(r"`--keep-log`, (\d+) days", text)]
        assert "never deletes rows of the log" not in text
    days = Settings().keep_log / (24 * 3600)
    assert named["operating.md"] == [days, days]
    assert {each for found in named.values() for each in found} == {days}


def test_in_a_new_partition_each_device_counts_from_its_next_connection_there() -> None:
    tables = Tables(1)

    def opens(mailbox: Mailbox, partition: int, offset: int) -> None:
        change = DeviceChange(mailbox.user, mailbox.device or "", is_added=True, offset=offset)
        assert tables.apply([Batch(partition, offset, offset + 1, change=change)])

    def says(partition: int, offset: int) -> None:
        at = Position(partition, offset)
        id = f"{partition}:{offset}"
        message = Message(id, "dm:alice:bob", "alice", ("bob",), "x", at, 1)
        assert tables.apply([Batch(partition, offset, offset + 1, (message,))])

    def owed(mailbox: Mailbox) -> list[str]:
        return [each.id for each in tables.pending(PendingQuery(mailbox, {}, 10)).messages]

    opens(PHONE, 0, 0)
    opens(LAPTOP, 0, 1)
    says(0, 2)
    tables.partitions = 2
    says(1, 0)
    assert owed(DEFAULT) == ["1:0"]
    opens(PHONE, 1, 1)
    says(1, 2)
    assert owed(PHONE) == ["0:2", "1:0", "1:2"]
    assert owed(LAPTOP) == ["0:2", "1:0"]  # and a gap, of which it is told
    known = Device("bob", "laptop", frozenset({0, 1}) - tables.closed(LAPTOP), 1)
    assert recognise(LAPTOP, [known], frozenset({0, 1})).is_new
