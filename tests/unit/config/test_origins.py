"""Origins of browsers, as they are given and as they are kept."""

import pytest

from landline.config import load
from landline.config.settings import OPTIONS
from support.configuration import assert_refused


@pytest.mark.parametrize(
    ("given_origins", "sent_by_browsers"),
    [
        ("https://Chat.Example.org:443", {"https://chat.example.org"}),
        ("http://[::1]:8080,http://localhost:80", {"http://[::1]:8080", "http://localhost"}),
        ("", set()),
    ],
)
def test_origins_are_kept_as_browsers_send_them(
    given_origins: str, sent_by_browsers: set[str]
) -> None:
    assert load({"allowed-origins": given_origins}, {}).allowed_origins == sent_by_browsers


BAD_VALUES = [
    ("allowed-origins", "*", "not a list of origins"),
    ("allowed-origins", "https://a.example/path", "not a list of origins"),
    ("allowed-origins", "https://u@a.example", "not a list of origins"),
    *(
        ("allowed-origins", each, "not a list of origins")
        for each in (
            "app://",
            "app://a/b",
            "app://a b",
            "app://-:0",
            "app://u@h",
            "https://-",
            "http://.",
            "http://[fe80::1%eth0]",
        )
    ),
    *(
        ("allowed-origins", each, "not a list of origins")
        for each in (
            "https://a:0",
            "https://a:65536",
            "https://a..b",
            "https://[:::]",
            "https://",
            "://a",
            "a.example",
            "null",
            "file://x",
            "file://",
            "ws://a",
            "javascript://a",
            "https://a/",
            "https://a?b",
            "https://a b",
            "capacitor://",
            "1x://a",
            "https://a#b",
            "https://h\u00e4user.example",
        )
    ),
    *(
        ("allowed-origins", each, "has an empty item")
        for each in ("https://a,", ",", "https://a,,https://b")
    ),
]


@pytest.mark.parametrize(("name", "text", "problem"), BAD_VALUES)
def test_a_bad_value_is_refused_with_option_value_and_remedy(
    name: str, text: str, problem: str
) -> None:
    assert_refused(name, text, problem)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("allowed-origins", "capacitor://localhost, tauri://localhost", {"capacitor://localhost", "tauri://localhost"}),
        ("allowed-origins", "Ionic://localhost:8100", {"ionic://localhost:8100"}),
        ("allowed-origins", "HTTPS://[::1]:443", {"https://[::1]"}),
        ("allowed-origins", "https://[0:0:0:0:0:0:0:1]:8443", {"https://[::1]:8443"}),
        ("allowed-origins", "http://[2001:DB8:0:0:1:0:0:1]", {"http://[2001:db8::1:0:0:1]"}),
        ("allowed-origins", "http://[2001:db8::0]", {"http://[2001:db8::]"}),
        ("allowed-origins", "http://[1:2:3:4:5:6:0:8]", {"http://[1:2:3:4:5:6:0:8]"}),
        ("allowed-origins", "http://[1::5:6:7:8]", {"http://[1::5:6:7:8]"}),
        ("allowed-origins", "http://[::ffff:1.2.3.4]", {"http://[::ffff:102:304]"}),
        ("allowed-origins", "http://[::1.2.3.4]", {"http://[::102:304]"}),
        ("allowed-origins", "capacitor-electron://-,App://-", {"capacitor-electron://-", "app://-"}),
        ("allowed-origins", "app://.,app://~x_.-Y:80", {"app://.", "app://~x_.-Y:80"}),
    ],
)  # fmt: skip
def test_what_looks_strange_and_works_is_taken(name: str, text: str, value: object) -> None:
    assert OPTIONS[name].kind.parse(text) == value
