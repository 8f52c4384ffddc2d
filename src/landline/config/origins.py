"""Origins: what a browser says a page was loaded from."""

import ipaddress
import re
from typing import Final

from landline.config.hosts import is_host_and_port, is_port
from landline.config.values import UnfitValue

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_APP: Final = re.compile(r"[A-Za-z0-9._~-]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
# Their pages have the origin `null`, or are no pages.
_NO_ORIGINS: Final = frozenset({"file", "data", "blob", "about", "javascript", "ws", "wss"})


def parse_origin(text: str) -> str:
    """Return an origin as browsers send it: lower case, no default port (RFC 6454, section 6.2).

    Shells of apps have schemes of their own, and what they call host is theirs: it stays as it is.
    Raises: UnfitValue.
    """
    scheme, separator, place = text.partition("://")
    scheme = scheme.lower()
    is_web = scheme in _DEFAULT_PORTS
    place = place.lower() if is_web else place
    is_fit = bool(separator) and (
        is_host_and_port(place, needs_port=False) and "%" not in place
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
    return is_own or is_host_and_port(place, needs_port=False)
