"""What the store makes of a batch, within a transaction that the writer's thread has begun."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from landline.adapters.sqlite.conversations import Numbers, enter_conversations
from landline.adapters.sqlite.devices import change_device
from landline.adapters.sqlite.members import change_room
from landline.adapters.sqlite.rows import NO_ROWS, given, stored_device, taken
from landline.adapters.statements import statement
from landline.model import Batch, DeviceChange, Message, Receipt
from landline.protocol.identity import is_room

_MOVE_APPLIED: Final = statement("sqlite", "move_applied")
_QUARANTINE: Final = statement("sqlite", "quarantine")
_ADD_MESSAGES: Final = statement("sqlite", "add_messages")
_KNOWN_MESSAGES: Final = statement("sqlite", "known_messages")
_ADD_PENDING: Final = statement("sqlite", "add_pending")
_ACKNOWLEDGED: Final = statement("sqlite", "acknowledged")
_REMOVE_PENDING: Final = statement("sqlite", "remove_pending")
_MARK_RECEIVED: Final = statement("sqlite", "mark_received")
_MOVE_READS: Final = statement("sqlite", "move_reads")


def apply_batch(connection: sqlite3.Connection, batch: Batch) -> bool:
    """Apply a batch if its partition stands at its start. Raises: sqlite3.Error."""
    moved = connection.execute(
        _MOVE_APPLIED, (batch.partition, batch.end, batch.start, batch.partition)
    )
    if moved.rowcount != 1:
        return False
    for quarantined in batch.quarantined:
        partition, offset = quarantined.position
        connection.execute(_QUARANTINE, (partition, offset, quarantined.value, quarantined.reason))
    if isinstance(batch.change, DeviceChange):
        change_device(connection, batch.change)
    new = _add_messages(connection, batch)
    receipts: Sequence[Receipt] = batch.receipts
    if new:
        numbers = enter_conversations(connection, list(new.values()))
        if batch.change is not None and not isinstance(batch.change, DeviceChange):
            [event] = new.values()
            change_room(connection, batch.change, numbers[event.conversation], event)
        own = [each for each in receipts if each.message_id in new]
        receipts = [each for each in receipts if each.message_id not in new]
        _add_pending(connection, new, numbers, own)
    if receipts:
        _acknowledge(connection, receipts)
    if batch.reads:
        connection.execute(_MOVE_READS, {"reads": given(map(tuple, batch.reads))})
    return True


def _add_messages(connection: sqlite3.Connection, batch: Batch) -> Mapping[str, Message]:
    """Add the messages of a batch; return, by their ids, those that were not known."""
    if not batch.messages:
        return {}
    # Asked before they are added: a part of the log that is applied again finds each message at its
    # own place.
    asked = given((each.position.offset, each.id) for each in batch.messages)
    arguments = {"messages": asked, "partition": batch.partition}
    [found] = connection.execute(_KNOWN_MESSAGES, arguments).fetchone()
    known = frozenset(taken(found))
    new: dict[str, Message] = {}
    for message in batch.messages:
        if message.id not in known:
            new.setdefault(message.id, message)
    if new:
        facts = [
            (
                m.position.offset,
                m.id,
                m.conversation,
                m.sender,
                m.content,
                m.time_ms,
                m.kind,
                m.data,
            )
            for m in new.values()
        ]
        arguments = {"messages": given(facts), "partition": batch.partition}
        connection.execute(_ADD_MESSAGES, arguments)
    return new


def _add_pending(
    connection: sqlite3.Connection,
    messages: Mapping[str, Message],
    numbers: Numbers,
    receipts: Sequence[Receipt],
) -> None:
    """Enter who is owed these messages, and has not acknowledged them in the same batch."""
    named: list[tuple[int, int, str, str | None, bool]] = []
    rooms: list[tuple[int, int, str, str]] = []
    for message in messages.values():
        offset, number = message.position.offset, numbers[message.conversation]
        sender, device = message.sender, stored_device(message.device)
        if not message.recipients:
            rooms.append((offset, number, sender, device))
            continue
        users = dict.fromkeys(message.recipients)
        is_direct = not is_room(message.conversation)
        is_to_oneself = is_direct and sender in users
        if is_direct:
            users[sender] = None
        for user in users:
            is_own = user == sender and not is_to_oneself
            named.append((offset, number, user, device if is_own else None, is_own))
    received = [
        (offset, each.mailbox.user, stored_device(each.mailbox.device))
        for each in receipts
        if (offset := messages[each.message_id].position.offset) < each.offset
    ]
    connection.execute(
        _ADD_PENDING, {"named": given(named), "rooms": given(rooms), "received": given(received)}
    )


def _acknowledge(connection: sqlite3.Connection, receipts: Sequence[Receipt]) -> None:
    asked = [
        (id, mailbox.user, stored_device(mailbox.device), offset)
        for id, mailbox, _delivered_at, offset in receipts
    ]
    over, received = connection.execute(_ACKNOWLEDGED, {"receipts": given(asked)}).fetchone()
    if over != NO_ROWS:
        connection.execute(_REMOVE_PENDING, {"rows": over})
    if received != NO_ROWS:
        connection.execute(_MARK_RECEIVED, {"rows": received})
