"""The URLs of PostgreSQL and Redis, checked before a driver reads them in its own way."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from landline.config import postgres_parameters, redis_parameters
from landline.config.hosts import is_host_and_port, is_loopback, is_port
from landline.config.origins import parse_origin
from landline.config.values import SecretUrl, UnfitValue


def parse_postgres_url(text: str) -> SecretUrl:
    """Return the URL of a PostgreSQL. Raises: UnfitValue."""
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
        # Programs that read such a URL differ in which of them counts.
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
    return is_host_and_port(text, needs_port=False)


def parse_redis_url(text: str) -> SecretUrl:
    """Return the URL of a Redis. Raises: UnfitValue."""
    where, query = _split_url(text, "redis", "rediss", "unix")
    host, _, database = where.partition("/")
    if text.startswith("unix://"):
        if host or not database:
            raise UnfitValue("names no socket", "give unix:///run/redis.sock")
    elif not is_host_and_port(host, needs_port=False):
        raise _bad_place("redis://host:6379/0")
    elif not re.fullmatch(r"[0-9]{0,5}", database):
        raise UnfitValue("has no number as its database", "give redis://host:6379/0")
    mistake = redis_parameters.find_mistake(text.partition(":")[0], query)
    if mistake is not None:
        raise UnfitValue(*mistake)
    return SecretUrl(text)


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """How browsers reach a server: `origin` as they send it, `path` without a slash at its end."""

    origin: str
    path: str

    @property
    def host(self) -> str:
        """Return its host, without a port."""
        return urlsplit(self.origin).hostname or ""

    @property
    def is_secure(self) -> bool:
        """Say whether nobody on the way can read along."""
        return self.origin.startswith("https:")

    def __str__(self) -> str:
        return f"{self.origin}{self.path}/"


def parse_public_url(text: str) -> PublicUrl:
    """Return the address of a server as browsers know it. Raises: UnfitValue."""
    where, query = _split_url(text, "https", "http")
    authority, slash, path = where.partition("/")
    if query or "?" in text or "@" in text or not re.fullmatch(r"[A-Za-z0-9._~/%-]*", path):
        raise UnfitValue(
            "is more than scheme, host and path", "give e.g. https://chat.example.org/x"
        )
    origin = parse_origin(f"{text.partition('://')[0]}://{authority}")
    return PublicUrl(origin, (slash + path).rstrip("/"))


def parse_web_url(text: str) -> SecretUrl:
    """Return an address that a server asks over HTTP. Raises: UnfitValue."""
    where, _query = _split_url(text, "https", "http")
    if not is_host_and_port(where.partition("/")[0], needs_port=False):
        raise _bad_place("https://host/path")
    return SecretUrl(text)


def is_plain_beyond_loopback(url: SecretUrl) -> bool:
    """Say whether what is asked there can be read, and changed, by others on the way."""
    split = urlsplit(url.reveal())
    return split.scheme == "http" and not is_loopback(split.hostname or "")


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
