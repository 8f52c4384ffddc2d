"""The data directory while others are at it: locks, readers, removals, modes."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.test_storage_faults import logged, needs_compiler, refused
from support.disk import FaultyDisk
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import go_round, until

NAME = "landline.db"


@contextlib.contextmanager
def stranger(data_dir: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Another program's connection, in the middle of what the statements began."""
    connection = sqlite3.connect(data_dir / NAME, isolation_level=None, check_same_thread=False)
    with contextlib.closing(connection):
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection


READER = ("BEGIN", "SELECT count(*) FROM log")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with a directory above its data that belongs to the test."""
    it = ServerProcess(tmp_path / "place" / "data")
    it.log_path = tmp_path / "server.log"
    (tmp_path / "place").mkdir()
    it.start()
    yield it
    it.kill()


async def refusal(peer: Peer, text: str) -> str:
    """Send something that must be refused, and return how."""
    errors, accepted = len(peer.errors), len(peer.accepted)
    await peer.send("bob", text)
    await until(lambda: len(peer.errors) > errors, "the send is answered")
    assert len(peer.accepted) == accepted
    return str(peer.errors[errors]["outcome"])


def problem(server: ServerProcess) -> str:
    """Return what /readyz says of the log; nothing while it is well."""
    status, body = server.get("/readyz")
    return str(json.loads(body)["problems"].get("log", "")) if status == 503 else ""


# Somebody else at the file ----------------------------------------------------------------------


@pytest.mark.parametrize("has_reader", [False, True], ids=["alone", "with a reader"])
@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_a_foreign_lock_is_answered_busy_and_ends_when_it_ends(
    server: ServerProcess, lock: str, has_reader: bool
) -> None:
    """Every send gets its answer while it is held, certainly not written; a reader in the middle
    of a transaction, who stays, is in nobody's way.
    """
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        await alice.send_and_wait("bob", "before")
        with stranger(server.data_dir, *(READER if has_reader else ())):
            for part in range(2):
                await alice.send_and_wait("bob", f"{part}, while somebody reads")
                with stranger(server.data_dir, lock) as other:
                    answers = [await refusal(alice, f"{part}, locked {n}") for n in range(20)]
                    assert set(answers) == {"rejected"}
                    assert "another program has it locked" in problem(server)
                    other.execute("ROLLBACK")
                await until(server.is_ready, "the server is ready again")
                await alice.send_and_wait("bob", f"{part}, after the lock")
        await until(lambda: alice.accepted_ids <= bob.received, "bob has them all")
    log = server.log()
    assert log.count('"storage_failed"') == log.count('"storage_recovered"') == 2


async def test_a_short_foreign_transaction_is_nothing_to_speak_of(server: ServerProcess) -> None:
    async with Peer(server.ws_url, "alice") as alice:
        for number in range(20):
            with stranger(server.data_dir, "BEGIN IMMEDIATE") as other:
                await alice.send("bob", f"message {number}")
                other.execute("COMMIT")
        await until(lambda: len(alice.accepted) == 20, "all are accepted")
        assert not alice.errors
    assert "storage_failed" not in server.log()


@needs_compiler
@pytest.mark.parametrize("calls", ["fsync", "pwrite", "fsync pread"])
async def test_a_disk_recovers_though_somebody_reads_all_the_time(
    calls: str, tmp_path: Path
) -> None:
    """The write-ahead log cannot be emptied then. What is accepted afterwards survives a kill."""
    disk = FaultyDisk(tmp_path, calls, errno.EIO)
    server = ServerProcess(tmp_path / "data", env=disk.env)
    server.start()
    try:
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("bob", "before")
            with stranger(server.data_dir, *READER):
                for part in range(2):
                    disk.fail(server)
                    await refusal(alice, f"{part} broken")
                    disk.mend(server)
                    await until(server.is_ready, "the server is ready again")
                    await until(lambda: not alice.unanswered, "every unknown outcome is known")
                    await alice.send_and_wait("bob", f"{part} whole again")
        server.kill()
        assert {id for id, _ in logged(server.data_dir / NAME)} == alice.accepted_ids
    finally:
        server.kill()


@pytest.mark.parametrize("work", [READER, ("BEGIN IMMEDIATE",)], ids=["reader", "lock"])
async def test_a_start_waits_for_who_has_the_file(work: tuple[str, ...], tmp_path: Path) -> None:
    """A reader does not matter, though it stays; a lock is waited for."""
    server = ServerProcess(tmp_path / "data")
    server.start()
    async with Peer(server.ws_url, "alice") as alice:
        await alice.send_and_wait("bob", "before")
    server.kill()
    try:
        with stranger(server.data_dir, *work) as other:
            if work != READER:
                threading.Timer(2.0, other.execute, ["ROLLBACK"]).start()
            server.start()
            async with Peer(server.ws_url, "alice") as alice:
                await alice.send_and_wait("bob", "after")
        with stranger(server.data_dir) as other:
            assert other.execute("SELECT count(*) FROM log").fetchone() == (2,)
    finally:
        server.kill()


def test_a_lock_that_does_not_end_is_said_at_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.start()
    assert server.stop() == 0
    with stranger(server.data_dir, "BEGIN IMMEDIATE"):
        said = refused(server.data_dir)
    assert f"--data-dir {server.data_dir}: {NAME} is locked by another program" in said


# Taken away -------------------------------------------------------------------------------------


def remove(path: Path) -> None:
    """All of it."""
    shutil.rmtree(path)


def move(path: Path) -> None:
    """To a place beside it."""
    path.rename(path.with_name("elsewhere"))


def move_parent(path: Path) -> None:
    """The directory above it."""
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace(path: Path) -> None:
    """By a copy, as somebody does who restores a backup."""
    move(path)
    shutil.copytree(path.with_name("elsewhere"), path)


def empty(path: Path) -> None:
    """The directory stays."""
    for each in path.iterdir():
        each.unlink()


def unlink(name: str) -> Callable[[Path], None]:
    """One of the files."""
    return lambda path: (path / name).unlink()


def replace_database(path: Path) -> None:
    """By a copy of the same name."""
    shutil.copy(path / NAME, path / "copy")
    (path / "copy").rename(path / NAME)


@pytest.mark.parametrize(
    "take_away",
    [
        remove, move, move_parent, replace, empty, replace_database,
        unlink(NAME), unlink(f"{NAME}-wal"), unlink(f"{NAME}-shm"), unlink("lock"),
    ],
    ids=["removed", "moved", "parent moved", "replaced", "emptied", "database replaced",
         "database", "wal", "shm", "lock"],
)  # fmt: skip
async def test_nothing_is_accepted_for_files_that_are_not_where_they_were(
    server: ServerProcess, take_away: Callable[[Path], None]
) -> None:
    """The first send is refused, and /readyz says why; without a send it says so as well."""
    async with Peer(server.ws_url, "alice") as alice:
        await alice.send_and_wait("bob", "before")
        take_away(server.data_dir)
        assert await refusal(alice, "at once") == "rejected"
        assert str(server.data_dir) in problem(server)
        for number in range(5):
            assert await refusal(alice, f"later {number}") == "rejected"
        assert not server.is_ready()
        assert len(alice.visits) == 1
    assert server.log().count('"storage_failed"') == 1
    assert server.stop() == 0


async def test_an_idle_server_notices_too(server: ServerProcess) -> None:
    move(server.data_dir)
    await until(lambda: "was removed or moved away" in problem(server), "/readyz says so")


@pytest.mark.parametrize("back", [False, True], ids=["stays away", "comes back"])
async def test_a_directory_that_comes_back_is_used_again(server: ServerProcess, back: bool) -> None:
    """With everything that was accepted, also that which was in the write-ahead log only."""
    elsewhere = server.data_dir.with_name("elsewhere")
    async with Peer(server.ws_url, "alice") as alice:
        await alice.send_and_wait("bob", "before")
        move(server.data_dir)
        await refusal(alice, "away")
        if back:
            elsewhere.rename(server.data_dir)
            await until(server.is_ready, "the server is ready again")
            await alice.send_and_wait("bob", "after")
    server.kill()
    path = (server.data_dir if back else elsewhere) / NAME
    assert {id for id, _ in logged(path)} == alice.accepted_ids
    assert len(alice.accepted) == (2 if back else 1)


@pytest.mark.parametrize("name", [f"{NAME}-wal", f"{NAME}-shm"])
async def test_what_was_in_a_write_ahead_log_that_was_removed_is_not_lost(
    server: ServerProcess, name: str
) -> None:
    """It is saved into the database, so that even a kill costs nothing."""
    async with Peer(server.ws_url, "alice") as alice:
        for number in range(50):
            await alice.send("bob", f"message {number}")
        await until(lambda: len(alice.accepted) == 50, "all are accepted")
        unlink(name)(server.data_dir)
        await until(lambda: name in problem(server), "/readyz says so")
    server.kill()
    server.start()
    async with Peer(server.ws_url, "bob") as bob:
        await until(lambda: alice.accepted_ids <= bob.received, "bob has them all")


async def test_a_server_that_stops_leaves_the_files_of_who_took_its_place(
    server: ServerProcess,
) -> None:
    """SQLite removes the write-ahead log by name when it closes: here that is another one's."""
    async with Peer(server.ws_url, "alice") as alice:
        for number in range(20):
            await alice.send("bob", f"message {number}")
        await until(lambda: len(alice.accepted) == 20, "all are accepted")
    replace(server.data_dir)
    await until(lambda: "was replaced" in problem(server), "/readyz says so")
    copied = (server.data_dir / f"{NAME}-wal").read_bytes()
    assert copied
    assert server.stop() == 0
    assert (server.data_dir / f"{NAME}-wal").read_bytes() == copied
    assert {id for id, _ in logged(server.data_dir / NAME)} == alice.accepted_ids


