"""Makes the arguments of `apply` out of batches without a change."""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from landline.adapters.postgres.rounds import columns, storable
from landline.adapters.statements import statement
from landline.model import Batch, Message
from landline.protocol.identity import is_room, participants

APPLY: Final = statement("postgres", "apply")
# How the default mailbox is called in the column `device`.
DEFAULT_DEVICE: Final = "*"

Rows = Sequence[tuple[Any, ...]]


def ids_of(batch: Batch) -> Sequence[str]:
    """Return the messages that a batch brings."""
    return [message.id for message in batch.messages]


def apply_arguments(batches: Sequence[Batch]) -> Sequence[Any]:
    """Return what `APPLY` takes: of each table its rows, in the order of its keys."""
    reads = [(batch.partition, *read) for batch in batches for read in batch.reads]
    quarantined = [
        (*each.position, each.value, storable(each.reason))
        for batch in batches
        for each in batch.quarantined
    ]
    messages = sorted(_messages(batches), key=attrgetter("id"))
    numbers = {message.id: number for number, message in enumerate(messages, 1)}
    return (
        *columns([(batch.partition, batch.start, batch.end) for batch in batches], 3),
        *columns(_sent(messages), 11),
        *columns(reads, 4),
        *columns(_first_members(batches), 4),
        *columns(_owed(messages), 3),
        *columns(_receipts(batches, numbers), 6),
        *columns(quarantined, 4),
        *columns(_outsiders(messages), 2),
    )


def device_of(device: str | None) -> str:
    """Return what stands in the column `device`."""
    return DEFAULT_DEVICE if device is None else device


def _messages(batches: Sequence[Batch]) -> Iterable[Message]:
    return (message for batch in batches for message in batch.messages)


def _sent(messages: Iterable[Message]) -> Rows:
    return [
        (
            *message.position,
            message.id,
            message.conversation,
            message.sender,
            device_of(message.device),
            message.content,
            message.data,
            message.time_ms,
            is_room(message.conversation),
            not message.recipients,
        )
        for message in messages
    ]


def _first_members(batches: Sequence[Batch]) -> Rows:
    """Return who is in a direct conversation, should it be seen for the first time."""
    rows: list[tuple[str, int | None, str, int]] = []
    known = set()
    for message in _messages(batches):
        name = message.conversation
        if name in known or is_room(name):
            continue
        named = participants(name)
        users = named or tuple(dict.fromkeys((message.sender, *message.recipients)))
        offset = None if named else message.position.offset
        rows += [(name, offset, user, number) for number, user in enumerate(users, 1)]
        if named:
            known.add(name)
    return rows


def _owed(messages: Iterable[Message]) -> Rows:
    """Return for each message, by its number, whom it names, and its sender, who has other
    mailboxes.
    """
    rows: list[tuple[int, str, bool]] = []
    for number, message in enumerate(messages, 1):
        if not message.recipients:
            continue
        sender, recipients = message.sender, dict.fromkeys(message.recipients)
        is_direct = not is_room(message.conversation)
        is_to_oneself = is_direct and sender in recipients
        if is_direct:
            recipients[sender] = None
        rows += [(number, user, user == sender and not is_to_oneself) for user in recipients]
    return rows


def _outsiders(messages: Iterable[Message]) -> Rows:
    """Return for each message, by its number, whom it names beside those that its conversation's
    name says. No server writes such messages.
    """
    return [
        (number, user)
        for number, message in enumerate(messages, 1)
        if message.recipients
        for user in {message.sender, *message.recipients} - {*participants(message.conversation)}
    ]


def _receipts(batches: Sequence[Batch], numbers: Mapping[str, int]) -> Rows:
    """Return the receipts, each with the number of its message if that is in the batch."""
    rows = []
    for batch in batches:
        own = {message.id: message.position.offset for message in batch.messages}
        for id, mailbox, _delivered_at, offset in batch.receipts:
            user, device = mailbox
            at = own.get(id)
            number = numbers[id] if at is not None and at < offset else None
            rows.append((batch.partition, id, user, device_of(device), offset, number))
    return rows
