"""The programs in examples/ do what they say, also when they are killed.

The browser's one is in tests/browser/test_example.py.
"""

import asyncio
import importlib.util
import json
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from confluent_kafka import Producer

from landline import Event, Rejected
from landline.client.chat import CONNECT_TIMEOUT_SECONDS
from support.cluster import Cluster
from support.pages import ROOT
from support.peer import Peer, until_caught_up
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

SEED = 11
KAFKA_SECONDS = 60.0

Process = asyncio.subprocess.Process


@asynccontextmanager
async def running(
    example: str, *arguments: str, output: Path, errors: Path | None = None, **environment: str
) -> AsyncIterator[Process]:
    """Run a program; its lines go to the end of `output`, and to `errors` what it complains of.
    Killed at the end, the hard way.
    """
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / example), *arguments]
    with ExitStack() as files:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=files.enter_context(output.open("ab")),
            stderr=None if errors is None else files.enter_context(errors.open("ab")),
            env={**os.environ, **environment},
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.e2e
async def test_the_echo_bot_answers_what_came_while_it_was_dead(
    server: ServerProcess, tmp_path: Path
) -> None:
    def bot() -> Any:
        return running("echo_bot.py", "--url", server.ws_url, output=tmp_path / "bot")

    async with Peer(server.ws_url, "alice") as alice:

        def answers() -> set[str]:
            return {message["content"] for message in alice.messages}

        async with bot():
            await alice.send("echo", "one")
            await until(lambda: "you said: one" in answers(), "the bot answers")
            await alice.send("echo", "x" * 16_384)  # its answer would be too long
        await alice.send_and_wait("echo", "two")
        async with bot():
            await until(lambda: "you said: two" in answers(), "the bot answers later")
    assert answers() == {"you said: one", "you said: two"}
    assert "content_too_large" in (tmp_path / "bot").read_text()


@pytest.mark.e2e
async def test_the_outbox_worker_sends_every_row_once_however_often_it_is_killed(
    server: ServerProcess, tmp_path: Path
) -> None:
    """Rows with equal texts, a name that no server takes, and a server that dies too."""
    path = tmp_path / "shop.db"
    chance = random.Random(SEED)
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    written: Counter[str] = Counter()

    def write(count: int) -> None:
        texts = [chance.choice(("yes", "no", f"order {chance.random()}")) for _ in range(count)]
        written.update(texts)
        database.execute("BEGIN")
        rows = [("bob", text) for text in texts]
        database.executemany("INSERT INTO notices (recipient, content) VALUES (?, ?)", rows)
        database.execute("COMMIT")

    def worker() -> Any:
        arguments = ["--url", server.ws_url, "--database", str(path)]
        return running("outbox_worker.py", *arguments, output=tmp_path / "worker")

    def left() -> int:
        unmarked = "message_id IS NULL AND problem IS NULL"
        (count,) = database.execute(f"SELECT count(*) FROM notices WHERE {unmarked}").fetchone()
        return int(count)

    def at_most(goal: int) -> bool:
        return left() <= goal

    async with Peer(server.ws_url, "bob") as bob:
        async with worker():
            has_table = "SELECT count(*) FROM sqlite_master WHERE name = 'notices'"
            await until(lambda: database.execute(has_table).fetchone() == (1,), "there is a table")
        database.execute("INSERT INTO notices (recipient, content) VALUES ('no name', 'to nobody')")
        for number in range(12):
            write(40)
            goal = left() - chance.randrange(1, 40)  # killed after so many, between any two steps
            async with worker():
                await until(partial(at_most, goal), "some are marked")
                if number == 6:
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
        async with worker():
            await until(lambda: left() == 0, "every row is marked")
        await until(lambda: len(bob.received) >= written.total(), "bob has them")
        await until_caught_up(bob)
    arrived = {message["id"]: message["content"] for message in bob.messages}
    assert Counter(arrived.values()) == written
    marked = database.execute("SELECT message_id FROM notices WHERE message_id IS NOT NULL")
    assert {id for (id,) in marked} == set(arrived)
    ((problem,),) = database.execute("SELECT problem FROM notices WHERE problem IS NOT NULL")
    assert problem
    database.close()


