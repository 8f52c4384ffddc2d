"""The client, the terminal and `landline token` with a server that checks tokens."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import landline
from landline.client import Disconnected, Event, Refused, TokenRefused, WrongUser
from support.chats import Chats
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    return file


@pytest.fixture
def server(tmp_path: Path, secret_file: Path) -> Iterator[ServerProcess]:
    """Return a server that checks tokens; it has logged none at the end."""
    arguments = ["--auth", "jwt", "--jwt-secret-file", str(secret_file)]
    server = ServerProcess(tmp_path / "data", args=arguments)
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()
    assert "eyJ" not in server.log()


class Issuer:
    """Brings tokens of one user as `landline token` makes them."""

    def __init__(self, secret_file: Path, user: str = "alice", expires: str = "1h") -> None:
        self._command = [
            *(sys.executable, "-m", "landline", "token", "--user", user),
            *("--expires", expires, "--jwt-secret-file", str(secret_file)),
        ]
        self.made: list[str] = []

    def make(self) -> str:
        done = subprocess.run(
            self._command, capture_output=True, check=True, text=True, timeout=WAIT_SECONDS
        )
        self.made.append(done.stdout.strip())
        return self.made[-1]

    async def __call__(self) -> str:
        return await asyncio.to_thread(self.make)


async def test_a_token_signs_its_user_in(server: ServerProcess, secret_file: Path) -> None:
    alice, bob = Issuer(secret_file), Issuer(secret_file, "bob")
    async with (
        landline.connect(server.ws_url, token=alice.make()) as one,
        landline.connect(server.ws_url, username="bob", token=bob) as other,
    ):
        assert one.username == "alice"
        await one.send("bob", "hello")
        message = await anext(other)
        assert (message.sender, message.content) == ("alice", "hello")


async def test_a_name_that_is_not_the_token_s_is_refused(
    server: ServerProcess, secret_file: Path
) -> None:
    with pytest.raises(Refused) as caught:
        async with landline.connect(server.ws_url, username="mallory", token=Issuer(secret_file)):
            pass
    assert isinstance(caught.value, WrongUser) or "another one" in str(caught.value)


async def test_without_a_token_nobody_is_let_in(server: ServerProcess) -> None:
    with pytest.raises(Refused):
        async with landline.connect(server.ws_url, username="alice"):
            pass


async def test_a_session_outlives_its_first_token_when_a_function_brings_more(
    server: ServerProcess, secret_file: Path
) -> None:
    issuer = Issuer(secret_file, expires="8s")
    events: list[Event] = []
    async with landline.connect(server.ws_url, token=issuer, on_event=events.append) as chat:
        await until(lambda: len(issuer.made) >= 3, "it was renewed twice")
        await chat.send("alice", "still here")
        # On a machine that stands still a token may run out; then it connects again.
        assert len([each for each in events if isinstance(each, Disconnected)]) < len(issuer.made)


async def test_a_string_that_runs_out_ends_the_chat(
    server: ServerProcess, secret_file: Path
) -> None:
    token = Issuer(secret_file, expires="3s").make()
    async with landline.connect(server.ws_url, token=token, connect_timeout=None) as chat:
        with pytest.raises(TokenRefused, match="expired"):
            await asyncio.wait_for(anext(chat), WAIT_SECONDS)


async def test_a_program_that_waits_for_nothing_hears_of_the_end_of_its_chat(
    server: ServerProcess, secret_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    token = Issuer(secret_file, expires="3s").make()
    async with landline.connect(
        server.ws_url, token=token, connect_timeout=None, on_event=events.append
    ) as chat:
        await until(lambda: chat.problem is not None, "the token has run out")
        assert isinstance(chat.problem, TokenRefused)
        assert events[-1] == Disconnected(str(chat.problem), None)
    assert len([each for each in events if isinstance(each, Disconnected)]) == 1
    assert isinstance(chat.problem, TokenRefused), "and not that the chat was left"
    async with landline.connect(server.ws_url, token=token, connect_timeout=None) as chat:
        await until(lambda: chat.problem is not None, "it is refused")
    assert [line.getMessage() for line in caplog.records if "has ended" in line.getMessage()] == [
        f"the chat has ended: {chat.problem}"
    ]


async def test_a_token_file_is_all_that_the_terminal_needs(
    server: ServerProcess, secret_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alice.token"
    file.write_text(Issuer(secret_file).make())
    chats = Chats(server.ws_url, tmp_path / "state")
    for number, given in zip(itertools.count(), (["--token-file", str(file)], []), strict=False):
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *(sys.executable, "-m", "landline", "chat", "--to", "bob"),
                *("--url", server.ws_url, *given),
            ],
            input=f"hello {number}\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
            env=chats.environment({} if given else {"LANDLINE_TOKEN_FILE": str(file)}),
        )
        assert (done.returncode, done.stderr) == (0, "")
    async with landline.connect(server.ws_url, token=Issuer(secret_file, "bob")) as bob:
        got = [await anext(bob), await anext(bob)]
        assert [(each.sender, each.content) for each in got] == [
            ("alice", "hello 0"),
            ("alice", "hello 1"),
        ]
