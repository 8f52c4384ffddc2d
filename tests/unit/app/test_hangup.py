"""SIGHUP: who is told, and when."""

import signal
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from landline.app import hangup as module
from landline.app.hangup import Hangup
from support.waiting import go_round


@pytest.fixture
def hangup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hangup]:
    before = signal.getsignal(signal.SIGHUP)
    yield Hangup()
    signal.signal(signal.SIGHUP, before)


def test_before_a_loop_runs_only_log_files_are_opened_again(
    hangup: Hangup, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[None] = []
    monkeypatch.setattr(module, "reopen_log_files", lambda: opened.append(None))
    signal.raise_signal(signal.SIGHUP)
    assert len(opened) == 1


async def test_all_are_read_again_by_the_loop_whatever_one_of_them_does(hangup: Hangup) -> None:
    read: list[str] = []

    def fail() -> None:
        read.append("a")
        raise RuntimeError("a defect")

    hangup.add(fail)
    hangup.add(lambda: read.append("b"))
    with capture_logs() as lines:
        for _ in range(3):  # while the loop is busy
            signal.raise_signal(signal.SIGHUP)
        assert read == []
        await go_round(3)
        assert read == ["a", "b"], "once for all three"
        signal.raise_signal(signal.SIGHUP)
        await go_round(3)
    assert read == ["a", "b"] * 2
    assert [line["event"] for line in lines if line["log_level"] == "error"] == [
        "not_read_again"
    ] * 2


def test_at_the_end_nothing_is_heard(hangup: Hangup) -> None:
    hangup.ignore()
    signal.raise_signal(signal.SIGHUP)
