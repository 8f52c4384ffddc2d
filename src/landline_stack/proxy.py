"""A line between clients and a server that can be cut, held up, fall silent, or be slow.

It lives on a thread and a loop of its own, so that it can be disturbed from anywhere.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, Self

from landline_stack.errors import StackError
from landline_stack.ports import free_port

_READ_BYTES: Final = 65_536
# What the kernel keeps for us counts as sent: with its usual megabytes no server notices that a
# line is slow.
_KERNEL_BYTES: Final = 16_384
# A slow line carries 4 KiB a second each way, less than users are sent under load.
_SLOW_BYTES: Final = 256
_SLOW_SECONDS: Final = 1 / 16
_START_SECONDS: Final = 60.0
_BACKLOG: Final = 1_024
_ACCEPT_AGAIN_SECONDS: Final = 0.1
# Linger, but for no time.
_RESET: Final = struct.pack("ii", 1, 0)

Mode = Literal["flow", "silence", "slow", "hold_questions", "hold_answers"]
Direction = Literal["questions", "answers"]


class Proxy:
    """Listens on a port of loopback that stays the same, and passes bytes on to another one."""

    def __init__(self, name: str, target: int) -> None:
        self.name = name
        self.port = free_port()
        self._target = target
        self._mode: Mode = "flow"
        self._mode_changed = asyncio.Event()
        self._lines: set[_ProxiedConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._is_over = asyncio.Event()
        self._is_ready = threading.Event()
        self.has_held = threading.Event()  # something was said and kept
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._serve, name=f"proxy-{name}", daemon=True)

    def cut(self) -> None:
        """Reset every connection; what is held up is lost. New ones flow freely."""
        self._soon(self._cut)

    def hold_questions(self) -> None:
        """Keep what clients say, so that the server does not hear it before `flow`."""
        self._soon(lambda: self._set("hold_questions"))

    def hold_answers(self) -> None:
        """Keep what the server says: it hears and is not heard before `flow`."""
        self._soon(lambda: self._set("hold_answers"))

    def silence(self) -> None:
        """Take what both sides say and pass nothing on, as if the other one had vanished."""
        self._soon(lambda: self._set("silence"))

    def slow_down(self) -> None:
        """Pass on a little at a time."""
        self._soon(lambda: self._set("slow"))

    def flow(self) -> None:
        """Pass on everything from now on; a connection that has lost something is reset."""
        self._soon(lambda: self._set("flow"))

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_ready.wait(_START_SECONDS):
            self._soon(self._is_over.set)
            raise StackError(f"a proxy does not start within {_START_SECONDS:g} s")
        if self._failure is not None:
            raise StackError(f"a proxy cannot listen on port {self.port} ({self._failure})")
        return self

    def __exit__(self, *_: object) -> None:
        self._soon(self._is_over.set)
        self._thread.join()

    # On its own thread ---------------------------------------------------------------------------

    def _soon(self, action: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # its loop is closed: it could not listen
            self._loop.call_soon_threadsafe(action)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        # Not asyncio's server: closed while a connection comes in, it leaves that one open.
        try:
            listener = socket.create_server(("127.0.0.1", self.port), backlog=_BACKLOG)
        except OSError as error:
            self._failure = error
            return
        finally:
            self._is_ready.set()
        with listener:
            listener.setblocking(False)
            self._accept_on(listener)
            await self._is_over.wait()
            self._loop.remove_reader(listener)
        tasks = [line.task for line in self._lines]
        self._reset(lambda _: True)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        self._set("flow")
        self._reset(lambda _: True)

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        self._mode_changed.set()
        self._mode_changed = asyncio.Event()
        if mode == "flow":
            self._reset(lambda line: line.has_lost)

    def _reset(self, is_meant: Callable[["_ProxiedConnection"], bool]) -> None:
        for line in self._lines:
            if is_meant(line):
                line.reset()
                line.task.cancel()

    def _accept_on(self, listener: socket.socket) -> None:
        if not self._is_over.is_set():
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has gone already
            return
        except OSError:  # as where no file is free: asked again at once, it would say the same
            self._loop.remove_reader(listener)
            self._loop.call_later(_ACCEPT_AGAIN_SECONDS, self._accept_on, listener)
            return
        sock.setblocking(False)
        line = _ProxiedConnection(sock)
        line.task = self._loop.create_task(self._carry(line))
        self._lines.add(line)
        # A task that is cancelled before its first step cannot clean up itself.
        line.task.add_done_callback(lambda _: self._end(line))

    def _end(self, line: "_ProxiedConnection") -> None:
        self._lines.discard(line)
        line.close()

    async def _carry(self, line: "_ProxiedConnection") -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=line.sock)
            line.writers.append(writer)
            server_reader, server_writer = await self._connect()
            line.writers.append(server_writer)
            await asyncio.gather(
                self._pass_on(reader, server_writer, line, "questions"),
                self._pass_on(server_reader, writer, line, "answers"),
            )
        except OSError:
            line.reset()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._target))
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        line: "_ProxiedConnection",
        direction: Direction,
    ) -> None:
        with suppress(OSError):
            while data := await source.read(_READ_BYTES):
                while self._mode == f"hold_{direction}":
                    self.has_held.set()
                    await self._mode_changed.wait()
                await self._write(data, sink, line)
        if self._mode == "silence":  # the end is not passed on either
            line.has_lost = True
            await asyncio.Event().wait()
        with suppress(OSError):
            sink.close()
            await sink.wait_closed()  # what it has taken is still passed on

    async def _write(
        self, data: bytes, sink: asyncio.StreamWriter, line: "_ProxiedConnection"
    ) -> None:
        rest = memoryview(data)
        while rest:
            if self._mode == "silence":
                line.has_lost = True
                return
            size = _SLOW_BYTES if self._mode == "slow" else len(rest)
            sink.write(rest[:size])
            rest = rest[size:]
            await sink.drain()
            if self._mode == "slow":
                await asyncio.sleep(_SLOW_SECONDS)


class _ProxiedConnection:
    """One connection, with both its halves; whether something was lost on it."""

    task: "asyncio.Task[None]"

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock  # the client's
        self.writers: list[asyncio.StreamWriter] = []
        self.has_lost = False

    def reset(self) -> None:
        """Have the kernel drop what it still has, and say so, when this is closed: socket(7)."""
        for each in (self.sock, *(half.get_extra_info("socket") for half in self.writers)):
            with suppress(OSError):  # its other end has closed it already
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def close(self) -> None:
        """Close both halves."""
        for half in self.writers:
            half.transport.abort()
        if not self.writers:
            self.sock.close()
