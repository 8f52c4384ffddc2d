"""A chat with a device: what the server hears and says of it, and messages from other devices."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import Connected, Event
from support.peer import Frame
from support.scripted import Scripted, accept_all, scripted, scripted_chat, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
TIME = "2026-01-02T03:04:05.678Z"


def message(id: str, sender: str, to: str, **more: object) -> Frame:
    return {
        "type": "message", "id": id, "conversation": "dm:a:b", "sender": sender, "to": to,
        "content": id, "time": TIME, "offset": 1, **more,
    }  # fmt: skip


def asked(server: Scripted) -> list[dict[str, str]]:
    return [dict(parse_qsl(urlsplit(request.path).query)) for request in server.requests]


async def test_each_session_is_asked_for_with_the_device_and_the_server_says_what_it_is() -> None:
    seen: list[tuple[str | None, bool | None]] = []
    is_back = asyncio.Event()

    async def script(server: Scripted, socket: ServerConnection) -> None:
        is_first = len(server.sessions) == 1
        await tell(
            socket, type="welcome", user="a", server="ws-1", session="s", protocol=1, device="pc",
            is_new=is_first,
        )  # fmt: skip
        if not is_first:
            async for _frame in server.hear(socket):
                pass

    def listen(event: Event) -> None:
        if isinstance(event, Connected):
            seen.append((chat.device, chat.is_new))
        if len(seen) == 2:
            is_back.set()

    async with scripted(script) as server:
        chat = landline.connect(server.url, username="a", device="pc", on_event=listen)
        assert (chat.device, chat.is_new) == (None, None)
        async with chat:
            await asyncio.wait_for(is_back.wait(), WAIT_SECONDS)
        assert asked(server) == [{"username": "a", "device": "pc"}] * 2
    assert seen == [("pc", True), ("pc", False)]


async def test_without_a_device_none_is_sent() -> None:
    async with scripted_chat(accept_all) as (server, chat):
        assert asked(server) == [{"username": "a"}]
        assert (chat.device, chat.is_new) == (None, None)


async def test_a_server_that_knows_no_devices_says_nothing_of_one() -> None:
    async with scripted_chat(accept_all, device="pc") as (server, chat):
        assert asked(server) == [{"username": "a", "device": "pc"}]
        assert (chat.device, chat.is_new) == (None, None)
        await chat.send("b", "hello")


async def test_what_the_user_sent_from_another_device_comes_like_all_and_says_so() -> None:
    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        await tell(socket, **message("from b", "b", "a"))
        await tell(socket, **message("from a", "a", "b", replay=True, data={"n": 1}))
        async for _frame in server.hear(socket):
            pass

    async with scripted_chat(script, device="pc") as (server, chat):
        got = []
        async with asyncio.timeout(WAIT_SECONDS):
            async for each in chat:
                got.append((each.content, each.to, each.is_own, each.replay, each.data))
                if len(got) == 2:
                    chat.acknowledge(each)
                    break
        assert got == [("from b", "a", False, False, None), ("from a", "b", True, True, {"n": 1})]
        await chat.close()
        acknowledged = [id for frame in server.frames for id in frame["ids"]]
        assert acknowledged == ["from b", "from a"]


async def test_without_a_name_of_its_own_the_token_says_whose_messages_are_own() -> None:
    async def script(_server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket, "zoe")
        await tell(socket, **message("m", "zoe", "b"))
        await socket.wait_closed()

    async with scripted_chat(script, username=None, token="x.y.z") as (_server, chat):
        assert (await asyncio.wait_for(anext(chat), WAIT_SECONDS)).is_own


@pytest.mark.parametrize("devices", [(None, "pc"), ("pc", None), ("pc", "phone")])
async def test_an_outbox_file_is_one_users_whatever_the_device(
    devices: tuple[str | None, str | None], tmp_path: Path
) -> None:
    """A program that begins to have a device, or has another one, still sends what it kept."""

    async def silent(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for _frame in server.hear(socket):
            pass

    first, second = devices
    outbox = tmp_path / "a.db"
    port = 0
    async with scripted(silent) as server:
        port = urlsplit(server.url).port or 0
        async with landline.connect(server.url, username="a", device=first, outbox=outbox) as chat:
            with pytest.raises(landline.SendTimeout):
                await chat.send("b", "kept", timeout=0.2)
    async with (
        scripted(accept_all, port) as server,
        landline.connect(server.url, username="a", device=second, outbox=outbox) as chat,
    ):
        await until(lambda: not chat.unanswered, "the kept send is answered")
        assert [(frame["content"], frame["retry"]) for frame in server.frames] == [("kept", True)]
