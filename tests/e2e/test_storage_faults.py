"""Disks that are full, broken, foreign or damaged: what was accepted stays, the rest is said."""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from landline_stack.ports import free_port
from support.disk import Disk, FaultyDisk, TinyDisk, namespace
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until, wait_until

needs_mounts = pytest.mark.skipif(not namespace(), reason="nobody may mount anything here")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

DISKS = [
    pytest.param(None, id="full file system", marks=needs_mounts),
    pytest.param(("pwrite", errno.ENOSPC), id="write: no space", marks=needs_compiler),
    pytest.param(("pwrite", errno.EIO), id="write: broken", marks=needs_compiler),
    pytest.param(("fsync", errno.EIO), id="sync: broken", marks=needs_compiler),
    pytest.param(("fsync", errno.ENOSPC), id="sync: no space", marks=needs_compiler),
    pytest.param(("pwrite pread", errno.EIO), id="all: broken", marks=needs_compiler),
]


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


@pytest.mark.parametrize("fault", DISKS)
async def test_a_failing_disk_loses_nothing_and_is_survived(
    fault: tuple[str, int] | None, tmp_path: Path
) -> None:
    """Three times: nothing is accepted that is not on disk, /readyz and the log say what is wrong,
    the same process works again when the disk does, and what was rejected is never seen.
    """
    disk: Disk = FaultyDisk(tmp_path, *fault) if fault else TinyDisk(tmp_path / "disk")
    server = ServerProcess(tmp_path / "disk" / "data", prefix=disk.prefix, env=disk.env)
    (tmp_path / "disk").mkdir(exist_ok=True)
    server.start()
    pid = server.pid
    canary = uuid.uuid4().hex
    try:
        async with Peer(server.ws_url, "alice") as alice:
            for part in range(3):
                await break_and_mend(disk, server, alice, f"{canary} {part}")
            # A commit that failed is unknown; what came after it was never tried.
            assert {error["outcome"] for error in alice.errors} == {"rejected", "unknown"}
            assert alice.rejected
            assert len(alice.visits) == 1
            async with Peer(server.ws_url, "bob") as bob:
                await until(lambda: alice.accepted_ids <= bob.received, "bob has all of them")
                await until(lambda: alice.accepted_ids <= set(alice.statuses), "all are delivered")
                assert max(Counter(bob.visit.message_ids).values()) == 1
                assert bob.received == alice.accepted_ids
                assert not {m["content"] for m in bob.messages} & set(alice.rejected.values())
        assert server.pid == pid
        check_database(disk.data(server) / "landline.db", alice)
        if not disk.is_partly_usable:  # that one is gone with its process
            server.kill()
            check_database(server.data_dir / "landline.db", alice)
    finally:
        server.kill()
    log = server.log()
    assert log.count('"storage_failed"') == log.count('"storage_recovered"') >= 3
    assert "Traceback" not in log
    assert canary not in log


def has_answers(peer: Peer, count: int) -> bool:
    """Say whether a peer has had so many answers, good and bad ones."""
    return len(peer.accepted) + len(peer.errors) >= count


async def break_and_mend(disk: Disk, server: ServerProcess, alice: Peer, text: str) -> None:
    """One round: healthy, broken, mended, with sends all the time."""
    for number in range(50):
        await alice.send("bob", f"{text} healthy {number}")
    await until(lambda: not alice.unanswered, "alice has every answer")

    disk.fail(server)
    before, errors = len(alice.accepted), len(alice.errors)
    while len(alice.errors) == errors:  # what the files have in reserve is used up first
        answers = len(alice.accepted) + len(alice.errors)
        await alice.send("bob", f"{text} broken {answers} {'x' * 4_000}")
        await until(partial(has_answers, alice, answers + 1), "a send on a broken disk is answered")
        assert disk.is_partly_usable or len(alice.accepted) == before
    for number in range(20):
        await alice.send("bob", f"{text} refused {number}")
    await until(lambda: len(alice.errors) >= errors + 21, "everything else is refused as well")
    status, body = server.get("/readyz")
    assert status == 503
    assert "landline.db" in json.loads(body)["problems"]["log"]
    assert server.get("/healthz")[0] == 200
    assert disk.is_partly_usable or len(alice.accepted) == before

    disk.mend(server)
    await until(server.is_ready, "the server is ready again")
    await until(lambda: not alice.unanswered, "every unknown outcome is known")


