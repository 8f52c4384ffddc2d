"""The Python client where things go wrong: a scripted server, an impatient user."""

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import (
    ChatClosed,
    ClientError,
    Connected,
    Disconnected,
    Event,
    MessageRejected,
    Refused,
)
from landline_stack.ports import free_port
from support.connecting import why_not_connected
from support.peer import Peer, until_caught_up
from support.scripted import ID, Scripted, accept_all, scripted, scripted_chat, tell, welcome
from support.server import ServerProcess
from support.waiting import go_round, until


async def test_a_connection_that_ends_before_its_welcome_is_only_a_lost_connection() -> None:
    """The server was stopped between the upgrade and the first frame."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) == 1:
            await socket.close(1012, "retry_after_ms=1")
        elif len(seen.sessions) == 2:
            socket.transport.abort()
        else:
            await accept_all(seen, socket)

    async with scripted_chat(script, connect_timeout=None) as (_server, chat):
        assert (await chat.send("b", "hello")).id == ID


async def test_a_goodbye_for_good_before_the_welcome_is_a_refusal() -> None:
    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await socket.close(4401, "the token has expired")

    async with scripted(script) as server:
        with pytest.raises(Refused, match="the token has expired"):
            await landline.connect(server.url, username="a").__aenter__()


WELCOME = {"type": "welcome", "user": "a", "server": "ws-1", "session": "s", "protocol": 1}

NONSENSE = [
    "", "[]", "{}", "null", "7", "hello", "no JSON", '{"hello":1}', "\x00", b"\xff\xfe", b"{}",
    "[" * 9_999,
    '{"type":"accepted"}', '{"type":"message"}', '{"type":7}', '{"type":[]}',
]  # fmt: skip


@pytest.mark.parametrize(
    "nonsense",
    [
        *NONSENSE,
        *(json.dumps(WELCOME | {"protocol": version}) for version in ("1", None, True, [2], 1.5)),
        *(json.dumps(WELCOME | {key: 7}) for key in ("user", "server", "session")),
        '{"type":"welcome","protocol":2}',
    ],
    ids=lambda nonsense: repr(nonsense)[:60],
)
async def test_a_server_that_begins_with_something_else_may_be_another_and_passes(
    nonsense: str | bytes,
) -> None:
    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) > 1:
            await accept_all(seen, socket)
        else:
            await socket.send(nonsense)
            await socket.wait_closed()

    async with scripted_chat(script, connect_timeout=None) as (_server, chat):
        assert (await chat.send("b", "hello")).id == ID


async def test_an_address_that_is_wrong_is_told_when_the_time_is_up() -> None:
    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await socket.send("hello")
        await socket.wait_closed()

    async with scripted(script) as server:
        assert "no Landline server: is the address right" in await why_not_connected(server.url)


async def test_a_server_of_another_protocol_ends_it_for_good() -> None:
    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await tell(socket, **WELCOME | {"protocol": 2})
        await socket.wait_closed()

    async with scripted(script) as server:
        chat = landline.connect(server.url, username="a", connect_timeout=None)
        async with chat:
            with pytest.raises(ClientError, match="speaks version 2"):
                await chat.send("b", "hello")
            with pytest.raises(ClientError, match="speaks version 2"):
                await anext(chat)
        assert len(server.sessions) == 1


_MESSAGE = {
    "type": "message", "id": "m", "conversation": "dm:a:b", "sender": "b", "to": "a",
    "content": "secret", "time": "2026-01-02T03:04:05.678Z", "offset": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    "nonsense",
    [
        *NONSENSE,
        *(json.dumps(_MESSAGE | {key: []}) for key in _MESSAGE),
        *(json.dumps({k: v for k, v in _MESSAGE.items() if k != key}) for key in _MESSAGE),
        json.dumps(_MESSAGE | {"time": "yesterday"}),
        json.dumps(_MESSAGE | {"type": "accepted", "ref": ["r"]}),
        '{"type":"error"}', '{"type":"error","code":"busy","ref":{}}',
        '{"type":"error","code":"busy","message":7}', '{"type":"status","user":"b"}',
        '{"type":"status","ids":[[]],"user":"b"}', '{"type":"status","ids":7,"user":"b"}',
    ],
    ids=lambda nonsense: repr(nonsense)[:60],
)  # fmt: skip
async def test_a_frame_that_cannot_be_read_ends_the_connection_alone(
    nonsense: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The send that was under way is repeated, and the log says why, without what was in it."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) > 1:
            await accept_all(seen, socket)
            return
        await welcome(socket)
        await socket.recv()
        await socket.send(nonsense)
        await socket.wait_closed()

    events: list[Event] = []
    async with scripted_chat(script, on_event=events.append) as (server, chat):
        assert (await chat.send("b", "hello")).id == ID
        assert server.frames[-1]["retry"] is True
    assert [type(event) for event in events[:3]] == [Connected, Disconnected, Connected]
    assert [record.name for record in caplog.records if record.levelname == "WARNING"] == [
        "landline.client"
    ]
    assert "secret" not in caplog.text


async def test_a_callback_that_raises_ends_the_chat_aloud() -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, landline.client.Accepted):
            raise ZeroDivisionError("mine")

    async with scripted_chat(accept_all, on_event=on_event) as (_server, chat):
        assert (await chat.send("b", "durable all the same")).id == ID
        with pytest.raises(ClientError, match="mine") as caught:
            await anext(chat)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("to", "content", "code"),
    [
        ("b", "x" * 70_000, "content_too_large"),  # more than a frame: the server would hang up
        ("b", "\x01" * 16_000, "content_too_large"),  # short, but not as JSON
        ("b", "x" * 16_385, "content_too_large"),
        ("b", "\ud800", "bad_frame"),
        ("b", "a\x00b", "bad_frame"),
        ("b", "", "content_empty"),
        ("no name", "hello", "bad_recipient"),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
async def test_what_no_server_can_take_is_refused_at_once_and_holds_up_nothing(
    to: str, content: str, code: str, kept: bool, tmp_path: Path
) -> None:
    outbox = tmp_path / "a.db" if kept else None
    async with scripted(accept_all) as server:
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            with pytest.raises(MessageRejected) as caught:
                await chat.send(to, content)
            assert caught.value.code == code
            assert not chat.unanswered
            assert (await chat.send("b", "the chat goes on")).id == ID
        assert [frame["content"] for frame in server.frames] == ["the chat goes on"]


async def test_an_unfinished_message_is_the_first_that_the_next_loop_gets() -> None:
    """Its body raised: it is not acknowledged, and it does not wait for another session."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        for n in (1, 2):
            await tell(
                socket, type="message", id=ID[:-1] + str(n), conversation="dm:a:b", sender="b",
                to="a", content=f"m{n}", time="2026-01-02T03:04:05.678Z", offset=n,
            )  # fmt: skip
        async for _frame in seen.hear(socket):
            pass

    bodies: list[str] = []
    async with scripted(script) as server:
        async with landline.connect(server.url, username="a") as chat:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the loop is the point
                async for message in chat:
                    bodies.append(message.content)
                    raise ZeroDivisionError
            assert not server.frames
            async for message in chat:
                bodies.append(message.content)
                if message.content == "m2":
                    break
            await until(lambda: bool(server.frames), "the first one is acknowledged")
        assert bodies == ["m1", "m1", "m2"]
        assert server.frames == [{"type": "ack", "ids": [ID[:-1] + "1"]}]


