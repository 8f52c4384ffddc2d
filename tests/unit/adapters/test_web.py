"""What is asked of other servers is bounded, and what goes wrong shows no secret."""

import asyncio
import base64
import ssl
import traceback
from collections.abc import AsyncIterator, Callable

import pytest
import trustme

from landline.adapters.web import Page, Web
from landline.app.asking import KEYS_BYTES, Outside, asks_product, fetches_keys
from landline.auth.jwks import CannotFetch, PublishedKeys
from landline.config import Settings
from landline.config.values import SecretUrl
from landline.errors import BadAnswer, ConfigError, WebUnavailable
from landline.gateway.permissions import QUESTIONS
from support.clock import Clock
from support.keys import jwk, published
from support.product import HttpServer, Request, response
from support.waiting import until

SECRET = "sw0rdfish"
SLOW_SECONDS = 0.05


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    yield web
    await web.close()


def says(content: bytes) -> Callable[[Request], "asyncio.Future[bytes]"]:
    """Return what answers always the same."""

    def answer(_request: Request) -> "asyncio.Future[bytes]":
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        future.set_result(content)
        return future

    return answer


async def stay_silent(_request: Request) -> bytes:
    await asyncio.Event().wait()
    return b""


def page_of(server: HttpServer) -> Page:
    return Page("jwks-url", SecretUrl(server.url(f"/?key={SECRET}", f"user:{SECRET}@")))


async def failure(web: Web, server: HttpServer, *, seconds: float = 60.0) -> str:
    """Return why there is no answer."""
    with pytest.raises(WebUnavailable) as caught:
        await web.get(page_of(server), most_bytes=1_000, seconds=seconds)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


