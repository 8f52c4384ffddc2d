"""Logs are readable or JSON, safe to look at, and never in anybody's way."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from landline.errors import StartupError
from landline.observability import outputs
from landline.observability.logging import (
    configure_logging,
    get_logger,
    reopen_log_files,
    shutdown_logging,
)
from landline.observability.outputs import Output, RotatingFile, Stream
from landline.protocol.codes import CloseCode

log = get_logger("landline.test")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    shutdown_logging()
    structlog.reset_defaults()


def file_of(directory: Path) -> Path:
    return directory / "landline-ws-1-8081.log"


def lines_of(directory: Path) -> list[dict[str, Any]]:
    """Return what was logged to the file, after waiting for all of it."""
    shutdown_logging()
    return [json.loads(line) for line in file_of(directory).read_text().splitlines()]


def configure(directory: Path | None, format_: str = "json") -> None:
    configure_logging(format_, directory, "ws-1", 8081)


# --- what a line looks like -----------------------------------------------------------------------


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


# --- where lines go -------------------------------------------------------------------------------


def test_auto_is_json_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    configure(None, "auto")
    log.info("listening")
    shutdown_logging()
    assert json.loads(capfd.readouterr().out)["event"] == "listening"


def test_auto_is_readable_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb") as screen, os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("NO_COLOR", "1")
        configure(None, "auto")
        log.info("listening", url="http://127.0.0.1:8081/")
        shutdown_logging()
        line = screen.readline().decode()
    assert line.split() == [
        line.split()[0],
        "[info",
        "]",
        "listening",
        "[landline.test]",
        "url=http://127.0.0.1:8081/",
    ]


def test_a_traceback_on_the_terminal_cannot_pose_as_a_log_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(None, "console")
    log.error("failed", exc_info=ValueError("x\n12:00:00 [info] all is well\x1b[2J"))
    shutdown_logging()
    first, *rest = capfd.readouterr().out.splitlines()
    assert "failed" in first
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_the_file_is_json_even_when_the_terminal_is_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path / "new" / "directory", "console")
    log.info("listening")
    assert [line["event"] for line in lines_of(tmp_path / "new" / "directory")] == ["listening"]
    assert "[info" in capfd.readouterr().out


def test_the_file_and_standard_output_have_the_same_json_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path, "json")
    log.info("listening")
    assert lines_of(tmp_path) == [json.loads(capfd.readouterr().out)]


def test_nothing_swallows_an_event_before_it_reaches_the_logger(tmp_path: Path) -> None:
    """The chain renders, and whatever logger stands at its end writes what it is given."""
    configure(tmp_path)
    written: list[bytes] = []

    class Lines:
        name = "landline.test"

        def info(self, json: bytes) -> None:
            written.append(json)

    structlog.wrap_logger(Lines()).info("said", sent=3)
    [line] = written
    assert json.loads(line)["sent"] == 3


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for event in ("first", "second"):
        configure(tmp_path)
        log.info(event)
    assert [line["event"] for line in lines_of(tmp_path)] == ["first", "second"]


def test_a_directory_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StartupError, match=r"^--log-dir .*/file: cannot write .*; give a directory"
    ):
        configure(tmp_path / "file")


def test_after_shutdown_lines_go_nowhere(tmp_path: Path) -> None:
    configure(tmp_path)
    shutdown_logging()
    log.info("late")
    assert lines_of(tmp_path) == []


async def test_logging_works_inside_the_event_loop(tmp_path: Path) -> None:
    configure(tmp_path)
    await asyncio.gather(*(asyncio.to_thread(log.info, "tick", n=n) for n in range(50)))
    assert sorted(line["n"] for line in lines_of(tmp_path)) == list(range(50))


# --- outputs that fail ----------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from landline.observability.logging import configure_logging, get_logger
configure_logging("json", Path(sys.argv[1]), "ws-1", 8081)
for n in range(1000):
    get_logger("x").info("tick", n=n)
"""


def run_with_output(tmp_path: Path, shell: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "shell",
    ['"$@" >/dev/full', '"$@" >&-', '"$@" | true', '{ "$@"; echo $? >&2; } | sleep 0.1'],
)
def test_a_broken_standard_output_does_not_matter(shell: str, tmp_path: Path) -> None:
    done = run_with_output(tmp_path, shell)
    assert done.returncode == 0
    assert done.stderr in {"", "0\n"}
    assert [line["n"] for line in lines_of(tmp_path)] == list(range(1000))


def test_an_output_that_nobody_reads_loses_lines_but_holds_up_nothing() -> None:
    total = 3 * outputs.BACKLOG_LINES
    read, write = os.pipe()
    output = Output("test", Stream(write), lambda count: b"lost %d\n" % count)
    for number in range(total):
        output.put(b"%d %s\n" % (number, b"x" * 100))  # returns although the pipe is full
    received: list[bytes] = []
    with os.fdopen(read, "rb") as reader:
        thread = threading.Thread(target=lambda: received.extend(reader))
        thread.start()
        output.close(60)
        os.close(write)
        thread.join(60)
    lost = sum(int(line.split()[1]) for line in received if line.startswith(b"lost"))
    kept = [int(line.split()[0]) for line in received if not line.startswith(b"lost")]
    assert lost > 0
    assert lost + len(kept) == total
    assert kept == sorted(kept)


