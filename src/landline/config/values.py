"""Kinds of values: how each is written, in text and in TOML, and why another is refused."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ALL_ROLES: Final = ("gateway", "writer")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHORTEST_SECONDS: Final = 0.001
_LONGEST_SECONDS: Final = 24 * 3600.0

# What is promised: a message reaches who stays connected within so long, whatever was lost on the
# way. Then it is the sweep that finds it, a tenth later than its interval, plus the writer's lag.
PROMISED_SECONDS: Final = 15.0


class UnfitValue(ValueError):
    """A value that an option cannot have."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of value. `parse` raises UnfitValue; `toml` lists the TOML types that may hold it."""

    metavar: str
    parse: Callable[[str], T]
    toml: tuple[type, ...] = (str,)


class SecretUrl:
    """A URL that may hold a password. Only `reveal()` shows it: no repr, log or error does."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        """Return the URL with its password, for the driver that connects with it."""
        return self._url

    def __str__(self) -> str:
        return mask(self._url)

    def __repr__(self) -> str:
        return f"SecretUrl({mask(self._url)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other.reveal() == self._url

    def __hash__(self) -> int:
        return hash(self._url)


def mask(text: str) -> str:
    """Return `text` without anything that may be a password.

    Errs on the side of hiding, because the value may be malformed: everything between the first
    `:` behind the scheme and the last `@` goes, and so does what follows `password=` or the like.
    """
    start = "://" if "://" in text else "^"
    text = re.sub(rf"({start})([^:@/]*):.*@", r"\1\2:***@", text, flags=re.DOTALL)
    return re.sub(
        r"(passw(?:or)?d|pwd|secret|token)\s*=\s*('[^']*'?|[^&\s]*)",
        r"\1=***",
        text,
        flags=re.IGNORECASE,
    )


def _host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    is_name_or_ipv4 = re.fullmatch(r"[\w.-]+", host) is not None
    if not is_name_or_ipv4 and not _is_address(host):
        raise UnfitValue("is not a host", "give a name or an address, e.g. 127.0.0.1 or ::1")
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches `host`. Names but `localhost` may point anywhere."""
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


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


def _flag(text: str) -> bool:
    if text.lower() in {"true", "yes", "on", "1"}:
        return True
    if text.lower() in {"false", "no", "off", "0"}:
        return False
    raise UnfitValue("is neither true nor false", "give true or false")


def _path(text: str) -> Path:
    if not text.strip() or "\x00" in text:
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
    if not servers or not all(map(_is_server, servers)):
        raise UnfitValue("is not a list of servers", "give host:port, several with commas between")
    return servers


def _is_server(text: str) -> bool:
    return re.fullmatch(r"[^\s:@]+:[0-9]{1,5}", text) is not None


def _url(*schemes: str) -> Callable[[str], SecretUrl]:
    def parse(text: str) -> SecretUrl:
        if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise UnfitValue("is not such a URL", f"give one that starts with {schemes[0]}://")
        return SecretUrl(text)

    return parse


def _origins(text: str) -> frozenset[str]:
    return frozenset(map(_origin, _items(text)))


def _origin(text: str) -> str:
    """Return an origin as browsers send it: lower case, no default port (RFC 6454, section 6.2)."""
    match = re.fullmatch(
        r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", text.lower()
    )
    if match is None:
        raise UnfitValue(
            "is not a list of origins", "give scheme, host and port, e.g. https://chat.example.org"
        )
    scheme, host, port = match.groups()
    is_default = port is None or int(port) == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{int(port)}"


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def one_of(*choices: str) -> Kind[str]:
    """Return the kind of value that is one of these words."""

    def parse(text: str) -> str:
        if text not in choices:
            if len(choices) == 1:
                raise UnfitValue("is not in this version yet", f"the only value is {choices[0]}")
            raise UnfitValue("is none of its values", f"give one of: {', '.join(choices)}")
        return text

    return Kind("|".join(choices), parse)


HOST = Kind("HOST", _host)
PORT = Kind("PORT", _port, toml=(int, str))
# A bare number in TOML is let through, to be told that it lacks its unit.
SECONDS = Kind("DURATION", _duration_seconds, toml=(str, int, float))
FLAG = Kind("", _flag, toml=(bool,))
DIRECTORY = Kind("DIR", _path)
FILE = Kind("FILE", _path)
SERVER_ID = Kind("NAME", _server_id)
ROLES = Kind("ROLE,...", _roles, toml=(str, list))
SERVERS = Kind("HOST:PORT,...", _servers, toml=(str, list))
ORIGINS = Kind("ORIGIN,...", _origins, toml=(str, list))
POSTGRES_URL = Kind("URL", _url("postgresql", "postgres"))
REDIS_URL = Kind("URL", _url("redis", "rediss", "unix"))
