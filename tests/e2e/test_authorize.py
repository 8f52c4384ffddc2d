"""`--authorize-url`: the product says who may write to whom, and what it refuses is never in the
log.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.keys import jwk, published
from support.peer import Peer
from support.product import HttpServer, Request, response
from support.server import ServerProcess
from support.waiting import go_round, until, until_equal

# What must not be in the log says so.
REFUSED = "to be refused"
SECRET = "sw0rdfish"

Starting = Callable[..., Awaitable[ServerProcess]]


class Product:
    """Refuses whom it is told to refuse; some of its answers wait."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.slow: set[str] = set()
        self.gate = asyncio.Event()
        self.status = "200 OK"
        self.http = HttpServer(self._answer)

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Return sender and recipient of each question."""
        questions = [request.json() for request in self.http.requests]
        assert all(each["kind"] == "message" for each in questions)
        return [(each["sender"], each["to"]) for each in questions]

    async def _answer(self, request: Request) -> bytes:
        to = request.json()["to"]
        if to in self.slow:
            await self.gate.wait()
        return response({"allow": to not in self.refused}, self.status)


@pytest.fixture
async def product() -> AsyncIterator[Product]:
    product = Product()
    async with product.http:
        yield product


@pytest.fixture
def servers() -> Iterator[list[ServerProcess]]:
    servers: list[ServerProcess] = []
    yield servers
    for server in servers:
        server.kill()
        assert "Traceback" not in server.log()
        assert SECRET not in server.log()


@pytest.fixture
async def starting(
    product: Product, servers: list[ServerProcess], tmp_path: Path
) -> AsyncIterator[Starting]:
    """Start a server that asks the product. At the end nothing refused is in its log."""

    async def start(*options: str) -> ServerProcess:
        url = product.http.url(f"/may?key={SECRET}", f"landline:{SECRET}@")
        server = ServerProcess(tmp_path / "data", args=["--authorize-url", url, *options])
        servers.append(server)
        await asyncio.to_thread(server.start)
        return server

    yield start
    for server in servers:
        contents = in_log(server)
        assert contents
        assert not [each for each in contents if REFUSED.encode() in each]


def in_log(server: ServerProcess) -> list[bytes]:
    with closing(sqlite3.connect(server.data_dir / "landline.db")) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM log")]


def answers(peer: Peer) -> list[tuple[str, ...]]:
    """Return what a peer's sends were answered, in order."""
    frames = [each for each in peer.visit.frames if each["type"] in ("accepted", "error")]
    return [
        (each["ref"], *([each["code"], each["outcome"]] if each["type"] == "error" else []))
        for each in frames
    ]


async def refused(peer: Peer, to: str) -> dict[str, Any]:
    """Send what is refused, and return the error."""
    ref = await peer.send(to, REFUSED)
    await until(lambda: ref in peer.rejected, "it is refused")
    return next(each for each in peer.errors if each["ref"] == ref)


async def is_refused(peer: Peer, to: str) -> bool:
    ref = await peer.send(to, "perhaps")
    await until(lambda: ref in peer.rejected or ref in peer.accepted, "it is answered")
    return ref in peer.rejected


async def metric(server: ServerProcess, name: str) -> float:
    _status, page = await asyncio.to_thread(server.get, "/metrics")
    line = next(each for each in page.splitlines() if each.startswith(f"landline_authorize_{name}"))
    return float(line.split()[-1])


async def test_the_product_is_asked_once_for_a_pair(product: Product, starting: Starting) -> None:
    product.refused = {"carol"}
    server = await starting()
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        for number in range(3):
            await alice.send_and_wait("bob", f"hello {number}")
            error = await refused(alice, "carol")
            assert (error["code"], error["outcome"]) == ("forbidden", "rejected")
        await alice.send_and_wait("alice", "a note")
        await bob.send_and_wait("alice", "hello")
        await until(lambda: len(bob.messages) == 3, "bob has them")
    assert sorted(product.asked) == [("alice", "bob"), ("alice", "carol"), ("bob", "alice")]
    request = product.http.requests[0]
    assert (request.method, request.target) == ("POST", f"/may?key={SECRET}")
    assert request.headers["authorization"].startswith("Basic ")
    for name, count in (("asked", 3), ("allowed", 2), ("refused", 1), ("failed", 0)):
        assert await metric(server, f"{name}_total") == count


async def test_an_answer_is_asked_for_again_after_its_time(
    product: Product, starting: Starting
) -> None:
    server = await starting("--authorize-ttl", "100ms")
    async with Peer(server.ws_url, "alice") as alice:
        await alice.send_and_wait("bob", "hello")
        product.refused = {"bob"}
        await until_equal(lambda: is_refused(alice, "bob"), True)
        assert (await refused(alice, "bob"))["code"] == "forbidden"
        product.refused = set()
        await until_equal(lambda: is_refused(alice, "bob"), False)


