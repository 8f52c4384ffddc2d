"""What a thousand sessions cost that are written to while the store is away."""

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

import orjson
import psutil
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from landline_stack import LandlineServer, Stack

CONTENT = "x" * 16_384
CONNECTING_AT_ONCE = 50
IN_FLIGHT = 64  # sends without an answer
ROUND_SECONDS = 0.1


class Recipient(WSListener):
    """Reads and acknowledges, as a good client does; a silent one acknowledges nothing."""

    def __init__(self, is_silent: bool) -> None:
        self.received = 0
        self._is_silent = is_silent

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = orjson.loads(frame.get_payload_as_bytes())
        if message["type"] in ("message", "member", "room"):
            self.received += 1
            if not self._is_silent:
                ack = orjson.dumps({"type": "ack", "ids": [message["id"]]})
                transport.send(WSMsgType.TEXT, ack)


class Sender(WSListener):
    """Sends, a few at a time."""

    def __init__(self) -> None:
        self.answered = 0
        self._room = asyncio.Semaphore(IN_FLIGHT)

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if orjson.loads(frame.get_payload_as_bytes())["type"] == "accepted":
            self.answered += 1
            self._room.release()

    async def send(self, transport: WSTransport, to: str) -> None:
        """Send one of the largest messages once there is room for it."""
        await self._room.acquire()
        transport.send(WSMsgType.TEXT, orjson.dumps({"to": to, "content": CONTENT}))


async def connect(url: str, is_silent: bool) -> Recipient:
    """Open a session."""
    recipient = Recipient(is_silent)
    await ws_connect(lambda: recipient, url)
    return recipient


async def measure(server: LandlineServer, stack: Stack, options: argparse.Namespace) -> None:
    """Print the server's memory before, at its highest, and at the end."""
    process = psutil.Process(server.pid)
    url, sessions = server.ws_url, options.sessions
    sender = Sender()
    transport, _ = await ws_connect(lambda: sender, f"{url}?username=sender")
    base = process.memory_info().rss
    stack.postgres.pause()
    recipients: list[Recipient] = []
    for start in range(0, sessions, CONNECTING_AT_ONCE):
        users = range(start, min(start + CONNECTING_AT_ONCE, sessions))
        recipients += await asyncio.gather(
            *(connect(f"{url}?username=user{user}", options.silent) for user in users)
        )
    connected = process.memory_info().rss
    highest = [connected]
    watching = asyncio.create_task(_watch(process, highest))
    for _ in range(options.messages):
        for user in range(sessions):
            await sender.send(transport, f"user{user}")
    while sender.answered < sessions * options.messages:  # noqa: ASYNC110 - it measures
        await asyncio.sleep(ROUND_SECONDS)
    await asyncio.sleep(10.0)  # what was held is pushed by then
    watching.cancel()
    received = sum(recipient.received for recipient in recipients)
    print(f"no session:                  {base >> 20:6} MiB")
    print(f"{sessions} sessions, store away: {connected >> 20:6} MiB")
    print(f"at its highest:              {max(highest) >> 20:6} MiB")
    print(f"{(max(highest) - base) / sessions / 1024:.0f} KiB a session at the highest")
    print(f"{sessions * options.messages} messages of 16 KiB accepted, {received} received so far")


async def _watch(process: psutil.Process, highest: list[int]) -> None:
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        highest.append(process.memory_info().rss)


def main() -> None:
    """Start a stack and a server, and take the store away from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=16, help="to each of them")
    parser.add_argument("--silent", action="store_true", help="nobody acknowledges")
    options = parser.parse_args()
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        stack = exits.enter_context(Stack())
        server = LandlineServer.on(stack, "ws-1", folder)
        server.arguments += ["--ack-timeout", "600s"]
        exits.enter_context(server)
        exits.callback(stack.postgres.resume)  # the server says goodbye to it
        uvloop.run(measure(server, stack, options))


if __name__ == "__main__":
    main()
