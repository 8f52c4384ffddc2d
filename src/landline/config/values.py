"""Kinds of values: how each is written, in text and in TOML, and why another is refused."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

from landline.config import postgres_parameters, redis_parameters

T = TypeVar("T")

ALL_ROLES: Final = ("gateway", "writer")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHORTEST_SECONDS: Final = 0.001
_LONGEST_SECONDS: Final = 24 * 3600.0
_LAST_PORT: Final = 65_535

# C0, DEL and C1, line and paragraph separators, and the byte-order mark.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
# RFC 1123, section 2.1, and the underscore that Docker's networks have in names.
_HOST_CHARACTERS: Final = 253
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_APP: Final = re.compile(r"[A-Za-z0-9._~-]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
# Their pages have the origin `null`, or are no pages.
_NO_ORIGINS: Final = frozenset({"file", "data", "blob", "about", "javascript", "ws", "wss"})

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
class ValueKind(Generic[T]):
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


def check_characters(text: str) -> None:
    """Raises: UnfitValue for what no value of any option has, and what no terminal shows.

    Most often it is the carriage return of a file that was written under Windows.
    """
    found = _UNSEEN.search(text)
    if found is not None:
        raise UnfitValue(
            f"has a control character (U+{ord(found[0]):04X}) in it",
            "remove it; a file with Windows line ends has one in every line",
        )


def _host(text: str) -> str:
    is_bracketed = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if is_bracketed else text
    is_fit = _is_address(host) if is_bracketed or ":" in host else _is_host(host)
    if not is_fit or (is_bracketed and ":" not in host):
        raise UnfitValue("is not a host", "give a name or an address, e.g. 127.0.0.1 or ::1")
    return host


def _is_host(host: str) -> bool:
    """Say whether it is an IPv4 address or a name. What ends like an address must be one."""
    if re.fullmatch(r"[0-9]*", host.removesuffix(".").rpartition(".")[2]):
        return _is_address(host)
    return len(host) <= _HOST_CHARACTERS and _NAME.fullmatch(host) is not None


def is_port(digits: str) -> bool:
    """Say whether something can listen there."""
    return re.fullmatch(r"[0-9]{1,5}", digits) is not None and 1 <= int(digits) <= _LAST_PORT


def _is_host_and_port(text: str, *, needs_port: bool) -> bool:
    """Say whether it is `name:port`, `1.2.3.4:port` or `[::1]:port`."""
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", text)
    if match is None:
        return False
    host, port = match.groups()
    if port is None and needs_port:
        return False
    try:
        _host(host)
    except UnfitValue:
        return False
    return port is None or is_port(port)


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
    if not servers or not all(_is_host_and_port(each, needs_port=True) for each in servers):
        raise UnfitValue(
            "is not a list of servers",
            "give host:port or [address]:port, several with commas between",
        )
    return tuple(dict.fromkeys(servers))


def _postgres_url(text: str) -> SecretUrl:
    where, query = _split_url(text, "postgresql", "postgres")
    authority, _, database = where.partition("/")
    if not authority and not database and "host" not in query:
        raise UnfitValue("names no host", "give postgresql://user:password@host:5432/database")
    if "host" in query and (authority or len(query["host"]) > 1):
        raise UnfitValue(
            "names its host twice",
            "leave out ?host=, and list the hosts before the database: h1:5432,h2:5432/database",
        )
    hosts = (authority or query.get("host", [""])[0]).split(",")
    if (authority or "host" in query) and not all(map(is_postgres_host, hosts)):
        raise _bad_place("postgresql://user:password@host:5432/database")
    if "port" in query:
        _check_postgres_ports(hosts, query["port"])
    mistake = postgres_parameters.find_mistake(query)
    if mistake is not None:
        raise UnfitValue(*mistake)
    _check_postgres_names(text, database, query)
    try:
        urlsplit(text)
    except ValueError:
        raise UnfitValue(
            "has a [ or ] that belongs to no address",
            "write them as %5B and %5D in a name or password",
        ) from None
    return SecretUrl(text)


def _check_postgres_names(text: str, database: str, query: Mapping[str, list[str]]) -> None:
    """Raises: UnfitValue for two databases, and for a name with an end in its middle."""
    before = text.partition("://")[2].partition("?")[0]
    if "%00" in before:
        raise UnfitValue("has a %00 in it", "remove it; no name and no password has one")
    names = [each for each in ("dbname", "database") if each in query]
    if len(names) > bool(not database):
        raise UnfitValue("names its database twice", f"leave out ?{names[-1]}=")


def _check_postgres_ports(hosts: list[str], given: list[str]) -> None:
    """Raises: UnfitValue for what follows `?port=`, where it is no port for each host."""
    if any(re.search(r":[0-9]+$", each) for each in hosts):
        # Which of them counts is not the same to everybody who reads such a URL.
        raise UnfitValue(
            "has ports behind its hosts and in its query",
            "leave out ?port=, and give each host its port: host:5432",
        )
    ports = given[0].split(",")
    if len(given) > 1 or len(ports) not in (1, len(hosts)) or not all(map(is_port, ports)):
        raise UnfitValue(
            "has no port behind ?port= that can be used",
            "give one from 1 to 65535 for all hosts, or one for each with commas between",
        )


def is_postgres_host(text: str) -> bool:
    """Say whether it is a host as the URL of PostgreSQL lists them."""
    # A socket's directory may be the host, percent-encoded where it stands before the database.
    if text.startswith("/"):
        return ":" not in text
    if text.lower().startswith("%2f"):
        _, colon, port = text.partition(":")
        return not colon or is_port(port)
    return _is_host_and_port(text, needs_port=False)


def _redis_url(text: str) -> SecretUrl:
    where, query = _split_url(text, "redis", "rediss", "unix")
    host, _, database = where.partition("/")
    if text.startswith("unix://"):
        if host or not database:
            raise UnfitValue("names no socket", "give unix:///run/redis.sock")
    elif not _is_host_and_port(host, needs_port=False):
        raise _bad_place("redis://host:6379/0")
    elif not re.fullmatch(r"[0-9]{0,5}", database):
        raise UnfitValue("has no number as its database", "give redis://host:6379/0")
    mistake = redis_parameters.find_mistake(text.partition(":")[0], query)
    if mistake is not None:
        raise UnfitValue(*mistake)
    return SecretUrl(text)


def _split_url(text: str, *schemes: str) -> tuple[str, dict[str, list[str]]]:
    """Return what stands between user and query, and the query. Raises: UnfitValue."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in schemes:
        raise UnfitValue("is not such a URL", f"give one that starts with {schemes[0]}://")
    if re.search(r"\s", text) or not text.isprintable():
        raise UnfitValue("has a blank in it", "write it as %20, other characters likewise")
    if "#" in rest:
        raise UnfitValue("has a # in it, which ends a URL", "write it as %23")
    where, _, query = rest.partition("?")
    authority, slash, path = where.partition("/")
    # Programs that read it differ in which of them ends the password, or see another end of it: a
    # part of it would be taken for a host, and shown.
    if authority.count("@") > 1 or "@" in path:
        raise UnfitValue(
            "has an @ too many", "a / or @ in user, password or path is %2F or %40 there"
        )
    return authority.rpartition("@")[2] + slash + path, parse_qs(query, keep_blank_values=True)


