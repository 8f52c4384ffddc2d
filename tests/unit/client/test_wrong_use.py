"""A chat that is used wrongly says so at once, in a sentence, and does not wait for ever."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landline
from landline.client import Chat, ChatClosed, ClientError, Message, OutboxInUse, SendTimeout
from support.scripted import ID, accept_all, scripted

URL = "ws://127.0.0.1:1/ws/chat"
WAIT_SECONDS = 20.0
MESSAGE = Message("m", "dm:a:b", "b", "a", "hi", datetime(2026, 1, 2, tzinfo=UTC), 1, replay=False)


async def acknowledge(chat: Chat) -> None:
    chat.acknowledge(MESSAGE)


async def iterate(chat: Chat) -> None:
    async for _message in chat:
        pass


USES: dict[str, Callable[[Chat], Awaitable[Any]]] = {
    "send": lambda chat: chat.send("b", "hello"),
    "send with a timeout": lambda chat: chat.send("b", "hello", timeout=5),
    "loop": iterate,
    "anext": anext,
    "acknowledge": acknowledge,
}
WITH_FILE = pytest.mark.parametrize("has_file", [False, True])


def unopened(directory: Path, url: str, *, has_file: bool) -> Chat:
    outbox = directory / "a.db" if has_file else None
    return landline.connect(url, username="a", outbox=outbox)


@WITH_FILE
@pytest.mark.parametrize("use", USES)
async def test_one_that_is_not_open_says_what_to_do(
    use: str, has_file: bool, tmp_path: Path
) -> None:
    async with scripted(accept_all) as server:
        chat = unopened(tmp_path, server.url, has_file=has_file)
        with pytest.raises(ClientError, match="not open: use it inside `async with"):
            await asyncio.wait_for(USES[use](chat), WAIT_SECONDS)
        assert chat.unanswered == []
        async with chat:  # no harm is done
            assert (await chat.send("b", "hello")).id == ID
        assert [frame["content"] for frame in server.frames] == ["hello"]


@WITH_FILE
@pytest.mark.parametrize("when", ["open", "left", "closed before", "failed"])
async def test_one_that_is_opened_again_says_what_to_do(
    when: str, has_file: bool, tmp_path: Path
) -> None:
    async with scripted(accept_all) as server:
        chat = unopened(tmp_path, server.url, has_file=has_file)
        match when:
            case "open":
                await chat.__aenter__()
            case "left":
                async with chat:
                    pass
            case "closed before":
                await chat.close()
            case _:
                entering = asyncio.create_task(chat.__aenter__())
                await asyncio.sleep(0)
                entering.cancel()
                await asyncio.wait({entering})
        with pytest.raises(ClientError, match="opened once: get another one"):
            await asyncio.wait_for(chat.__aenter__(), WAIT_SECONDS)
        if when == "open":  # it is not hurt by that
            assert (await chat.send("b", "hello")).id == ID
            await chat.close()
        with pytest.raises(ChatClosed):
            await asyncio.wait_for(chat.send("b", "hello"), WAIT_SECONDS)


async def test_where_the_outbox_was_in_use_another_chat_is_needed(tmp_path: Path) -> None:
    async with scripted(accept_all) as server:
        first, second = (unopened(tmp_path, server.url, has_file=True) for _ in range(2))
        async with first:
            with pytest.raises(OutboxInUse):
                await second.__aenter__()
        with pytest.raises(ClientError, match="opened once"):
            await asyncio.wait_for(second.__aenter__(), WAIT_SECONDS)


async def listen(_event: object) -> None:
    """An async function, which nobody would await."""


WRONG: list[tuple[str, object, type[Exception]]] = [
    *(("url", value, TypeError) for value in (None, 7, b"ws://h", Path("x"))),
    *(("username", value, TypeError) for value in (None, 7, b"a", ["a"])),
    *(("outbox", value, TypeError) for value in (7, b"a.db", True, ["a"], object())),
    *(("outbox", value, ValueError) for value in ("", "a\x00b", Path("a\x00b"), "\ud800")),
    *(("connect_timeout", value, TypeError) for value in ("5", True, b"5", 1j, [1])),
    *(("connect_timeout", value, ValueError) for value in (math.nan, -math.inf, 1e300, 10**400)),
    *(("on_event", value, TypeError) for value in (7, "print", listen)),
    *(("headers", value, TypeError) for value in ([("X", "1")], "X: 1", {"X": 1}, {7: "1"},
                                                  {"X": b"secret"}, {"X": None}, {None: "1"})),
    *(("proxy", value, TypeError) for value in (False, 7, 1, b"http://h:1", ["http://h:1"])),
]  # fmt: skip


@pytest.mark.parametrize(("parameter", "value", "kind"), WRONG)
def test_what_no_parameter_takes_is_refused_by_its_name(
    parameter: str, value: object, kind: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"url": URL, "username": "a", parameter: value}
    with pytest.raises(kind, match=f"^`{parameter}` ") as caught:
        landline.connect(**arguments)
    assert "secret" not in str(caught.value)


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.complex_numbers(), st.lists(st.text()),
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers())),
)  # fmt: skip


@settings(deadline=None)
@given(
    st.sampled_from([
        "url", "username", "outbox", "connect_timeout", "on_event", "headers", "proxy"
    ]),
    _VALUES,
)  # fmt: skip
def test_anything_is_a_chat_or_refused_in_a_sentence(parameter: str, value: object) -> None:
    arguments: dict[str, Any] = {"url": URL, "username": "a", parameter: value}
    problem: Exception | None = None
    try:
        landline.connect(**arguments)
    except (ClientError, TypeError, ValueError) as error:
        problem = error
    if isinstance(problem, ClientError):
        assert parameter in {"url", "username", "headers"}
    elif problem is not None:
        assert str(problem).startswith(f"`{parameter}` ")


@pytest.mark.parametrize("seconds", ["5", True, [1], math.nan, 1e300])
async def test_a_timeout_that_is_none_is_refused_before_anything_is_kept(seconds: Any) -> None:
    async with (
        scripted(accept_all) as server,
        landline.connect(server.url, username="a") as chat,
    ):
        with pytest.raises((TypeError, ValueError), match=r"^`timeout` "):
            await chat.send("b", "hello", timeout=seconds)
        assert chat.unanswered == []
        assert (await chat.send("b", "later", timeout=math.inf)).id == ID
        with pytest.raises(SendTimeout):
            await chat.send("b", "at once", timeout=-1)
        assert [frame["content"] for frame in server.frames][:1] == ["later"]
