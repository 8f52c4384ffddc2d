"""Disks and files that a server cannot start on: it says why, and leaves them alone."""

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.data_directory import read, refused
from support.disk import FaultyDisk, namespace, needs_compiler, needs_mounts
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until, wait_until


def contents(directory: Path) -> dict[str, str]:
    """Return the digest of every file below a directory that says anything. Left out are the lock
    and what SQLite makes to read (its index, and a write-ahead log with nothing in it).
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
        pytest.param(execute("PRAGMA user_version = 3"), "newer", id="newer"),
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
    """The second server says which one has it; the first one does not notice."""
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
    """No server listens on a disk that cannot be written; one that works again serves it all."""
    disk = FaultyDisk(tmp_path, call, errno.EIO)
    data_dir = tmp_path / "data"
    if is_used:
        shutil.copytree(used, data_dir)
    disk.start_failing()
    said = refused(data_dir, env=dict(disk.env))
    assert f"--data-dir {data_dir}" in said
    server = ServerProcess(data_dir, env=disk.env)
    disk.repair(server)
    with server:
        wanted = [(500 if is_used else 0,)]
        # The writer may have been behind when it was killed.
        wait_until(
            lambda: read(data_dir / "landline.db", "SELECT count(*) FROM messages") == wanted,
            f"the store has {wanted}",
        )
