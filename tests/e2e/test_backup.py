"""The backup of docs/operating.md: taken from a busy server, started from like the original."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from support.pages import code_blocks, read
from support.peer import Peer, until_caught_up
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

# Enough that a copy in steps meets several writes on its way.
BEFORE = 2_000
LARGE = "x" * 16_000
WRITES_PER_SECOND = 150  # as far as a loaded machine comes; 50 at the least

PAGE = code_blocks(read("docs/operating.md"), "sh")
# The image's command, run where its directory would be.
DOCKER = """docker() {
  case "$1 $3" in
    "exec sh") shift 2; ln -s landline-data data; "$@";;
    "exec rm"|"cp .") ;;
  esac
}
"""
BACKUPS = [block for block in PAGE if "landline.db" in block and "backup.db" in block][:-1]
[RESTORE] = [block for block in PAGE if "cp backup.db" in block]


async def run(block: str, directory: Path) -> None:
    """Run a block of the page, where `landline-data` is."""
    python = Path(sys.executable).parent
    script = await asyncio.create_subprocess_exec(
        *("sh", "-e", "-c", DOCKER + block),
        cwd=directory,
        env=os.environ | {"PATH": f"{python}:{os.environ['PATH']}"},
    )
    async with asyncio.timeout(WAIT_SECONDS):
        assert await script.wait() == 0


@pytest.mark.e2e
@pytest.mark.parametrize("block", BACKUPS, ids=["sqlite3", "python", "image"])
async def test_a_backup_taken_under_load_ends_and_has_all_that_was_accepted_before(
    block: str, tmp_path: Path
) -> None:
    if "sqlite3 landline" in block and shutil.which("sqlite3") is None:
        pytest.skip("the page's command needs sqlite3")
    directory = tmp_path / "a directory"
    directory.mkdir()
    with ServerProcess(directory / "landline-data") as original:
        before, accepted = await back_up(block, original, directory)
    assert (directory / "backup.db").stat().st_mode & 0o077 == 0
    await run(RESTORE, directory)

    with ServerProcess(directory / "landline-data") as again:
        async with Peer(again.ws_url, "bob") as bob:
            await until_caught_up(bob)
            assert before <= bob.received <= accepted


async def back_up(block: str, server: ServerProcess, directory: Path) -> tuple[set[str], set[str]]:
    """Do it while somebody writes. Returns what was accepted before, and at all."""
    async with Peer(server.ws_url, "alice") as alice:
        await in_turns(alice, BEFORE)
        before = alice.accepted_ids
        is_over = asyncio.Event()
        writing = asyncio.create_task(write(alice, is_over))
        try:
            await run(block, directory)
        finally:
            is_over.set()
            await writing
        await until(lambda: not alice.unanswered, "all has its answer")
        return before, alice.accepted_ids


async def in_turns(alice: Peer, count: int) -> None:
    for _ in range(0, count, 100):
        await asyncio.gather(*(alice.send_and_wait("bob", LARGE) for _ in range(100)))


async def write(alice: Peer, is_over: asyncio.Event) -> None:
    """Send without waiting for answers, so that each is a commit of its own."""
    number = 0
    while not is_over.is_set():
        await alice.send("bob", f"meanwhile {number}")
        number += 1
        await asyncio.sleep(1 / WRITES_PER_SECOND)
