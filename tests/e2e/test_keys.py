"""Keys that an issuer publishes: fetched by a real server, found anew, kept while it is away."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from landline.auth.jwks import AGAIN_SECONDS
from support.issuer import Issuer
from support.published import Publisher
from support.saying import hear, say
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

ALGORITHMS = ("RS256", "ES256", "EdDSA")
# So long may a name of a key wait until the issuer is asked for it, on a busy machine.
FOUND_SECONDS = AGAIN_SECONDS + WAIT_SECONDS


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()
    async with publisher.server:
        yield publisher


class Door:
    """A server as those see it who come with a token; it keeps all that was answered."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.answers: list[str] = []

    async def by_header(self, token: str) -> int:
        """Show a token with the handshake. Returns 101, or the status that refuses it."""
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with connect(self.server.ws_url, additional_headers=headers) as client:
                self.answers.append(json.dumps(await hear(client, "welcome")))
        except InvalidStatus as refused:
            response = refused.response
            self.answers += [str(response.headers), (response.body or b"").decode()]
            return response.status_code
        return 101

    async def by_first_frame(self, token: str) -> int:
        """Show a token with the first frame. Returns 101, or the code of the close."""
        async with connect(self.server.ws_url) as client:
            await say(client, type="auth", token=token)
            try:
                self.answers.append(json.dumps(await hear(client, "welcome")))
            except ConnectionClosed:
                assert client.close_code is not None
                self.answers.append(str(client.close_reason))
                return client.close_code
        return 101

    async def is_taken(self, token: str) -> bool:
        """Say whether a token signs its user in."""
        return await self.by_header(token) == 101


@contextmanager
def opened(
    directory: Path, publisher: Publisher, args: Sequence[str] = (), *, is_debugged: bool = False
) -> Iterator[Door]:
    """Have a server that takes the tokens of this issuer, and see that it shows none of them."""
    server = ServerProcess(
        directory / "data",
        args=[*publisher.args, *args],
        env={"PYTHONASYNCIODEBUG": "1"} if is_debugged else None,
    )
    with server:
        door = Door(server)
        yield door
        shown = "\n".join([server.log(), server.get("/metrics")[1], *door.answers])
        assert "Traceback" not in shown
        for token in publisher.made:
            _, body, signature = token.split(".")
            for piece in (body[:16], body[-16:], signature[:16], signature[-16:]):
                assert piece not in shown


async def test_tokens_of_every_algorithm_are_taken_in_the_header_and_the_first_frame(
    tmp_path: Path, publisher: Publisher
) -> None:
    """And those of keys that were never published are not, whatever name they bear."""
    for algorithm in ALGORITHMS:
        publisher.add(algorithm, algorithm)
    with opened(tmp_path, publisher) as door:
        for algorithm in ALGORITHMS:
            token = publisher.token(algorithm)
            assert await door.by_header(token) == 101
            assert await door.by_first_frame(token) == 101
        stranger = Publisher()
        for algorithm in ALGORITHMS:
            stranger.add(algorithm, algorithm)
            token = stranger.token(algorithm)
            assert await door.by_header(token) == 401
            assert await door.by_first_frame(token) == 4401
        publisher.made += stranger.made
    assert len(publisher.server.requests) == 1