async def test_without_an_answer_it_is_busy_until_there_is_one(
    product: Product, starting: Starting
) -> None:
    server = await starting()
    product.status = "500 Oops"
    async with Peer(server.ws_url, "alice") as alice:
        await alice.send_and_wait("alice", "a note")
        error = await refused(alice, "bob")
        assert (error["code"], error["outcome"]) == ("busy", "rejected")
        await product.http.stop()
        assert (await refused(alice, "carol"))["code"] == "busy"
        product.status = "200 OK"
        await product.http.start()
        await until_equal(lambda: is_refused(alice, "bob"), False)
        await until_equal(lambda: is_refused(alice, "carol"), False)
    assert await metric(server, "failed_total") >= 2
    assert '"authorize_fails"' in server.log()


async def test_without_an_answer_it_goes_through_where_that_is_wanted(
    product: Product, starting: Starting
) -> None:
    server = await starting("--authorize-fail", "open")
    async with Peer(server.ws_url, "alice") as alice:
        product.status = "500 Oops"
        await alice.send_and_wait("bob", "hello")
        product.status, product.refused = "200 OK", {"carol"}
        assert (await refused(alice, "carol"))["code"] == "forbidden"


async def test_a_slow_answer_keeps_order_and_nobody_else(
    product: Product, starting: Starting
) -> None:
    """Whether others waited is seen where they were faster. A machine that stands still for the
    deadline of a question shows nothing; then it is tried again.
    """
    server = await starting()
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "dave") as dave:
        await alice.send_and_wait("bob", "hello")
        await dave.send_and_wait("bob", "hello")
        tries = 0

        async def is_faster() -> bool:
            """Let alice wait for an answer, and say whether dave was answered meanwhile."""
            nonlocal tries
            tries += 1
            slow = f"slow{tries}"
            product.slow.add(slow)
            product.gate.clear()
            refs = [await alice.send(to, "text") for to in (slow, "bob", "alice")]
            await until(lambda: ("alice", slow) in product.asked, "it is asked")
            await dave.send_and_wait("bob", "at once")
            answered = {ref for ref, *_ in answers(alice)}
            product.gate.set()
            await until(lambda: refs[-1] in alice.accepted, "all are answered")
            assert [ref for ref, *_ in answers(alice)][-3:] == refs
            return answered.isdisjoint(refs)

        await until(is_faster, "others do not wait")


async def test_a_sender_that_leaves_before_the_answer_is_in_nobodys_way(
    product: Product, starting: Starting
) -> None:
    server = await starting()
    product.slow = {"bob"}
    async with Peer(server.ws_url, "alice", reconnects=False) as alice:
        await alice.send("bob", REFUSED)
        await until(lambda: bool(product.asked), "it is asked")
        await alice.cut()
    product.refused = {"bob"}
    product.gate.set()
    await until_equal(lambda: metric(server, "refused_total"), 1.0)
    async with Peer(server.ws_url, "alice") as alice:
        await refused(alice, "bob")
        await alice.send_and_wait("carol", "hello")


async def test_a_server_that_drains_waits_for_nobody(product: Product, starting: Starting) -> None:
    server = await starting()
    product.slow = {"bob"}
    async with Peer(server.ws_url, "alice", reconnects=False) as alice:
        await alice.send_and_wait("alice", "a note")
        ref = await alice.send("bob", REFUSED)
        await until(lambda: bool(product.asked), "it is asked")
        assert await asyncio.to_thread(server.end) == 0
        await go_round()
        assert answers(alice)[-1] == (ref, "busy", "rejected")


async def test_a_repeat_is_looked_for_though_it_may_not_be_sent_any_more(
    product: Product, starting: Starting
) -> None:
    server = await starting()
    async with Peer(server.ws_url, "alice") as alice:
        first = await alice.send_and_wait("bob", "hello", "ref-1")
        product.refused = {"bob"}
        await asyncio.to_thread(server.kill)  # what it has been told is forgotten
        await asyncio.to_thread(server.start)
        await until(lambda: len(alice.visits) > 1 and bool(alice.visit.frames), "alice is back")
        del alice.accepted["ref-1"]
        await alice.repeat("bob", "hello", "ref-1")
        await until(lambda: "ref-1" in alice.accepted, "it is found")
        assert alice.accepted["ref-1"] == first
        await alice.repeat("bob", REFUSED, "ref-2")
        await until(lambda: ("ref-2", "forbidden", "rejected") in answers(alice), "it is answered")
        assert "ref-2" not in alice.accepted


async def test_published_keys_are_fetched(servers: list[ServerProcess], tmp_path: Path) -> None:
    """And an issuer that answers nonsense is told in the log, without its address."""
    bodies = [response({}, "500 Oops"), response(published(jwk("ES256", kid="one")))]

    async def answer(_request: Request) -> bytes:
        return bodies.pop(0) if len(bodies) > 1 else bodies[0]

    async with HttpServer(answer) as issuer:
        url = issuer.url(f"/keys?key={SECRET}", f"landline:{SECRET}@")
        server = ServerProcess(tmp_path / "data", args=["--auth", "jwt", "--jwks-url", url])
        servers.append(server)
        await asyncio.to_thread(server.start)
        await until(lambda: '"keys_fetched"' in server.log(), "the keys are there")
    assert "it answers with status 500" in server.log()
