"""`landline chat --token-file`: read for each connection, so that a fresh token counts."""

import subprocess
import sys
from pathlib import Path

import jwt
import pytest
from websockets.asyncio.server import ServerConnection

from support.chats import WAIT_SECONDS, Chats
from support.scripted import Scripted, accept_all, scripted, welcome
from support.waiting import until

SECRET = "s" * 32


def token(user: str, number: int) -> str:
    return jwt.encode({"sub": user, "jti": str(number)}, SECRET, "HS256")


def command(chats: Chats, file: Path, *more: str) -> list[str]:
    """Return a command line without --as."""
    url = ["--url", chats.url]
    return [
        *(sys.executable, "-m", "landline", "chat", "--to", "b"),
        *url,
        *("--token-file", str(file), *more),
    ]


def run(chats: Chats, file: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end, with nothing to send."""
    return subprocess.run(
        command(chats, file),
        stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True, timeout=WAIT_SECONDS,
        env=chats.environment({}),
    )  # fmt: skip


def start(chats: Chats, file: Path) -> "subprocess.Popen[bytes]":
    """Start the command with pipes."""
    return subprocess.Popen(
        command(chats, file),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=chats.environment({}),
    )  # fmt: skip


async def test_a_token_that_is_put_into_the_file_is_that_of_the_next_connection(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text(token("a", 1) + "\n")

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) == 1:
            await welcome(socket)
            file.write_text(token("a", 2))
            await socket.close(4401, "the token has expired")
        else:
            await accept_all(seen, socket)

    async with scripted(script) as server:
        chats = Chats(server.url, tmp_path / "state")
        process = start(chats, file)
        try:
            await until(lambda: len(server.sessions) == 2, "it comes again")
            assert process.stdin is not None
            process.stdin.write(b"hello\n")
            process.stdin.close()
            await until(lambda: process.poll() is not None, "it ends")
        finally:
            process.kill()
        assert process.wait() == 0
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.read() + process.stderr.read()
        process.stdout.close()
        process.stderr.close()
        assert b"eyJ" not in said
        assert [request.headers["Authorization"] for request in server.requests] == [
            f"Bearer {token('a', number)}" for number in (1, 2)
        ]
        assert [request.path for request in server.requests] == ["/ws/chat?username=a"] * 2


@pytest.mark.parametrize("content", ["", "a b", "\xff"])
def test_a_file_without_a_token_is_refused_at_the_start(content: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="latin-1")
    done = run(Chats("ws://127.0.0.1:9/ws", tmp_path / "state"), file)
    assert done.returncode == 2
    assert done.stderr.startswith(f"landline: --token-file: the token file {file} holds no token: ")


@pytest.mark.parametrize("claims", [{}, {"sub": 7}, {"sub": "a b"}])
def test_a_token_that_names_nobody_needs_a_name(claims: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(jwt.encode({**claims, "x": 1}, SECRET, "HS256"))
    done = run(Chats("ws://127.0.0.1:9/ws", tmp_path / "state"), file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--as is missing: what is in the token file names nobody" in done.stderr