@pytest.mark.timeout(900)
async def test_a_new_key_is_found_and_one_that_was_taken_back_is_gone_with_that(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Names that somebody made up cost the issuer no more than one question in half a minute."""
    publisher.add("old")
    stranger = Publisher()
    with opened(tmp_path, publisher) as door:
        old = publisher.token("old")
        assert await door.is_taken(old)
        publisher.add("new")
        publisher.take_back("old")
        for number in range(20):
            stranger.add(f"made up {number}")
            assert not await door.is_taken(stranger.token(f"made up {number}"))
        new = publisher.token("new")
        await until(partial(door.is_taken, new), "the new key is found", FOUND_SECONDS)
        assert await door.by_first_frame(new) == 101
        assert await door.by_header(old) == 401
        assert await door.by_first_frame(old) == 4401
        assert len(publisher.server.requests) == 2


async def test_while_no_keys_were_ever_fetched_it_says_try_again(
    tmp_path: Path, publisher: Publisher
) -> None:
    """And takes tokens once they are, without a restart."""
    publisher.add("one")
    await publisher.server.stop()
    with opened(tmp_path, publisher) as door:
        token = publisher.token("one")
        assert await door.by_header(token) == 503
        assert "Retry-After" in door.answers[-2]
        assert await door.by_first_frame(token) == 1013
        assert "keys_unavailable" in door.server.log()
        await publisher.server.start()
        await until(partial(door.is_taken, token), "the keys are fetched", FOUND_SECONDS)
        assert await door.by_first_frame(token) == 101
        assert "keys_fetched" in door.server.log()


@pytest.mark.timeout(900)
async def test_while_the_issuer_is_away_the_last_good_keys_stay(
    tmp_path: Path, publisher: Publisher
) -> None:
    publisher.add("one")
    with opened(tmp_path, publisher) as door:
        token = publisher.token("one")
        assert await door.is_taken(token)
        await publisher.server.stop()
        publisher.add("two")
        other = publisher.token("two")

        async def has_asked_in_vain() -> bool:
            assert not await door.is_taken(other)
            return "keys_unavailable" in door.server.log()

        await until(has_asked_in_vain, "the issuer is asked and away", FOUND_SECONDS)
        assert await door.by_header(token) == 101
        assert await door.by_first_frame(token) == 101
        assert await door.by_header(other) == 503  # nobody knows whether it is good


async def test_a_secret_and_published_keys_are_good_together(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Each for its own tokens: while the issuer is away, those of the secret are taken. A published
    key is no secret.
    """
    publisher.add("one", "EdDSA")
    issuer = Issuer(tmp_path)
    await publisher.server.stop()
    with opened(tmp_path, publisher, ["--jwt-secret-file", str(issuer.file)]) as door:
        by_secret, published = issuer.token(), publisher.token("one")
        publisher.made.append(by_secret)
        assert await door.by_header(by_secret) == 101
        assert await door.by_header(published) == 503
        await publisher.server.start()
        await until(partial(door.is_taken, published), "the keys are fetched", FOUND_SECONDS)
        assert await door.by_first_frame(by_secret) == 101
        entry = publisher.entry("one")
        forged = jwt.encode(
            {"sub": "alice", "exp": 2**33}, f"{entry['x']:=<48}", "HS256", headers={"kid": "one"}
        )
        publisher.made.append(forged)
        assert await door.by_header(forged) == 401


async def test_issuer_and_audience_are_the_ones_that_were_asked_for(
    tmp_path: Path, publisher: Publisher
) -> None:
    """With everything said aloud that Python can say: no token is in it."""
    publisher.add("one")
    here: dict[str, Any] = {"iss": "https://id.example.org", "aud": "chat"}
    others: list[dict[str, Any]] = [{"iss": "https://id.example.com"}, {"aud": "mail"}, {"aud": []}]
    bad: list[dict[str, Any]] = [{"exp": 1}, {"nbf": 2**33}, {"sub": ["alice"]}, {"sub": "a:b"}]
    args = ["--jwt-issuer", here["iss"], "--jwt-audience", here["aud"]]
    with opened(tmp_path, publisher, args, is_debugged=True) as door:
        assert await door.is_taken(publisher.token("one", **here))
        assert await door.is_taken(publisher.token("one", **{**here, "aud": ["mail", "chat"]}))
        for wrong in (*others, *bad):
            token = publisher.token("one", **{**here, **wrong})
            assert await door.by_header(token) == 401
            assert await door.by_first_frame(token) == 4401
        for lacking in here:
            claims = {name: value for name, value in here.items() if name != lacking}
            assert await door.by_header(publisher.token("one", **claims)) == 401