def _bad_place(example: str) -> UnfitValue:
    remedy = f"give {example}; a / or @ in user or password is %2F or %40"
    return UnfitValue("has no host and port that can be used", remedy)


def _origins(text: str) -> frozenset[str]:
    return frozenset(map(_origin, _items(text)))


def _origin(text: str) -> str:
    """Return an origin as browsers send it: lower case, no default port (RFC 6454, section 6.2).

    Shells of apps have schemes of their own, and what they call host is theirs: it stays as it is.
    """
    scheme, separator, place = text.partition("://")
    scheme = scheme.lower()
    is_web = scheme in _DEFAULT_PORTS
    place = place.lower() if is_web else place
    is_fit = bool(separator) and (
        _is_host_and_port(place, needs_port=False) and "%" not in place
        if is_web
        else bool(_SCHEME.fullmatch(scheme)) and scheme not in _NO_ORIGINS and _is_app(place)
    )
    if not is_fit:
        raise UnfitValue(
            "is not a list of origins",
            "give scheme, host and port, e.g. https://chat.example.org or capacitor://localhost",
        )
    match = re.fullmatch(r"(.*?)(?::([0-9]+))?", place)
    assert match is not None, "anything is some text and perhaps a port"
    host, port = match.groups()
    if host.startswith("[") and not host.endswith("]"):  # the port was part of the address
        host, port = place, None
    if is_web and host.startswith("["):
        host = f"[{_compressed(ipaddress.IPv6Address(host[1:-1]))}]"
    is_default = port is None or int(port) == _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{int(port)}"


def _compressed(address: ipaddress.IPv6Address) -> str:
    """Return an address as browsers write it: one that stands for IPv4 has no dots in it."""
    if address.ipv4_mapped is None:
        return address.compressed
    number = int(address.ipv4_mapped)
    return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"


def _is_app(place: str) -> bool:
    """Say whether it can follow the scheme of an app, whose host need be no name, as in app://-."""
    host, colon, port = place.partition(":")
    is_own = _APP.fullmatch(host) is not None and (not colon or is_port(port))
    return is_own or _is_host_and_port(place, needs_port=False)


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
            if len(choices) == 1:
                raise UnfitValue("is not in this version yet", f"the only value is {choices[0]}")
            raise UnfitValue("is none of its values", f"give one of: {', '.join(choices)}")
        return text

    return ValueKind("|".join(choices), parse)


HOST = ValueKind("HOST", _host)
PORT = ValueKind("PORT", _port, toml=(int, str))
# A bare number in TOML is let through, to be told that it lacks its unit.
SECONDS = ValueKind("DURATION", _duration_seconds, toml=(str, int, float))
FLAG = ValueKind("", _flag, toml=(bool,))
DIRECTORY = ValueKind("DIR", _path)
FILE = ValueKind("FILE", _path)
SERVER_ID = ValueKind("NAME", _server_id)
ROLES = ValueKind("ROLE,...", _roles, toml=(str, list))
SERVERS = ValueKind("HOST:PORT,...", _servers, toml=(str, list))
ORIGINS = ValueKind("ORIGIN,...", _origins, toml=(str, list))
POSTGRES_URL = ValueKind("URL", _postgres_url)
REDIS_URL = ValueKind("URL", _redis_url)
