"""Whose page it is that connects."""

import pytest

from landline.gateway.listener import _is_same_origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.example.org", "chat.example.org"),
        ("https://chat.example.org", "chat.example.org:443"),
        ("http://chat.example.org", "chat.example.org:80"),
        ("https://chat.example.org:443", "chat.example.org"),
        ("https://chat.example.org:8443", "chat.example.org:8443"),
        ("https://chat.example.org", "Chat.Example.org"),
        ("https://chat.example.org", "chat.example.org:"),
        ("http://[::1]:8081", "[::1]:8081"),
        ("http://[::1]", "[::1]:80"),
    ],
)
def test_a_default_port_may_be_given_or_left_out(origin: str, host: str) -> None:
    """Some proxies write it into `Host`; no browser writes it into `Origin`."""
    assert _is_same_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.example.org", "chat.example.org:80"),
        ("http://chat.example.org", "chat.example.org:443"),
        ("https://chat.example.org", "chat.example.org:8443"),
        ("https://chat.example.org:8443", "chat.example.org"),
        ("https://evil.example", "chat.example.org"),
        ("https://chat.example.org.evil.example", "chat.example.org"),
        ("HTTPS://chat.example.org", "chat.example.org"),
        ("https://chat.example.org/", "chat.example.org"),
        ("capacitor://localhost", "localhost"),
        ("null", "null"),
        ("https://", ""),
        ("", ""),
    ],
)
def test_another_port_scheme_or_host_is_another_origin(origin: str, host: str) -> None:
    assert not _is_same_origin(origin, host)