# Changed in its place -------------------------------------------------------------------------


def truncate_database(path: Path) -> None:
    """As `truncate -s 0` does."""
    os.truncate(path / NAME, 0)


def halve_database(path: Path) -> None:
    """To half of its pages."""
    os.truncate(path / NAME, (path / NAME).stat().st_size // 8192 * 4096)


def truncate_log(path: Path) -> None:
    """As `truncate -s 0` does."""
    os.truncate(path / f"{NAME}-wal", 0)


def cut_log(path: Path) -> None:
    """Behind its first page: what was accepted last is gone."""
    os.truncate(path / f"{NAME}-wal", 32 + 24 + 4096)


def hole_in_log(path: Path) -> None:
    """As a commit leaves it that comes just after a cut: no shorter than before."""
    size = (path / f"{NAME}-wal").stat().st_size
    cut_log(path)
    os.truncate(path / f"{NAME}-wal", size)


def copy_older_over(path: Path) -> None:
    """As `cp` does, which keeps the inode."""
    (path / NAME).write_bytes((path.parent / "older").read_bytes())


def overwrite_in_place(path: Path) -> None:
    """With an older one, as long as the file is now and never empty meanwhile: as `dd` does."""
    with (path / NAME).open("r+b") as file:
        file.write((path.parent / "older").read_bytes())


async def send_many(peer: Peer, count: int, length: int = 10) -> None:
    before = len(peer.accepted)
    for number in range(count):
        await peer.send("bob", f"{number} {'x' * length}")
    await until(lambda: len(peer.accepted) == before + count, "all are accepted")


def checkpoint(server: ServerProcess, kind: str) -> None:
    with stranger(server.data_dir, f"PRAGMA wal_checkpoint({kind})"):
        pass


@pytest.mark.parametrize(
    ("is_idle", "is_copied"),
    [(True, True), (False, True), (False, False)],
    ids=["idle", "with sends", "all in the log"],
)
@pytest.mark.parametrize(
    "change",
    [
        truncate_database, halve_database, truncate_log, cut_log, hole_in_log, copy_older_over,
        overwrite_in_place,
    ],
)  # fmt: skip
async def test_nothing_is_accepted_once_a_file_was_emptied_or_overwritten_in_its_place(
    server: ServerProcess, change: Callable[[Path], None], is_idle: bool, is_copied: bool
) -> None:
    """It stays so though the file looks well again: what was in it is gone."""
    async with Peer(server.ws_url, "alice") as alice:
        await send_many(alice, 20)
        checkpoint(server, "TRUNCATE")
        shutil.copy(server.data_dir / NAME, server.data_dir.parent / "older")
        # Fewer pages than SQLite's own checkpoint waits for: the log does not begin again.
        await send_many(alice, 20, length=5_000)
        if is_copied:
            checkpoint(server, "PASSIVE")
        await send_many(alice, 5)
        is_harmless = change in (copy_older_over, overwrite_in_place) and not is_copied
        await until(server.is_ready, "it is well before")
        change(server.data_dir)
        if is_harmless:  # that is what the file holds, byte by byte
            return
        if not is_idle:
            # Of one that was just being committed it is not known.
            assert await refusal(alice, "at once") in ("rejected", "unknown")
        await until(lambda: bool(problem(server)), "/readyz says so")
        why = problem(server)
        assert str(server.data_dir / NAME) in why
        assert why.endswith("by another program; stop the server, restore a backup, start it again")
        for number in range(5):
            assert await refusal(alice, f"later {number}") == "rejected"
        if change is truncate_database:
            os.truncate(server.data_dir / NAME, 1 << 20)
            assert await refusal(alice, "long again") == "rejected"
        assert not server.is_ready()
    assert server.stop() == 0
    log = server.log()
    assert log.count('"storage_failed"') == 1
    assert "storage_recovered" not in log


async def test_a_database_that_was_emptied_beside_its_log_is_no_new_one(
    server: ServerProcess,
) -> None:
    """SQLite would remove the log, and the server begin with offset 0 for users who know better."""
    async with Peer(server.ws_url, "alice") as alice:
        await send_many(alice, 20)
    truncate_database(server.data_dir)
    await until(lambda: bool(problem(server)), "/readyz says so")
    assert server.stop() == 0
    said = refused(server.data_dir)
    assert f"{NAME} is empty, though {NAME}-wal is not: it was emptied; restore a backup" in said


def by_another_process(server: ServerProcess, *statements: str) -> None:
    """Open, do it, and close, as a backup tool or a database browser does."""
    script = (
        "import sqlite3, sys\n"
        "at = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)\n"
        "for each in sys.argv[2:]: at.execute(each).fetchall()\n"
        "at.close()"
    )
    subprocess.run(
        [sys.executable, "-c", script, server.data_dir / NAME, *statements], check=True, timeout=60
    )


HARMLESS = {
    "read": ("SELECT count(*) FROM log",),
    "open transaction": READER,
    "passive": ("PRAGMA wal_checkpoint(PASSIVE)",),
    "full": ("PRAGMA wal_checkpoint(FULL)",),
    "restart": ("PRAGMA wal_checkpoint(RESTART)",),
    "truncate": ("PRAGMA wal_checkpoint(TRUNCATE)",),
    "vacuum": ("VACUUM",),
    "vacuum and truncate": ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"),
    "grow and shrink": (
        "CREATE TABLE junk AS SELECT randomblob(3000000)", "PRAGMA wal_checkpoint(RESTART)",
        "DROP TABLE junk", "VACUUM", "PRAGMA wal_checkpoint(FULL)",
    ),
    "analyze": ("ANALYZE",),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*HARMLESS, "vacuum into", "copy", "touch"])
