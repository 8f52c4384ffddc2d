"""What an audit shows while it goes on, and when it cannot write its numbers."""

import io
from pathlib import Path

import pytest

from landline.app import audit
from landline.audit import Difference, Kind, OffsetRange, Report
from landline.config import Settings
from landline.errors import StartupError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    screen = audit._Screen(limit=1)
    screen.progress("read 5 of 10 records")
    screen.progress("read 6 of 10 records")  # too soon after the last one
    for number in range(3):
        screen.tell(Difference(Kind.MESSAGE_MISSING, f"number {number}"))
    screen.summarise(Report({0: (OffsetRange(0, 9), 9)}), 1.0)
    assert terminal.getvalue() == "read 5 of 10 records" + "\r" + " " * 20 + "\r"
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["message_missing: number 0", "... and 2 more"]


def test_nothing_but_the_report_is_written_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = audit._Screen(limit=1)
    screen.progress("read 5 of 10 records")
    screen.clear()
    assert capsys.readouterr().err == ""


def test_numbers_that_cannot_be_written_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"--metrics .*cannot be written \(No such file"):
        audit._write(tmp_path / "missing" / "x.prom", audit._measured(Report(), 1.0))


@pytest.mark.parametrize("name", ["missing/x.prom", ".", "file/x.prom"])
def test_where_the_numbers_cannot_go_is_told_before_anything_is_compared(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(audit, "_audit", None)
    with pytest.raises(StartupError, match=r"--metrics .*cannot be written"):
        audit.run(Settings(data_dir=tmp_path), limit=1, metrics=tmp_path / name)


def names_in(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


def test_the_numbers_of_the_last_audit_stay_while_the_next_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.prom"
    file.write_text("before")

    async def failing(*_arguments: object) -> Report:
        assert names_in(tmp_path) == ["x.prom"]
        raise StartupError("no log")

    monkeypatch.setattr(audit, "_audit", failing)
    with pytest.raises(StartupError, match="no log"):
        audit.run(Settings(data_dir=tmp_path), limit=1, metrics=file)
    assert file.read_text() == "before"
