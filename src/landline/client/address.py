"""The server's address: the URL to dial, and the one spelling by which addresses are compared."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from landline.client.errors import Refused

# What the hosts files of Debian and Fedora call this machine, besides RFC 6761's names.
_LOOPBACK_NAMES = frozenset({
    "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback",
    "localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6",
})  # fmt: skip
_DEFAULT_PORTS = {"ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address.

    `server` is its one spelling: scheme, host, port and path, without what may be secret (query,
    user and password). `is_loopback`: it is on this machine.
    """

    url: str
    server: str
    is_loopback: bool

    def dialled_as(self, username: str | None, device: str | None = None) -> str:
        """Return the URL for a session of this user, or of the one whom a token names, on this
        device, or on none.
        """
        named = {"username": username, "device": device}
        added = "&".join(f"{name}={quote(each, safe='')}" for name, each in named.items() if each)
        if not added:
            return self.url
        # The query may also be there and empty.
        _, has_query, query = self.url.partition("?")
        separator = "?" if not has_query else "&" if query and not query.endswith("&") else ""
        return f"{self.url}{separator}{added}"


_UNREADABLE = (
    "the server's address cannot be read: is its port a number from 1 to 65535,"
    " and an IPv6 address in [brackets]?"
)


def read_address(url: str) -> Address:
    """Return the address that `url` is. Raises: Refused, with a sentence that repeats no secret."""
    if not url.isprintable() or " " in url:
        raise Refused("the server's address has no white space and no control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused(_UNREADABLE) from None
    if port == 0:
        raise Refused(_UNREADABLE)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise Refused("the server's address must be like ws://HOST:PORT/ws/chat, or wss://...")
    if "#" in url:
        raise Refused("the server's address has no fragment (#...)")
    if "@" in parts.path and "@" not in parts.netloc and port is not None:
        # It may be a password with a / in it, and a path is shown.
        raise Refused("a / or @ in a part of the server's address is written as %2F or %40")
    host = _host(parts.hostname)
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        shown = f"{shown}:{port}"
    server = f"{parts.scheme}://{shown}{parts.path or '/'}"
    return Address(url, server, _is_loopback(host))


def _host(name: str) -> str:
    """Return a host in its one spelling."""
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        name = name.lower().removesuffix(".") or name
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name  # the resolver will say what is wrong with it


def _is_loopback(host: str) -> bool:
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return _is_here(getattr(address, "ipv4_mapped", None) or address)
    try:
        # Old spellings of IPv4 addresses, such as 127.1, which the resolver understands as well.
        return _is_here(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return False


def _is_here(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # A connection to "any address" reaches this machine.
    return address.is_loopback or address.is_unspecified
