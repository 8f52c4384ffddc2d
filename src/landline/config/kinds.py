"""Kinds of values: how each is written, in text and in TOML, and why another is refused."""

import os
import re
from pathlib import Path
from typing import Final

from landline.config.hosts import is_host_and_port, parse_host
from landline.config.networks import Network, parse_network
from landline.config.origins import parse_origin
from landline.config.urls import (
    parse_postgres_url,
    parse_public_url,
    parse_redis_url,
    parse_web_url,
)
from landline.config.values import UnfitValue, ValueKind

ALL_ROLES: Final = ("gateway", "writer")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {"B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_TEXT_CHARACTERS: Final = 256
_CLAIM_CHARACTERS: Final = 64
_SHORTEST_SECONDS: Final = 0.001
_LONGEST_SECONDS: Final = 24 * 3600.0
_DAY_SECONDS: Final = 24 * 3600.0
_LIFETIME_DAYS: Final = 365


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise UnfitValue("is not a port", "give a number from 1 to 65535, or 0 for any free one")
    return int(text)


def _duration_seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if match is None:
        raise UnfitValue(
            "is not a duration", "give a number with its unit, e.g. 500ms, 60s, 2m or 1h"
        )
    seconds = float(match[1]) * _UNITS[match[2]]
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise UnfitValue("is out of range", "give a duration from 1ms to 24h")
    return seconds


def _lifetime_seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise UnfitValue("is not a lifetime", "give a number with its unit: 30s, 5m, 1h, 365d")
    seconds = int(match[1]) * {**_UNITS, "d": _DAY_SECONDS}[match[2]]
    if not 1.0 <= seconds <= _LIFETIME_DAYS * _DAY_SECONDS:
        raise UnfitValue("is out of range", f"give 1s to {_LIFETIME_DAYS}d")
    return seconds


def _flag(text: str) -> bool:
    if text.lower() in {"true", "yes", "on", "1"}:
        return True
    if text.lower() in {"false", "no", "off", "0"}:
        return False
    raise UnfitValue("is neither true nor false", "give true or false")


def _path(text: str) -> Path:
    try:
        is_fit = bool(text.strip()) and "\x00" not in text and bool(os.fsencode(text))
    except UnicodeEncodeError:  # half of a character: no file system has such a name
        is_fit = False
    if not is_fit:
        raise UnfitValue("is not a path", "give one, e.g. ./landline-data")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UnfitValue("has no such home directory", "write the path in full") from None


def _server_id(text: str) -> str:
    # It becomes part of a file name, of a key in the log and of metric labels.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise UnfitValue(
            "is not a server id", "give 1 to 64 letters, digits, '.', '_' or '-', e.g. ws-1"
        )
    return text


def _roles(text: str) -> frozenset[str]:
    roles = frozenset(_items(text))
    if not roles or not roles.issubset(ALL_ROLES):
        raise UnfitValue("is not a list of roles", "give gateway, writer or both: gateway,writer")
    return roles


def _servers(text: str) -> tuple[str, ...]:
    servers = _items(text)
    if not servers or not all(is_host_and_port(each, needs_port=True) for each in servers):
        raise UnfitValue(
            "is not a list of servers",
            "give host:port or [address]:port, several with commas between",
        )
    return tuple(dict.fromkeys(servers))


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(parse_network, _items(text)))


def _text(text: str, most: int = _TEXT_CHARACTERS) -> str:
    if not 1 <= len(text) <= most or text != text.strip():
        raise UnfitValue(
            "is not such a text", f"give 1 to {most} characters, with no blank at either end"
        )
    return text


def _claim(text: str) -> str:
    # It is named to clients, in a close frame that has room for so much.
    return _text(text, _CLAIM_CHARACTERS)


def _rate(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,3})?", text):
        raise UnfitValue(
            "is not a rate", "give how many in a second, e.g. 20 or 0.5; 0 is no limit"
        )
    return float(text)


def _bytes_rate(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,12})(B|KiB|MiB)?", text)
    if match is None:
        raise UnfitValue(
            "is not a number of bytes", "give how many in a second, e.g. 128KiB; 0 is no limit"
        )
    return float(int(match[1]) * _BYTES[match[2] or "B"])


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UnfitValue("is not a number", "give how many, e.g. 100; 0 is no limit")
    return int(text)


def _origins(text: str) -> frozenset[str]:
    return frozenset(map(parse_origin, _items(text)))


def _items(text: str) -> tuple[str, ...]:
    if not text.strip():
        return ()
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise UnfitValue("has an empty item", "give the items with one comma between two of them")
    return items


def one_of(*choices: str) -> ValueKind[str]:
    """Return the kind of value that is one of these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise UnfitValue("is none of its values", f"give one of: {', '.join(choices)}")
        return text

    return ValueKind("|".join(choices), parse)


HOST = ValueKind("HOST", parse_host)
PORT = ValueKind("PORT", _port, toml=(int, str))
# A bare number in TOML is let through, to be told that it lacks its unit.
SECONDS = ValueKind("DURATION", _duration_seconds, toml=(str, int, float))
LIFETIME = ValueKind("DURATION", _lifetime_seconds)
FLAG = ValueKind("", _flag, toml=(bool,))
DIRECTORY = ValueKind("DIR", _path)
FILE = ValueKind("FILE", _path)
SERVER_ID = ValueKind("NAME", _server_id)
ROLES = ValueKind("ROLE,...", _roles, toml=(str, list))
SERVERS = ValueKind("HOST:PORT,...", _servers, toml=(str, list))
ORIGINS = ValueKind("ORIGIN,...", _origins, toml=(str, list))
POSTGRES_URL = ValueKind("URL", parse_postgres_url)
REDIS_URL = ValueKind("URL", parse_redis_url)
PUBLIC_URL = ValueKind("URL", parse_public_url)
WEB_URL = ValueKind("URL", parse_web_url)
NETWORKS = ValueKind("NETWORK,...", _networks, toml=(str, list))
TEXT = ValueKind("TEXT", _text)
CLAIM = ValueKind("TEXT", _claim)
RATE = ValueKind("NUMBER", _rate, toml=(int, float, str))
BYTES_RATE = ValueKind("BYTES", _bytes_rate, toml=(int, str))
COUNT = ValueKind("NUMBER", _count, toml=(int, str))
