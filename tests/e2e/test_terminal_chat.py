"""`landline chat` as a person uses it: two of them, in processes of their own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, wait_until


class Terminal:
    """A `landline chat` with pipes for keyboard and screen."""

    def __init__(self, url: str, name: str, to: str, state: Path) -> None:
        self._screen = state / f"{name}.txt"
        self._seen = self._screen.stat().st_size if self._screen.exists() else 0
        with self._screen.open("ab") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "landline", "chat", "--as", name, "--to", to, "--url", url],
                stdin=subprocess.PIPE,
                stdout=screen,
                stderr=subprocess.STDOUT,
                env={**os.environ, "XDG_STATE_HOME": str(state), "PYTHONUTF8": "1"},
            )

    def type(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def text(self) -> str:
        """Return what this run has shown."""
        return self._screen.read_bytes()[self._seen :].decode()

    def wait_for(self, what: str) -> None:
        """Wait until a text is shown."""
        wait_until(lambda: what in self.text(), lambda: f"{what!r} is in {self.text()!r}")

    def end_input(self) -> int:
        """Type Ctrl-D and return the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(WAIT_SECONDS)
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def terminals(server: ServerProcess, tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    """Alice and bob, talking to each other."""
    pair = {
        "alice": Terminal(server.ws_url, "alice", "bob", tmp_path),
        "bob": Terminal(server.ws_url, "bob", "alice", tmp_path),
    }
    yield pair
    for terminal in pair.values():
        terminal.kill()


def test_two_terminals_chat_through_a_restart(
    server: ServerProcess, terminals: dict[str, Terminal]
) -> None:
    """✓ when accepted, ✓✓ when delivered; a killed server is reconnected to."""
    alice, bob = terminals["alice"], terminals["bob"]
    for terminal in (alice, bob):
        terminal.wait_for("-- connected")
    alice.type("hello bob")
    bob.wait_for("alice: hello bob")
    alice.wait_for("✓ hello bob")
    alice.wait_for("✓✓ hello bob")
    bob.type("hello alice")
    alice.wait_for("bob: hello alice")

    server.kill()
    alice.wait_for("-- reconnecting")
    alice.type("typed while the server was down")
    server.start()
    bob.wait_for("alice: typed while the server was down")
    alice.wait_for("✓✓ typed while the server was down")
    assert bob.text().count("typed while") == 1
    assert alice.end_input() == 0
    bob.process.send_signal(signal.SIGINT)
    assert bob.process.wait(WAIT_SECONDS) == 130
    assert "Traceback" not in alice.text() + bob.text()


def test_an_unsent_line_is_sent_by_the_next_run(
    server: ServerProcess, terminals: dict[str, Terminal], tmp_path: Path
) -> None:
    """Typed while the server was down, then the terminal was killed."""
    alice, bob = terminals["alice"], terminals["bob"]
    alice.wait_for("-- connected")
    server.kill()
    alice.wait_for("-- reconnecting")
    alice.type("do not forget me")
    outbox = next((tmp_path / "landline").glob("alice@*.db"))
    wait_until(
        lambda: "do not forget me" in _kept(outbox, tmp_path / "copy.db"), "the line is kept"
    )
    alice.kill()
    server.start()
    again = Terminal(server.ws_url, "alice", "bob", tmp_path)
    try:
        again.wait_for("✓ do not forget me")
        bob.wait_for("alice: do not forget me")
    finally:
        again.kill()


def _kept(outbox: Path, copy: Path) -> list[str]:
    """Return what a kill would leave: what is in the file may not be committed."""
    for suffix in ("", "-journal"):  # in this order: a journal that is gone by then is a commit
        part = Path(f"{copy}{suffix}")
        part.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{outbox}{suffix}", part)
    with closing(sqlite3.connect(copy)) as connection, suppress(sqlite3.DatabaseError):
        return [content for (content,) in connection.execute("SELECT content FROM outbox")]
    return []  # copied in the middle of a write


def test_what_others_write_cannot_steer_the_terminal(
    server: ServerProcess, terminals: dict[str, Terminal]
) -> None:
    """Escape sequences and line breaks are shown, not obeyed."""
    alice, bob = terminals["alice"], terminals["bob"]
    bob.wait_for("-- connected")
    alice.type("\x1b[2Jgone\x07")
    bob.wait_for("gone")
    assert "\x1b" not in bob.text()
    assert "\x07" not in bob.text()
