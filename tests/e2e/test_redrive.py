"""`landline audit --redrive` on the embedded server's real file: what an older version has put in
quarantine is delivered after all.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import landline
from landline.protocol.records import DeviceRecord, MessageRecord
from support.command import run_landline
from support.server import ServerProcess
from support.waiting import until

pytestmark = pytest.mark.e2e

SECRET = "nobody else's business"
ID = "00000001-0000-8000-8000-00000000c0de"
MESSAGE = MessageRecord(ID, None, "dm:alice:bob", "alice", ("bob",), SECRET, "2026").encode_2()
DEVICE = DeviceRecord("carol", "phone", True).encode_2()
_LAG = "SELECT (SELECT max(offset) + 1 FROM log) - next_offset FROM applied"


def run(data_dir: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run an audit; return its exit code and the lines that it said."""
    code, said = run_landline("audit", "--data-dir", str(data_dir), *arguments)
    assert SECRET not in said
    return code, said.splitlines()


def put_in_quarantine(data_dir: Path, *values: bytes) -> None:
    """Do as a server that cannot read these records."""
    with closing(sqlite3.connect(data_dir / "landline.db")) as file, file:
        for value in values:
            [offset] = file.execute("SELECT max(offset) + 1 FROM log").fetchone()
            file.execute("INSERT INTO log VALUES (?, 1000, 'dm:alice:bob', ?)", (offset, value))
            file.execute("INSERT INTO quarantine VALUES (0, ?, ?, 'unknown')", (offset, value))
            file.execute("UPDATE applied SET next_offset = next_offset + 1")


async def until_applied(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "landline.db")) as file:
        await until(lambda: file.execute(_LAG).fetchone() == (0,), "all is applied")


async def test_what_can_be_read_by_now_is_delivered(server: ServerProcess) -> None:
    async with landline.connect(server.ws_url, username="alice") as alice:
        await alice.send("bob", "first")
    code, said = run(server.data_dir, "--redrive")
    assert (code, len(said)) == (2, 1)
    assert "in use by another process (pid" in said[0]
    await until_applied(server.data_dir)
    server.stop()
    assert run(server.data_dir, "--redrive") == (0, ["nothing is in quarantine"])

    put_in_quarantine(server.data_dir, MESSAGE, b"garbage", DEVICE)
    assert run(server.data_dir)[1][-1] == "3 differences: 3 quarantined"
    code, said = run(server.data_dir, "--redrive")
    assert code == 1
    assert said[0].startswith("partition 0 offset 2: stays: not JSON: unexpected character")
    assert said[1:3] == [
        "partition 0 offset 1: message, appended again at partition 0 offset 4",
        "partition 0 offset 3: device, appended again at partition 0 offset 5",
    ]
    assert said[3].startswith("warning: partition 0 offset 3: this device record decides")
    assert said[4] == "2 records appended again (1 device, 1 message)"
    assert said[5].startswith("the next start of the server applies what was appended;")
    assert said[6] == "1 cannot be read by this version and stay in quarantine"
    # Neither the old places nor the new ones, which nobody has applied yet, are differences.
    assert run(server.data_dir)[1][-1] == "1 difference: 1 quarantined"

    server.start()
    async with landline.connect(server.ws_url, username="bob") as bob:
        contents = []
        async for message in bob:
            contents.append((message.content, message.offset))
            if len(contents) == 2:
                break
    assert contents == [("first", 0), (SECRET, 4)]
    await until_applied(server.data_dir)
    assert run(server.data_dir)[1][-1] == "1 difference: 1 quarantined"
    with closing(sqlite3.connect(server.data_dir / "landline.db")) as file:
        assert file.execute("SELECT log_offset FROM quarantine").fetchall() == [(2,)]
        assert file.execute("SELECT since FROM devices WHERE device = 'phone'").fetchall() == [(5,)]


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    code, said = run(tmp_path / "nowhere", "--redrive")
    assert code == 2
    assert "landline.db is not there" in said[0]
    assert not (tmp_path / "nowhere").exists()
    code, said = run(tmp_path, "--redrive", "--metrics", "x.prom")
    assert code == 2
    assert "--redrive with --metrics" in said[0]
