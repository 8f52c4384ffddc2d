"""Logs are readable or JSON, safe to look at, and never in anybody's way."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest
import structlog

from landline.errors import StartupError
from landline.observability.logging import get_logger, reopen_log_files, shutdown_logging
from support.logs import configure, file_of, lines_of

log = get_logger("landline.test")


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
    # asyncio's debug mode may have said something as well: that a callback was slow.
    said = [line["n"] for line in lines_of(tmp_path) if line["event"] == "tick"]
    assert sorted(said) == list(range(50))


# Files that somebody moves away ----------------------------------------------------------------


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
