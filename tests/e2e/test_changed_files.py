"""Files of the data directory that another program changes in their place."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.data_directory import NAME, READER, logged, problem, refusal, refused, stranger
from support.peer import Peer, until_applied
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, go_round, until


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


async def send_until_accepted(peer: Peer, count: int, length: int) -> None:
    """Send, and send again what is refused: another program may have the file locked while its
    own commit waits for the disk.
    """
    wanted = len(peer.accepted) + count
    async with asyncio.timeout(WAIT_SECONDS):
        while (missing := wanted - len(peer.accepted)) > 0:
            for number in range(missing):
                await peer.send("bob", f"{number} {'x' * length}")
            await until(lambda: not peer.unanswered, "all are answered")


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
        await until_applied(server.ws_url)
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
        "at = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n"
        "for each in sys.argv[2:]: at.execute(each).fetchall()\n"
        "at.close()"
    )
    subprocess.run(
        [sys.executable, "-c", script, server.data_dir / NAME, *statements], check=True, timeout=100
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


# What writes, and has the file locked while its commit waits for the disk.
LOCKS = HARMLESS.keys() - {"read", "open transaction"}


@pytest.mark.parametrize("kind", [*HARMLESS, "vacuum into", "copy", "touch"])
async def test_what_another_program_does_through_sqlite_is_no_damage(
    server: ServerProcess, kind: str
) -> None:
    """Whatever it does to the size of the files; while somebody sends, and while nobody does."""
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        await send_many(alice, 300, length=3_000)
        for number in range(4):
            length = 3_000 if number else 10
            sending = asyncio.create_task(send_until_accepted(alice, 40, length))
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
            await until(server.is_ready, "it is well")
        await until(lambda: alice.accepted_ids <= bob.received, "bob has them all")
        await until(lambda: not bob.unanswered, "nothing is open")
    failures = [line for line in server.log().splitlines() if '"storage_failed"' in line]
    if kind in LOCKS:
        failures = [line for line in failures if "another program has it locked" not in line]
    assert not failures
    server.kill()
    assert {id for id, _ in logged(server.data_dir / NAME)} == alice.accepted_ids