def test_the_backlog_is_bounded_in_bytes() -> None:
    read, write = os.pipe()
    output = Output("test", Stream(write), lambda count: b"lost %d\n" % count)
    line = b"x" * (1024 * 1024 - 1) + b"\n"
    for _ in range(30):
        output.put(line)
    received: list[bytes] = []
    with os.fdopen(read, "rb") as reader:
        thread = threading.Thread(target=lambda: received.extend(reader))
        thread.start()
        output.close(60)
        os.close(write)
        thread.join(60)
    # One backlog may be on its way while the next one fills.
    assert received.count(line) <= 2 * outputs.BACKLOG_BYTES // len(line)
    assert any(line.startswith(b"lost") for line in received)


class Flaky:
    """A destination on a disk that is full for a while."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.is_full = True
        self.failed = threading.Event()

    def write(self, line: bytes) -> None:
        if self.is_full:
            self.failed.set()
            raise OSError(28, "No space left on device")
        self.lines.append(line)

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        self.lines.append(b"closed")


def test_a_full_disk_costs_lines_and_says_how_many_afterwards() -> None:
    flaky = Flaky()
    output = Output("test", flaky, lambda count: b"lost %d" % count)
    output.put(b"one")
    assert flaky.failed.wait(60)
    flaky.is_full = False
    output.put(b"two")
    output.close(60)
    # The loss is told as soon as there is room: before the second line, or behind it.
    assert flaky.lines in ([b"two", b"lost 1", b"closed"], [b"lost 1", b"two", b"closed"])


# --- rotation -------------------------------------------------------------------------------------


def test_a_full_file_becomes_number_one(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = RotatingFile(path, limit_bytes=10, kept=3)
    for number in range(12):
        file.write(b"%04d\n" % number)
    file.close()
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "x.log": "0010\n0011\n",
        "x.log.1": "0008\n0009\n",
        "x.log.2": "0006\n0007\n",
        "x.log.3": "0004\n0005\n",
    }


def test_a_file_that_was_there_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"12345678")
    file = RotatingFile(path, limit_bytes=10, kept=3)
    file.write(b"new\n")
    file.close()
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"12345678"


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "x.log", limit_bytes=3, kept=2)
    file.write(b"long line\n")
    file.write(b"another long line\n")
    file.close()
    assert (tmp_path / "x.log").read_bytes() == b"another long line\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"long line\n"


def test_when_rotation_fails_the_file_grows_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "x.log.1").mkdir()  # a directory cannot be replaced by a file
    (tmp_path / "x.log.1" / "y").touch()
    (tmp_path / "x.log.2").mkdir()
    (tmp_path / "x.log.2" / "y").touch()
    file = RotatingFile(tmp_path / "x.log", limit_bytes=10, kept=2)
    for number in range(12):
        file.write(b"%04d\n" % number)
    file.close()
    assert len((tmp_path / "x.log").read_bytes().splitlines()) == 12


def test_a_line_after_a_torn_one_stands_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = RotatingFile(path)
    with pytest.MonkeyPatch.context() as patch:
        real_write = os.write
        written: list[int] = []

        def write(descriptor: int, data: bytes) -> int:
            if written:
                raise OSError(28, "No space left on device")
            written.append(real_write(descriptor, data[:3]))
            return written[0]

        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            file.write(b"half a line\n")
    file.write(b"whole\n")
    file.close()
    assert path.read_bytes() == b"hal\nwhole\n"


def test_the_limits_are_those_of_the_contract() -> None:
    assert (outputs.FILE_BYTES, outputs.FILES_KEPT) == (20_000_000, 30)


# --- files that somebody moves away ---------------------------------------------------------------


def until_said(path: Path, event: str, times: int = 1) -> None:
    """Wait until a file has an event so often."""
    deadline = time.monotonic() + 30
    while not path.exists() or path.read_text().count(f'"{event}"') < times:
        assert time.monotonic() < deadline, f"{event} never came"
        time.sleep(0.01)


def test_a_file_that_was_moved_is_made_again_when_told(tmp_path: Path) -> None:
    """As logrotate does it: rename, then SIGHUP. Its directory may be gone as well."""
    directory = tmp_path / "logs"
    configure(directory)
    path = file_of(directory)
    log.info("before")
    until_said(path, "before")
    moved = tmp_path / "moved"
    directory.rename(moved)
    log.info("still_to_the_old_one")
    until_said(file_of(moved), "still_to_the_old_one")
    reopen_log_files()
    until_said(path, "log_file_opened")
    log.info("after")
    reopen_log_files()  # of the same file: nothing is lost nor written twice
    until_said(path, "log_file_opened", 2)
    said = [line["event"] for line in lines_of(directory)]
    assert [event for event in said if event != "log_file_opened"] == ["after"]
    assert "after" not in file_of(moved).read_text()


def test_a_file_that_cannot_be_opened_again_goes_on_as_it_was(tmp_path: Path) -> None:
    configure(tmp_path)
    log.info("before")
    until_said(file_of(tmp_path), "before")
    moved = tmp_path / "moved"
    file_of(tmp_path).rename(moved)
    file_of(tmp_path).mkdir()
    reopen_log_files()
    until_said(moved, "log_file_failed")
    log.info("after")
    until_said(moved, "after")
    file_of(tmp_path).rmdir()
    reopen_log_files()
    until_said(file_of(tmp_path), "log_file_opened")


def test_without_a_file_there_is_nothing_to_open(capfd: pytest.CaptureFixture[str]) -> None:
    reopen_log_files()
    configure(None)
    reopen_log_files()
    shutdown_logging()
    assert '"no_log_file"' in capfd.readouterr().out
