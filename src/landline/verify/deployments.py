"""Deployments of our own to do harm to: real servers as child processes, gone when we are."""

import resource
import shutil
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Final

from landline.stack.cluster import LandlineServer
from landline.stack.kafka import KafkaNode
from landline.stack.ports import free_port
from landline.stack.postgres import PostgresServer
from landline.stack.process import Server
from landline.stack.redis import RedisServer
from landline.stack.stack import Stack
from landline.verify.clock import Clock
from landline.verify.proxy import Proxy

BROKERS: Final = {"cluster": 1, "cluster3": 3}
KINDS: Final = ("embedded", *BROKERS)

# Less than a page of SQLite's: nothing can be added to any file.
_FULL_BYTES: Final = 4_096


class EmbeddedServer(Server):
    """`landline serve` on a data directory of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__("embedded", directory)
        self.port = free_port()
        self._more_environment = environment or {}

    @property
    def address(self) -> str:
        """Return where clients find it."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def data_dir(self) -> Path:
        """Return where its file is."""
        return self.directory / "data"

    def is_ready(self) -> bool:
        """Say whether /readyz answers 200."""
        try:
            with urllib.request.urlopen(f"{self.address}readyz", timeout=2):  # noqa: S310 - http
                return self.is_running
        except OSError:
            return False

    def fill_disk(self) -> None:
        """Let its files grow no more: to who writes it is a full disk, with another number."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (_FULL_BYTES, hard))

    def free_disk(self) -> None:
        """Let its files grow again."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def _command(self) -> Sequence[str]:
        return [
            sys.executable, "-m", "landline", "serve", "--server-id", self.name,
            "--port", str(self.port), "--data-dir", str(self.data_dir),
        ]  # fmt: skip

    def _environment(self) -> Mapping[str, str]:
        return self._more_environment


@dataclass(frozen=True, slots=True)
class Deployment:
    """Running servers, where clients find them, and what the log and the store can be read from.

    `servers` have clients, each through one of `proxies`; `writers` have none. `clocks` are those
    of `servers`, where they can be stepped.
    """

    kind: str
    servers: Sequence[Server]
    proxies: Sequence[Proxy]
    embedded: Sequence[EmbeddedServer] = ()
    writers: Sequence[Server] = ()
    brokers: Sequence[KafkaNode] = ()
    postgres: Sequence[PostgresServer] = ()
    redis: Sequence[RedisServer] = ()
    clocks: Mapping[str, Clock] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        """Return the addresses of the WebSockets."""
        return [f"ws://127.0.0.1:{proxy.port}/ws/chat" for proxy in self.proxies]

    @property
    def kafka(self) -> str | None:
        """Return the addresses of the log."""
        return ",".join(broker.address for broker in self.brokers) or None

    @property
    def store(self) -> str | None:
        """Return the address of the store."""
        return next((server.url for server in self.postgres), None)

    @property
    def data_dir(self) -> Path | None:
        """Return where the file is that is both."""
        return next((server.data_dir for server in self.embedded), None)

    @property
    def everything(self) -> list[Server]:
        """Return every server, those first that others need."""
        return [*self.brokers, *self.postgres, *self.redis, *self.servers, *self.writers]

    def keep_logs(self) -> Path:
        """Copy what the servers have logged to a new directory, which stays."""
        directory = Path(mkdtemp(prefix="landline-verify-logs-"))
        for server in self.everything:
            if server.log_path.exists():
                shutil.copyfile(server.log_path, directory / f"{server.name}.log")
        return directory


@contextmanager
def opened(kind: str, *, has_clocks: bool = False) -> Iterator[Deployment]:
    """Start one of `KINDS` for the length of a `with` block. Raises: StackError.

    Servers have clocks of their own only where that is asked for: it changes how they run.
    """
    with ExitStack() as exits:
        directory = Path(exits.enter_context(TemporaryDirectory(prefix="landline-verify-")))
        directory.chmod(0o711)  # root's PostgreSQL runs as nobody, who has to pass
        names = ("embedded",) if kind == "embedded" else ("ws-1", "ws-2")
        clocks = {name: Clock(directory / f"{name}.clock") for name in names if has_clocks}
        environments = {name: clock.environment() for name, clock in clocks.items()}
        if kind == "embedded":
            server = EmbeddedServer(directory / "server", environments.get("embedded"))
            exits.enter_context(server)
            proxy = exits.enter_context(Proxy(server.name, server.port))
            yield Deployment(kind, [server], [proxy], embedded=[server], clocks=clocks)
            return
        stack = exits.enter_context(Stack(directory / "stack", brokers=BROKERS[kind]))
        servers = [
            LandlineServer(
                name, free_port(), stack, directory / name, environment=environments.get(name)
            )
            for name in names
        ]
        for each in servers:
            exits.enter_context(each)
        writer = LandlineServer(
            "writer-1", free_port(), stack, directory / "writer-1", roles="writer"
        )
        exits.enter_context(writer)
        yield Deployment(
            kind,
            servers,
            [exits.enter_context(Proxy(each.name, each.port)) for each in servers],
            writers=[writer],
            brokers=stack.brokers,
            postgres=[stack.postgres],
            redis=[stack.redis],
            clocks=clocks,
        )
