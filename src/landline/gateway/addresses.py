"""Whose address a request comes from: the peer's, or the one that a trusted proxy has written down.

A client can write what it likes into `X-Forwarded-For`. Each proxy on the way adds the address that
it was called from at the end. So the list is read from its end, for as long as it was a trusted
proxy who wrote; the first address that is no trusted proxy's is the client's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv6Address,
    ip_address,
    ip_network,
)
from typing import Final

from landline.config.networks import Network

Address = IPv4Address | IPv6Address

# So many proxies may stand in a row. To look at more, which a client may have written, takes time.
_MOST_PROXIES: Final = 32
# Behind one connection to the internet there are so many addresses of version 6 (RFC 6177): whoever
# has one of them has all of them.
_HOST_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from. `is_trusted`: its peer is a trusted proxy, whose word counts;
    `is_silent`: and it names no client.
    """

    address: Address | None
    is_trusted: bool
    is_silent: bool = False

    @property
    def place(self) -> str:
        """Return what limits count by: the address, of version 6 its network. It is empty, and
        nothing is counted, where a trusted proxy has not said whose request it passes on: all its
        users would share one limit.
        """
        if self.is_silent:
            return ""
        if self.address is None:
            return "unknown"
        if self.address.version == 4:
            return str(self.address)
        return str(ip_network((int(self.address) >> _HOST_BITS << _HOST_BITS, _HOST_BITS)))


class TrustedProxies:
    """The networks of the proxies in front."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    def caller(self, peer: str, forwarded_for: Sequence[str]) -> Caller:
        """Return where a request comes from.

        `peer`: the address at the other end of the socket. `forwarded_for`: the items of
        `X-Forwarded-For`, from all its lines, in their order. What is no address ends the list: who
        wrote that cannot be believed about what stands before it.
        """
        address = parse_address(peer)
        if address is None or not self._trusts(address):
            return Caller(address, is_trusted=False)
        for item in reversed(forwarded_for[-_MOST_PROXIES:]):
            before = parse_address(item)
            if before is None:
                break
            address = before
            if not self._trusts(before):
                return Caller(address, is_trusted=True)
        return Caller(address, is_trusted=True, is_silent=True)

    def _trusts(self, address: Address) -> bool:
        return any(
            address in network for network in self._networks if network.version == address.version
        )


def parse_address(text: str) -> Address | None:
    """Return an address as proxies write it, maybe with a port; None where it is none.

    An address of version 4 in the clothes of version 6 is the one of version 4.
    """
    text = text.strip(" \t")
    if text.startswith("["):  # [::1] and [::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def place_of(address: str) -> str:
    """Return what an address counts as, where that is all that is known; see `Caller.place`."""
    return Caller(parse_address(address), is_trusted=False).place
