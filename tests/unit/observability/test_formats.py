"""What a line of the log looks like."""

import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from landline.observability.logging import get_logger, shutdown_logging
from landline.protocol.codes import CloseCode
from support.logs import configure, lines_of

log = get_logger("landline.test")


def test_a_json_line_has_what_elk_wants(tmp_path: Path) -> None:
    configure(tmp_path)
    log.info("connection_closed", session="s1", sent=3, duration_seconds=1.5)
    [line] = lines_of(tmp_path)
    assert line.pop("@timestamp").endswith("Z")
    assert list(line)[:4] == ["level", "event", "server_id", "port"]
    assert line == {
        "level": "info",
        "event": "connection_closed",
        "server_id": "ws-1",
        "port": 8081,
        "logger": "landline.test",
        "session": "s1",
        "sent": 3,
        "duration_seconds": 1.5,
    }


def test_the_identity_of_the_server_cannot_be_overwritten(tmp_path: Path) -> None:
    configure(tmp_path)
    log.info("odd", port=1, server_id="another")
    assert [(line["port"], line["server_id"]) for line in lines_of(tmp_path)] == [(8081, "ws-1")]


def test_an_exception_becomes_a_field_of_its_own_without_local_variables(tmp_path: Path) -> None:
    configure(tmp_path)

    def fail(content: str) -> None:
        raise ValueError("cannot\x1b[2J")

    try:
        fail("canary")
    except ValueError as error:
        log.exception("failed")
        log.error("failed", exc_info=error)
    lines = lines_of(tmp_path)
    assert len(lines) == 2
    for line in lines:
        assert (line["level"], line["event"]) == ("error", "failed")
        assert line["error"]["type"] == "ValueError"
        assert line["error"]["message"] == r"cannot\x1b[2J"
        assert "in fail" in line["error"]["stack_trace"]
        assert "canary" not in json.dumps(line).replace('fail(\\"canary\\")', "")


def test_bound_context_is_part_of_every_line(tmp_path: Path) -> None:
    configure(tmp_path)
    with structlog.contextvars.bound_contextvars(connection="c1"):
        log.info("opened")
    log.bind(session="s1").info("closed")
    opened, closed = lines_of(tmp_path)
    assert opened["connection"] == "c1"
    assert closed["session"] == "s1"


def test_debug_lines_are_not_written(tmp_path: Path) -> None:
    configure(tmp_path)
    log.debug("details")
    assert lines_of(tmp_path) == []


def test_libraries_are_heard_from_warning_on(tmp_path: Path) -> None:
    configure(tmp_path)
    asyncio_log = logging.getLogger("asyncio")
    asyncio_log.info("chatter")
    asyncio_log.warning("slow: %s", "a\nb")
    lines = lines_of(tmp_path)
    assert [(line["level"], line["logger"], line["event"]) for line in lines] == [
        ("warning", "asyncio", r"slow: a\nb"),
    ]


def test_a_level_that_only_a_library_has_is_the_one_below_it(tmp_path: Path) -> None:
    configure(tmp_path)
    for level in (logging.WARNING + 5, logging.CRITICAL + 15):
        logging.getLogger("asyncio").log(level, "odd")
    assert [line["level"] for line in lines_of(tmp_path)] == ["warning", "critical"]


def test_a_library_whose_message_does_not_fit_its_format_is_still_heard(tmp_path: Path) -> None:
    configure(tmp_path)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "%d", ("no number",), None)
    logging.getLogger().handlers[-1].handle(record)
    assert [line["event"] for line in lines_of(tmp_path)] == ["%d"]


def test_warnings_of_python_are_lines_too(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(tmp_path)
        warnings.warn("mind the gap", stacklevel=1)
        [line] = lines_of(tmp_path)
    assert line["logger"] == "py.warnings"
    assert "mind the gap" in line["event"]


HOSTILE = "a\r\n\x1b[31m\x00\x7f\x9b\u202e\u2028\ud800z"
SHOWN = r"a\r\n\x1b[31m\x00\x7f\x9b\u202e\u2028\ud800z"


@pytest.mark.parametrize("format_", ["console", "json"])
def test_control_characters_are_escaped(format_: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure(None, format_)
    log.info("refused", name=HOSTILE, names=[HOSTILE], **{HOSTILE: {HOSTILE: HOSTILE}})
    shutdown_logging()
    out = capfd.readouterr().out
    assert out.count("\n") == 1
    assert out.rstrip("\n").isprintable()
    assert out.replace("\\\\", "\\").count(SHOWN) == 5


@given(st.text())
def test_no_text_breaks_a_line(text: str) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader:
        with os.fdopen(write, "wb", closefd=True) as writer, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", writer)
            configure(None)
            log.info("said", text=text)
            shutdown_logging()
        line = reader.read()
    assert line.endswith(b"\n")
    assert json.loads(line)["event"] == "said"
    assert line[:-1].decode().isprintable() or any(not c.isprintable() for c in text)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (2**70, str(2**70)),
        (signal.SIGTERM, 15),
        (CloseCode.POLICY, 1008),
        (float("nan"), None),
        (b"\xff", "b'\\xff'"),
        (("a", 1, None), ["a", 1, None]),
        ({1: {"x"}}, {"1": ["x"]}),
        ([[[[["deep"]]]]], [[[["['deep']"]]]]),
        (Unprintable(), "<Unprintable>"),
        ("x" * 5_000, "x" * 2_000 + "..."),
    ],
)
def test_any_value_can_be_logged(value: object, logged: object, tmp_path: Path) -> None:
    configure(tmp_path)
    log.info("odd", value=value)
    assert [line["value"] for line in lines_of(tmp_path)] == [logged]
