"""Sign-in, limits and the product's word, where a user's sessions and requests meet two servers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from support.faults import Fleet, killed
from support.issuer import Issuer
from support.product import HttpServer, Request, response
from support.saying import closed, hear, say
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS

# Longer than two servers take to let somebody in, on a busy machine.
SHORT_SECONDS = 20


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@asynccontextmanager
async def signed_in(
    server: ServerProcess, issuer: Issuer, user: str, seconds: float = 3600
) -> AsyncIterator[ClientConnection]:
    """Have a session of a user."""
    headers = issuer.bearer(user, seconds)
    async with connect(
        server.ws_url, additional_headers=headers, open_timeout=WAIT_SECONDS
    ) as client:
        assert (await hear(client, "welcome"))["user"] == user
        yield client


async def post(server: ServerProcess, token: str, **message: Any) -> httpx.Response:
    """Send a message by request."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
        return await client.post(f"{server.url}/v1/messages", json=message, headers=headers)


async def until_all_is_stored(server: ServerProcess, issuer: Issuer) -> None:
    """Wait until the store has all that is in the log now: a session that begins waits for that."""
    async with signed_in(server, issuer, "nobody") as nobody:
        await hear(nobody, "caught_up")


async def test_who_signs_in_here_writes_to_who_has_signed_in_there(
    fleet: Fleet, issuer: Issuer
) -> None:
    """The same token is good at every server, and nowhere is somebody let in without one."""
    ws1, ws2 = await fleet.start(2, *issuer.args)
    async with signed_in(ws1, issuer, "alice") as alice, signed_in(ws2, issuer, "bob") as bob:
        await say(alice, to="bob", content="hello", ref="1")
        accepted, pushed = await hear(alice, "accepted"), await hear(bob, "message")
        for name in ("id", "conversation", "offset", "time"):
            assert accepted[name] == pushed[name]
        assert pushed["sender"] == "alice"
        await say(bob, type="ack", ids=[pushed["id"]])
        assert (await hear(alice, "status"))["ids"] == [pushed["id"]]
        async with signed_in(ws2, issuer, "alice") as alice_there:
            await say(bob, to="alice", content="hello to both", ref="2")
            for each in (alice, alice_there):
                assert (await hear(each, "message"))["sender"] == "bob"
    for server in (ws1, ws2):
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url, additional_headers={"Authorization": "Bearer a.b.c"})
        assert refused.value.response.status_code == 401
        assert issuer.token("alice").split(".")[1][:16] not in server.log()


