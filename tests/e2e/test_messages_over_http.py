"""POST /v1/messages: a product's backend sends, and hears one of the three answers."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from websockets.asyncio.client import connect

from landline.api.types import Accepted, Error
from support.issuer import Issuer
from support.saying import hear
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def server(tmp_path: Path, issuer: Issuer) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "data", args=issuer.args)
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


def client_of(server: ServerProcess, token: str | None = None) -> httpx.Client:
    """Return a client that shows this token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=WAIT_SECONDS, trust_env=False)


def message(**fields: Any) -> dict[str, Any]:
    return {"to": "bob", "content": "hello", "ref": str(uuid.uuid4()), **fields}


def test_a_user_sends_and_repeats(server: ServerProcess, issuer: Issuer) -> None:
    """Who loses the answer sends the same again with `retry`, and gets the same acceptance."""
    sent = message()
    with client_of(server, issuer.token("alice")) as alice:
        first = alice.post("/v1/messages", json=sent)
        assert first.status_code == 200
        accepted = msgspec.json.decode(first.content, type=Accepted)
        assert (accepted.ref, accepted.conversation) == (sent["ref"], "dm:alice:bob")
        again = alice.post("/v1/messages", json={**sent, "retry": True})
        assert (again.status_code, again.json()) == (200, first.json())


async def test_what_is_sent_is_pushed_like_any_message(
    server: ServerProcess, issuer: Issuer
) -> None:
    async with connect(server.ws_url, additional_headers=issuer.bearer("bob")) as bob:
        await hear(bob, "welcome")
        with client_of(server, issuer.token("backend", is_service=True)) as backend:
            answer = await asyncio.to_thread(
                backend.post, "/v1/messages", json=message(sender="alice")
            )
        pushed = await hear(bob, "message")
        assert (pushed["sender"], pushed["id"]) == ("alice", answer.json()["id"])


def test_a_service_writes_in_any_name_and_a_user_in_their_own(
    server: ServerProcess, issuer: Issuer
) -> None:
    with client_of(server, issuer.token("backend", is_service=True)) as backend:
        own = backend.post("/v1/messages", json=message())
        assert own.json()["conversation"] == "dm:backend:bob"
        bad = backend.post("/v1/messages", json=message(sender="a:b"))
        assert (bad.status_code, bad.json()["code"]) == (400, "bad_frame")
    with client_of(server, issuer.token("alice")) as alice:
        assert alice.post("/v1/messages", json=message(sender="alice")).status_code == 200
        other = alice.post("/v1/messages", json=message(sender="carol"))
        assert (other.status_code, other.json()["code"]) == (403, "forbidden")
        assert other.json()["outcome"] == "rejected"


REFUSED: list[tuple[int, str, Any]] = [
    (400, "bad_frame", b"hello"),
    (400, "bad_frame", b"[]"),
    (400, "bad_frame", b"\xff"),
    (400, "bad_frame", b""),
    (400, "bad_frame", b'{"to":"bob","to":"eve","content":"x","ref":"1"}'),
    (400, "bad_frame", message(content=7)),
    (400, "bad_frame", message(retry="yes")),
    (400, "bad_frame", message(sender=7)),
    (400, "bad_frame", {"content": "x", "ref": "1"}),
    (400, "bad_ref", {"to": "bob", "content": "x"}),
    (400, "bad_ref", message(ref="")),
    (400, "bad_ref", message(ref="x" * 65)),
    (400, "bad_recipient", message(to="a:b")),
    (400, "content_empty", message(content="")),
    (413, "content_too_large", message(content="x" * 16_385)),
    (413, "bad_frame", message(content="x" * 66_000)),
]


@pytest.mark.parametrize(("status", "code", "body"), REFUSED)
def test_what_is_no_message_is_refused_as_a_frame_would_be(
    server: ServerProcess, issuer: Issuer, status: int, code: str, body: Any
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    with client_of(server, issuer.token()) as alice:
        answer = alice.post("/v1/messages", content=content, headers=headers)
    assert answer.status_code == status
    error = msgspec.json.decode(answer.content, type=Error)
    assert error.code == code
    assert error.message
    assert "frame" not in error.message, "over HTTP there are none"
    assert ("ref is missing" in error.message) == (body == {"to": "bob", "content": "x"})


def test_whoever_shows_no_good_token_is_told_so(server: ServerProcess, issuer: Issuer) -> None:
    for token, headers in (
        (None, {}),
        (None, {"username": "alice"}),
        (issuer.token(seconds=-60), {}),
        ("a.b.c", {}),
    ):
        with client_of(server, token) as stranger:
            answer = stranger.post("/v1/messages", json=message(), headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert msgspec.json.decode(answer.content, type=Error).code == "forbidden"


def test_other_ways_to_ask_are_told_what_is_right(server: ServerProcess, issuer: Issuer) -> None:
    with client_of(server, issuer.token()) as alice:
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = alice.request(method, "/v1/messages")
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert alice.head("/v1/openapi.json").status_code == 200
        form = alice.post("/v1/messages", data={"to": "bob"})
        assert form.status_code == 415
        assert alice.get("/v1/nothing").status_code == 404
        page = alice.post(
            "/v1/messages", json=message(), headers={"Origin": "https://evil.example"}
        )
        assert page.status_code == 403


def test_with_no_sign_in_the_header_says_who_it_is(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "open") as server, client_of(server) as anybody:
        answer = anybody.post("/v1/messages", json=message(), headers={"username": "alice"})
        assert answer.json()["conversation"] == "dm:alice:bob"
        assert anybody.post("/v1/messages", json=message()).status_code == 401
        forged = message(sender="carol")
        answer = anybody.post("/v1/messages", json=forged, headers={"username": "alice"})
        assert answer.status_code == 403


def test_the_description_is_one_that_others_can_read(server: ServerProcess) -> None:
    with client_of(server) as anybody:
        answer = anybody.get("/v1/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    OpenAPIV31SpecValidator(answer.json()).validate()
    assert answer.json()["openapi"].startswith("3.1")
    assert {"/v1/messages", "/healthz", "/readyz"} <= set(answer.json()["paths"])