@pytest.mark.parametrize(
    ("code", "problems"), [("not_kept", [None]), ("bad_recipient", ["the reason"])]
)
async def test_the_outbox_worker_keeps_a_row_that_no_server_has_seen(
    code: str, problems: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Over(Exception):
        """The chat ends here."""

    class Told:
        """A chat that tells of the draft, and ends."""

        def __init__(self, *_: str, on_event: Callable[[Event], None], **__: str) -> None:
            self._on_event = on_event

        async def __aenter__(self) -> None:
            self._on_event(Rejected("bob", "hello", code, "the reason"))
            raise Over

        async def __aexit__(self, *_: object) -> None: ...

    database = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    example = loaded("outbox_worker.py")
    notices = example.Notices(str(tmp_path / "shop.db"))
    database.execute("INSERT INTO notices (recipient, content) VALUES ('bob', 'hello')")
    monkeypatch.setattr("landline.connect", Told)
    with pytest.raises(Over):
        await example.work(notices, "ws://127.0.0.1:1", "shop", "outbox")
    assert [problem for (problem,) in database.execute("SELECT problem FROM notices")] == problems
    database.close()


def loaded(name: str) -> ModuleType:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / "examples" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.stack
async def test_the_bridge_hands_everything_on_and_skips_what_it_does_not_understand(
    cluster: Cluster, tmp_path: Path
) -> None:
    """It is killed in between; what it had not committed it hands on again."""
    servers = cluster.pair()
    lines = tmp_path / "lines"

    def bridge() -> Any:
        return running("bridge.py", "--kafka", cluster.kafka, output=lines)

    def handed_on() -> list[dict[str, Any]]:
        return [json.loads(line) for line in lines.read_text().splitlines()]

    def ids() -> set[str]:
        return {message["message_id"] for message in handed_on()}

    async with Peer(servers.from_here, "alice") as alice, Peer(servers.from_there, "bob"):
        for number in range(50):
            await alice.send("bob", f"first {number}")
        await until(lambda: len(alice.accepted) == 50, "they are accepted")
        async with bridge():
            await until(lambda: ids() >= alice.accepted_ids, "they are handed on", KAFKA_SECONDS)
        await asyncio.to_thread(write_what_is_no_message, cluster.kafka)
        for number in range(50):
            await alice.send("bob", f"then {number} ✓")
        await until(lambda: len(alice.accepted) == 100, "these too")
        async with bridge() as process:
            await until(lambda: ids() >= alice.accepted_ids, "all of them", 2 * KAFKA_SECONDS)
            process.terminate()
            assert await process.wait() == 0
    assert ids() == alice.accepted_ids
    contents = {message["content"] for message in handed_on()}
    expected = {f"first {number}" for number in range(50)}
    assert contents == expected | {f"then {number} ✓" for number in range(50)}


def write_what_is_no_message(kafka: str) -> None:
    """Write into the topic what no bridge can know."""
    producer = Producer({"bootstrap.servers": kafka})
    for value in (b"", b"\xff", b"[1]", b'{"v":2}', b'{"v":1,"status":"UNDELIVERED"}', b"[" * 9999):
        producer.produce("CHAT-MESSAGES", value, partition=0)
    assert producer.flush(KAFKA_SECONDS) == 0


@pytest.mark.e2e
async def test_the_outbox_worker_waits_for_a_server_and_ends_with_its_token(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 32)
    path, errors = tmp_path / "shop.db", tmp_path / "errors"
    args = ["--auth", "jwt", "--jwt-secret-file", str(secret)]
    server = ServerProcess(tmp_path / "data", args=args)
    away_seconds = CONNECT_TIMEOUT_SECONDS + 1  # it waits for longer than others do
    claims = {"sub": "shop", "exp": time.time() + away_seconds + 8}
    token = jwt.encode(claims, secret.read_text(), "HS256")
    arguments = ["--url", server.ws_url, "--database", str(path)]
    async with running(
        "outbox_worker.py",
        *arguments,
        output=tmp_path / "worker",
        errors=errors,
        LANDLINE_TOKEN=token,
    ) as process:
        await until(path.exists, "it has begun")
        await asyncio.sleep(away_seconds)
        assert process.returncode is None
        with server:
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 1
    *before, last = errors.read_text().splitlines()
    assert last.startswith("outbox_worker: the token has expired or was refused: ")
    assert any("nothing listens" in line for line in before)
    assert not any("Traceback" in line for line in before)
