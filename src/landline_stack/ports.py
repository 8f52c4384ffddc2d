"""Free ports that stay free while a server is down."""

import atexit
import random
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# Below the range from which kernels take ports for outgoing connections (Linux from 32768 on,
# others from 49152): nobody gets the port of a server that is about to be started again.
_FIRST: Final = 20_000
_LAST: Final = 32_000

# So many are kept; beyond them the oldest is let go of. A process may have 1,024 open files.
_KEPT: Final = 256

# Of proc(5): the state of a socket that takes connections.
_LISTENING: Final = "0A"

_lock = threading.Lock()
_kept: deque[socket.socket] = deque()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses and that this function gives to nobody else.

    That holds for other processes, too: the port stays bound here. On Linux this is no obstacle for
    a server, which listens with SO_REUSEADDR, and it is one for a process that looks for a port.
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


def problem_with(port: int) -> str | None:
    """Return why no server can listen on this port of 127.0.0.1, None where one can."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen()
        except OSError as error:
            return error.strerror
    return None


def is_listening(pid: int, port: int) -> bool:
    """Say whether it is this process that accepts connections there, and not somebody else.

    Where the system does not tell, the answering process is taken for it.
    """
    try:
        owned = {link for link in _links(Path(f"/proc/{pid}/fd")) if link.startswith("socket:")}
        listening = {f"socket:[{inode}]" for inode in _listening_at(port)}
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/net/tcp").exists()
    except OSError:
        return True
    return not owned.isdisjoint(listening)


def _links(directory: Path) -> Iterator[str]:
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(path.readlink())


def _listening_at(port: int) -> Iterator[str]:
    """Read the sockets that listen there; a Java's are of IPv6, whatever the address."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