async def test_it_is_fetched_with_the_name_and_password_of_the_address(web: Web) -> None:
    async with HttpServer(says(response({"a": 1}))) as server:
        content = await web.get(page_of(server), most_bytes=1_000, seconds=60)
    assert content == b'{"a": 1}'
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", f"/?key={SECRET}")
    expected = base64.b64encode(f"user:{SECRET}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {expected}"


async def test_connections_are_kept_and_cookies_are_not(web: Web) -> None:
    async with HttpServer(says(response({}, "200 OK", "Set-Cookie: a=b; Path=/"))) as server:
        for _ in range(3):
            await web.post(page_of(server), b"{}", most_bytes=1_000, seconds=60)
    assert server.connections == 1
    assert not [each for each in server.requests if "cookie" in each.headers]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (response({}, "500 Oops"), "it answers with status 500"),
        (response({}, "204 Nothing"), "it answers with status 204"),
        (response({}, "302 There", f"Location: /{SECRET}"), "it answers with status 302"),
        (response(b"x" * 1_001), "it answers with more than 1,000 bytes"),
        (response(b"{"), "what it answers is not JSON"),
        (response(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip"), "compressed"),
        (b"SSH-2.0-x\r\n\r\n", "it cannot be reached: RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000, "it cannot be reached"),
    ],
)
async def test_what_is_no_answer_is_told_in_words(web: Web, answer: bytes, why: str) -> None:
    async with HttpServer(says(answer)) as server:
        assert why in await failure(web, server)


async def test_a_redirect_is_not_followed(web: Web) -> None:
    async with HttpServer(says(response({}, "307 There", "Location: /there"))) as server:
        await failure(web, server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_slow_one_has_one_deadline(web: Web, is_begun: bool) -> None:
    """Not one for each read: bytes that come one by one do not make it longer."""
    begun = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
    async with HttpServer(begun if is_begun else stay_silent) as server:
        assert await failure(web, server, seconds=SLOW_SECONDS) == (
            f"it did not answer within {SLOW_SECONDS:g} s"
        )


async def test_an_endless_answer_is_not_read_to_its_end(web: Web) -> None:
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 100
    async with HttpServer(says(endless)) as server:
        assert await failure(web, server) == "it answers with more than 1,000 bytes"


async def test_where_nobody_listens(web: Web) -> None:
    async with HttpServer(stay_silent) as server:
        pass
    assert "it cannot be reached: " in await failure(web, server)


async def test_certificates_are_checked() -> None:
    authority = trustme.CA()
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    theirs = ssl.create_default_context()
    authority.configure_trust(theirs)
    trusting, other = Web(theirs), Web()
    async with HttpServer(says(response({})), tls=ours) as server:
        assert await trusting.get(page_of(server), most_bytes=1_000, seconds=60) == b"{}"
        assert "certificate: " in await failure(other, server)
    await trusting.close()
    await other.close()


async def test_a_deadline_gives_its_connection_back(web: Web) -> None:
    """More of them in a row than there are places."""
    async with HttpServer(stay_silent) as server:
        page = page_of(server)
        for _ in range(3):
            asked = [web.get(page, most_bytes=9, seconds=SLOW_SECONDS) for _ in range(40)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(each, WebUnavailable) for each in results)
    async with HttpServer(says(response({}))) as server:
        assert await web.get(page_of(server), most_bytes=9, seconds=60) == b"{}"


def test_an_address_that_cannot_be_used_ends_the_start_in_words() -> None:
    with pytest.raises(ConfigError) as caught:
        Page("jwks-url", SecretUrl(f"https://user:{SECRET}@exa\u2024mple..org:99999/"))
    assert str(caught.value).startswith("--jwks-url ")
    assert SECRET not in str(caught.value)


# The product ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_the_product_is_asked_about_a_pair(web: Web, is_allowed: bool) -> None:
    async with HttpServer(says(response({"allow": is_allowed, "why": "x"}))) as server:
        ask = asks_product(web, SecretUrl(server.url("/may")))
        assert await ask("alice", "bób") is is_allowed
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/may")
    assert request.headers["content-type"] == "application/json"
    assert request.json() == {"sender": "alice", "to": "bób", "kind": "message"}


@pytest.mark.parametrize("answer", [{}, [], {"allow": 1}, {"allow": "true"}, "allow", None])
async def test_another_answer_is_none(web: Web, answer: object) -> None:
    async with HttpServer(says(response(answer))) as server:
        ask = asks_product(web, SecretUrl(server.url()))
        with pytest.raises(BadAnswer, match="neither"):
            await ask("alice", "bob")


@pytest.mark.parametrize(
    "answer", [response({}, "404 No"), response(b"<html>"), response({}, "503 Busy"), None]
)
async def test_a_bad_answer_is_told_from_none(web: Web, answer: bytes | None) -> None:
    async with HttpServer(says(answer or b"")) as server:
        if answer is None:
            await server.stop()
        with pytest.raises(WebUnavailable) as caught:
            await web.post(page_of(server), b"{}", most_bytes=1_000, seconds=60)
    assert isinstance(caught.value, BadAnswer) == (answer is not None)


async def test_a_product_that_does_not_answer_keeps_no_keys_from_being_fetched() -> None:
    gate = asyncio.Event()

    async def wait(_request: Request) -> bytes:
        await gate.wait()
        return response({"allow": True})

    async with HttpServer(wait) as product, HttpServer(says(response({"keys": []}))) as issuer:
        outside = Outside(
            Settings(authorize_url=SecretUrl(product.url()), jwks_url=SecretUrl(issuer.url()))
        )
        assert outside.authorizing is not None
        assert outside.fetch_keys is not None
        questions = [
            asyncio.ensure_future(outside.authorizing.ask("alice", f"user{number}"))
            for number in range(QUESTIONS)
        ]
        await until(lambda: len(product.requests) == QUESTIONS, "all connections are in use")
        assert await outside.fetch_keys() == b'{"keys": []}'
        gate.set()
        await asyncio.gather(*questions, return_exceptions=True)
        await outside.close()


# The keys ------------------------------------------------------------------------------------


async def test_keys_are_fetched(web: Web) -> None:
    async with HttpServer(says(response(published(jwk("ES256", kid="one"))))) as server:
        keys = PublishedKeys(fetches_keys(web, SecretUrl(server.url())), Clock())
        assert (await keys.keys_for("ES256", "one")).find("ES256", "one")


@pytest.mark.parametrize(
    "answer", [response({}, "404 No"), response(b"<html>"), response(b"[" + b" " * KEYS_BYTES)]
)
async def test_keys_that_cannot_be_fetched_are_told_so(web: Web, answer: bytes) -> None:
    async with HttpServer(says(answer)) as server:
        with pytest.raises(CannotFetch, match="it answers"):
            await fetches_keys(web, SecretUrl(server.url()))()
