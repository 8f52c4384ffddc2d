"""What was asked for, and checks of it that look at this machine."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from landline_stack.ports import is_listening
from landline_verify.errors import VerifyError
from landline_verify.tokens import TokenMaker

# Landline's default; what a message may be late by where a hint was lost.
SWEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    `data_dir` is that of an embedded server, `kafka` and `postgres` are those of a cluster.
    `heal_seconds` and `final_seconds` are deadlines, not durations. When nobody has had a
    connection for `give_up_seconds` the load ends. `flood` is the kind of flood that the first
    server has to stand. `tokens` makes those of the users, where the servers check them.
    """

    urls: Sequence[str]
    duration_seconds: float
    users: int
    rate: float
    seed: int
    kafka: str | None = None
    postgres: str | None = None
    data_dir: Path | None = None
    heal_seconds: float = 10.0
    final_seconds: float = SWEEP_SECONDS + 3
    give_up_seconds: float = 10.0
    flood: str | None = None
    rooms: int = 0
    devices: int = 0
    tokens: TokenMaker | None = None

    def public(self) -> dict[str, Any]:
        """Return them for the history: there may be a password in the store's address."""
        return {
            "duration": self.duration_seconds,
            "users": self.users,
            "rate": self.rate,
            "log": self.kafka is not None or self.data_dir is not None,
            "store": self.postgres is not None or self.data_dir is not None,
            "rooms": self.rooms,
            "devices": self.devices,
            **({} if self.flood is None else {"flood": self.flood}),
            **({} if self.tokens is None else {"auth": "jwt"}),
        }


def is_loopback(url: str) -> bool:
    """Say whether an address is on this machine. A name that may be elsewhere is not."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def check_directory(data_dir: Path, urls: Sequence[str]) -> None:
    """Raises: VerifyError for a directory that is not that of the server at these addresses.

    In another server's file nothing would be found of what was accepted, as if it were lost.
    """
    try:
        pid = int((data_dir / "lock").read_text().removeprefix("pid "))
    except (OSError, ValueError):
        raise VerifyError(
            f"--data-dir {data_dir}: no server was ever started there; give the one of the server"
        ) from None
    for url in urls:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        if not is_loopback(url):
            raise VerifyError(f"--data-dir goes with a server on this machine, and {url} is none")
        if not is_listening(pid, port):
            raise VerifyError(
                f"--data-dir {data_dir} is not that of the server at {url}: process {pid} had it"
                " last, and does not listen there; give the server's own address and directory"
            )
