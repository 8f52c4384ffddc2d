"""Takes connections from a listening socket, many in one turn of the loop.

libuv, and so uvloop's own server, takes one in a turn. While sessions flood, a turn lasts tens of
milliseconds: a thousand connections of one address would then keep all others waiting for a minute.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from landline.gateway.reception import Peer
from landline.observability.logging import get_logger

# Connections that are accepted in one turn of the loop: a flood of them must not stop the others.
_ACCEPTED_AT_ONCE: Final = 32
# The process has no file left, or the machine no memory: others have to go first.
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_ROOM_SECONDS: Final = 1.0

P = TypeVar("P", bound=asyncio.Protocol)

log = get_logger(__name__)


class Acceptor(Generic[P]):
    """Accepts, and gives each connection to `take`, in a task that it owns."""

    def __init__(
        self,
        sock: socket.socket,
        came: Callable[[Peer], P | None],
        went: Callable[[P], None],
        take: Callable[[socket.socket, Any, P], Coroutine[Any, Any, bool]],
    ) -> None:
        """`sock` listens already. `came` returns who has a connection, None where it is refused:
        then nothing is made of it. `take` is given the connection, its address and who has it, and
        returns whether they have it now; otherwise `went` is told.
        """
        self._sock = sock
        self._came = came
        self._went = went
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more connections, and end what `take` is still busy with."""
        if self._sock.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for task in self._taking:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    return  # the network's trouble with that one connection (accept(2))
                log.warning("cannot_accept", reason=error.strerror)
                self._loop.remove_reader(self._sock.fileno())
                self._pause = self._loop.call_later(_NO_ROOM_SECONDS, self._go_on)
                return
            protocol = self._came(address[:2])
            if protocol is None:
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._hand_over(connection, address, protocol))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    async def _hand_over(self, connection: socket.socket, address: Any, protocol: P) -> None:
        is_taken = False
        try:
            is_taken = await self._take(connection, address, protocol)
        finally:
            if not is_taken:
                self._went(protocol)
                connection.close()

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock.fileno(), self._accept)


class PlainServer(Generic[P]):
    """Listens without TLS, and gives each connection to a protocol."""

    def __init__(
        self, sock: socket.socket, came: Callable[[Peer], P | None], went: Callable[[P], None]
    ) -> None:
        """`sock` listens already; for `came` and `went` see `Acceptor`."""
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(sock, came, went, self._let_in)

    def close(self) -> None:
        """Accept no more connections."""
        self._acceptor.close()

    async def _let_in(self, connection: socket.socket, _address: Any, protocol: P) -> bool:
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError:
            return False  # it has hung up meanwhile
        return True
