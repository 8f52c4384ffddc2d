"""Tokens: what is read of them, who brings them, and when no fresh one helps any more."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from landline.client import credentials
from landline.client.credentials import REFUSED_SECONDS, Credentials, Token, read_token, subject
from landline.client.errors import ClientError, Refused, TokenRefused, TokenUnavailable

SECRET = "s" * 32
CANARY = "canary-" + "x" * 20


def signed(**claims: Any) -> str:
    return jwt.encode(claims, SECRET, "HS256")


@pytest.mark.parametrize("text", [CANARY, "a.b", "a.b.c", "a.!!!.c", "a.WzFd.c", "..", "a.e30.c"])
def test_what_is_no_json_web_token_is_one_without_an_end(text: str) -> None:
    assert read_token(text) == Token(text)
    assert subject(text) is None


def test_times_and_subject_are_read_without_the_key() -> None:
    text = signed(sub="alice", exp=2_000, iat=1_000)
    assert read_token(text) == Token(text, 2_000, 1_000)
    assert subject(text) == "alice"
    text = signed(sub=7, exp="2000", iat=True)
    assert read_token(text) == Token(text)
    assert subject(text) is None


@pytest.mark.parametrize("text", ["a b", "a\r\nX: y", "é", "a\x00"])
def test_what_no_header_can_have_is_no_token_and_is_not_repeated(text: str) -> None:
    with pytest.raises(
        ClientError, match=r"^a token has printable characters of ASCII alone, and no blanks$"
    ) as caught:
        read_token(text)
    assert repr(text) not in str(caught.value)


def test_the_end_of_a_file_s_line_is_no_part_of_a_token() -> None:
    assert read_token("a.b.c\r\n").text == "a.b.c"
    assert read_token("a" * 8_000 + "\n").text == "a" * 8_000
    for text in ("", "\n"):
        with pytest.raises(ClientError, match=r"^the token is empty$"):
            read_token(text)


def test_a_token_that_no_server_takes_is_too_long_here_already() -> None:
    assert read_token("a" * 8_000).text == "a" * 8_000
    with pytest.raises(ClientError, match=r"^a token has at most 8,000 characters$"):
        read_token("a" * 8_001)


def test_a_token_is_in_no_repr() -> None:
    assert CANARY not in repr(read_token(CANARY))
    assert CANARY not in repr(Credentials(CANARY))


@pytest.mark.parametrize(
    ("token", "now", "seconds"),
    [
        (Token("t"), 0, None),
        (Token("t", 1_000), 0, 970),
        (Token("t", 1_000), 900, 90),
        (Token("t", 1_000, 0), 0, 970),
        (Token("t", 1_000, 940), 0, 54),  # our clock is behind
        (Token("t", 1_000, 940), 2_000, 54),  # our clock is ahead: the server has taken it
        (Token("t", 1_000), 2_000, None),
        (Token("t", 1_000, 1_000), 2_000, None),
    ],
)
def test_a_session_is_renewed_before_its_token_expires(
    token: Token, now: float, seconds: float | None
) -> None:
    assert token.seconds_to_renewal(now) == seconds


async def test_without_credentials_there_is_no_token() -> None:
    none = Credentials(None)
    assert not none
    assert await none.token() is None
    assert isinstance(none.refused("why", 0), Refused)


async def test_a_string_is_the_token_of_every_connection() -> None:
    fixed = Credentials("t")
    assert fixed
    assert not fixed.is_renewable
    assert await fixed.token() == await fixed.token() == Token("t")
    assert isinstance(fixed.refused("why", 0), TokenRefused)


async def test_a_function_is_asked_for_each_connection() -> None:
    left = ["a", "b"]

    async def later() -> str:
        await asyncio.sleep(0)
        return left.pop(0)

    for source in (later, lambda: left.pop(0)):
        token = await Credentials(source).token()
        assert token is not None
        assert token.text in {"a", "b"}
    assert left == []


async def _hang() -> str:
    await asyncio.Event().wait()
    return "never"


async def _is_cancelled() -> str:
    raise asyncio.CancelledError


def _fails() -> str:
    raise OSError(CANARY)


def _has_none() -> str:
    raise TokenUnavailable("sign in first")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (_fails, "the function `token` raised OSError"),
        (_is_cancelled, "the function `token` was cancelled"),
        (_hang, "the function `token` brought none within 0.01 s"),
        (_has_none, "sign in first"),
    ],
)
async def test_a_function_that_fails_is_asked_again_later_and_is_not_quoted(
    source: Callable[[], Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(credentials, "TOKEN_SECONDS", 0.01)
    with pytest.raises(TokenUnavailable) as caught:
        await Credentials(source).token()
    assert str(caught.value) == said
    assert CANARY not in caplog.text


def _signed_out() -> str:
    raise TokenRefused("signed out")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (_signed_out, "signed out"),
        (lambda: None, "the function `token` returned none: a token must be a str, not NoneType"),
        (lambda: "a b", "the function `token` returned none: a token has printable"),
    ],
)
async def test_a_function_that_says_so_or_returns_no_token_ends_the_chat(
    source: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ClientError) as caught:
        await Credentials(source).token()
    assert not isinstance(caught.value, TokenUnavailable)
    assert str(caught.value).startswith(said)


def test_fresh_tokens_are_tried_for_as_long_as_a_server_may_lack_the_new_key() -> None:
    fresh = Credentials(lambda: "t")
    assert fresh.refused("why", 100) is None
    assert fresh.refused("why", 100 + REFUSED_SECONDS - 1) is None
    assert isinstance(fresh.refused("why", 100 + REFUSED_SECONDS), TokenRefused)
    fresh.taken()
    assert fresh.refused("why", 1_000) is None
