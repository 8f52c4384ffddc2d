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

from support.pages import code_blocks, read
from support.server import ServerProcess

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
async def driver(url: str, directory: Path) -> AsyncIterator[Driver]:
    """Run the page's client in Node.js; killed at the end."""
    (client,) = code_blocks(read("docs/protocol.md"), "js")
    (directory / "client.mjs").write_text(client, encoding="utf-8")
    (directory / "driver.mjs").write_text(DRIVER, encoding="utf-8")
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
