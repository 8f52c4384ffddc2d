"""Hosts and ports: where the server listens, and where Kafka is."""

import pytest

from landline.config.settings import OPTIONS
from support.configuration import assert_refused

BAD_VALUES = [
    ("host", "", "not a host"),
    ("host", "a b", "not a host"),
    ("host", "127.0.0.1:8081", "not a host"),
    *(
        ("host", host, "not a host")
        for host in (
            "127.1",
            "1.2.3",
            "999.999.1.1",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "[localhost]",
            "a..b",
            "-a",
            "...",
            "h\u00e4uschen",
            "\u0668",
            "a" * 64,
            ".".join(["a" * 60] * 5),
            "[::1]:80",
            "fe80::1%",
            "http://a",
        )
    ),
    ("port", "abc", "not a port"),
    ("port", "-1", "not a port"),
    ("port", "65536", "not a port"),
    ("port", "8081.0", "not a port"),
    ("port", "٨", "not a port"),
    *(("port", port, "not a port") for port in ("", " 80", "+80", "0x50", "8_081", "9" * 5_000)),
    ("kafka", "broker", "not a list of servers"),
    ("kafka", ",", "has an empty item"),
    *(
        ("kafka", each, "not a list of servers")
        for each in (
            "h:0",
            "h:65536",
            "h:",
            ":9092",
            "h:1,h",
            "::1:9092",
            "[::1]",
            "[::1]:0",
            "[::1:9092",
            "[x]:1",
            "PLAINTEXT://h:9092",
            "u@h:9092",
            "a b:1",
            "h:9092/x",
            "h:+1",
            "h:\u0661",
            "1.2.3:9092",
        )
    ),
    *(("kafka", each, "has an empty item") for each in ("h:1,", ",h:1", "h:1,,h:2", "h:1, ,h:2")),
]


@pytest.mark.parametrize(("name", "text", "problem"), BAD_VALUES)
def test_a_bad_value_is_refused_with_option_value_and_remedy(
    name: str, text: str, problem: str
) -> None:
    assert_refused(name, text, problem)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("kafka", "[::1]:9092,k-1.example:1", ("[::1]:9092", "k-1.example:1")),
        ("kafka", "k:1, k:1", ("k:1",)),
        ("kafka", "my_kafka:9092", ("my_kafka:9092",)),
        ("host", "fe80::1%eth0", "fe80::1%eth0"),
        ("host", "my_host.example.", "my_host.example."),
    ],
)  # fmt: skip
def test_what_looks_strange_and_works_is_taken(name: str, text: str, value: object) -> None:
    assert OPTIONS[name].kind.parse(text) == value
