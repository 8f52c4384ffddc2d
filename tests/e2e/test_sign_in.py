"""Who connects: by a token, for as long as that is good, or by the word of a proxy."""

import json
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from landline.gateway.lobby import FULL_RETRY_MS
from landline.gateway.sign_in import SIGN_IN_BYTES, SIGN_IN_SECONDS
from support.issuer import Issuer
from support.raw import TEXT, dialled, frame, request
from support.saying import closed, hear, say
from support.server import ServerProcess
from support.waiting import until


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def server(tmp_path: Path, issuer: Issuer) -> Iterator[ServerProcess]:
    args = ["--auth", "jwt", "--jwt-secret-file", str(issuer.file)]
    server = ServerProcess(tmp_path / "data", args=args)
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


async def test_a_token_in_the_header_or_the_first_frame_says_who_it_is(
    server: ServerProcess, issuer: Issuer
) -> None:
    async with connect(server.ws_url, additional_headers=issuer.bearer()) as alice:
        assert (await hear(alice, "welcome"))["user"] == "alice"
        async with connect(server.ws_url) as bob:
            await say(bob, type="auth", token=issuer.token("bob"))
            assert (await hear(bob, "welcome"))["user"] == "bob"
            await say(alice, to="bob", content="hello", ref="1")
            assert (await hear(bob, "message"))["sender"] == "alice"


@pytest.mark.parametrize("query", ["?username=bob", "?access_token={}", "?token={}", ""])
async def test_nothing_in_the_address_signs_anybody_in(
    server: ServerProcess, issuer: Issuer, query: str
) -> None:
    """The connection waits for a token, and ends without one."""
    async with connect(server.ws_url + query.format(issuer.token("bob"))) as client:
        await say(client, to="bob", content="hello", ref="1")
        code, reason = await closed(client)
    assert (code, "first frame" in str(reason)) == (4401, True)
    assert issuer.token("bob")[:40] not in server.log()


async def test_a_name_beside_a_token_must_be_the_tokens(
    server: ServerProcess, issuer: Issuer
) -> None:
    url = f"{server.ws_url}?username=alice"
    async with connect(url, additional_headers=issuer.bearer("alice")) as client:
        assert (await hear(client, "welcome"))["user"] == "alice"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=issuer.bearer("bob"))
    assert refused.value.response.status_code == 403
    async with connect(url) as client:
        await say(client, type="auth", token=issuer.token("bob"))
        assert (await closed(client))[0] == 4401


@pytest.mark.parametrize(
    "header",
    ["Bearer x", "Bearer", "Basic YTpi", "Bearer a.b.c", "Token {}", "Bearer {}x"],
)
async def test_a_bad_token_is_refused_before_the_upgrade(
    server: ServerProcess, issuer: Issuer, header: str
) -> None:
    headers = {"Authorization": header.format(issuer.token())}
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.ws_url, additional_headers=headers)
    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


FIRST_FRAMES = {
    "a bad token": frame(TEXT, b'{"type":"auth","token":"a.b.c"}'),
    "another frame": frame(TEXT, b'{"type":"ping"}'),
    "no JSON": frame(TEXT, b"hello"),
    "a token that is no text": frame(TEXT, b'{"type":"auth","token":7}'),
    "two frames, and the first is none": frame(TEXT, b"{}") * 2,
}


@pytest.mark.parametrize("case", FIRST_FRAMES)
async def test_whoever_does_not_sign_in_is_sent_away(server: ServerProcess, case: str) -> None:
    async with dialled(server.port) as raw:
        assert (await raw.upgrade(request(server.port, "/ws/chat"))).status == 101
        await raw.write(FIRST_FRAMES[case])
        assert await raw.close_code() == 4401
    assert "landline_sessions_opened_total 0.0" in server.get("/metrics")[1]


async def test_whoever_says_nothing_or_too_much_before_it_is_known_who_they_are_has_to_go(
    server: ServerProcess,
) -> None:
    """Bytes of a ping, of a frame that never ends, or of many small ones: all of them count."""

    async def code_after(data: bytes) -> int | None:
        async with dialled(server.port) as raw:
            await raw.upgrade(request(server.port, "/ws/chat"))
            await raw.write(data)
            return await raw.close_code()

    began = time.monotonic()
    assert await code_after(b"") == 4401
    assert time.monotonic() - began > SIGN_IN_SECONDS - 1
    large = frame(TEXT, b'{"type":"auth","token":"%s"}' % (b"x" * SIGN_IN_BYTES))
    assert await code_after(large) == 1009
    assert await code_after(frame(9, b"x" * 100) * 100) == 1009


