"""Addresses: what is dialled, how two of them are compared, and which are on this machine."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.client import Refused
from landline.client.address import read_address


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("ws://127.0.0.1:8081/ws/chat", "ws://127.0.0.1:8081/ws/chat"),
        ("WS://Chat.Example.ORG:80/ws/chat", "ws://chat.example.org/ws/chat"),
        ("wss://chat.example.org:443", "wss://chat.example.org/"),
        ("wss://chat.example.org.:8443/x/ws", "wss://chat.example.org:8443/x/ws"),
        ("ws://[0:0::1]:9/ws", "ws://[::1]:9/ws"),
        ("ws://h/ws?token=secret&a=b", "ws://h/ws"),
        ("ws://user:secret@h/ws", "ws://h/ws"),
        ("ws://b\u00fccher.example/ws", "ws://xn--bcher-kva.example/ws"),
    ],
)
def test_an_address_has_one_spelling_without_secrets(url: str, server: str) -> None:
    address = read_address(url)
    assert address.server == server
    assert read_address(server).server == server


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:8081", "http://h/ws", "ws:///ws", "ws://:80/ws", "ws://h:secret/ws",
        "ws://h:99999/ws", "ws://[::1/ws", "ws://h/ws#part", "ws://h/ws#", "ws://h/w s",
        "ws://u:1/secret@h/ws", "ws://h/ws\n", "ws://h/\x00secret", "ws://h/\ud800",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(Refused, match="the server's address") as caught:
        read_address(url)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_refused(url: str) -> None:
    for text in (url, f"ws://{url}", f"wss://h{url}"):
        try:
            read_address(text)
        except Refused:
            continue


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "chat.localhost", "127.0.0.1", "127.255.0.3",
        "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "0",  # noqa: S104
        "ip6-localhost", "IP6-Loopback", "localhost.localdomain", "localhost.localdomain.",
        "localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6",
    ],
)  # fmt: skip
def test_this_machine_is_known_in_every_spelling(host: str) -> None:
    assert read_address(f"ws://{host}:8081/ws").is_loopback


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "localhost.example.org",
        "notlocalhost",
        "localdomain",
        "x.localdomain",
        "10.0.0.1",
        "[fe80::1]",
        "128.0.0.1",
    ],
)
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not read_address(f"ws://{host}:8081/ws").is_loopback


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("ws://h/ws", "ws://h/ws?username=a%26b"),
        ("ws://h/ws?", "ws://h/ws?username=a%26b"),
        ("ws://h?", "ws://h?username=a%26b"),
        ("ws://h/ws?x=1", "ws://h/ws?x=1&username=a%26b"),
        ("ws://h/ws?x=1&", "ws://h/ws?x=1&username=a%26b"),
        ("ws://h/ws?x", "ws://h/ws?x&username=a%26b"),
        ("ws://h/ws?x=?", "ws://h/ws?x=?&username=a%26b"),
        ("ws://h/ws?&", "ws://h/ws?&username=a%26b"),
        ("ws://h/ws??", "ws://h/ws??&username=a%26b"),
    ],
)
def test_the_user_is_added_to_the_query(url: str, dialled: str) -> None:
    assert read_address(url).dialled_as("a&b") == dialled


def test_the_device_is_added_with_or_without_a_user() -> None:
    address = read_address("wss://h/ws?x=1")
    assert address.dialled_as("a", "my.pc_2-x") == "wss://h/ws?x=1&username=a&device=my.pc_2-x"
    assert address.dialled_as(None, "pc") == "wss://h/ws?x=1&device=pc"
    assert address.dialled_as(None) == address.url


@given(
    st.sampled_from(["ws://h", "wss://h:1/", "ws://h/ws/chat", "ws://u:p@[::1]/ws"]),
    st.text("?&=ax/", max_size=6),
    st.sampled_from(["a", "b\u00fc", "a&b=c"]),
)
def test_whatever_the_query_is_the_user_is_one_of_its_parts(
    base: str, query: str, user: str
) -> None:
    url = f"{base}?{query}"
    dialled = urlsplit(read_address(url).dialled_as(user))
    parts = parse_qsl(dialled.query, keep_blank_values=True)
    assert parts == [
        *parse_qsl(query.removesuffix("&"), keep_blank_values=True),
        ("username", user),
    ]
    assert dialled._replace(query="") == urlsplit(base)