async def test_a_request_whose_answer_was_lost_is_repeated_at_another_server(
    fleet: Fleet, issuer: Issuer
) -> None:
    """It is one message: the same id, offset and time, and pushed once."""
    ws1, ws2 = await fleet.start(2, *issuer.args)
    token = issuer.token("backend", is_service=True)
    message = {"sender": "alice", "to": "bob", "content": "welcome", "ref": "welcome-1"}
    async with signed_in(ws2, issuer, "bob") as bob:
        await hear(bob, "caught_up")
        _, writer = await asyncio.open_connection("127.0.0.1", ws1.port)
        body = json.dumps(message)
        head = (
            f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{ws1.port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write((head + body).encode())
        pushed = await hear(bob, "message")  # so it is in the log
        writer.transport.abort()  # and its answer was not read
        answers = [
            (await post(server, token, **message, retry=True)).json() for server in (ws2, ws1, ws2)
        ]
        for answer in answers:
            assert {name: answer[name] for name in ("id", "offset", "time")} == {
                name: pushed[name] for name in ("id", "offset", "time")
            }
        await say(bob, type="ack", ids=[pushed["id"]])
        last = (await post(ws1, token, **{**message, "ref": "welcome-2"})).json()
        assert (await hear(bob, "message"))["id"] == last["id"]  # nothing came between
    await until_all_is_stored(ws1, issuer)
    assert await fleet.stored() == {pushed["id"], last["id"]}


async def test_what_comes_too_fast_is_never_in_the_log_and_is_taken_when_it_was_said(
    fleet: Fleet, issuer: Issuer
) -> None:
    """A first try is rejected; a repeat is unknown, and later the message that it was."""
    ws1, ws2 = await fleet.start(2, *issuer.args, "--limit-messages", "1")
    async with signed_in(ws1, issuer, "alice") as alice, signed_in(ws2, issuer, "alice") as there:
        await say(alice, to="bob", content="0", ref="0")
        first = await hear(alice, "accepted")
        for number in range(1, 7):
            await say(alice, to="bob", content=f"{number}", ref=f"{number}")
        await say(alice, to="bob", content="0", ref="0", retry=True)
        accepted: dict[str, Any] = {"0": first}
        waits: dict[str, int] = {}
        while len(accepted) + len(waits) < 8:
            answer = json.loads(await asyncio.wait_for(alice.recv(), WAIT_SECONDS))
            if answer["type"] == "accepted":
                accepted[answer["ref"]] = answer
            elif answer["type"] == "error":
                is_repeat = answer["ref"] == "0"
                assert (answer["code"], answer["outcome"]) == (
                    "too_fast",
                    "unknown" if is_repeat else "rejected",
                )
                waits[answer["ref"]] = answer["retry_after_ms"]
        assert "0" in waits
        assert len(waits) > 3
        await say(there, to="bob", content="a limit holds per server", ref="there")
        other = await hear(there, "accepted")
        await until_all_is_stored(ws1, issuer)
        ids = {each["id"] for each in accepted.values()} | {other["id"]}
        assert await fleet.stored() == ids
        assert all(0 < wait_ms <= 1000 for wait_ms in waits.values())
        await asyncio.sleep(waits["0"] / 1000)  # as it was told
        await say(alice, to="bob", content="0", ref="0", retry=True)
        again = await hear(alice, "accepted")
        assert (again["id"], again["offset"]) == (first["id"], first["offset"])


async def test_sessions_end_with_their_token_while_redis_is_dead(
    fleet: Fleet, issuer: Issuer
) -> None:
    """On every server; and who has a fresh token stays, or comes again."""
    servers = await fleet.start(2, *issuer.args)
    async with killed(fleet.stack.redis):
        for server in servers:
            expires = int(time.time()) + SHORT_SECONDS
            async with (
                signed_in(server, issuer, "alice", SHORT_SECONDS) as short,
                signed_in(server, issuer, "alice", SHORT_SECONDS) as renewed,
            ):
                await say(renewed, type="auth", token=issuer.token("alice"))
                await hear(renewed, "authenticated")
                assert await closed(short) == (4401, "the token has expired")
                assert time.time() >= expires
                await say(renewed, to="alice", content="still here", ref=server.name)
                await hear(renewed, "accepted")
                async with signed_in(server, issuer, "alice"):
                    pass


async def test_the_product_is_asked_before_the_log(fleet: Fleet, issuer: Issuer) -> None:
    """By frame and by request, on each server: what it refuses leaves no trace."""

    async def answer(request: Request) -> bytes:
        return response({"allow": request.json()["to"] == "bob"})

    async with HttpServer(answer) as product:
        servers = await fleet.start(2, *issuer.args, "--authorize-url", product.url("/may"))
        allowed = set()
        for server in servers:
            async with signed_in(server, issuer, "alice") as alice:
                await say(alice, to="eve", content="psst", ref=f"{server.name} 1")
                error = await hear(alice, "error")
                assert (error["code"], error["outcome"]) == ("forbidden", "rejected")
                await say(alice, to="bob", content="hello", ref=f"{server.name} 2")
                allowed.add((await hear(alice, "accepted"))["id"])
            token = issuer.token("alice")
            refused = await post(server, token, to="eve", content="psst", ref=f"{server.name} 3")
            assert (refused.status_code, refused.json()["outcome"]) == (403, "rejected")
            taken = await post(server, token, to="bob", content="hi", ref=f"{server.name} 4")
            allowed.add(taken.json()["id"])
        # Each server asks once for each pair.
        asked = sorted((each.json()["sender"], each.json()["to"]) for each in product.requests)
        assert asked == [("alice", "bob")] * 2 + [("alice", "eve")] * 2
        async with signed_in(servers[0], issuer, "eve") as eve:
            assert (await hear(eve, "caught_up"))["replayed"] == 0
        assert await fleet.stored() == allowed