async def test_a_session_ends_with_its_token_unless_a_fresh_one_came_before(
    server: ServerProcess, issuer: Issuer
) -> None:
    async with (
        connect(server.ws_url, additional_headers=issuer.bearer("alice", 4)) as short,
        connect(server.ws_url, additional_headers=issuer.bearer("alice", 4)) as renewed,
    ):
        fresh = issuer.token("alice", 60)
        await say(renewed, type="auth", token=fresh)
        expires = (await hear(renewed, "authenticated"))["expires"]
        assert expires.endswith("Z")
        began = time.monotonic()
        assert await closed(short) == (4401, "the token has expired")
        assert time.monotonic() - began < 4 + 5
        await say(renewed, type="ping")
        await hear(renewed, "pong")


async def test_a_token_that_is_not_the_sessions_changes_nothing(
    server: ServerProcess, issuer: Issuer
) -> None:
    async with connect(server.ws_url, additional_headers=issuer.bearer("alice")) as alice:
        for token in (issuer.token("bob"), issuer.token("alice", is_service=True), "a.b.c"):
            await say(alice, type="auth", token=token)
            error = await hear(alice, "error")
            assert error["code"] == "forbidden"
            assert "outcome" not in error
        await say(alice, type="ping")
        await hear(alice, "pong")


async def test_keys_are_read_anew_on_sighup(server: ServerProcess, issuer: Issuer) -> None:
    old = issuer.bearer()
    issuer.secret = secrets.token_urlsafe(32).encode()
    issuer.file.write_bytes(issuer.secret)
    server.signal(signal.SIGHUP)
    await until(lambda: "keys_reloaded" in server.log(), "the keys are read anew")
    async with connect(server.ws_url, additional_headers=issuer.bearer()) as client:
        await hear(client, "welcome")
    with pytest.raises(InvalidStatus):
        await connect(server.ws_url, additional_headers=old)
    issuer.file.write_bytes(b"short")
    server.signal(signal.SIGHUP)
    await until(lambda: "keys_not_reloaded" in server.log(), "it says that it could not")
    async with connect(server.ws_url, additional_headers=issuer.bearer()) as client:
        await hear(client, "welcome")


async def test_no_token_is_ever_shown(server: ServerProcess, issuer: Issuer) -> None:
    """Wherever it stands, taken or not; not a piece of it either."""
    good, bad = issuer.token("alice"), issuer.token("alice") + "x"
    body, signature = good.split(".")[1:]
    async with connect(
        server.ws_url, additional_headers={"Authorization": f"Bearer {good}"}
    ) as client:
        await say(client, type="auth", token=bad)
        assert bad not in json.dumps(await hear(client, "error"))
    for token in (good, bad):
        async with dialled(server.port) as raw:
            await raw.upgrade(request(server.port, f"/ws/chat?token={token}"))
            await raw.write(frame(TEXT, b'{"type":"auth","token":"%s!"}' % token.encode()))
            await raw.close_code()
        async with dialled(server.port) as raw:
            headers = [("Authorization", f"Bearer {token}!"), ("Origin", f"https://{token[:30]}")]
            refused = request(server.port, f"/ws/chat?token={token}&key={body[:20]}", headers)
            assert (await raw.upgrade(refused)).status in (401, 403)
        async with dialled(server.port) as raw:
            assert (await raw.upgrade(request(server.port, f"/ws/{token}"))).status == 404
    for piece in (body[:16], signature[:16]):
        assert piece not in server.log()
        assert piece not in server.get("/metrics")[1]


async def test_a_user_has_so_many_connections(tmp_path: Path, issuer: Issuer) -> None:
    args = ["--auth", "jwt", "--jwt-secret-file", str(issuer.file), "--limit-user-connections", "2"]
    with ServerProcess(tmp_path / "data", args=args) as server:
        one, two = [
            await connect(server.ws_url, additional_headers=issuer.bearer()) for _ in range(2)
        ]
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url, additional_headers=issuer.bearer())
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) == FULL_RETRY_MS // 1000
        async with connect(server.ws_url) as third:
            await say(third, type="auth", token=issuer.token())
            assert await closed(third) == (1013, f"retry_after_ms={FULL_RETRY_MS}")
        async with connect(server.ws_url, additional_headers=issuer.bearer("bob")) as other:
            await hear(other, "welcome")
        await one.close()
        async with connect(server.ws_url, additional_headers=issuer.bearer()) as again:
            await hear(again, "welcome")
        await two.close()


async def test_a_trusted_proxy_says_who_it_is_and_nobody_else(tmp_path: Path) -> None:
    args = ["--auth", "proxy", "--trusted-proxies", "127.0.0.2"]
    with ServerProcess(tmp_path / "data", args=args) as server:
        named = {"username": "alice"}
        proxy = ("127.0.0.2", 0)
        async with connect(server.ws_url, additional_headers=named, local_addr=proxy) as client:
            assert (await hear(client, "welcome"))["user"] == "alice"
        for query, headers, local, status in (
            ("", named, None, 403),
            ("?username=alice", {}, proxy, 401),
            ("?username=bob", named, proxy, 400),
            ("", {"username": "a:b"}, proxy, 400),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.ws_url + query, additional_headers=headers, local_addr=local)
            assert refused.value.response.status_code == status
