"""Whom a request comes from, whatever its client writes into its headers."""

from ipaddress import ip_network

import pytest

from landline.gateway.addresses import TrustedProxies, parse_address

PROXIES = TrustedProxies(map(ip_network, ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address", "is_trusted"),
    [
        ("192.0.2.1", [], "192.0.2.1", False),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1", False),
        ("192.0.2.1", ["127.0.0.1", "10.0.0.1"], "192.0.2.1", False),
        ("127.0.0.1", [], "127.0.0.1", True),
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1", True),
        ("::ffff:127.0.0.1", ["192.0.2.1"], "192.0.2.1", True),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1", True),
        # What stands before the last stranger is the stranger's own.
        ("127.0.0.1", ["8.8.8.8", "192.0.2.1"], "192.0.2.1", True),
        ("127.0.0.1", ["8.8.8.8", "10.0.0.9", "192.0.2.1"], "192.0.2.1", True),
        # Proxies in a row.
        ("127.0.0.1", ["8.8.8.8", "192.0.2.1", "10.0.0.9", "10.1.1.1"], "192.0.2.1", True),
        ("127.0.0.1", ["10.0.0.9", "10.1.1.1"], "10.0.0.9", True),
        # What is no address ends the list.
        ("127.0.0.1", ["192.0.2.1", "unknown"], "127.0.0.1", True),
        ("127.0.0.1", ["192.0.2.1", "unknown", "10.0.0.9"], "10.0.0.9", True),
        ("127.0.0.1", [""], "127.0.0.1", True),
        # As some proxies write it.
        ("127.0.0.1", ["192.0.2.1:4711"], "192.0.2.1", True),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1", True),
        ("127.0.0.1", ["[2001:db8::1]"], "2001:db8::1", True),
    ],
)
def test_where_it_comes_from(
    peer: str, forwarded: list[str], address: str, is_trusted: bool
) -> None:
    caller = PROXIES.caller(peer, forwarded)
    assert (str(caller.address), caller.is_trusted) == (address, is_trusted)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    caller = TrustedProxies([]).caller("127.0.0.1", ["192.0.2.1"])
    assert (str(caller.address), caller.is_trusted) == ("127.0.0.1", False)


@pytest.mark.parametrize(
    ("peer", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_limits_count_by(peer: str, place: str) -> None:
    """Whoever has one address of version 6 has a network of them."""
    assert TrustedProxies([]).caller(peer, []).place == place


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4/8", "0x7f.1", "[", "[]", ":", "01.2.3.4"],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None
