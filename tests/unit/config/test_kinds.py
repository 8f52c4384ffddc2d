"""What an option takes: kinds of values other than addresses."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.config import load
from landline.config.kinds import FLAG
from landline.config.settings import OPTIONS
from landline.config.values import UnfitValue
from support.configuration import CLUSTER, NAMES, SAMPLES, assert_refused, refusal, refusal_of_file


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("500ms", 0.5), ("60s", 60), ("1.5m", 90), ("24h", 86_400)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert load({"ack-timeout": text}, {}).ack_timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 2_592_000), ("1s", 1), ("36h", 129_600), ("365d", 31_536_000)]
)
def test_how_long_a_device_may_be_away_is_given_in_days_too(text: str | None, seconds: int) -> None:
    given = {} if text is None else {"device-expiry": text}
    assert load(given, {}).device_expiry == seconds


BAD_VALUES = [
    ("auth", "ldap", "none of its values"),
    *(
        ("public-url", each, " ")
        for each in (
            "chat.example",
            "ftp://a",
            "https://",
            "https://a/?b",
            "https://u@a/",
            "https://a/ b",
        )
    ),
    *(
        ("jwks-url", each, " ")
        for each in ("file:///etc/passwd", "a.example", "https://", "https://a b/")
    ),
    ("trusted-proxies", "10.0.0.1/8", "more than its network"),
    *(
        ("trusted-proxies", each, "list of networks")
        for each in ("all", "10.0.0.0/33", "a.example")
    ),
    ("jwt-issuer", " x", "not such a text"),
    ("jwt-issuer", "", "not such a text"),
    ("jwt-user-claim", "a" * 65, "not such a text"),
    ("jwt-role-claim", "a" * 65, "not such a text"),
    *(("limit-messages", each, "not a rate") for each in ("", "-1", "nan", "1e3", "1/s", "20.")),
    *(("limit-bytes", each, "not a number of bytes") for each in ("", "-1", "1kB", "1.5", "KiB")),
    *(("limit-user-connections", each, "not a number") for each in ("", "-1", "1.5", "many")),
    ("ack-timeout", "60", "not a duration"),
    ("ack-timeout", "1 s", "not a duration"),
    ("ack-timeout", "0s", "out of range"),
    ("ack-timeout", "25h", "out of range"),
    ("device-expiry", "30", "not a lifetime"),
    ("device-expiry", "500ms", "not a lifetime"),
    ("device-expiry", "1.5d", "not a lifetime"),
    ("device-expiry", "0d", "out of range"),
    ("device-expiry", "366d", "out of range"),
    *(
        ("ack-timeout", each, "not a duration")
        for each in (
            "",
            "nan",
            "infs",
            "-1s",
            "1e3s",
            "\u0661s",
            "1,5s",
            "1S",
            "1m30s",
            ".5s",
            "5.s",
        )
    ),
    *(("ack-timeout", each, "out of range") for each in ("9" * 400 + "h", "0.0001ms", "0.0s")),
    ("sweep-interval", "infs", "not a duration"),
    ("data-dir", "", "not a path"),
    ("data-dir", "a\0b", "control character (U+0000)"),
    ("data-dir", "~nobody-of-that-name/x", "no such home directory"),
    ("server-id", "", "not a server id"),
    ("server-id", "a/b", "not a server id"),
    ("server-id", "a" * 65, "not a server id"),
    ("roles", "reader", "not a list of roles"),
    ("roles", "", "not a list of roles"),
    ("roles", "gateway,", "has an empty item"),
    ("log-dir", " ", "not a path"),
    ("log-dir", "\ud800", "not a path"),
    ("log-format", "xml", "none of its values"),
]


@pytest.mark.parametrize(("name", "text", "problem"), BAD_VALUES)
def test_a_bad_value_is_refused_with_option_value_and_remedy(
    name: str, text: str, problem: str
) -> None:
    assert_refused(name, text, problem)


@pytest.mark.parametrize("name", [name for name in NAMES if OPTIONS[name].kind is not FLAG])
@pytest.mark.parametrize(
    "character", ["\r", "\n", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff"]
)
def test_no_value_has_a_control_character(name: str, character: str, tmp_path: Path) -> None:
    """Wherever it stands, and wherever the value comes from; most often it is a carriage return."""
    good = {sample[0]: sample[1] for sample in SAMPLES} | CLUSTER | {"redis": "redis://h"}
    for text in (good[name] + character, character + good[name], good[name][:1] + character + "x"):
        for sentence in (refusal({name: text}), refusal({}, {OPTIONS[name].variable: text})):
            assert f"has a control character (U+{ord(character):04X}) in it: remove it" in sentence
            assert sentence.isprintable()
    escaped = json.dumps(good[name] + character)
    assert "control character" in refusal_of_file(
        tmp_path, f"{name} = {escaped}".replace("\x7f", "\\u007f")
    )


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=40))
def test_whatever_a_value_is_it_is_taken_or_refused_with_a_sentence(name: str, text: str) -> None:
    try:
        OPTIONS[name].kind.parse(text)
    except UnfitValue as error:
        answer = [error.problem, error.remedy]
    else:
        answer = ["taken"]
    assert all(answer)