def check_database(path: Path, sender: Peer) -> None:
    """Check that everything accepted is stored once, everything rejected nowhere."""
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
    stored = Counter(id for (id,) in read(path, "SELECT message_id FROM messages"))
    assert stored == Counter(sender.accepted_ids)
    in_log = logged(path)
    assert {id for id, _ in in_log} == sender.accepted_ids
    assert not {content for _, content in in_log} & set(sender.rejected.values())


def has_applied_all(server: ServerProcess) -> bool:
    """Say whether the store lacks nothing that is in the log."""
    lines = server.get("/metrics")[1].splitlines()
    (lag,) = (line for line in lines if line.startswith("landline_writer_lag_entries"))
    return float(lag.split()[-1]) == 0


@needs_compiler
async def test_a_commit_that_counts_as_failed_and_is_there_all_the_same_hides_nothing(
    tmp_path: Path,
) -> None:
    """The sync fails, and so does a read: nobody has the file open any more, and whoever opens it
    next finds the commit in its write-ahead log. What is accepted after that is not taken for it.
    """
    disk = FaultyDisk(tmp_path, "fsync pread", errno.EIO)
    server = ServerProcess(tmp_path / "data", env=disk.env)
    server.start()
    try:
        async with Peer(server.ws_url, "alice") as alice:
            for part in range(3):
                for number in range(100):
                    await alice.send(f"bob{part}", f"{part} before {number} {'x' * 8_000}")
                await until(lambda: not alice.unanswered, "alice has every answer")
                # Else the store finds out first, and the send is refused.
                await until(lambda: has_applied_all(server), "the store has all of it")
                disk.fail(server)
                failed = len(alice.errors)
                await alice.send("carol", f"{part} doubtful")
                await until(lambda: len(alice.errors) > failed, "the send is answered")  # noqa: B023
                waits = server.log().count('"waiting"')
                async with Peer(server.ws_url, f"bob{part}"):
                    await until(
                        lambda: server.log().count('"waiting"') > waits,  # noqa: B023
                        "a read has failed",
                    )
                disk.mend(server)
                await until(server.is_ready, "the server is ready again")
                await until(lambda: not alice.unanswered, "the doubtful one is known")
                for number in range(20):
                    await alice.send("carol", f"{part} after {number}")
                await until(lambda: not alice.unanswered, "alice has every answer")
            assert "unknown" in {error["outcome"] for error in alice.errors}
            async with Peer(server.ws_url, "carol") as carol:
                hers = {
                    accepted["id"]
                    for accepted in alice.accepted.values()
                    if accepted["conversation"] == "dm:alice:carol"
                }
                assert len(hers) >= 3 * 20
                await until(lambda: hers <= carol.received, "carol has all of hers")
        check_database(server.data_dir / "landline.db", alice)
    finally:
        server.kill()


async def test_what_was_accepted_is_on_disk_when_the_server_is_killed(tmp_path: Path) -> None:
    """Kill -9 at once after an `accepted`, again and again: it is in the database."""
    server = ServerProcess(tmp_path / "data")
    accepted: set[str] = set()
    try:
        for turn in range(15):
            server.start()
            accepted |= await accepted_before_a_kill(server, f"message {turn}")
            in_log = Counter(id for id, _ in logged(server.data_dir / "landline.db"))
            assert accepted <= set(in_log)
            assert max(in_log.values()) == 1
        server.start()
        async with Peer(server.ws_url, "bob") as bob:
            await until(lambda: accepted <= bob.received, "bob has all of them")
    finally:
        server.kill()


