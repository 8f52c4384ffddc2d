"""The client in docs/protocol.md, as it is printed there, against the real server."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from support.pages import code_blocks, read
from support.scripted import Scripted, accept, scripted, tell, welcome
from support.server import ServerProcess
from support.waiting import until

WAIT_SECONDS = 60.0

# Carries out one command a line and reports whatever happens, one JSON array a line.
DRIVER = """
import { createInterface } from "node:readline";
import { Landline } from "./client.mjs";

const report = (...news) => console.log(JSON.stringify(news));
const [url] = process.argv.slice(2);
let release;
const released = new Promise((resolve) => (release = resolve));

const store = async (message) => {
  report("stores", message.content, message.offset);
  if (message.content === "slow") await released;
};
new Landline(url, "bob", store);
const alice = new Landline(url, "alice", async () => {});

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, to, content] = JSON.parse(line);
  if (command === "release") return release();
  alice.send(to, content).then(
    (accepted) => report("accepted", content, accepted.offset),
    (error) => report("rejected", content, error.message),
  );
});
"""

# Chance always gives the most, and what waits goes on at once: its time is reported. One client,
# whose clock can be set forward.
IMPATIENT_DRIVER = """
import { createInterface } from "node:readline";
import { Landline } from "./client.mjs";

const report = (...news) => console.log(JSON.stringify(news));
const [url] = process.argv.slice(2);
const [later, now] = [setTimeout, performance.now.bind(performance)];
let ahead = 0;
performance.now = () => now() + ahead;
Math.random = () => 1;
globalThis.setTimeout = (call, milliseconds) => {
  if (!new Error().stack.includes("client.mjs")) return later(call, milliseconds); // Node.js itself
  report("waits", milliseconds);
  return later(call, 1);
};
const alice = new Landline(url, "a", async () => {});

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, to, content] = JSON.parse(line);
  if (command === "sync") return report("synced");
  if (command === "advance") {
    ahead += Number(to);
    return report("advanced");
  }
  alice.send(to, content).then(
    () => report("accepted", content),
    (error) => report("rejected", content, error.message),
  );
});
"""


def _node() -> list[str]:
    """Return how to start a Node.js that has WebSockets; skip where there is none."""
    candidates = [
        [found, *flags] for flags in ([], ["--experimental-websocket"]) for found in _nodes()
    ]
    for candidate in candidates:
        command = [*candidate, "--print", "typeof WebSocket"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.stdout.strip() == "function":
            return candidate
    pytest.skip("no Node.js with WebSocket (22 or newer) on this machine")


def _nodes() -> list[str]:
    import playwright

    bundled = Path(playwright.__file__).parent / "driver" / "node"
    return [path for path in (shutil.which("node"), shutil.which(bundled)) if path]


class Driver:
    """The page's client in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.news: list[list[Any]] = []

    def tell(self, *command: str) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def hears(self, *news: str) -> list[Any]:
        """Wait until this is reported, and return the whole report."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            while not (found := [line for line in self.news if line[: len(news)] == list(news)]):
                line = await self._process.stdout.readline()
                assert line, f"the client ended; it had said {self.news}"
                self.news.append(json.loads(line))
        return found[0]


@asynccontextmanager
async def driver(url: str, directory: Path, script: str = DRIVER) -> AsyncIterator[Driver]:
    """Run the page's client in Node.js; killed at the end."""
    (client,) = code_blocks(read("docs/protocol.md"), "js")
    (directory / "client.mjs").write_text(client, encoding="utf-8")
    (directory / "driver.mjs").write_text(script, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *_node(),
        str(directory / "driver.mjs"),
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Driver(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.e2e
async def test_the_client_of_the_page_loses_and_repeats_nothing(
    server: ServerProcess, tmp_path: Path
) -> None:
    """It sends, hears of a refusal, goes through a kill and a drain, and stores everything once."""
    async with driver(server.ws_url, tmp_path) as chat:
        chat.tell("send", "bob", "first")
        accepted = await chat.hears("accepted", "first")
        assert (await chat.hears("stores", "first"))[2] == accepted[2]
        chat.tell("send", "no name", "nowhere")
        assert "bad_recipient" in (await chat.hears("rejected", "nowhere"))[2]

        chat.tell("send", "bob", "slow")  # not stored, so not acknowledged, when the server dies
        await chat.hears("stores", "slow")
        await asyncio.to_thread(server.kill)
        chat.tell("send", "bob", "while nobody was there")
        await asyncio.to_thread(server.start)
        await chat.hears("accepted", "while nobody was there")
        await chat.hears("stores", "while nobody was there")
        chat.tell("release", "", "")

        assert await asyncio.to_thread(server.stop) == 0
        await asyncio.to_thread(server.start)
        chat.tell("send", "bob", "last")
        await chat.hears("accepted", "last")
        await chat.hears("stores", "last")
    stored = [line[1] for line in chat.news if line[0] == "stores"]
    assert stored == ["first", "slow", "while nobody was there", "last"]
    offsets = [line[2] for line in chat.news if line[0] == "stores"]
    assert offsets == sorted(offsets)


@pytest.mark.parametrize("reason", ["", "retry_after_ms=7"])
async def test_its_waits_start_again_only_after_a_session_that_lasted(
    reason: str, tmp_path: Path
) -> None:
    """A server that accepts and hangs up is not hammered."""
    may_close = asyncio.Event()

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        if len(seen.sessions) == 7:
            await may_close.wait()
        if len(seen.sessions) <= 8:
            await socket.close(1012, reason)
        await socket.wait_closed()

    async with scripted(script) as server, driver(server.url, tmp_path, IMPATIENT_DRIVER) as chat:
        await until(lambda: len(server.sessions) == 7, "it has come again and again")
        chat.tell("advance", "10000")
        await chat.hears("advanced")
        may_close.set()
        await until(lambda: len(server.sessions) == 9, "it is back")
        chat.tell("sync")
        await chat.hears("synced")
    waits = [line[1] for line in chat.news if line[0] == "waits"]
    if reason:
        assert waits == [7, 207, 407, 807, 1607, 3207, 7, 207]
    else:
        assert waits == [100, 200, 400, 800, 1600, 3200, 100, 200]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("unavailable", "unknown"), ("busy", "rejected"), ("too_fast", "rejected")],
)
async def test_it_repeats_more_and_more_slowly_and_one_of_a_recipient_first(
    code: str, outcome: str, tmp_path: Path
) -> None:
    """All three are under way when the first is refused; then the first alone, twice more."""
    to_b: list[dict[str, Any]] = []

    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for text in socket:
            frame = json.loads(text)
            if frame["to"] != "b":
                await accept(socket, frame)
                continue
            to_b.append(frame)
            if len(to_b) > 5:
                await accept(socket, frame)
            for refused in {3: to_b[:3], 4: to_b[3:], 5: to_b[4:]}.get(len(to_b), []):
                await tell(
                    socket, type="error", code=code, outcome=outcome, message="later",
                    ref=refused["ref"],
                )  # fmt: skip

    async with scripted(script) as server, driver(server.url, tmp_path, IMPATIENT_DRIVER) as chat:
        for content in ("m1", "m2", "m3"):
            chat.tell("send", "b", content)
        await chat.hears("accepted", "m3")
        chat.tell("send", "c", "others go on")
        await chat.hears("accepted", "others go on")
    assert [line[1] for line in chat.news if line[0] == "waits"] == [500, 1_000, 2_000]
    contents = [frame["content"] for frame in to_b]
    assert contents == ["m1", "m2", "m3", "m1", "m1", "m1", "m2", "m3"]
    assert [frame.get("retry", False) for frame in to_b] == [False] * 3 + [True] * 5
