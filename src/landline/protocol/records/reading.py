"""How records are read: every field checked as strictly as at the edge."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from landline.model import Entry, History, MemberStep, Role
from landline.protocol.identity import (
    BadName,
    check_recorded_name,
    is_device,
    is_message_id,
    is_ref,
    is_room,
    is_storable,
    utf8_length,
)
from landline.protocol.limits import CONTENT_BYTES, DATA_BYTES, ROOM_MEMBERS, TITLE_BYTES
from landline.protocol.records.kinds import (
    RECEIPTS_PER_RECORD,
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    Record,
    RoomRecord,
)
from landline.protocol.times import is_time

CONVERSATION_BYTES = 256
TIME_BYTES = 40
_LAST_OFFSET = 2**63 - 1  # what the stores can keep

T = TypeVar("T", History, MemberStep, Role)
Fields = Mapping[str, Any]


class BadRecord(ValueError):
    """A record that can never be applied; `str(error)` says why."""


def decode_entry(entry: Entry) -> Record:
    """Return the record of an entry, if its time is one that can be told too.

    The log's own time always is. If the topic takes the sender's time, a sender may write any
    number. Raises: BadRecord.
    """
    if not is_time(entry.time_ms):
        raise BadRecord(
            f"its time ({entry.time_ms} ms since 1970) is not in the years 1970 to 9999"
        )
    return decode_record(entry.value)


def decode_record(value: bytes) -> Record:
    """Return the record, every field checked.

    User names may be those of an older rule: what was accepted under it is not lost.

    Raises: BadRecord.
    """
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadRecord(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadRecord("not a JSON object")
    version = record.get("v")
    if isinstance(version, bool) or version not in (1, 2):
        raise BadRecord(f"version {version!r:.40} is neither 1 nor 2")
    if version == 2:
        return _version_2(record)
    status = record.get("status")
    if status == "UNDELIVERED":
        return _message(record)
    if status == "DELIVERED":
        return _receipts(record)
    raise BadRecord(f"status {status!r:.40} is neither UNDELIVERED nor DELIVERED")


# Version 1 -----------------------------------------------------------------------------------


def _message(record: Fields) -> MessageRecord:
    recipients = _names(record, "recipients")
    if not recipients:
        raise BadRecord("recipients is not a list of user names")
    return MessageRecord(
        _id(record.get("message_id")),
        _ref(record),
        _text(record, "conversation", CONVERSATION_BYTES),
        _name(record.get("sender")),
        recipients,
        _text(record, "content", CONTENT_BYTES),
        _text(record, "created_at", TIME_BYTES),
    )


def _receipts(record: Fields) -> ReceiptRecord:
    ids = record.get("message_ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= RECEIPTS_PER_RECORD:
        raise BadRecord(f"message_ids is not a list of 1 to {RECEIPTS_PER_RECORD} ids")
    entry = ReceiptEntry(_name(record.get("recipient")), None, tuple(map(_id, ids)))
    return ReceiptRecord(
        _text(record, "conversation", CONVERSATION_BYTES),
        (entry,),
        _text(record, "delivered_at", TIME_BYTES),
    )


# Version 2 -----------------------------------------------------------------------------------


def _version_2(record: Fields) -> Record:
    kind = record.get("kind")
    read = _READ.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise BadRecord(f"kind {kind!r:.40} is none of {', '.join(_READ)}")
    return read(record)


def _message_2(record: Fields) -> MessageRecord:
    _check_status(record, "UNDELIVERED")
    conversation = _text(record, "conversation", CONVERSATION_BYTES)
    recipients = _names(record, "recipients")
    if is_room(conversation) == bool(recipients):
        raise BadRecord("recipients are given in direct conversations and nowhere else")
    return MessageRecord(
        _id(record.get("message_id")),
        _ref(record),
        conversation,
        _name(record.get("sender")),
        recipients,
        _text(record, "content", CONTENT_BYTES),
        _text(record, "created_at", TIME_BYTES),
        _device(record.get("device")),
        _data(record.get("data")),
    )


def _receipts_2(record: Fields) -> ReceiptRecord:
    _check_status(record, "DELIVERED")
    entries = record.get("entries")
    if not isinstance(entries, list) or not entries:
        raise BadRecord("entries is not a list of receipts")
    read = tuple(map(_receipt_entry, entries))
    if sum(len(each.message_ids) for each in read) > RECEIPTS_PER_RECORD:
        raise BadRecord(f"it has more than {RECEIPTS_PER_RECORD} receipts")
    return ReceiptRecord(
        _text(record, "conversation", CONVERSATION_BYTES),
        read,
        _text(record, "delivered_at", TIME_BYTES),
    )


def _receipt_entry(entry: object) -> ReceiptEntry:
    if not isinstance(entry, list) or len(entry) != 3:
        raise BadRecord("an entry is not a recipient, a device and ids")
    recipient, device, ids = entry
    if not isinstance(ids, list) or not ids:
        raise BadRecord("an entry has no list of ids")
    return ReceiptEntry(_name(recipient), _device(device), tuple(map(_id, ids)))


def _room_2(record: Fields) -> RoomRecord:
    conversation = _room(record)
    history = record.get("history")
    members = record.get("members")
    if (history is None) != (members is None):
        raise BadRecord("history and members are given together, where a room is made")
    names = None if members is None else _names(record, "members")
    if names is not None and not 1 <= len(names) <= ROOM_MEMBERS:
        raise BadRecord(f"members is not a list of 1 to {ROOM_MEMBERS} user names")
    if names is not None and len(set(names)) < len(names):
        raise BadRecord("members has a name twice")
    sender = _name(record.get("sender"))
    if names is not None and names[0] != sender:
        raise BadRecord("the first of the members is not who made the room")
    title = record.get("title")
    return RoomRecord(
        _id(record.get("message_id")),
        _ref(record),
        conversation,
        sender,
        _device(record.get("device")),
        None if title is None else _text(record, "title", TITLE_BYTES),
        None if history is None else _one_of(History, record, "history"),
        names,
        _text(record, "created_at", TIME_BYTES),
    )


def _member_2(record: Fields) -> MemberRecord:
    return MemberRecord(
        _id(record.get("message_id")),
        _ref(record),
        _room(record),
        _name(record.get("sender")),
        _device(record.get("device")),
        _name(record.get("user")),
        _one_of(MemberStep, record, "change"),
        _one_of(Role, record, "role"),
        _text(record, "created_at", TIME_BYTES),
    )


def _read_2(record: Fields) -> ReadRecord:
    entries = record.get("entries")
    if not isinstance(entries, list) or not 1 <= len(entries) <= RECEIPTS_PER_RECORD:
        raise BadRecord(f"entries is not a list of 1 to {RECEIPTS_PER_RECORD} users and offsets")
    conversation = _text(record, "conversation", CONVERSATION_BYTES)
    return ReadRecord(conversation, tuple(map(_read_entry, entries)))


def _read_entry(entry: object) -> tuple[str, int]:
    if not isinstance(entry, list) or len(entry) != 2:
        raise BadRecord("an entry is not a user and an offset")
    user, offset = entry
    if type(offset) is not int or not -1 <= offset <= _LAST_OFFSET:
        raise BadRecord("an offset is not a whole number from -1 on")
    return _name(user), offset


def _device_2(record: Fields) -> DeviceRecord:
    device = _device(record.get("device"))
    change = record.get("change")
    if device is None:
        raise BadRecord("device is not a name")
    if change not in ("add", "remove"):
        raise BadRecord(f"change {change!r:.40} is neither add nor remove")
    return DeviceRecord(_name(record.get("user")), device, change == "add")


_READ: Mapping[str, Callable[[Fields], Record]] = {
    "message": _message_2,
    "receipt": _receipts_2,
    "room": _room_2,
    "member": _member_2,
    "read": _read_2,
    "device": _device_2,
}

# Fields --------------------------------------------------------------------------------------


def _check_status(record: Fields, expected: str) -> None:
    status = record.get("status")
    if status != expected:
        raise BadRecord(f"status {status!r:.40} is not {expected}")


def _id(value: object) -> str:
    if not is_message_id(value):
        raise BadRecord("a message id is not a lower-case UUID")
    return str(value)


def _ref(record: Fields) -> str | None:
    ref = record.get("ref")
    if ref is not None and not (isinstance(ref, str) and is_ref(ref)):
        raise BadRecord("ref is not valid")
    return ref


def _name(value: object) -> str:
    try:
        return check_recorded_name(value if isinstance(value, str) else "")
    except BadName as error:
        raise BadRecord(str(error)) from None


def _names(record: Fields, field: str) -> tuple[str, ...]:
    names = record.get(field)
    if not isinstance(names, list):
        raise BadRecord(f"{field} is not a list of user names")
    return tuple(map(_name, names))


def _device(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and is_device(value)):
        raise BadRecord("device is not valid")
    return value


def _room(record: Fields) -> str:
    conversation = _text(record, "conversation", CONVERSATION_BYTES)
    if not is_room(conversation):
        raise BadRecord("conversation is not a room")
    return conversation


def _data(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRecord("data is not a JSON object")
    data = orjson.dumps(value).decode()
    if len(data.encode()) > DATA_BYTES or not is_storable(data):
        raise BadRecord(f"data cannot be stored, or has more than {DATA_BYTES} bytes")
    return data


def _one_of(kinds: type[T], record: Fields, field: str) -> T:
    value = record.get(field)
    if not isinstance(value, str) or value not in set(kinds):
        raise BadRecord(f"{field} {value!r:.40} is none of {', '.join(kinds)}")
    return kinds(value)


def _text(record: Fields, field: str, limit_bytes: int) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not is_storable(value):
        raise BadRecord(f"{field} cannot be stored as text")
    if not 1 <= utf8_length(value) <= limit_bytes:
        raise BadRecord(f"{field} must have 1 to {limit_bytes} bytes")
    return value
