"""The server under Autobahn's cases: Landline's listener and connections, with an echo behind them.

A case sends messages and wants them back. Landline's hub does not do that, so here somebody else
owns the connections. All that reads and writes WebSocket is the product's own: the listener, the
reading of requests, picows behind it, turns, fragments, close frames. What differs, and why a case
that passes here says something of the product:

- A text message is echoed and not decoded as JSON. It comes to the same place in
  `Connection._take_text`, behind the check of its size and of UTF-8.
- Binary messages are echoed, where the product closes with 1003 at the first frame of one. Autobahn
  counts a server without binary messages as a failure. They go the way of text but for UTF-8. That
  the product refuses them is checked in `tests/e2e/test_hostile_clients.py`.
- `--large` raises the limits on a message, on its fragments and on what may wait to be written,
  which the cases 9 exceed on purpose. All others run with the product's limits.

It replaces names in the modules of the product, which is why it is a process of its own.
"""

import asyncio
import socket
import sys
import time
from contextlib import suppress
from types import ModuleType
from typing import Any, cast

import uvloop
from picows import WSMsgType

from landline.gateway import connection as connections
from landline.gateway import fragments, listener, upgrade
from support.pair import Edge, Heard

LARGE_BYTES = 64 * 1024 * 1024
LARGE_FRAGMENTS = 1_000_000


class Clock:
    """The machine's own."""

    def monotonic(self) -> float:
        return time.monotonic()


class Echo(Heard):
    """In the hub's place: what it hears it says."""

    def received(self, connection: connections.Connection, frame: Any) -> None:
        connection.transmit(frame.encode())


class EchoConnection(connections.Connection):
    """A connection that takes binary messages, too."""

    _is_binary = False

    def _take(self, frame: fragments.Frame) -> None:
        if frame.kind == WSMsgType.BINARY and not self._fragments:
            self._is_binary = True
            self._fragments = _Bytes()
            frame = frame._replace(kind=WSMsgType.TEXT)
        elif frame.kind == WSMsgType.TEXT and not self._fragments:
            self._is_binary = False
            self._fragments = fragments.Fragments()
        super()._take(frame)

    def _take_text(self, payload: bytes) -> None:
        if not self._is_binary:
            super()._take_text(payload)
        elif self._transport is not None:
            self._transport.send(WSMsgType.BINARY, payload)


class _Bytes(fragments.Fragments):
    """The pieces of a binary message: any bytes will do."""

    __slots__ = ()

    def _check_text(self, payload: bytes, *, is_final: bool) -> None:
        pass


def replace(module: ModuleType, name: str, by: object) -> None:
    """Replace what the product has, and not what it once had."""
    assert hasattr(module, name), f"{module.__name__} has no {name} any more"
    setattr(module, name, by)


def enlarge() -> None:
    """Raise the limits that the cases 9 exceed."""
    for module in (connections, fragments, upgrade):
        replace(module, "FRAME_BYTES", LARGE_BYTES)
    replace(fragments, "FRAGMENTS", LARGE_FRAGMENTS)
    replace(connections, "WRITE_LIMIT_BYTES", 2 * LARGE_BYTES)


async def serve(sock: socket.socket) -> None:
    """Serve until the process is ended."""
    edge = Edge()
    edge.hub = Echo(cast("Any", Clock()), gate=edge.gate, doors=edge.doors)
    await edge.listener.open(sock)
    edge.admit()
    await asyncio.Event().wait()


def main() -> None:
    """Be the server. The first argument is the file number of a bound socket."""
    replace(connections, "decode", lambda text: text)
    replace(listener, "Connection", EchoConnection)
    if "--large" in sys.argv:
        enlarge()
    with suppress(KeyboardInterrupt):
        uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
