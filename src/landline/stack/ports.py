"""Free ports that stay free while a server is down."""

import atexit
import random
import socket
import threading
from collections import deque
from typing import Final

# Below the range from which kernels take ports for outgoing connections (Linux from 32768 on,
# others from 49152): nobody gets the port of a server that is about to be started again.
_FIRST: Final = 20_000
_LAST: Final = 32_000

# So many are kept; beyond them the oldest is let go of. A process may have 1,024 open files.
_KEPT: Final = 256

_lock = threading.Lock()
_kept: deque[socket.socket] = deque()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses and that this function gives to nobody else.

    That holds for other processes, too: the port stays bound here, which on Linux is no obstacle
    for whoever listens with SO_REUSEADDR, as servers do, and one for whoever looks for a port here.
    """
    chance = random.SystemRandom()  # so that two runs at a time hardly try the same one
    while True:
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", chance.randint(_FIRST, _LAST)))
        except OSError:
            sock.close()
            continue
        # Not before: it would have been given what somebody else keeps.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with _lock:
            _kept.append(sock)
            if len(_kept) > _KEPT:
                _kept.popleft().close()
        return int(sock.getsockname()[1])


@atexit.register
def _release() -> None:
    while _kept:
        _kept.pop().close()


def is_open(port: int) -> bool:
    """Say whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
