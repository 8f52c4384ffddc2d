"""A server for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chats import Chats
from support.server import ServerProcess


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
