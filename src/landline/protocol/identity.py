"""Who is who: user names, conversations, message ids. Only this place knows how they are made."""

import string
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b

import orjson

from landline.protocol.limits import DEVICE_BYTES, NAME_BYTES, REF_BYTES
from landline.protocol.name_characters import UNNAMEABLE

_RANGES = [
    (int(first, 16), int(last or first, 16))
    for first, _, last in (part.partition("-") for part in UNNAMEABLE.split())
]
_FIRSTS = [first for first, _ in _RANGES]
_DEVICE_CHARACTERS = string.ascii_letters + string.digits + "._-"


class BadName(ValueError):
    """A string that is no user name; `str(error)` says why."""


def check_user_name(name: str) -> str:
    """Return `name` when it is a user name: 1 to 64 bytes of UTF-8, NFC, no white space, nothing
    that is invisible or that Unicode 14.0 has not assigned, no `:` or `/`.

    The characters come from a table, so every server, client and page refuses the same names,
    whichever Unicode its Python or browser knows. Raises: BadName.
    """
    return _checked(name, _name_problem)


def check_recorded_name(name: str) -> str:
    """Return `name` when it is a user name of a record: this version's rule, or that of versions
    which took invisible and unassigned characters. What was accepted then is still applied.

    Raises: BadName.
    """
    return _checked(name, _recorded_name_problem)


def _checked(name: str, problem_of: Callable[[str], str]) -> str:
    if not 1 <= len(name) <= NAME_BYTES:  # before the cache, so that it holds only short strings
        raise BadName(f"a user name must have 1 to {NAME_BYTES} bytes")
    problem = problem_of(name)
    if problem:
        raise BadName(problem)
    return name


@lru_cache(maxsize=65_536)
def _name_problem(name: str) -> str:
    problem = _recorded_name_problem(name)
    strange = "" if problem else _unnameable(name)
    if strange:
        return (
            "a user name must not contain invisible or unassigned characters"
            f" (U+{ord(strange):04X} is one)"
        )
    return problem


@lru_cache(maxsize=65_536)
def _recorded_name_problem(name: str) -> str:
    if not is_storable(name):
        return "a user name must not contain control characters or lone surrogates"
    if len(name.encode()) > NAME_BYTES:
        return f"a user name must have 1 to {NAME_BYTES} bytes"
    for character in name:
        if character in ":/":
            return "a user name must not contain ':' or '/'"
        if character.isspace() or unicodedata.category(character) == "Cc":
            return "a user name must not contain white space or control characters"
    # Two spellings that look alike must not be two users. How a character is composed that this
    # table does not have depends on the Python that runs: it is not asked.
    if not _unnameable(name) and not unicodedata.is_normalized("NFC", name):
        return "a user name must be in Unicode normal form C"
    return ""


def _unnameable(name: str) -> str:
    """Return the first character of `name` that no user name has, or an empty string."""
    for character in name:
        code = ord(character)
        if code <= _RANGES[bisect_right(_FIRSTS, code) - 1][1]:
            return character
    return ""


def is_storable(text: str) -> bool:
    """Say whether every store can keep `text`: no NUL (PostgreSQL), no lone surrogate (UTF-8)."""
    return "\x00" not in text and utf8_length(text) >= 0


def utf8_length(text: str) -> int:
    """Return the size of `text` in bytes of UTF-8, or -1 when it has a lone surrogate."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def is_ref(ref: str) -> bool:
    """Say whether `ref` can name a send: 1 to 64 bytes of UTF-8 that can be stored."""
    return 1 <= utf8_length(ref) <= REF_BYTES and "\x00" not in ref


def direct_conversation(one: str, other: str) -> str:
    """Return the conversation of two users (or of one with themselves)."""
    low, high = (one, other) if one <= other else (other, one)
    return f"dm:{low}:{high}"


def participants(conversation: str) -> tuple[str, ...]:
    """Return the two users of a direct conversation, or the one; nobody for any other text."""
    kind, _, names = conversation.partition(":")
    low, _, high = names.partition(":")
    if kind != "dm" or not low or not high:
        return ()
    return (low,) if low == high else (low, high)


def is_room(conversation: str) -> bool:
    """Say whether a conversation is a room."""
    return conversation.startswith("room:") and is_message_id(conversation[5:])


def is_conversation(conversation: str) -> bool:
    """Say whether it names a conversation of this version: a room, or one of two users."""
    if is_room(conversation):
        return True
    names = participants(conversation)
    try:
        return bool(names) and direct_conversation(names[0], names[-1]) == conversation == (
            f"dm:{check_recorded_name(names[0])}:{check_recorded_name(names[-1])}"
        )
    except BadName:
        return False


def room_conversation(creator: str, ref: str) -> str:
    """Derive a room from who makes it and their name for the request."""
    return f"room:{_uuid_of(b'landline.room.id', creator, ref)}"


def is_device(device: str) -> bool:
    """Say whether `device` names one: at most 64 of `A-Z a-z 0-9 . _ -`.

    The empty name is that of sessions without a device whose user has devices.
    """
    return len(device) <= DEVICE_BYTES and not device.strip(_DEVICE_CHARACTERS)


def event_id(kind: str, sender: str, ref: str, conversation: str, details: Sequence[str]) -> str:
    """Derive the id of a request that changes a room, like that of a message: `details` is what it
    asks for.
    """
    return _uuid_of(b"landline." + kind.encode(), sender, ref, conversation, *details)


def message_id(
    sender: str, ref: str, conversation: str, content: str, data: str | None = None
) -> str:
    """Derive a message's id, a UUID of version 8 (RFC 9562, section 5.8), from what it is.

    The same send has the same id on every server at any time; another sender or other content
    can never have it. Every field is preceded by its length, so no two lists of fields run
    together to the same bytes.
    """
    # Without data it is what it was before there was any.
    more = () if data is None else (_sorted(data),)
    return _uuid_of(b"landline.message", sender, ref, conversation, content, *more)


def _uuid_of(kind: bytes, *fields: str) -> str:
    digest = blake2b(digest_size=16, person=kind)
    for field in fields:
        encoded = field.encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return uuid_text(digest.digest(), version=8)


def _sorted(data: str) -> str:
    """Return a JSON object with its names in order: how they stood says nothing."""
    return orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS).decode()


def uuid_text(octets: bytes, *, version: int) -> str:
    """Return 16 bytes as the text of a UUID of this version."""
    number = int.from_bytes(octets, "big")
    number = number & ~(0xF000 << 64) | version << 76
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_message_id(text: object) -> bool:
    """Say whether `text` is a UUID in its canonical lower-case form."""
    return (
        isinstance(text, str)
        and len(text) == 36
        and text[8] == text[13] == text[18] == text[23] == "-"
        and _is_hex(text.replace("-", ""))
    )


def _is_hex(digits: str) -> bool:
    return len(digits) == 32 and not digits.strip("0123456789abcdef")
