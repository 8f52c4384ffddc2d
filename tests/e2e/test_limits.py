"""Nobody gets more than their share: what is above a limit is told so, before the log."""

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from landline.config.limits import FRAMES_BURST, HANDSHAKES_BURST, MESSAGES_BURST
from landline.gateway.http_connection import HANDSHAKE_SECONDS
from support.issuer import Issuer
from support.raw import TEXT, dialled, frame, opened, request
from support.saying import hear, say
from support.server import ServerProcess
from support.sockets import cut_at_once
from support.waiting import WAIT_SECONDS, until


def limited(tmp_path: Path, *limits: str, args: Sequence[str] = ()) -> ServerProcess:
    """Return a server with these limits and no others."""
    return ServerProcess(tmp_path / "data", args=[*args, *limits])


def stored(server: ServerProcess) -> int:
    """Return how many messages are in the store."""
    with sqlite3.connect(server.data_dir / "landline.db") as database:
        [count] = database.execute("SELECT count(*) FROM messages").fetchone()
    return int(count)


async def answers(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return the answers to so many sends."""
    said: list[dict[str, Any]] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(said) < count:
            each = json.loads(await client.recv())
            if each["type"] in ("accepted", "error"):
                said.append(each)
    return said


async def test_what_comes_too_fast_is_refused_and_told_when_to_come_back(tmp_path: Path) -> None:
    """The burst passes, what is beyond it does not, and who waits as they were told may send."""
    with limited(tmp_path, "--limit-messages", "2") as server:
        async with connect(f"{server.ws_url}?username=alice") as alice:
            for number in range(50):
                await say(alice, to="bob", content="x", ref=str(number))
            said = await answers(alice, 50)
            accepted = [each for each in said if each["type"] == "accepted"]
            assert 2 * MESSAGES_BURST <= len(accepted) < 50
            refused = [each for each in said if each["type"] == "error"]
            assert {each["code"] for each in refused} == {"too_fast"}
            assert {each["outcome"] for each in refused} == {"rejected"}
            await asyncio.sleep(refused[-1]["retry_after_ms"] / 1000)
            await say(alice, to="bob", content="x", ref="later")
            [later] = await answers(alice, 1)
            assert later["type"] == "accepted"
            async with connect(f"{server.ws_url}?username=carol") as carol:
                await say(carol, to="bob", content="x", ref="1")
                assert (await answers(carol, 1))[0]["type"] == "accepted"
        total = len(accepted) + 2
        await until(lambda: stored(server) >= total, "what was accepted is stored")
        assert stored(server) == total, "what was over the limit is nowhere"


async def test_a_repeat_that_comes_too_fast_is_never_called_rejected(tmp_path: Path) -> None:
    """Its first try may be in the log. All sessions of a user share one limit."""
    with limited(tmp_path, "--limit-messages", "0.5") as server:
        url = f"{server.ws_url}?username=alice"
        async with connect(url) as first, connect(url) as second:
            for client in (first, second):
                for number in range(5):
                    await say(client, to="bob", content="x", ref=str(number), retry=True)
            said = await answers(first, 5) + await answers(second, 5)
        errors = [each for each in said if each["type"] == "error"]
        assert len(said) - len(errors) <= 2
        assert {(each["code"], each["outcome"]) for each in errors} == {("too_fast", "unknown")}


async def test_bytes_are_counted_too(tmp_path: Path) -> None:
    with limited(tmp_path, "--limit-bytes", "1KiB") as server:
        async with connect(f"{server.ws_url}?username=alice") as alice:
            for number in range(5):
                await say(alice, to="bob", content="x" * 7 * 1024, ref=str(number))
            codes = Counter(each.get("code", "accepted") for each in await answers(alice, 5))
        assert codes == {"accepted": 1, "too_fast": 4}


async def test_frames_above_the_limit_wait_and_none_is_dropped(tmp_path: Path) -> None:
    rate, count = 20, 140
    with limited(tmp_path, "--limit-frames", str(rate)) as server:
        async with opened(server.port, "alice") as alice, opened(server.port, "bob") as bob:
            began = time.monotonic()
            await alice.write(frame(TEXT, b'{"type":"ping"}') * count)
            assert (await bob.ask('{"type":"ping"}'))["type"] == "pong"
            for _ in range(count):
                assert (await alice.answer())["type"] == "pong"
            least_seconds = (count - rate * FRAMES_BURST) / rate
            assert time.monotonic() - began > least_seconds - 0.5


async def test_an_address_has_so_many_connections_and_handshakes(tmp_path: Path) -> None:
    limits = ["--limit-address-connections", "3", "--limit-handshakes", "1"]
    with limited(tmp_path, *limits) as server:
        here = [await connect(f"{server.ws_url}?username=u{number}") for number in range(3)]
        for retry_after in ("10", None, None):  # two for the connections, and then for handshakes
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{server.ws_url}?username=u9")
            response = refused.value.response
            assert response.status_code == 429
            assert int(response.headers["Retry-After"]) >= 1
            assert retry_after in (None, response.headers["Retry-After"])
        elsewhere = ("127.0.0.2", 0)
        async with connect(f"{server.ws_url}?username=u9", local_addr=elsewhere) as other:
            await hear(other, "welcome")
        for client in here:
            await client.close()
    assert HANDSHAKES_BURST * 1 > 3, "or nobody of the first three would have come in"


async def test_sockets_that_say_nothing_are_counted_by_their_address(tmp_path: Path) -> None:
    with limited(tmp_path, "--limit-address-connections", "2") as server:
        cut = await cut_at_once("127.0.0.1", server.port, 12, 12 - 6, HANDSHAKE_SECONDS)
        assert cut == 12 - 6
        async with connect(f"{server.ws_url}?username=a", local_addr=("127.0.0.2", 0)) as other:
            await hear(other, "welcome")


async def test_behind_a_trusted_proxy_the_client_is_counted_and_nobody_can_pretend(
    tmp_path: Path,
) -> None:
    args = ["--trusted-proxies", "127.0.0.2", "--limit-address-connections", "1"]
    with ServerProcess(tmp_path / "data", args=args) as server:

        async def come(user: str, forwarded: str, local: str) -> ClientConnection:
            return await connect(
                f"{server.ws_url}?username={user}",
                additional_headers={"X-Forwarded-For": forwarded},
                local_addr=(local, 0),
            )

        one = await come("a", "192.0.2.1", "127.0.0.2")
        two = await come("b", "192.0.2.2", "127.0.0.2")
        with pytest.raises(InvalidStatus):
            await come("c", "192.0.2.9, 192.0.2.1", "127.0.0.2")
        direct = await come("d", "192.0.2.5", "127.0.0.3")
        with pytest.raises(InvalidStatus):
            await come("e", "192.0.2.6", "127.0.0.3")
        lines = [json.loads(line) for line in server.log().splitlines()]
        [line] = [line for line in lines if line.get("user") == "a"]
        assert (line["peer"], line["proxy"].split(":")[0]) == ("192.0.2.1", "127.0.0.2")
        assert "192.0.2.5" not in server.log()
        for each in (one, two, direct):
            await each.close()


def test_a_service_has_no_limit_of_a_user(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    args = [*issuer.args, "--limit-messages", "0.1"]
    with ServerProcess(tmp_path / "data", args=args) as server:
        for is_service, statuses in ((True, {200}), (False, {200, 429})):
            headers = {"Authorization": f"Bearer {issuer.token('alice', is_service=is_service)}"}
            with httpx.Client(
                base_url=server.url, headers=headers, timeout=WAIT_SECONDS, trust_env=False
            ) as client:
                said = [
                    client.post("/v1/messages", json={"to": "bob", "content": "x", "ref": str(n)})
                    for n in range(5)
                ]
            assert {each.status_code for each in said} == statuses
            late = [each for each in said if each.status_code == 429]
            assert all(int(each.headers["Retry-After"]) >= 1 for each in late)
            assert {each.json()["code"] for each in late} <= {"too_fast"}


async def test_nothing_is_limited_on_a_laptop(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        async with connect(f"{server.ws_url}?username=alice") as alice:
            for number in range(200):
                await say(alice, to="bob", content="x", ref=str(number))
            assert {each["type"] for each in await answers(alice, 200)} == {"accepted"}
        async with dialled(server.port) as raw:
            assert (await raw.upgrade(request(server.port, "/ws/chat?username=a"))).status == 101


def test_an_address_that_tries_tokens_is_heard_no_more_for_a_while(tmp_path: Path) -> None:
    """Neither its processor time nor the log is a stranger's to fill."""
    issuer = Issuer(tmp_path)
    args = [*issuer.args, "--limit-handshakes", "2"]
    with (
        ServerProcess(tmp_path / "data", args=args) as server,
        httpx.Client(base_url=server.url, timeout=WAIT_SECONDS, trust_env=False) as stranger,
    ):
        said = [
            stranger.post("/v1/messages", json={}, headers={"Authorization": "Bearer a.b.c"})
            for _ in range(500)
        ]
        codes = Counter(each.status_code for each in said)
        assert set(codes) == {401, 429}
        assert codes[429] > codes[401]
        assert all(
            int(each.headers["Retry-After"]) >= 1 for each in said if each.status_code == 429
        )
        assert server.log().count("were refused") < codes[429] / 2
        assert stranger.get("/healthz").status_code == 200
