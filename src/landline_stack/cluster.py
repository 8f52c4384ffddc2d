"""Landline's own servers, as a cluster on a local stack."""

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from landline_stack.process import Server
from landline_stack.stack import Stack


class LandlineServer(Server):
    """`landline serve` in cluster mode."""

    def __init__(
        self,
        server_id: str,
        port: int,
        stack: Stack,
        directory: Path,
        *,
        roles: str = "gateway,writer",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(server_id, directory)
        self.port = port
        self._stack = stack
        self._roles = roles
        self._more_environment = environment or {}

    @property
    def address(self) -> str:
        """Return where clients find it."""
        return f"http://127.0.0.1:{self.port}/"

    def is_ready(self) -> bool:
        """Say whether it answers 200 to /readyz, and not somebody else on its port."""
        if not self.is_listening(self.port):
            return False
        try:
            with urllib.request.urlopen(f"{self.address}readyz", timeout=2):  # noqa: S310 - http
                return self.is_running
        except OSError:
            return False

    def _command(self) -> Sequence[str]:
        options = {
            "--kafka": self._stack.kafka_servers,
            "--redis": self._stack.redis_url,
            "--server-id": self.name,
            "--port": str(self.port),
            "--roles": self._roles,
        }
        flags = [part for option in options.items() for part in option]
        if len(self._stack.brokers) == 1:  # three of them keep what the log promises
            flags.append("--allow-unsafe")
        return [sys.executable, "-m", "landline", "serve", *flags]

    def _environment(self) -> Mapping[str, str]:
        # There is a password in it, and a command line can be read by everybody.
        return {"LANDLINE_POSTGRES": self._stack.postgres_url, **self._more_environment}
