"""What is checked of Redis before a server starts."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.adapters.redis import check
from landline.errors import StartupError
from landline_stack.redis import RedisServer
from redis import Redis
from support.hosts import NO_SUCH_HOST, know_no_such_host


async def test_a_redis_that_answers_is_fine(redis: RedisServer) -> None:
    with capture_logs() as lines:
        await check(redis.url)
    assert lines == []


async def test_a_wrong_password_is_refused_without_showing_it(
    redis: RedisServer, admin: Redis
) -> None:
    admin.config_set("requirepass", "secret")
    try:
        await check(f"redis://:secret@127.0.0.1:{redis.port}")
        for userinfo, shown in ((":hunter2@", ":***@"), ("", "")):
            with pytest.raises(StartupError) as refused:
                await check(f"redis://{userinfo}127.0.0.1:{redis.port}")
            assert str(refused.value) == (
                f"--redis redis://{shown}127.0.0.1:{redis.port}: user or password are refused;"
                " correct them: redis://USER:PASSWORD@HOST:6379/0"
            )
    finally:
        admin.config_set("requirepass", "")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"redis://{NO_SUCH_HOST}:6379", "there is no such host"),
        ("redis://127.0.0.1:{port}/99", "it answers: DB index is out of range"),
        ("redis://127.0.0.1:99999", "it cannot be used (Port out of range 0-65535)"),
        ("redis://127.0.0.1:{port}?database=1", "it cannot be used ("),
        ("rediss://127.0.0.1:{port}", "it does not speak TLS"),
    ],
)
async def test_a_mistake_is_told(
    redis: RedisServer, url: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_no_such_host(monkeypatch)
    url = url.format(port=redis.port)
    with pytest.raises(StartupError) as refused:
        await check(url)
    assert str(refused.value).startswith(f"--redis {url}: {problem}")
    assert "\n" not in str(refused.value)


async def _speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Somebody who is not a Redis. Gives the port."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_somebody_else_who_listens_there_is_told() -> None:
    async with listening(_speak_http) as port:
        with pytest.raises(StartupError, match="what answers there is not a Redis; correct"):
            await check(f"redis://127.0.0.1:{port}")
        with pytest.raises(StartupError, match="it does not speak TLS"):
            await check(f"rediss://127.0.0.1:{port}")
    async with listening(_hang_up) as port:
        with pytest.raises(StartupError, match="it hangs up at once; if it wants TLS, use rediss"):
            await check(f"redis://127.0.0.1:{port}")


async def test_an_outage_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landline.adapters.redis.startup.REDIS_CHECK_SECONDS", 0.5)
    with capture_logs() as lines:
        await check("redis://:secret@127.0.0.1:1")
        async with listening(_say_nothing) as port:
            await check(f"redis://:secret@127.0.0.1:{port}")
    assert [line["event"] for line in lines] == ["redis_unavailable"] * 2
    assert "secret" not in str(lines)


async def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    openssl = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", key, "-out", certificate, "-days", "1"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await openssl.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(_say_nothing, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(StartupError, match=r"certificate is refused \(self.signed"):
            await check(f"rediss://127.0.0.1:{port}")
