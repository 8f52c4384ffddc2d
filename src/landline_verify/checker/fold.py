"""The fold of a log, written from the contract alone: the store must hold this, nothing else.

A message is owed to every mailbox that is open in its partition of each recipient and of its
sender, except the one that it was sent from. The default mailbox is open where no device is. What a
mailbox acknowledges is owed to it no more, nor to the default mailbox of its user, and to the
user's other mailboxes as something that was received. When a device ends, the default mailbox gets
what nobody has received and no other device is owed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from landline_verify.history.events import (
    DeviceRecord,
    MessageRecord,
    ReceiptsRecord,
    Record,
)


class Mailbox(NamedTuple):
    """Where a user's messages wait: `device` None is the default one."""

    user: str
    device: str | None


@dataclass(slots=True)
class Fold:
    """Every message with its first record, what is owed of it and whether that was received, and
    every receipt that counts as (id, user).
    """

    messages: dict[str, MessageRecord] = field(default_factory=dict)
    owed: defaultdict[str, dict[Mailbox, bool]] = field(default_factory=lambda: defaultdict(dict))
    receipts: set[tuple[str, str]] = field(default_factory=set)

    def is_delivered(self, id: str, user: str) -> bool:
        """Say whether no mailbox of a user waits for a message that the user does not have."""
        return all(
            is_received for mailbox, is_received in self.owed[id].items() if mailbox.user == user
        )


def fold(records: Iterable[Record]) -> Fold:
    """Return what the records come to, in whatever order they are given."""
    result = Fold()
    # Open devices by user and partition.
    devices: defaultdict[tuple[str, int], dict[str, None]] = defaultdict(dict)
    for record in sorted(records, key=lambda each: (each.partition, each.offset)):
        if isinstance(record, MessageRecord):
            if result.messages.setdefault(record.id, record) is record:
                _owe(result, record, devices)
        elif isinstance(record, ReceiptsRecord):
            _receive(result, record)
        elif isinstance(record, DeviceRecord):
            opened = devices[record.user, record.partition]
            if record.change == "add":
                opened[record.device] = None
            elif record.device in opened:
                del opened[record.device]
                _close(result, record)
    return result


def _owe(
    result: Fold, message: MessageRecord, devices: defaultdict[tuple[str, int], dict[str, None]]
) -> None:
    sent_from = Mailbox(message.sender, message.device)
    is_to_oneself = message.sender in message.recipients
    for user in {*message.recipients, message.sender}:
        opened: Collection[str | None] = devices[user, message.partition] or (None,)
        for device in opened:
            mailbox = Mailbox(user, device)
            if is_to_oneself or mailbox != sent_from:
                result.owed[message.id][mailbox] = user == message.sender and not is_to_oneself


def _receive(result: Fold, record: ReceiptsRecord) -> None:
    for user, device, ids in record.entries:
        for id in ids:
            message = result.messages.get(id)
            # What stands behind it, or in another partition, was not acknowledged by it.
            if message is None or message.partition != record.partition:
                continue
            result.receipts.add((id, user))
            owed = result.owed[id]
            for mailbox in list(owed):
                if mailbox.user == user:
                    owed[mailbox] = True
            owed.pop(Mailbox(user, device), None)
            owed.pop(Mailbox(user, None), None)


def _close(result: Fold, record: DeviceRecord) -> None:
    ended = Mailbox(record.user, record.device)
    for id, owed in result.owed.items():
        if ended in owed and result.messages[id].partition == record.partition:
            is_received = owed.pop(ended)
            if not is_received and not any(each.user == record.user for each in owed):
                owed[Mailbox(record.user, None)] = False


def conversation_of(one: str, other: str) -> str:
    """Return the conversation of two users; Python compares texts by code point, as it must be."""
    return f"dm:{min(one, other)}:{max(one, other)}"
