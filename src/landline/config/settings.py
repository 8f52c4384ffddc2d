"""The options: each one's name, kind, default and meaning stand here and nowhere else."""

import dataclasses
import re
import socket
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

from landline.config import kinds
from landline.config.values import SecretUrl, ValueKind

T = TypeVar("T")

LISTEN: Final = "Where the server listens, and who may use it"
DELIVERY: Final = "How long a message may wait"
STORAGE: Final = "Where messages are kept"
NODE: Final = "What this server is called and what it does"
LOG: Final = "What the server writes about itself: never a message's content, never a token"
# A user who stays connected gets each message within this time, whatever was lost on the way. If
# the hint was lost, the sweep finds it: a tenth later than its interval, plus the writer's lag.
PROMISED_SECONDS: Final = 15.0
# The longest interval that leaves room for the writer's lag.
SWEEP_SECONDS: Final = 10.0

# A server id has at most 64 characters, and a port behind a `-` takes six of them.
_HOST_CHARACTERS: Final = 58
_HASH_CHARACTERS: Final = 10

SECTIONS: Final = (LISTEN, DELIVERY, STORAGE, NODE, LOG)


@dataclass(frozen=True, slots=True)
class Option:
    """An option as an operator sees it. `default` is what they would write to get it."""

    name: str
    section: str
    kind: ValueKind[Any]
    default: str
    doc: str

    @property
    def flag(self) -> str:
        """Return its form on the command line. In a TOML file it is the name alone."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """Return its form in the environment."""
        return "LANDLINE_" + self.name.replace("-", "_").upper()


def _option(section: str, kind: ValueKind[T], default: str, doc: str) -> T:
    """Declare an option with a default, written as an operator would write it."""
    return field(default=kind.parse(default), metadata={"facts": (section, kind, default, doc)})


def _unset(section: str, kind: ValueKind[T], default: str, doc: str) -> T | None:
    """Declare an option that is None unless given; `default` says in words what that means."""
    return field(default=None, metadata={"facts": (section, kind, default, doc)})


# ruff: noqa: RUF009 - `_option` is `dataclasses.field` with a longer name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator decides. Durations are seconds.

    A field is called what its option is called, with `_` for `-`. There are as many as options,
    in one place on purpose: environment, file, help and reference page are made from them.
    """

    host: str = _option(LISTEN, kinds.HOST, "127.0.0.1", "address to listen on")
    port: int = _option(
        LISTEN, kinds.PORT, "8081", "one port for WebSocket and HTTP; 0 takes any free one"
    )
    auth: str = _option(
        LISTEN,
        kinds.one_of("none"),
        "none",
        "none trusts the name that a client gives: for one machine, or with --insecure",
    )
    insecure: bool = _option(
        LISTEN, kinds.FLAG, "false", "allow --auth none on an address that others can reach"
    )
    allowed_origins: frozenset[str] = _option(
        LISTEN,
        kinds.ORIGINS,
        "",
        "exact origins of pages and app shells (capacitor://localhost) that may connect; with none,"
        " only the server's own page",
    )

    ack_timeout: float = _option(
        DELIVERY,
        kinds.SECONDS,
        "60s",
        "close a session that acknowledges nothing for so long while messages are outstanding",
    )
    sweep_interval: float = _option(
        DELIVERY,
        kinds.SECONDS,
        "10s",
        "how often the store is asked what connected users are still owed; more than 15s breaks the"
        " promise that a message comes within 15 s, and needs --allow-unsafe",
    )

    data_dir: Path = _option(
        STORAGE, kinds.DIRECTORY, "./landline-data", "the embedded server's files"
    )
    kafka: tuple[str, ...] | None = _unset(
        STORAGE, kinds.SERVERS, "none", "Kafka brokers, the log of a cluster"
    )
    kafka_config: Path | None = _unset(
        STORAGE,
        kinds.FILE,
        "none",
        "properties file with librdkafka's security.*, sasl.* and ssl.* settings",
    )
    postgres: SecretUrl | None = _unset(
        STORAGE, kinds.POSTGRES_URL, "none", "PostgreSQL, the store of a cluster"
    )
    redis: SecretUrl | None = _unset(
        STORAGE, kinds.REDIS_URL, "none", "Redis, where a cluster looks up who is where"
    )
    allow_unsafe: bool = _option(
        STORAGE,
        kinds.FLAG,
        "false",
        "go on although settings of Kafka or PostgreSQL break the promise; each is a warning then",
    )

    server_id: str | None = _unset(
        NODE,
        kinds.SERVER_ID,
        "host name and port",
        "name of this server, e.g. ws-1; of a host name over 58 characters, the default has the"
        " beginning and a hash",
    )
    roles: frozenset[str] = _option(
        NODE,
        kinds.ROLES,
        "gateway,writer",
        "what to run: gateway serves clients, writer applies the log to the store",
    )

    log_dir: Path | None = _unset(
        LOG,
        kinds.DIRECTORY,
        "none",
        "also write JSON to landline-<server-id>-<port>.log in here (30 files of 20 MB are kept)",
    )
    log_format: str = _option(
        LOG,
        kinds.one_of("auto", "console", "json"),
        "auto",
        "console is for people, json for machines; auto is console on a terminal, else json",
    )

    @property
    def cautions(self) -> tuple[str, ...]:
        """Return a line for each value that can be had and weakens what is promised."""
        if self.sweep_interval <= SWEEP_SECONDS:
            return ()
        caution = (
            f"--sweep-interval is {self.sweep_interval:g} s: a message whose hint was lost may come"
            f" later than the {PROMISED_SECONDS:g} s that are promised; give"
            f" {SWEEP_SECONDS:g}s or less"
        )
        return (caution,)

    def server_name(self, port: int) -> str:
        """Return `server_id` or its default; `port` is the one really listened on, never 0."""
        if self.server_id is not None:
            return self.server_id
        host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")
        return f"{_shortened(host) or 'localhost'}-{port}"


def _shortened(host: str) -> str:
    """Return a host name that leaves room for a port behind it in a server id.

    Names of pods differ at their end. So a hash of the whole name, the same at every start,
    replaces what is cut off.
    """
    if len(host) <= _HOST_CHARACTERS:
        return host
    digest = sha256(host.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{host[: _HOST_CHARACTERS - 1 - _HASH_CHARACTERS]}-{digest}"


OPTIONS: Final = {
    option.name: option
    for option in (
        Option(each.name.replace("_", "-"), *each.metadata["facts"])
        for each in dataclasses.fields(Settings)
    )
}

# Not one of the settings: it says where to look for them.
CONFIG_FILE: Final = Option(
    "config", "The file", kinds.FILE, "none", "TOML file whose keys are the names of these options"
)
