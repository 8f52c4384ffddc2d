"""A line to a server that can be held up or cut, for tests of what a network does."""

import asyncio
from contextlib import suppress
from typing import Self


class Proxy:
    """Listens on a free port of loopback and passes bytes on to another port, both ways."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._answers_flow = asyncio.Event()
        self._answers_flow.set()
        self._questions_flow = asyncio.Event()
        self._questions_flow.set()
        self.held = asyncio.Event()  # something was said and has not been passed on
        self.port = 0

    def hold_answers(self) -> None:
        """Let the server hear, but not be heard."""
        self._answers_flow.clear()

    def hold_questions(self) -> None:
        """Let the server hear nothing more."""
        self._questions_flow.clear()

    def flow(self) -> None:
        """Pass on what is held up, and everything from now on."""
        self._answers_flow.set()
        self._questions_flow.set()

    def cut(self) -> None:
        """Cut every connection; what is held up is lost. New ones flow freely."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        self.flow()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, server_writer}
        for source, sink, flow in (
            (reader, server_writer, self._questions_flow),
            (server_reader, writer, self._answers_flow),
        ):
            task = asyncio.get_running_loop().create_task(self._pass_on(source, sink, flow))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if not flow.is_set():
                    self.held.set()
                await flow.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
