"""The backup of docs/operating.md: taken while the server runs, started from like the original."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from support.pages import read
from support.peer import Peer, until_caught_up
from support.server import ServerProcess


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the page's command needs sqlite3")
async def test_a_backup_taken_under_load_has_all_that_was_accepted_before(
    server: ServerProcess, tmp_path: Path
) -> None:
    command = re.search(r'`sqlite3 (\S+) "\.backup (\S+)"`', read("docs/operating.md"))
    assert command is not None
    original, copy = command.groups()
    assert Path(original).name == "landline.db"

    async with Peer(server.ws_url, "alice") as alice:
        before = {(await alice.send_and_wait("bob", f"before {n}"))["id"] for n in range(50)}
        is_over = False

        async def write() -> None:
            number = 0
            while not is_over:
                await alice.send_and_wait("bob", f"meanwhile {number}")
                number += 1

        writing = asyncio.create_task(write())
        restored = tmp_path / "restored"
        restored.mkdir()
        backup = await asyncio.create_subprocess_exec(
            "sqlite3", str(server.data_dir / "landline.db"), f".backup {copy}", cwd=restored
        )
        assert await backup.wait() == 0
        is_over = True
        await writing
        accepted = alice.accepted_ids
    (restored / copy).rename(restored / "landline.db")

    again = ServerProcess(restored)
    again.start()
    try:
        async with Peer(again.ws_url, "bob") as bob:
            await until_caught_up(bob)
            assert before <= bob.received <= accepted
    finally:
        again.kill()
