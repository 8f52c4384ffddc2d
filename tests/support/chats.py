"""`landline chat` with pipes for its files, as the tests run it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.peer import Peer, until_caught_up
from support.server import ServerProcess

WAIT_SECONDS = 90.0

# `python -m landline` with shorter times.
IMPATIENT = """
import sys
from landline.__main__ import main
from landline.terminal import chat
chat.OUTBOX_SECONDS = chat.LAST_ANSWERS_SECONDS = 4.0
sys.exit(main())
"""


class Chats:
    """`landline chat` with an input of bytes, and what became of it."""

    def __init__(self, url: str, state: Path) -> None:
        self.url = url
        self._state = state

    def command(self, *more: str, name: str = "alice", to: str | None = "bob") -> list[str]:
        """Return the command line."""
        partner = [] if to is None else ["--to", to]
        command = [sys.executable, "-m", "landline", "chat", "--as", name, *partner]
        return [*command, "--url", self.url, *more]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment: the files are below a directory of the test."""
        return {**os.environ, "XDG_STATE_HOME": str(self._state), "PYTHONUTF8": "1", **more}

    async def pipe(
        self,
        text: bytes,
        *,
        env: Mapping[str, str] | None = None,
        to: str | None = "bob",
        is_patient: bool = True,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run it to its end. One that is not patient is for what it waits for in vain."""
        command = self.command(to=to)
        if not is_patient:
            command[1:3] = ["-c", IMPATIENT]
        ended = await asyncio.to_thread(
            subprocess.run,
            command,
            input=text,
            capture_output=True,
            timeout=WAIT_SECONDS,
            env=self.environment(env or {}),
            check=False,
        )
        assert b"Traceback" not in ended.stderr + ended.stdout
        assert b"Exception ignored" not in ended.stderr
        return ended

    def start(
        self, stdin: int, stdout: int, env: Mapping[str, str] | None = None, name: str = "alice"
    ) -> "subprocess.Popen[bytes]":
        """Run it with these files."""
        return subprocess.Popen(
            self.command(name=name),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=self.environment(env or {}),
            # The suite itself may have been started with `nohup`, which a chat respects.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
        )

    async def running(self, says: bytes = b"") -> "subprocess.Popen[bytes]":
        """Run it with pipes, and return when it has said its first line, which has `says` in it."""
        process = self.start(subprocess.PIPE, subprocess.PIPE)
        assert process.stdout is not None
        assert says in await asyncio.to_thread(process.stdout.readline)
        return process


async def finish(
    process: "subprocess.Popen[bytes]", text: bytes | None = None
) -> tuple[int, bytes]:
    """Give a chat the rest of its input; return its exit code and what it complained of."""
    _out, errors = await asyncio.to_thread(process.communicate, text, WAIT_SECONDS)
    return process.returncode, errors


async def received(server: ServerProcess, name: str = "bob") -> list[str]:
    """Return what a user has got, in order."""
    async with Peer(server.ws_url, name) as peer:
        await until_caught_up(peer)
        return [message["content"] for message in peer.messages]
