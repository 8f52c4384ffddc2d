"""Real servers pass, also when they are killed and come back; a cluster with its log and store."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from confluent_kafka import Producer

from landline_stack import LandlineServer, Stack
from landline_stack.ports import free_port
from landline_verify.checker.judge import judge
from landline_verify.dumps import log
from landline_verify.errors import VerifyError
from landline_verify.history.events import (
    Connect,
    ForeignRecord,
    MessageRecord,
    MessageRow,
    Ok,
    QuarantineRow,
    Recv,
)
from landline_verify.options import check_directory
from landline_verify.report.text import lines
from landline_verify.runner import Runner
from support.server import ServerProcess
from support.stack import stack_or_skip
from support.waiting import until
from verify.runs import accepted, expect_pass, expect_unbroken, is_only_partial, run


@pytest.mark.e2e
async def test_the_file_of_a_running_server_is_read_from_where_it_ended(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    try:
        server.start()
        for _ in range(2):  # the second one finds what the first one has left
            history = await run(server.ws_url, data_dir=server.data_dir, duration_seconds=3)
            verdict = judge(history)
            assert verdict.outcome != "fail", "\n".join(lines(history, verdict))
            assert {verdict.findings[name] for name in ("I1", "I9", "I10", "I11")} == {"held"}
            sent = {event.id for event in history if isinstance(event, Ok)}
            assert sent == {event.id for event in history if isinstance(event, MessageRecord)}
            assert not [event for event in history if isinstance(event, ForeignRecord)]
    finally:
        server.kill()


@pytest.mark.e2e
async def test_rooms_and_several_devices_are_tried_and_pass(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    try:
        server.start()
        history = await run(
            server.ws_url, data_dir=server.data_dir, users=24, rooms=3, devices=2,
            duration_seconds=8, final_seconds=20.0,
        )  # fmt: skip
    finally:
        server.kill()
    expect_pass(history)
    findings = judge(history).findings
    assert {findings[name] for name in ("I2", "I13", "I17", "I18")} == {"held"}
    assert {event.device for event in history if isinstance(event, Connect)} == {None, "d1", "d2"}
    kinds = {event.what for event in history if isinstance(event, Recv)}
    assert kinds >= {"message", "room"}


@pytest.mark.e2e
def test_the_file_of_another_server_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """Nothing would be found in it of what was accepted."""
    server, other = ServerProcess(tmp_path / "one"), ServerProcess(tmp_path / "other")
    try:
        server.start()
        other.start()
        check_directory(server.data_dir, [server.ws_url])
        with pytest.raises(VerifyError, match="is not that of the server at"):
            check_directory(other.data_dir, [server.ws_url])
        with pytest.raises(VerifyError, match="no server was ever started there"):
            check_directory(tmp_path, [server.ws_url])
        with pytest.raises(VerifyError, match="on this machine"):
            check_directory(server.data_dir, ["ws://192.0.2.7:8081/ws/chat"])
    finally:
        server.kill()
        other.kill()


@pytest.mark.e2e
async def test_an_embedded_server_passes_also_when_it_is_killed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")

    async def kill(runner: Runner) -> None:
        await accepted(runner, 200)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await accepted(runner, 800)
        runner.stop()

    try:
        server.start()
        verdict = judge(
            await run(
                server.ws_url, meanwhile=kill, is_enough=is_only_partial, duration_seconds=100
            )
        )
    finally:
        server.kill()
    assert not verdict.violations
    (reason,) = verdict.reasons
    assert "the run is partial" in reason


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack whose log and store nobody else writes to."""
    with stack_or_skip() as own:
        yield own


@pytest.fixture(scope="module")
def servers(own: Stack) -> Iterator[list[LandlineServer]]:
    """Two servers of one cluster."""
    with ExitStack() as exits:
        yield [
            exits.enter_context(LandlineServer.on(own, name, own.directory / name))
            for name in ("ws-1", "ws-2")
        ]


def urls(servers: list[LandlineServer]) -> list[str]:
    """Return the addresses of their WebSockets."""
    return [f"ws://127.0.0.1:{server.port}/ws/chat" for server in servers]


@pytest.mark.stack
async def test_a_cluster_passes_with_its_log_and_store(
    own: Stack, servers: list[LandlineServer]
) -> None:
    history = await run(*urls(servers), kafka=own.kafka_servers, postgres=own.postgres_url)
    expect_pass(history)
    judged = {name for name, finding in judge(history).findings.items() if finding == "held"}
    assert judged >= {"I1", "I9", "I10", "I11"}
    assert any(isinstance(event, MessageRecord) for event in history)


@pytest.mark.stack
async def test_what_vanishes_from_the_store_is_found(
    own: Stack, servers: list[LandlineServer]
) -> None:
    async def delete(runner: Runner) -> None:
        began = datetime.now(UTC)
        await accepted(runner, 300)
        connection = await asyncpg.connect(own.postgres_url)

        async def is_deleted() -> bool:
            deleted[:] = [await connection.fetchval(_DELETE, began)]
            return deleted != [None]

        await until(is_deleted, "something is delivered")
        await connection.close()

    deleted: list[object] = []
    history = await run(
        *urls(servers), kafka=own.kafka_servers, postgres=own.postgres_url, meanwhile=delete
    )
    verdict = judge(history)
    assert verdict.outcome == "fail"
    assert {each.id for each in verdict.violations} == {str(deleted[0])}
    assert {"I1", "I9"} <= {each.invariant for each in verdict.violations}


@pytest.mark.stack
async def test_records_of_others_do_not_disturb(own: Stack, servers: list[LandlineServer]) -> None:
    async def write_garbage(runner: Runner) -> None:
        await accepted(runner, 300)
        producer = Producer({"bootstrap.servers": own.kafka_servers})
        producer.produce("CHAT-MESSAGES", b"no record")
        assert await asyncio.to_thread(producer.flush, 30) == 0

    # Two in one process. So few messages never suffice for a pass.
    together: dict[str, Any] = {"rate": 60.0, "duration_seconds": 8.0, "tries": 1}
    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(run(*urls(servers), **together))
        history = await run(
            *urls(servers), kafka=own.kafka_servers, postgres=own.postgres_url,
            meanwhile=write_garbage, **together,
        )  # fmt: skip
    expect_unbroken(history)
    expect_unbroken(other.result())
    ours = {event.sender for event in history if isinstance(event, MessageRow | MessageRecord)}
    assert len({sender.partition("-")[0] for sender in ours}) == 1
    assert any(isinstance(event, QuarantineRow) for event in history)


@pytest.mark.stack
async def test_a_log_or_store_that_cannot_be_read_is_said_before_the_run(
    own: Stack, servers: list[LandlineServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_ASK_SECONDS", 1.0)  # nobody answers, however long it waits
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(VerifyError, match="--postgres: the store cannot be read"):
        await run(*urls(servers), postgres=f"postgresql://x@{nobody}/x")
    with pytest.raises(VerifyError, match=re.escape(f"--kafka {nobody}: the log ")):
        await run(*urls(servers), kafka=nobody)


# The first user never repeats a send: a repeat of what is gone would be stored again.
_DELETE = """\
DELETE FROM messages WHERE message_id = (
    SELECT message_id FROM messages JOIN message_status USING (message_id)
    WHERE status = 'DELIVERED' AND sender LIKE '%-0' AND created_at >= $1
    ORDER BY created_at DESC LIMIT 1)
RETURNING message_id"""
