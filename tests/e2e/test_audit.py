"""`landline audit` on the embedded server's real file, while the server runs and after it."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import landline
from support.command import run_landline
from support.server import ServerProcess
from support.waiting import until

pytestmark = pytest.mark.e2e

SECRET = "nobody else's business"
COUNT = 30


def audit(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it said."""
    code, said = run_landline("audit", "--data-dir", str(data_dir), *arguments)
    assert SECRET not in said
    return code, said


def names(directory: Path, part: str) -> list[str]:
    """Return what lies there and has this in its name."""
    return [path.name for path in directory.iterdir() if part in path.name]


async def chat(url: str) -> None:
    """Alice writes to bob, who reads the first half, and to carol, who is never there."""
    async with landline.connect(url, username="alice") as alice:
        for _ in range(COUNT):
            await alice.send("bob", SECRET)
        await alice.send("carol", SECRET)
    async with landline.connect(url, username="bob") as bob:
        seen = 0
        async for _message in bob:
            seen += 1
            if seen == COUNT // 2:
                break


async def test_it_agrees_while_the_server_runs_and_when_it_is_gone(server: ServerProcess) -> None:
    await chat(server.ws_url)
    code, said = audit(server.data_dir)
    assert (code, said.splitlines()[-1]) == (0, "log and store agree")
    assert server.is_ready()
    server.kill()
    code, said = audit(server.data_dir)
    assert (code, said.splitlines()[-1]) == (0, "log and store agree")
    assert f"with {COUNT + 1} messages and " in said
    server.start()  # an audit leaves nothing behind that is in a server's way


async def stop(server: ServerProcess) -> None:
    """Stop it with nothing left to apply: what a drain logs last is applied by the next start."""
    server.stop()
    server.start()
    with closing(sqlite3.connect(server.data_dir / "landline.db")) as connection:
        await until(lambda: connection.execute(_LAG).fetchone() == (0,), "all is applied")
    server.stop()


_LAG = "SELECT (SELECT max(offset) + 1 FROM log) - next_offset FROM applied"


def sql(statement: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(statement)


def add_record(value: bytes) -> Callable[[sqlite3.Connection], object]:
    """Add a record that counts as applied."""

    def doctor(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO log SELECT max(offset) + 1, 0, 'k', ? FROM log", (value,))
        connection.execute("UPDATE applied SET next_offset = next_offset + 1")

    return doctor


FORGED = (
    b'{"v":1,"status":"DELIVERED","message_ids":["00000000-0000-8000-8000-000000000001"],'
    b'"conversation":"dm:a:b","recipient":"mallory","delivered_at":"2026"}'
)


CAROL = "(SELECT mailbox_id FROM devices WHERE user_name = 'carol')"


@pytest.mark.parametrize(
    ("doctor", "counted"),
    [
        (sql("DELETE FROM messages WHERE log_offset = 3"), "1 message_missing"),
        (sql("DELETE FROM messages"), f"{COUNT + 1} message_missing"),
        (sql("UPDATE messages SET content = 'x' WHERE log_offset = 3"), "1 message_changed"),
        (sql("UPDATE messages SET data = '{}' WHERE log_offset = 3"), "1 message_changed"),
        (
            sql("UPDATE messages SET log_offset = log_offset + 500 WHERE log_offset = 3"),
            "1 message_moved",
        ),
        (sql(f"DELETE FROM pending WHERE mailbox_id = {CAROL}"), "1 pending_missing"),
        (
            sql(f"UPDATE pending SET is_received = 1 WHERE mailbox_id = {CAROL}"),
            "1 receipt_unknown",
        ),
        (
            sql(f"UPDATE pending SET conversation_id = 77 WHERE mailbox_id = {CAROL}"),
            "1 pending_changed",
        ),
        (
            sql(f"INSERT INTO pending SELECT {CAROL}, min(log_offset), 1, 0 FROM messages"),
            "1 pending_unknown",
        ),
        (
            sql(
                "INSERT INTO pending SELECT mailbox_id, 0, conversation_id, 0"
                " FROM pending WHERE log_offset = 20"
            ),
            "1 receipt_missing",
        ),
        (add_record(FORGED), "1 receipt_stray"),
        (
            sql("UPDATE conversations SET last_offset = 9000 WHERE name = 'dm:alice:carol'"),
            "1 conversation_changed",
        ),
        (
            sql("INSERT INTO conversations VALUES (77, 'dm:x:y', 'direct', NULL, NULL, 0, 0)"),
            "1 conversation_unknown",
        ),
        (sql("DELETE FROM members WHERE user_name = 'carol'"), "1 member_missing"),
        (sql("UPDATE members SET role = 'admin' WHERE user_name = 'carol'"), "1 member_changed"),
        (
            sql("INSERT INTO members SELECT 1, 'eve', 'member', 0, 9, 0"),
            "1 member_unknown",
        ),
        (
            sql("INSERT INTO devices VALUES (77, 'carol', 'phone', 0, NULL)"),
            "1 device_unknown",
        ),
        (add_record(b"garbage"), "1 unreadable"),
        (sql("INSERT INTO quarantine VALUES (0, 5000, x'00', 'why')"), "1 quarantined"),
        (sql("UPDATE applied SET next_offset = 5000"), "1 log_went_back"),
    ],
)
async def test_what_was_doctored_is_named(
    server: ServerProcess, doctor: Callable[[sqlite3.Connection], object], counted: str
) -> None:
    await chat(server.ws_url)
    await stop(server)
    connection = sqlite3.connect(server.data_dir / "landline.db")
    with connection:
        doctor(connection)
    connection.close()
    code, said = audit(server.data_dir)
    assert code == 1
    assert re.sub(r"^\d+ differences?: ", "", said.splitlines()[-1]) == counted


async def test_some_are_shown_all_are_counted_and_measured(
    server: ServerProcess, tmp_path: Path
) -> None:
    await chat(server.ws_url)
    await stop(server)
    connection = sqlite3.connect(server.data_dir / "landline.db")
    with connection:
        connection.execute("DELETE FROM messages")
    connection.close()
    file = tmp_path / "landline_audit.prom"
    code, said = audit(server.data_dir, "--limit", "2", "--metrics", str(file))
    assert code == 1
    assert len(re.findall(r"^message_missing: ", said, re.MULTILINE)) == 2
    assert f"... and {COUNT - 1} more" in said
    measured = {
        (sample.name, sample.labels.get("kind")): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
    assert measured["landline_audit_differences", "message_missing"] == COUNT + 1
    assert measured["landline_audit_differences", "log_gap"] == 0
    assert measured["landline_audit_timestamp_seconds", None] > 0
    assert names(tmp_path, "prom") == [file.name]


def test_what_cannot_be_audited_is_exit_code_2(tmp_path: Path) -> None:
    code, said = audit(tmp_path / "nowhere")
    assert code == 2
    assert "landline.db is not there" in said
    (tmp_path / "landline.db").write_bytes(b"not a database" * 99)
    code, said = audit(tmp_path)
    assert code == 2
    assert "is damaged or not a database" in said
    assert audit(tmp_path, "--limit", "x")[0] == 2
    assert audit(tmp_path, "--kafka", "h:1")[0] == 2