async def test_what_another_program_does_through_sqlite_is_no_damage(
    server: ServerProcess, kind: str
) -> None:
    """Whatever it does to the size of the files; while somebody sends, and while nobody does."""
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        await send_many(alice, 300, length=3_000)
        for number in range(4):
            sending = asyncio.create_task(send_many(alice, 40, length=3_000 if number else 10))
            await go_round()
            if kind == "copy":
                shutil.copytree(server.data_dir, server.data_dir.parent / f"copy{number}")
            elif kind == "touch":
                (server.data_dir / NAME).touch()
                (server.data_dir / f"{NAME}-wal").touch()
            elif kind == "vacuum into":
                backup = server.data_dir.parent / f"backup{number}"
                await asyncio.to_thread(by_another_process, server, f"VACUUM INTO '{backup}'")
            else:
                await asyncio.to_thread(by_another_process, server, *HARMLESS[kind])
            await sending
            assert not problem(server)
        await until(lambda: alice.accepted_ids <= bob.received, "bob has them all")
        await until(lambda: not bob.unanswered, "nothing is open")
    assert "storage_failed" not in server.log()
    server.kill()
    assert {id for id, _ in logged(server.data_dir / NAME)} == alice.accepted_ids


# Modes ------------------------------------------------------------------------------------------


