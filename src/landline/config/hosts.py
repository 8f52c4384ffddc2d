"""Hosts and ports: what is one, and which of them only this machine reaches."""

import ipaddress
import re
from typing import Final

from landline.config.values import UnfitValue

_LAST_PORT: Final = 65_535
# RFC 1123, section 2.1, and the underscore that Docker's networks have in names.
_HOST_CHARACTERS: Final = 253
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


def parse_host(text: str) -> str:
    """Return a host without brackets. Raises: UnfitValue."""
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


def is_host_and_port(text: str, *, needs_port: bool) -> bool:
    """Say whether it is `name:port`, `1.2.3.4:port` or `[::1]:port`."""
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", text)
    if match is None:
        return False
    host, port = match.groups()
    if port is None and needs_port:
        return False
    try:
        parse_host(host)
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
