"""A data directory that another program works on, and what its server says of it."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from landline_stack.ports import free_port
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until

NAME = "landline.db"
READER = ("BEGIN", "SELECT count(*) FROM log")


@contextlib.contextmanager
def stranger(data_dir: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Another program's connection, in the middle of what the statements began."""
    connection = sqlite3.connect(
        data_dir / NAME, timeout=60, isolation_level=None, check_same_thread=False
    )
    with contextlib.closing(connection):
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection


async def refusal(peer: Peer, text: str) -> str:
    """Send something that must be refused, and return how."""
    accepted = len(peer.accepted)
    ref = await peer.send("bob", text)

    def answers() -> list[str]:
        return [str(error["outcome"]) for error in peer.errors if error.get("ref") == ref]

    await until(lambda: bool(answers()), "the send is answered")
    assert len(peer.accepted) == accepted
    return answers()[0]


def problem(server: ServerProcess) -> str:
    """Return what /readyz says of the log; nothing while it is well."""
    status, body = server.get("/readyz")
    return str(json.loads(body)["problems"].get("log", "")) if status == 503 else ""


def refused(
    data_dir: Path,
    *,
    port: int | None = None,
    prefix: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> str:
    """Try to start a server; return what it says on its standard error, checked."""
    command = [*prefix, sys.executable, "-m", "landline", "serve"]
    command += ["--port", str(port or free_port()), "--data-dir", str(data_dir)]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert run.returncode == 2, run.stderr
    assert 1 <= len(run.stderr.splitlines()) <= 2, run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    return run.stderr


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on a database that may be in use."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as it:
        return it.execute(query).fetchall()


def logged(path: Path) -> list[tuple[str, str]]:
    """Return id and content of every message in the log, in order."""
    records = [
        json.loads(str(value))
        for (value,) in read(path, "SELECT CAST(value AS TEXT) FROM log ORDER BY offset")
    ]
    return [(it["message_id"], it["content"]) for it in records if it["status"] == "UNDELIVERED"]