def open_to_others(directory: Path) -> dict[str, str]:
    """Return what others may read or write, and its mode."""
    return {
        str(path): oct(stat.S_IMODE(path.stat().st_mode))
        for path in (directory, *directory.rglob("*"))
        if path.stat().st_mode & 0o077
    }


@pytest.mark.parametrize("umask", ["000", "022", "777"])
@pytest.mark.parametrize("mode", [None, 0o644, 0o666], ids=["new", "644", "666"])
async def test_the_server_s_files_are_its_owner_s_alone(
    umask: str, mode: int | None, tmp_path: Path
) -> None:
    """Whatever the umask, and also those that were there before."""
    data_dir, log_dir = tmp_path / "data", tmp_path / "logs"
    prefix = ["sh", "-c", 'umask "$0" && exec "$@"', umask]
    log_dir.mkdir()
    server = ServerProcess(data_dir, args=["--log-dir", str(log_dir)], prefix=prefix)
    if mode is not None:
        server.start()
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("bob", "before")
        server.kill()
        (log,) = log_dir.iterdir()
        shutil.copy(log, f"{log}.1")
        for path in (data_dir, *data_dir.iterdir(), *log_dir.iterdir()):
            path.chmod(mode | 0o111 if path.is_dir() else mode)
    server.start()
    try:
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("bob", "after")
        log_dir.chmod(0o700)  # the test's own
        assert sorted(path.name for path in data_dir.iterdir()) == [
            NAME, f"{NAME}-shm", f"{NAME}-wal", "lock",
        ]  # fmt: skip
        assert open_to_others(data_dir) == {}
        assert open_to_others(log_dir) == {}
    finally:
        server.kill()


def test_a_directory_that_holds_other_things_is_not_closed(tmp_path: Path) -> None:
    """Somebody said `--data-dir .`: the files are private, the rest is not ours."""
    tmp_path.chmod(0o755)
    server = ServerProcess(tmp_path)
    server.log_path = tmp_path / "server.log"
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "notes").chmod(0o644)
    server.start()
    server.kill()
    assert (tmp_path / "notes").stat().st_mode & 0o777 == 0o644
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