async def test_a_body_may_take_longer_than_the_server_waits(tmp_path: Path) -> None:
    """The session is closed and replaced meanwhile; the message is handed out once, and settled."""
    server = ServerProcess(tmp_path / "data", args=["--ack-timeout", "200ms"])
    server.start()
    events: list[Event] = []
    bodies: list[str] = []

    async def is_settled() -> bool:
        async with Peer(server.ws_url, "a", acks=False) as peer:
            await until_caught_up(peer)
            return not peer.messages

    try:
        async with landline.connect(server.ws_url, username="a", on_event=events.append) as chat:
            for content in ("slow", "next"):
                await chat.send("a", content)
            async for message in chat:
                bodies.append(message.content)
                if message.content == "next":
                    chat.acknowledge(message)
                    break
                await until(
                    lambda: sum(isinstance(e, Connected) for e in events) >= 3,
                    "it has been closed twice",
                )
            # What the newest session has not got yet cannot be settled in it: it comes again.
            await until(is_settled, "everything is settled")
        assert bodies == ["slow", "next"]
        assert "no ack for 0.2 s" in {e.reason for e in events if isinstance(e, Disconnected)}
    finally:
        server.kill()


async def test_a_chat_can_be_closed_before_it_is_left(tmp_path: Path) -> None:
    async with scripted_chat(accept_all, outbox=tmp_path / "a.db") as (_server, chat):
        await chat.close()
        with pytest.raises(ChatClosed):
            await chat.send("b", "hello")
        assert [message async for message in chat] == []


async def test_a_chat_can_be_left_at_the_moment_its_next_try_is_due() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws/chat"
    async with (
        asyncio.timeout(60),
        landline.connect(url, username="a", connect_timeout=None) as chat,
    ):
        task = chat._task
        assert task is not None
        while not task.cancelling():  # asyncio ends a pause so
            await go_round()


async def test_events_tell_of_every_session() -> None:
    events: list[Event] = []

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        if len(seen.sessions) == 1:
            await socket.close(1012, "retry_after_ms=7")
        else:
            await socket.wait_closed()

    async with scripted_chat(script, on_event=events.append) as (_server, _chat):
        await until(lambda: len(events) == 3, "it is back")
    assert events == [
        Connected("ws-1", "s"),
        Disconnected("the server is restarting", 0.007),
        Connected("ws-1", "s"),
    ]
