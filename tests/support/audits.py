"""Log and store of an audit in lists, to be filled and doctored."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from landline.audit import (
    DEFAULT_MAILBOX,
    Difference,
    OffsetRange,
    Report,
    StoredConversation,
    StoredDevice,
    StoredEndedUser,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
    StoredRow,
    audit,
)
from landline.model import Entry, Mailbox, Position, Positions
from support.tables import Tables

R = TypeVar("R", bound=StoredRow)

PAGE_ROWS = 3


@dataclass
class ListedLog:
    """See `landline.audit.AuditLog`."""

    entries_of: Mapping[int, Sequence[Entry]]
    held: dict[int, OffsetRange]

    def forget_below(self, firsts: Positions) -> None:
        """Do what retention does."""
        for partition, first in firsts.items():
            self.held[partition] = self.held[partition]._replace(first=first)

    async def spans(self) -> Mapping[int, OffsetRange]:
        return self.held

    async def entries(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Entry]]:
        for partition, entries in self.entries_of.items():
            within = range(start[partition], end[partition])
            found = [each for each in entries if each.position.offset in within]
            for at in range(0, len(found), PAGE_ROWS):
                yield found[at : at + PAGE_ROWS]


@dataclass
class ListedStore:
    """See `landline.audit.AuditStore`."""

    all: list[StoredRow] = field(default_factory=list)
    position: Positions = field(default_factory=dict)
    below: Positions = field(default_factory=dict)

    async def applied(self) -> Positions:
        return self.position

    async def purged(self) -> Positions:
        return self.below

    async def rows(self) -> AsyncIterator[Sequence[StoredRow]]:
        for kind in {type(row): None for row in self.all}:
            found = self.of(kind)
            for at in range(0, len(found), PAGE_ROWS):
                yield found[at : at + PAGE_ROWS]

    def of(self, kind: type[R]) -> list[R]:
        """Return the rows of a table."""
        return [row for row in self.all if isinstance(row, kind)]

    def one(self, kind: type[R], **values: object) -> R:
        """Return the only row of a table with these values."""
        [row] = [
            row
            for row in self.of(kind)
            if all(getattr(row, name) == value for name, value in values.items())
        ]
        return row

    def drop(self, row: StoredRow) -> None:
        self.all.remove(row)

    def change(self, row: StoredRow, **values: object) -> None:
        self.all[self.all.index(row)] = row._replace(**values)  # type: ignore[arg-type]


def stored(tables: Tables) -> ListedStore:
    """Return the tables as a store that is audited."""
    rows: list[StoredRow] = [
        StoredMessage(
            m.id, m.conversation, m.sender, m.content, m.position, m.time_ms, m.kind, m.data
        )
        for m in tables.messages.values()
    ]
    for name, conversation in tables.conversations.items():
        id = tables.conversation_ids[name]
        rows.append(
            StoredConversation(
                id, name, conversation.kind, conversation.history, conversation.title,
                conversation.last_offset, conversation.last_time_ms,
            )
        )  # fmt: skip
        rows += [
            StoredMember(id, user, m.role, m.joined_offset, m.number, m.read_offset)
            for user, m in conversation.members.items()
        ]
        rows += [StoredFormerMember(id, *each) for each in conversation.former_members]
    mailboxes = {
        Mailbox(u, d): s for u, devices in tables.devices.items() for d, s in devices.items()
    }
    for number, mailbox in enumerate(dict.fromkeys([*tables.owed, *mailboxes]), 1):
        name = DEFAULT_MAILBOX if mailbox.device is None else mailbox.device
        rows.append(StoredDevice(number, mailbox.user, name, mailboxes.get(mailbox, {})))
        rows += [
            StoredPending(
                number, position, tables.conversation_ids[owed.message.conversation],
                owed.is_received,
            )
            for position, owed in tables.owed.get(mailbox, {}).items()
        ]  # fmt: skip
    rows += [StoredQuarantine(bad.position, bad.reason) for bad in tables.quarantine.values()]
    rows += [
        StoredEndedUser(user, Position(*place))
        for user, (_name, before) in tables.ended.items()
        for place in before.items()
    ]
    return ListedStore(rows, dict(tables.applied))


def logged(logs: Mapping[int, Sequence[Entry]], tables: Tables) -> ListedLog:
    """Return the log that these tables were made from."""
    return ListedLog(logs, {each: OffsetRange(0, tables.applied.get(each, 0)) for each in logs})


async def differences(
    log: ListedLog, store: ListedStore, base: int = 0
) -> tuple[Report, list[Difference]]:
    """Audit them."""
    found: list[Difference] = []
    report = await audit(log, store, found.append, lambda _text: None, base)
    assert report.counts.total() == len(found)
    return report, found
