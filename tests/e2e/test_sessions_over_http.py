"""A product's backend lists a user's sessions and ends them, on one server and on two."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from landline.auth.tokens import Claims, minted
from support.cluster import Servers
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

SECRET = b"a secret of the tests, and of nobody else"
ALICE = "/v1/users/alice/sessions"


def bearer(user: str, *, is_service: bool = False) -> dict[str, str]:
    """Return the header with a token of this user."""
    claims, expires_at = Claims(), time.time() + 3600
    token = minted(SECRET, user, expires_at=expires_at, is_service=is_service, claims=claims)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def options(tmp_path: Path) -> Sequence[str]:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    return ["--auth", "jwt", "--jwt-secret-file", str(file)]


def client_of(server: ServerProcess, user: str, *, is_service: bool = False) -> httpx.Client:
    headers = bearer(user, is_service=is_service)
    return httpx.Client(base_url=server.url, headers=headers, timeout=WAIT_SECONDS, trust_env=False)


async def opened(server: ServerProcess, user: str) -> tuple[ClientConnection, str]:
    """Begin a session. Returns its id too."""
    socket = await connect(server.ws_url, additional_headers=bearer(user))
    welcome = json.loads(await socket.recv())
    return socket, welcome["session"]


async def code_of(socket: ClientConnection) -> int | None:
    """Return the code that a session is closed with, once it is."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_sessions_are_listed_and_closed_wherever_they_are(servers: Servers) -> None:
    here, there = servers.here, servers.there
    with client_of(here, "backend", is_service=True) as backend:
        assert backend.get(ALICE).json() == {"user": "alice", "sessions": []}
        own, own_id = await opened(here, "alice")
        other, other_id = await opened(there, "alice")
        bob, bob_id = await opened(here, "bob")

        def listed() -> dict[str, dict[str, str]]:
            answer = backend.get(ALICE)
            assert answer.status_code == 200, answer.text
            return {each.pop("session"): each for each in answer.json()["sessions"]}

        await until(lambda: listed().keys() == {own_id, other_id}, "both are listed")
        sessions = listed()
        assert sessions[own_id]["address"].startswith("127.0.0.1")
        opened_at = datetime.fromisoformat(sessions[own_id]["opened"])
        assert abs(datetime.now(UTC) - opened_at) < timedelta(minutes=5)
        if servers.is_cluster:
            assert sessions[own_id]["server"] == "ws-1"
            assert sessions[other_id] == {"server": "ws-2"}
        answer = backend.delete(ALICE)
        assert (answer.status_code, answer.json()) == (200, {"user": "alice"})
        assert [await code_of(socket) for socket in (own, other)] == [4403, 4403]
        again, _ = await opened(there, "alice")
        assert bob.close_code is None
        for socket in (again, bob):
            await socket.close()
        bobs = {
            each["session"] for each in backend.get("/v1/users/bob/sessions").json()["sessions"]
        }
        assert bobs <= {bob_id}
    assert "user_sessions_closed" in here.log()


async def is_refused(server: ServerProcess) -> bool:
    """Say whether alice is refused in every way: by header, by first frame, and by request."""
    with client_of(server, "alice") as alice:
        body = {"to": "bob", "content": "hello", "ref": f"{time.time_ns()}"}
        answer = alice.post("/v1/messages", json=body)
    if answer.status_code != 403:
        return False
    assert answer.json()["code"] == "forbidden"
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.ws_url, additional_headers=bearer("alice"))
    assert refused.value.response.status_code == 403
    token = bearer("alice")["Authorization"].removeprefix("Bearer ")
    async with connect(server.ws_url) as socket:
        await socket.send(json.dumps({"type": "auth", "token": token}))
        assert await code_of(socket) == 4403
    return True


async def test_until_then_the_user_is_refused_by_every_server(servers: Servers) -> None:
    with client_of(servers.here, "backend", is_service=True) as backend:
        answer = backend.delete(ALICE, params={"until": "2999-01-01T00:00:00+01:00"})
        assert answer.json() == {"user": "alice", "until": "2998-12-31T23:00:00.000Z"}
        for server in servers.every:
            await until(partial(is_refused, server), "alice is refused")
        assert backend.delete(ALICE).json() == answer.json(), "it stays when nothing is said"
        lifted = backend.delete(ALICE, params={"until": "2000-01-01T00:00:00Z"})
        assert lifted.json() == {"user": "alice"}

        async def is_let_in() -> bool:
            return not await is_refused(servers.here)

        await until(is_let_in, "alice may come again")


def test_only_the_backend_may_and_only_with_a_name_and_a_time(servers: Servers) -> None:
    server = servers.here
    with client_of(server, "alice") as alice:
        for answer in (alice.get(ALICE), alice.delete(ALICE)):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        del alice.headers["Authorization"]
        assert alice.delete(ALICE).status_code == 401
    with client_of(server, "backend", is_service=True) as backend:
        for path in ("/v1/users/a%3Ab/sessions", "/v1/users/a%20b/sessions", f"{ALICE}?until=soon"):
            answer = backend.delete(path)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_frame"), path
        twice = backend.delete(f"{ALICE}?until=2999-01-01T00:00:00Z&until=2999-01-01T00:00:00Z")
        assert twice.status_code == 400
        for asked in (
            backend.delete(f"{ALICE}?untill=2999-01-01T00:00:00Z"),
            backend.request("DELETE", ALICE, json={"until": "2999-01-01T00:00:00Z"}),
        ):
            assert (asked.status_code, asked.json()["code"]) == (400, "bad_frame")
            assert "the only parameter is until" in asked.text
        assert backend.get(ALICE).status_code == 200
        assert backend.delete("/v1/users/%F0%9F%A6%8A/sessions").json() == {"user": "🦊"}
        assert backend.head(ALICE).status_code == 200
        post = backend.post(ALICE, json={})
        assert (post.status_code, post.headers["allow"]) == (405, "GET, DELETE, HEAD")
