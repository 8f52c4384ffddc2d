"""A server for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import landline
from support.chats import Chats
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test names no time for the first connection, a busy machine has one to take it."""
    defaults = landline.connect.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "connect_timeout", WAIT_SECONDS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of our own; killed at the end. Whatever a client did, it never tripped."""
    server = ServerProcess(tmp_path / "data")
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture
def chats(server: ServerProcess, tmp_path: Path) -> Chats:
    """Chats with the server of the test."""
    return Chats(server.ws_url, tmp_path / "state")
