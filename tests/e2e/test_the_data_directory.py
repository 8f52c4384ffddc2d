"""The data directory while others use it, take it, or may look into it."""

import errno
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from landline.adapters.sqlite.opening import BUSY_SECONDS
from support.data_directory import NAME, READER, logged, problem, refusal, refused, stranger
from support.disk import FaultyDisk, needs_compiler
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with a directory above its data that belongs to the test."""
    it = ServerProcess(tmp_path / "place" / "data")
    it.log_path = tmp_path / "server.log"
    (tmp_path / "place").mkdir()
    it.start()
    yield it
    it.kill()


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
    assert server.stop() == 0
    log = server.log()
    assert log.count('"storage_failed"') == log.count('"storage_recovered"') == 2


async def test_a_short_foreign_transaction_is_nothing_to_speak_of(server: ServerProcess) -> None:
    longest_seconds = 0.0
    async with Peer(server.ws_url, "alice") as alice:
        for number in range(20):
            with stranger(server.data_dir, "BEGIN IMMEDIATE") as other:
                began = time.monotonic()
                ref = await alice.send("bob", f"message {number}")
                other.execute("COMMIT")
                held_seconds = time.monotonic() - began
            await until(lambda: not alice.unanswered, "it is answered")
            longest_seconds = max(longest_seconds, held_seconds)
            assert ref in alice.accepted or held_seconds > BUSY_SECONDS / 2
        assert len(alice.accepted) > 10
    assert "storage_failed" not in server.log() or longest_seconds > BUSY_SECONDS / 2


@needs_compiler
@pytest.mark.parametrize("calls", ["fsync", "pwrite", "fsync pread"])
async def test_a_disk_recovers_though_somebody_reads_all_the_time(
    calls: str, tmp_path: Path
) -> None:
    """The write-ahead log cannot be emptied then. What is accepted afterwards survives a kill."""
    disk = FaultyDisk(tmp_path, calls, errno.EIO)
    with ServerProcess(tmp_path / "data", env=disk.env) as server:
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("bob", "before")
            with stranger(server.data_dir, *READER):
                for part in range(2):
                    disk.fail(server)
                    await refusal(alice, f"{part} broken")
                    disk.repair(server)
                    await until(server.is_ready, "the server is ready again")
                    await until(lambda: not alice.unanswered, "every unknown outcome is known")
                    await alice.send_and_wait("bob", f"{part} whole again")
        server.kill()
        assert {id for id, _ in logged(server.data_dir / NAME)} == alice.accepted_ids


@pytest.mark.parametrize("work", [READER, ("BEGIN IMMEDIATE",)], ids=["reader", "lock"])
async def test_a_start_waits_for_the_program_that_has_the_file(
    work: tuple[str, ...], tmp_path: Path
) -> None:
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
        server.pause()  # or it sees the place half-way
        take_away(server.data_dir)
        server.resume()
        assert await refusal(alice, "at once") == "rejected"
        assert str(server.data_dir) in problem(server)
        for number in range(5):
            assert await refusal(alice, f"later {number}") == "rejected"
        assert not server.is_ready()
        assert len(alice.visits) == 1
    assert server.stop() == 0
    assert server.log().count('"storage_failed"') == 1


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


async def test_a_server_that_stops_leaves_the_files_of_its_successor(
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
    with server:
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("bob", "after")
        log_dir.chmod(0o700)  # the test's own
        assert sorted(path.name for path in data_dir.iterdir()) == [
            NAME, f"{NAME}-shm", f"{NAME}-wal", "lock",
        ]  # fmt: skip
        assert open_to_others(data_dir) == {}
        assert open_to_others(log_dir) == {}


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
