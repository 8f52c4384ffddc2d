"""Who is who: user names, conversations, message ids. Only this place knows how they are made."""

import unicodedata
from functools import lru_cache
from hashlib import blake2b

from landline.protocol.limits import NAME_BYTES, REF_BYTES

_UNSTORABLE_CATEGORIES = frozenset({"Cc", "Cs"})


class BadName(ValueError):
    """A string that is no user name; `str(error)` says why."""


def check_user_name(name: str) -> str:
    """Return `name` when it is a user name: 1 to 64 bytes of UTF-8, NFC, no white space, no
    control characters, no `:` or `/`.

    Raises: BadName.
    """
    if not 1 <= len(name) <= NAME_BYTES:  # before the cache, so that it holds only short strings
        raise BadName(f"a user name has 1 to {NAME_BYTES} bytes")
    problem = _name_problem(name)
    if problem:
        raise BadName(problem)
    return name


@lru_cache(maxsize=65_536)
def _name_problem(name: str) -> str | None:
    if not is_storable(name):
        return "a user name has no control characters and no lone surrogates"
    if len(name.encode()) > NAME_BYTES:
        return f"a user name has 1 to {NAME_BYTES} bytes"
    for character in name:
        if character in ":/":
            return "a user name has no ':' and no '/'"
        if character.isspace() or unicodedata.category(character) in _UNSTORABLE_CATEGORIES:
            return "a user name has no white space and no control characters"
    # Two spellings that look alike must not be two users.
    if not unicodedata.is_normalized("NFC", name):
        return "a user name is in Unicode normal form C"
    return None


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


def message_id(sender: str, ref: str, conversation: str, content: str) -> str:
    """Derive a message's id, a UUID of version 8 (RFC 9562, section 5.8), from what it is.

    The same send has the same id on every server at any time; another sender or other content
    can never have it. Every field is preceded by its length, so no two lists of fields run
    together to the same bytes.
    """
    digest = blake2b(digest_size=16, person=b"landline.message")
    for field in (sender, ref, conversation, content):
        encoded = field.encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return uuid_text(digest.digest(), version=8)


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
