"""Rooms and what was said before, in a terminal."""

import asyncio
import subprocess

import landline
from support.chats import WAIT_SECONDS, Chats
from support.server import ServerProcess


async def run(chats: Chats, text: str, *more: str) -> "subprocess.CompletedProcess[str]":
    """Return what a chat of bob shows of these lines."""
    return await asyncio.to_thread(
        subprocess.run,
        chats.command(*more, name="bob", to=None),
        input=text,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
        env=chats.environment({}),
    )


def own_lines(ended: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return what it shows of the room, without the times."""
    lines = ended.stdout.splitlines()
    lines = lines[lines.index("-- talking in room Lunch") :]
    return [line[:1] + line.partition("]")[2] if "[" in line else line for line in lines]


async def test_what_a_pipe_says_into_a_room_is_there_and_can_be_read_again(
    server: ServerProcess, chats: Chats
) -> None:
    async with landline.connect(server.ws_url, username="alice") as alice:
        lunch = (await alice.create_room("Lunch", ["bob"])).conversation
        other = (await alice.create_room("Other", ["bob"])).conversation
        await alice.send(lunch, "hi all")
        ended = await run(chats, "hi alice\n", "--room", lunch)
        assert ended.returncode == 0, ended.stderr
        async for message in alice:
            assert (message.conversation, message.content) == (lunch, "hi alice")
            break

        # Without a device all that has come was shown by the chat before.
        ended = await run(chats, "/rooms\n/room Lunch\n/history\n/members\n/read\n/rooms\n")
        assert ended.returncode == 0, ended.stderr
        assert f"-- room Lunch: 2 unread, {lunch}" in ended.stdout.splitlines()
        assert own_lines(ended) == [
            "-- talking in room Lunch",
            "-- this is the beginning",
            "- room Lunch: alice called it Lunch",
            "[ room Lunch: alice: hi all",
            "\u2713 room Lunch: hi alice",
            "-- alice, admin",
            "-- bob",
            "-- read",
            f"-- room Lunch: 0 unread, {lunch}",
            f"-- room Other: 1 unread, {other}",
        ]
        [seen] = [each for each in await alice.members(lunch) if each.user == "bob"]
        assert seen.read_offset > 0


async def test_history_goes_further_back_each_time(server: ServerProcess, chats: Chats) -> None:
    async with landline.connect(server.ws_url, username="alice") as alice:
        room = (await alice.create_room("Lunch", ["bob"])).conversation
        for number in range(30):
            await alice.send(room, f"number {number}")
    await run(chats, "", "--room", room)
    ended = await run(chats, "/room Lu\n/room Lunch\n/history\n/history\n")
    assert "-- talking in" not in ended.stdout.splitlines()[1]
    lines = own_lines(ended)
    earlier = lines.index("-- /history shows what came before")
    assert [line.rpartition(" ")[2] for line in lines[1:earlier]] == [
        str(number) for number in range(10, 30)
    ]
    assert lines[earlier + 1 : earlier + 3] == [
        "-- this is the beginning",
        "- room Lunch: alice called it Lunch",
    ]
    assert lines[-1] == "[ room Lunch: alice: number 9"


async def test_a_room_that_is_not_there_is_named_and_nothing_goes_elsewhere(
    server: ServerProcess, chats: Chats
) -> None:
    ended = await run(chats, "/rooms\n/history\n/to zoe\n/read\n/room Lunch\nhello\n")
    assert ended.returncode == 1
    assert "-- you are in no room" in ended.stdout
    assert "say first where: /to NAME or /room NAME: /history" in ended.stderr
    assert "nothing of it was shown yet" in ended.stderr
    assert "you are in no room of this title or id" in ended.stderr
    assert "line 6: say first whom it is for: /to NAME: hello" in ended.stderr

    nowhere = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
    ended = await run(chats, "hello\n/members\n", "--room", nowhere)
    assert ended.returncode == 1
    assert "there is no such conversation, or you are not in it" in ended.stderr
    ended = await run(chats, "", "--room", "Lunch")
    assert ended.returncode == 2
    assert "--room Lunch is no id of a room" in ended.stderr
