"""Deployments of our own to do harm to: real servers as child processes, gone when we are."""

import resource
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Final, Literal

from landline_stack.kafka import KafkaNode
from landline_stack.landline import LandlineServer
from landline_stack.postgres import PostgresServer
from landline_stack.process import StackServer
from landline_stack.proxy import Proxy
from landline_stack.redis import RedisServer
from landline_stack.stack import Stack
from landline_verify.faults.clock import ServerClock
from landline_verify.tokens import TokenMaker

BROKERS: Final = {"cluster": 1, "cluster3": 3}
DEPLOYMENT_KINDS: Final = ("embedded", *BROKERS)

# Brokers delete nothing, even where a fault lets the log keep very little: if something is missing
# after a run, it has to be the servers' fault.
_NEVER_MS: Final = 24 * 3_600 * 1_000

_LIMITS: Final = (
    "MESSAGES", "BYTES", "FRAMES", "USER_CONNECTIONS", "ADDRESS_CONNECTIONS", "HANDSHAKES",
)  # fmt: skip

# What some faults need: clocks and a disk of their own, and two addresses for PostgreSQL. It
# changes how servers run, so it is there only for those faults.
Equipment = Literal["clock", "disk", "hosts"]

# Less than a page of SQLite's: nothing can be added to any file.
_FULL_BYTES: Final = 4_096


class EmbeddedServer(LandlineServer):
    """A server with a file of its own, on a disk that can be full, or be made to lie."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        has_disk: bool = False,
    ) -> None:
        self.data_dir = directory / "data"
        self._broken = directory / "disk-is-broken"
        program = ("landline_verify.faults.disk", str(self._broken)) if has_disk else ("landline",)
        arguments = ("--server-id", "embedded", "--data-dir", str(self.data_dir))
        super().__init__("embedded", directory, arguments, environment=environment, program=program)

    def fill_disk(self) -> None:
        """Let its files grow no more: for the server a full disk, with another error number."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (_FULL_BYTES, hard))

    def free_disk(self) -> None:
        """Let its files grow again."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def break_disk(self) -> None:
        """Let a commit report failure and be in the file, and no page be read after it."""
        self._broken.touch()

    def repair_disk(self) -> None:
        """Let its disk work again."""
        self._broken.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Running servers, where clients find them, and what the log and the store can be read from.

    `servers` have clients, each through one of `proxies`; `writers` have none. `clocks` are those
    of `servers`, where they can be stepped; `hosts` the addresses of PostgreSQL, in the order in
    which servers try them. While `flood` is set, one user is sent more than they acknowledge.
    """

    kind: str
    servers: Sequence[StackServer]
    proxies: Sequence[Proxy]
    embedded: Sequence[EmbeddedServer] = ()
    writers: Sequence[StackServer] = ()
    brokers: Sequence[KafkaNode] = ()
    postgres: Sequence[PostgresServer] = ()
    redis: Sequence[RedisServer] = ()
    clocks: Mapping[str, ServerClock] = field(default_factory=dict)
    hosts: Sequence[Proxy] = ()
    flood: threading.Event = field(default_factory=threading.Event)

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
    def everything(self) -> list[StackServer]:
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
def opened(
    kind: str, equipment: Collection[Equipment] = (), tokens: TokenMaker | None = None
) -> Iterator[Deployment]:
    """Start one of `DEPLOYMENT_KINDS` for the length of a `with` block, with servers that check the
    tokens of `tokens`, if given. Raises: StackError.
    """
    with ExitStack() as exits:
        directory = Path(exits.enter_context(TemporaryDirectory(prefix="landline-verify-")))
        directory.chmod(0o711)  # the user that root's PostgreSQL runs as has to pass
        if kind == "embedded":
            yield _embedded(exits, directory, equipment, _checking(directory, tokens))
        else:
            yield _cluster(exits, directory, kind, equipment, _checking(directory, tokens))


def _checking(directory: Path, tokens: TokenMaker | None) -> dict[str, str]:
    """Return the environment of servers that check tokens. Its limits are off: all users of a run
    have one address, and the run asks whether messages are lost, not how fast one may send.
    """
    if tokens is None:
        return {}
    secret = directory / "secret"
    secret.touch(0o600)
    secret.write_bytes(tokens.secret)
    given = {
        "LANDLINE_AUTH": "jwt",
        "LANDLINE_JWT_SECRET_FILE": str(secret),
        "LANDLINE_JWT_ISSUER": tokens.issuer,
        "LANDLINE_JWT_AUDIENCE": tokens.audience,
        "LANDLINE_JWT_USER_CLAIM": tokens.user_claim,
        **{f"LANDLINE_LIMIT_{name}": "0" for name in _LIMITS},
    }
    return {name: value for name, value in given.items() if value is not None}


def _embedded(
    exits: ExitStack,
    directory: Path,
    equipment: Collection[Equipment],
    environment: Mapping[str, str],
) -> Deployment:
    clocks = _clocks(directory, ["embedded"], equipment)
    server = EmbeddedServer(
        directory / "server",
        {**environment, **(clocks["embedded"].environment() if clocks else {})},
        has_disk="disk" in equipment,
    )
    exits.enter_context(server)
    proxy = exits.enter_context(Proxy(server.name, server.port))
    return Deployment("embedded", [server], [proxy], embedded=[server], clocks=clocks)


def _cluster(
    exits: ExitStack,
    directory: Path,
    kind: str,
    equipment: Collection[Equipment],
    environment: Mapping[str, str],
) -> Deployment:
    stack = Stack(directory / "stack", brokers=BROKERS[kind])
    for broker in stack.brokers:
        broker.more_settings["log.retention.check.interval.ms"] = _NEVER_MS
    exits.enter_context(stack)
    names = ("ws-1", "ws-2")
    clocks = _clocks(directory, names, equipment)
    hosts = [
        exits.enter_context(Proxy(f"postgres-host-{number}", stack.postgres.port))
        for number in ((1, 2) if "hosts" in equipment else ())
    ]
    store = {"LANDLINE_POSTGRES": _through(stack.postgres, hosts)} if hosts else {}
    common = {**environment, **store}
    servers = [
        LandlineServer.on(
            stack, name, directory / name,
            environment={**(clocks[name].environment() if name in clocks else {}), **common},
        )
        for name in names
    ]  # fmt: skip
    writer = LandlineServer.on(
        stack, "writer-1", directory / "writer-1", roles="writer", environment=common
    )
    for each in (*servers, writer):
        exits.enter_context(each)
    return Deployment(
        kind,
        servers,
        [exits.enter_context(Proxy(each.name, each.port)) for each in servers],
        writers=[writer],
        brokers=stack.brokers,
        postgres=[stack.postgres],
        redis=[stack.redis],
        clocks=clocks,
        hosts=hosts,
    )


def _clocks(
    directory: Path, names: Sequence[str], equipment: Collection[Equipment]
) -> dict[str, ServerClock]:
    return {
        name: ServerClock(directory / f"{name}.clock") for name in names if "clock" in equipment
    }


def _through(postgres: PostgresServer, hosts: Sequence[Proxy]) -> str:
    """Return an address of PostgreSQL that names several hosts."""
    start, _, path = postgres.url.rpartition(f"127.0.0.1:{postgres.port}")
    return start + ",".join(f"127.0.0.1:{host.port}" for host in hosts) + path
