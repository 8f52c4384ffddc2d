"""The examples of docs/http.md, as they are printed there, against a real server."""

import ast
import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mypy.api
import pytest
from websockets.asyncio.client import connect

from landline_stack.proxy import Proxy
from support.issuer import Issuer
from support.pages import ROOT, code_blocks, read
from support.saying import hear, say
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

URL = "http://127.0.0.1:8081"
PAGE = read("docs/http.md")
SERVE, ASK, ROOM = code_blocks(PAGE, "sh")
[PROGRAM] = code_blocks(PAGE, "python")


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def server(tmp_path: Path, issuer: Issuer) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", args=issuer.args) as server:
        yield server


def shell(script: str, directory: Path) -> str:
    """Run what the page says, as somebody who has activated the environment; return its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=directory, env={**os.environ, "PATH": path, "no_proxy": "*"},
        capture_output=True, text=True, check=False, timeout=WAIT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_the_commands_of_the_page_send_and_list(tmp_path: Path) -> None:
    *prepare, serve = SERVE.splitlines()
    shell("\n".join(prepare), tmp_path)
    program, command, *args = shlex.split(serve)
    assert (program, command) == ("landline", "serve")
    args = [str(tmp_path / word) if word == "secret.txt" else word for word in args]
    with ServerProcess(tmp_path / "data", args=args) as server:
        issuer = Issuer(tmp_path)
        issuer.secret = (tmp_path / "secret.txt").read_bytes().strip()
        async with connect(server.ws_url, additional_headers=issuer.bearer("bob")) as bob:
            session = (await hear(bob, "welcome"))["session"]
            output = await asyncio.to_thread(shell, ASK.replace(URL, server.url), tmp_path)
            accepted, listed = map(json.loads, output.splitlines())
            pushed = await hear(bob, "message")
    assert (accepted["ref"], pushed["id"]) == ("order-4711-shipped", accepted["id"])
    assert (pushed["sender"], pushed["content"]) == ("alice", "hello")
    assert [each["session"] for each in listed["sessions"]] == [session]
    for name in ("secret.txt", "service.header"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, "others cannot read it"


def test_the_commands_of_the_page_make_a_room_and_read_it(tmp_path: Path, issuer: Issuer) -> None:
    token = issuer.token("backend", is_service=True)
    (tmp_path / "service.header").write_text(f"Authorization: Bearer {token}\n")
    with ServerProcess(tmp_path / "data", args=issuer.args) as server:
        output = shell(ROOM.replace(URL, server.url), tmp_path)
    added, sent, listed, page, members, removed = map(json.loads, output.splitlines())
    room = added["conversation"]
    [item] = listed["items"]
    assert (item["conversation"], item["title"], item["preview"]) == (
        room, "Order 4711", "it is on its way",
    )  # fmt: skip
    assert [each["type"] for each in page["messages"]] == ["room", "member", "message"]
    assert (page["messages"][2]["id"], page["complete"]) == (sent["id"], True)
    roles = {each["user"]: each["role"] for each in members["items"]}
    assert roles == {"alice": "admin", "bob": "member", "zoe": "admin"}
    assert removed["ref"] == "order-4711-zoe-out"


def test_the_program_passes_mypy_in_strict_mode(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(PROGRAM, encoding="utf-8")
    output, errors, status = mypy.api.run(
        [f"--config-file={ROOT / 'pyproject.toml'}", str(tmp_path / "example.py")]
    )
    assert status == 0, output + errors


def started(directory: Path, issuer: Issuer, url: str) -> "subprocess.Popen[str]":
    """Start the page's program."""
    assert URL in PROGRAM
    (directory / "service.token").write_text(issuer.token("backend", is_service=True))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM.replace(URL, url)],
        cwd=directory, env={**os.environ, "no_proxy": "*"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


async def test_the_program_repeats_what_had_no_answer_and_the_message_is_one(
    server: ServerProcess, issuer: Issuer, tmp_path: Path
) -> None:
    """The server hears the first request, and its answer is lost."""
    async with (
        connect(server.ws_url, additional_headers=issuer.bearer("bob")) as bob,
        connect(server.ws_url, additional_headers=issuer.bearer("alice")) as alice,
    ):
        await hear(bob, "welcome")
        with Proxy("http", server.port) as proxy:
            proxy.hold_answers()
            with started(tmp_path, issuer, f"http://127.0.0.1:{proxy.port}") as program:
                pushed = await hear(bob, "message")
                await until(proxy.has_held.is_set, "the answer is on its way")
                proxy.cut()
                output, _ = await asyncio.to_thread(program.communicate, timeout=WAIT_SECONDS)
        assert program.returncode == 0
        accepted: dict[str, Any] = ast.literal_eval(output)
        assert (accepted["id"], accepted["offset"]) == (pushed["id"], pushed["offset"])
        await say(alice, to="bob", content="the next one", ref="1")
        assert (await hear(bob, "message"))["content"] == "the next one"
