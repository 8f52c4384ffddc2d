"""`--kafka-config`: what may stand in it, and that its secrets are never shown."""

from pathlib import Path

import pytest

from landline.adapters.kafka import KafkaCluster
from landline.adapters.kafka.security import read_security
from landline.errors import StartupError

PLAIN_USER = (
    "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.password=p\n"
)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "kafka.properties"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_become_settings(tmp_path: Path) -> None:
    text = (
        "# a user\n\n security.protocol = SASL_PLAINTEXT \nsasl.mechanism=PLAIN\n"
        "sasl.username=x y\nsasl.password=a=b # c\n"
    )
    assert read_security(written(tmp_path, text)) == {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "x y",
        "sasl.password": "a=b # c",
    }


@pytest.mark.parametrize(
    "line", ["acks=1", "enable.idempotence=false", "bootstrap.servers=x", "sasl.password s3cret"]
)
def test_what_decides_about_survival_is_not_the_operator_s_to_change(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(StartupError, match=r"kafka\.properties, line 2: not a setting") as raised:
        read_security(written(tmp_path, f"# one\n{line}\nsasl.password=s3cret\n"))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "sasl.username=u\nsasl.password=s3cret",
            "sasl.username, sasl.password have no effect without security.protocol (so it is plain",
        ),
        ("sasl.username=u", "write security.protocol=SASL_SSL, or SASL_PLAINTEXT where"),
        ("sasl.mechanism=PLAIN", "sasl.mechanism has no effect without security.protocol"),
        ("ssl.ca.location=/x", "ssl.ca.location has no effect without security.protocol"),
        ("enable.ssl.certificate.verification=true", "write security.protocol=SSL"),
        ("security.protocol=PLAINTEXT\nsasl.username=u", "no effect with security.protocol=PLAINT"),
        ("sasl.username=u\nsecurity.protocol=ssl", "write security.protocol=SASL_SSL, or leave"),
        (
            f"{PLAIN_USER}ssl.ca.location=/x",
            "ssl.ca.location has no effect with security.protocol=SASL_PLAINTEXT",
        ),
        ("sasl.username=u\nssl.ca.location=/x", "write security.protocol=SASL_SSL, or leave"),
    ],
)
def test_what_would_go_unused_in_silence_is_refused(
    text: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(StartupError) as raised:
        read_security(written(tmp_path, text))
    assert problem in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("line", ["{}=", "{}=none", " {} = \t"])
def test_no_check_of_the_host_s_name_is_written_as_in_java_or_as_librdkafka_has_it(
    line: str, tmp_path: Path
) -> None:
    name = "ssl.endpoint.identification.algorithm"
    text = f"security.protocol=SSL\n{line.format(name)}\n"
    assert read_security(written(tmp_path, text))[name] == "none"


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        read_security(tmp_path / "missing")
    with pytest.raises(StartupError, match="not UTF-8"):
        read_security(written(tmp_path, b"\xff\xfe"))


def test_security_reaches_every_client_and_cannot_move_it_elsewhere() -> None:
    cluster = KafkaCluster(["a:1", "b:2"], "me", {"sasl.username": "u", "client.id": "x"})
    assert (
        cluster.settings({"acks": 1}).items()
        >= {
            "bootstrap.servers": "a:1,b:2",
            "client.id": "me",
            "sasl.username": "u",
            "acks": 1,
        }.items()
    )


def test_an_editor_of_windows_may_have_written_it(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_bytes(b"\xef\xbb\xbfsecurity.protocol=PLAINTEXT\r\n\r\n# none\r\n")
    assert read_security(file) == {"security.protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sasl.password=a\rb", "control character (U+000D)"),
        ("sasl.password=a\x00b", "control character (U+0000)"),
        ("sasl.password=a\u2028b", "control character (U+2028)"),
        *(
            (f"sasl.password={begin}a{end}", f"control character (U+{ord(begin or end[0]):04X})")
            for begin, end in [
                ("", "\x0b"),
                ("", "\x0c"),
                ("", "\x1c"),
                ("", "\x85"),
                ("", "\u2028"),
                ("", "\u2029"),
                ("", "\x0b \t"),
                ("", "\r\r"),
                ("\x0c", ""),
                ("\ufeff", ""),
            ]
        ),
        ("sasl.password=", "has no value"),
        ("security.protocol=SSL", "is given twice"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(line: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(f"security.protocol=PLAINTEXT\n{line}\n", newline="")
    with pytest.raises(StartupError) as error:
        read_security(file)
    assert f"line 2: {line.partition('=')[0]} {problem}" in str(error.value).replace(
        " has a c", " c"
    )
    assert "a\rb" not in str(error.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_blanks_and_tabs_around_a_value_are_left_out_and_other_blanks_are_part_of_it(
    ending: str, tmp_path: Path
) -> None:
    text = (
        "security.protocol=sasl_ssl\nsasl.mechanism=PLAIN\n"
        f"\t sasl.username =\tu \t\nsasl.password = \u00a0p\u3000 {ending}"
    )
    settings = {"sasl.username": "u", "sasl.password": "\u00a0p\u3000"}
    settings |= {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN"}
    assert read_security(written(tmp_path, text)) == settings


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x85", "\u2028", "\r\r"])
def test_a_control_character_before_a_name_is_told_with_the_line(
    character: str, tmp_path: Path
) -> None:
    with pytest.raises(StartupError, match="line 2: "):
        read_security(written(tmp_path, f"# one\n{character}sasl.password=s3cret\n"))