async def accepted_before_a_kill(server: ServerProcess, text: str) -> set[str]:
    """Send, kill the server when some are accepted, and return the ids of all that were."""
    alice = Peer(server.ws_url, "alice", reconnects=False)
    await alice.start()
    wanted = random.randint(1, 60)
    for number in range(100):
        await alice.send("bob", f"{text} {number}")
    await until(lambda: len(alice.accepted) >= wanted, f"{wanted} are accepted")
    server.kill()
    await until(lambda: alice.visit.close_code is not None, "the connection has ended")
    await alice.stop()
    return alice.accepted_ids


# --- starting -------------------------------------------------------------------------------------


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


def contents(directory: Path) -> dict[str, str]:
    """Return the digest of every file below a directory that says anything: neither the lock,
    nor what SQLite makes to read (its index, and a write-ahead log with nothing in it).
    """
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock" and path.suffix != ".db-shm"
        if path.stat().st_size or path.suffix != ".db-wal"
    }


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server that was in use, and stopped."""
    server = ServerProcess(tmp_path_factory.mktemp("used") / "data")
    server.start()

    async def use() -> None:
        async with Peer(server.ws_url, "alice") as alice:
            for number in range(500):
                await alice.send("bob", f"message {number} " + "x" * 500)
            await until(lambda: not alice.unanswered, "alice has every answer")

    try:
        asyncio.run(use())
        assert server.stop() == 0
    finally:
        server.kill()
    assert sorted(path.name for path in server.data_dir.iterdir()) == ["landline.db", "lock"]
    return server.data_dir


def overwrite(start: float, size: int, data: bytes = b"\xa5") -> Callable[[Path], None]:
    """Return a fault: some bytes are others. `start` below 1 is a share of the file."""

    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(int(start if start >= 1 else start * path.stat().st_size))
            file.write(data * size)

    return damage


def truncate(share: float) -> Callable[[Path], None]:
    """Return a fault: only a share of the file is left."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def execute(*statements: str) -> Callable[[Path], None]:
    """Return a fault: somebody has changed the database."""

    def change(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return change


def stranger(*statements: str) -> Callable[[Path], None]:
    """Return a fault: the file is a new database of somebody else."""

    def replace(path: Path) -> None:
        path.unlink()
        execute("CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('mine')", *statements)(path)

    return replace


def directory_instead(path: Path) -> None:
    """A fault: there is a directory of that name."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        pytest.param(overwrite(0, 16), "damaged", id="header"),
        pytest.param(overwrite(16, 40), "damaged", id="page size"),
        pytest.param(overwrite(0.3, 40_000), "damaged", id="middle"),
        pytest.param(overwrite(0.3, 40_000, b"\x00"), "damaged", id="zeros in the middle"),
        pytest.param(truncate(0.5), "damaged", id="half"),
        pytest.param(lambda path: os.truncate(path, 50), "damaged", id="fifty bytes"),
        pytest.param(lambda path: path.write_text("notes\n" * 100) and None, "damaged", id="text"),
        pytest.param(execute("PRAGMA user_version = 2"), "newer", id="newer"),
        pytest.param(execute("PRAGMA user_version = 2147483647"), "newer", id="newest"),
        pytest.param(execute("PRAGMA application_id = 7"), "another program", id="marked"),
        pytest.param(stranger("PRAGMA application_id = 7"), "another program", id="stranger"),
        pytest.param(stranger(), "not Landline's", id="unmarked stranger"),
        pytest.param(stranger("PRAGMA journal_mode = WAL"), "not Landline's", id="WAL stranger"),
        pytest.param(directory_instead, "cannot be read", id="directory"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_sound_database_of_ours_is_refused_and_left_alone(
    fault: Callable[[Path], None], word: str, used: Path, tmp_path: Path
) -> None:
    """Damaged, newer, or somebody else's: one or two lines that say so, and not a byte changed."""
    data_dir = tmp_path / "data"
    shutil.copytree(used, data_dir)
    fault(data_dir / "landline.db")
    before = contents(data_dir)
    said = refused(data_dir)
    assert word in said
    assert f"--data-dir {data_dir}" in said
    assert contents(data_dir) == before


async def test_a_directory_in_use_is_refused(server: ServerProcess) -> None:
    """The second server says who has it; the first one does not notice."""
    async with Peer(server.ws_url, "alice") as alice:
        await alice.send_and_wait("bob", "before")
        applied = partial(read, server.data_dir / "landline.db", "SELECT count(*) FROM messages")
        await until(lambda: applied() == [(1,)], "the store has it, so nothing more is written")
        before = contents(server.data_dir)
        said = refused(server.data_dir)
        assert f"--data-dir {server.data_dir}: in use" in said
        assert f"pid {server.pid}" in said
        assert contents(server.data_dir) == before
        await alice.send_and_wait("bob", "after")
        assert len(alice.visits) == 1


def test_a_port_in_use_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """The port is taken first: no data directory is left behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port}" in refused(tmp_path / "data", port=port)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("below", [".", "data", "data/deeper"])
def test_a_directory_that_cannot_be_made_is_refused(below: str, tmp_path: Path) -> None:
    """A regular file is in the way: root could write everywhere else."""
    file = tmp_path / "file"
    file.write_text("mine")
    said = refused(file / below)
    assert f"--data-dir {file / below}: cannot be written" in said
    assert contents(tmp_path) == {"file": hashlib.sha256(b"mine").hexdigest()}


@needs_mounts
@pytest.mark.parametrize("is_used", [False, True])
def test_a_read_only_file_system_is_refused(is_used: bool, used: Path, tmp_path: Path) -> None:
    """With a database on it and without: the same two lines."""
    data_dir = tmp_path / "data"
    if is_used:
        shutil.copytree(used, data_dir)
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    before = contents(tmp_path)
    said = refused(data_dir, prefix=[*namespace(), "sh", "-c", script, str(tmp_path)])
    assert f"--data-dir {data_dir}: cannot be written (Read-only file system)" in said
    assert contents(tmp_path) == before


@needs_mounts
@pytest.mark.parametrize("left", ["0", "4k", "20k"])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_full_disk_at_start_is_named(
    is_used: bool, left: str, used: Path, tmp_path: Path
) -> None:
    """SQLite has several errors for it, some of which look like damage."""
    script = """
        mount -t tmpfs -o size=8m tmpfs "$0" && head -c "$1" /dev/zero > "$0/spare" || exit 9
        [ -z "$2" ] || cp -r "$2" "$0/data"
        cat /dev/zero > "$0/filler" 2>&-; rm "$0/spare"; shift 2; exec "$@"
    """
    place = [str(tmp_path), left, str(used) if is_used else ""]
    said = refused(tmp_path / "data", prefix=[*namespace(), "sh", "-c", script, *place])
    assert "the disk is full" in said
    assert "make room on it" in said


@needs_compiler
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_disk_that_fails_at_start_is_refused(
    call: str, is_used: bool, used: Path, tmp_path: Path
) -> None:
    """No server listens on a disk that cannot be written; one that is mended serves it all."""
    disk = FaultyDisk(tmp_path, call, errno.EIO)
    data_dir = tmp_path / "data"
    if is_used:
        shutil.copytree(used, data_dir)
    disk.start_failing()
    said = refused(data_dir, env=dict(disk.env))
    assert f"--data-dir {data_dir}" in said
    server = ServerProcess(data_dir, env=disk.env)
    disk.mend(server)
    server.start()
    try:
        wanted = [(500 if is_used else 0,)]
        # The writer may have been behind when it was killed.
        wait_until(
            lambda: read(data_dir / "landline.db", "SELECT count(*) FROM messages") == wanted,
            f"the store has {wanted}",
        )
    finally:
        server.kill()
