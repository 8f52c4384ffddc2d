"""The options: each one's name, kind, default and meaning stand here and nowhere else."""

import dataclasses
import re
import socket
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from landline.config import kinds
from landline.config.hosts import is_loopback
from landline.config.limits import NO_LIMITS, USUAL_LIMITS, Limits
from landline.config.networks import Network
from landline.config.option import Option, option, unset
from landline.config.urls import PublicUrl, is_plain_beyond_loopback
from landline.config.values import SecretUrl

LISTEN: Final = "Where the server listens"
ACCESS: Final = "Who may use it"
LIMITS: Final = "What one user or address may have on this server; 0 switches a limit off"
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

SECTIONS: Final = (LISTEN, ACCESS, LIMITS, DELIVERY, STORAGE, NODE, LOG)


def _limit(name: str, unit: str = "") -> str:
    """Return in words what a limit is where none is given."""
    usual = f"{getattr(USUAL_LIMITS, name):,g} {unit}".strip()
    return f"{usual}; none with --auth none on loopback"


# ruff: noqa: RUF009 - `option` is `dataclasses.field` with a longer name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator decides. Durations are seconds.

    A field is called what its option is called, with `_` for `-`. There are as many as options,
    in one place on purpose: environment, file, help and reference page are made from them.
    """

    host: str = option(LISTEN, kinds.HOST, "127.0.0.1", "address to listen on")
    port: int = option(
        LISTEN, kinds.PORT, "8081", "one port for WebSocket and HTTP; 0 takes any free one"
    )
    public_url: PublicUrl | None = unset(
        LISTEN,
        kinds.PUBLIC_URL,
        "none",
        "how browsers reach this server, e.g. https://chat.example.org/x: its origin is allowed",
    )
    tls_cert: Path | None = unset(
        LISTEN,
        kinds.FILE,
        "none",
        "PEM file with the certificate and its chain; read again on SIGHUP",
    )
    tls_key: Path | None = unset(LISTEN, kinds.FILE, "none", "PEM file with the certificate's key")
    trusted_proxies: tuple[Network, ...] = option(
        LISTEN,
        kinds.NETWORKS,
        "",
        "networks of proxies in front, e.g. 10.0.0.0/8,::1: their X-Forwarded-For,"
        " X-Forwarded-Proto and, with --auth proxy, username count",
    )
    admin_host: str = option(
        LISTEN, kinds.HOST, "127.0.0.1", "address of the listener of --admin-port"
    )
    admin_port: int | None = unset(
        LISTEN,
        kinds.PORT,
        "none",
        "a listener of its own for /metrics and the details of /readyz; without it they are at the"
        " main one where that is on loopback, without --trusted-proxies and --public-url, and"
        " nowhere otherwise",
    )

    auth: str = option(
        ACCESS,
        kinds.one_of("none", "jwt", "proxy"),
        "none",
        "none trusts the name that a client gives: for one machine, or with --insecure; jwt checks"
        " tokens; proxy takes the name from a proxy of --trusted-proxies",
    )
    insecure: bool = option(
        ACCESS, kinds.FLAG, "false", "allow --auth none on an address that others can reach"
    )
    jwt_secret_file: Path | None = unset(
        ACCESS, kinds.FILE, "none", "secret of 32 bytes or more that tokens are signed with (HS256)"
    )
    jwt_public_key_file: Path | None = unset(
        ACCESS,
        kinds.FILE,
        "none",
        "PEM file with the public key of whoever signs tokens (RS256, ES256, EdDSA)",
    )
    jwks_url: SecretUrl | None = unset(
        ACCESS, kinds.WEB_URL, "none", "where the issuer of tokens publishes its keys"
    )
    jwt_issuer: str | None = unset(ACCESS, kinds.TEXT, "any", "the iss that a token must have")
    jwt_audience: str | None = unset(
        ACCESS,
        kinds.TEXT,
        "none",
        "the aud that a token must have; without it tokens with an aud are refused",
    )
    jwt_user_claim: str = option(ACCESS, kinds.CLAIM, "sub", "the claim that names the user")
    jwt_role_claim: str = option(
        ACCESS,
        kinds.CLAIM,
        "role",
        "the claim whose value service marks the product's own backend",
    )
    allowed_origins: frozenset[str] = option(
        ACCESS,
        kinds.ORIGINS,
        "",
        "exact origins of pages and app shells (capacitor://localhost) that may connect, and"
        " show the web client in a frame; with none, and no --public-url, only the server's own"
        " page",
    )
    rooms: str = option(
        ACCESS,
        kinds.one_of("everybody", "service"),
        "everybody",
        "who makes rooms: every user, or the product's own backend alone",
    )
    authorize_url: SecretUrl | None = unset(
        ACCESS,
        kinds.WEB_URL,
        "none",
        "the product is asked here before the first message of a sender to a recipient",
    )
    authorize_ttl: float = option(
        ACCESS, kinds.SECONDS, "10m", "for how long an answer of --authorize-url counts"
    )
    authorize_fail: str = option(
        ACCESS,
        kinds.one_of("closed", "open"),
        "closed",
        "what becomes of a message when --authorize-url does not answer: closed refuses it, open"
        " lets it through",
    )

    limit_messages: float | None = unset(
        LIMITS, kinds.RATE, _limit("messages", "a second"), "messages of a user in a second"
    )
    limit_bytes: float | None = unset(
        LIMITS,
        kinds.BYTES_RATE,
        _limit("bytes", "a second"),
        "bytes of a user's messages in a second",
    )
    limit_frames: float | None = unset(
        LIMITS,
        kinds.RATE,
        _limit("frames", "a second"),
        "frames of any kind of a session in a second; what is above waits",
    )
    limit_user_connections: int | None = unset(
        LIMITS, kinds.COUNT, _limit("user_connections"), "connections of a user"
    )
    limit_address_connections: int | None = unset(
        LIMITS, kinds.COUNT, _limit("address_connections"), "connections of an address"
    )
    limit_handshakes: float | None = unset(
        LIMITS, kinds.RATE, _limit("handshakes", "a second"), "handshakes of an address in a second"
    )

    ack_timeout: float = option(
        DELIVERY,
        kinds.SECONDS,
        "60s",
        "close a session that acknowledges nothing for so long while messages are outstanding",
    )
    sweep_interval: float = option(
        DELIVERY,
        kinds.SECONDS,
        "10s",
        "how often the store is asked what connected users are still owed; more than 15s breaks the"
        " promise that a message comes within 15 s, and needs --allow-unsafe",
    )

    keep_messages: float | None = unset(
        STORAGE,
        kinds.LIFETIME,
        "for ever",
        "messages that everybody has received are removed from the store when they are older",
    )
    keep_log: float = option(
        STORAGE,
        kinds.LIFETIME,
        "7d",
        "what the store has applied is removed from the embedded server's log when it is older;"
        " Kafka has its own retention",
    )
    device_expiry: float = option(
        DELIVERY,
        kinds.LIFETIME,
        "30d",
        "a device that was unseen for so long ends; what no other device of its user has waits for"
        " the next one",
    )

    data_dir: Path = option(
        STORAGE, kinds.DIRECTORY, "./landline-data", "the embedded server's files"
    )
    kafka: tuple[str, ...] | None = unset(
        STORAGE, kinds.SERVERS, "none", "Kafka brokers, the log of a cluster"
    )
    kafka_config: Path | None = unset(
        STORAGE,
        kinds.FILE,
        "none",
        "properties file with librdkafka's security.*, sasl.* and ssl.* settings",
    )
    postgres: SecretUrl | None = unset(
        STORAGE, kinds.POSTGRES_URL, "none", "PostgreSQL, the store of a cluster"
    )
    redis: SecretUrl | None = unset(
        STORAGE, kinds.REDIS_URL, "none", "Redis, where a cluster looks up who is where"
    )
    allow_unsafe: bool = option(
        STORAGE,
        kinds.FLAG,
        "false",
        "go on although settings of Kafka or PostgreSQL break the promise; each is a warning then",
    )

    server_id: str | None = unset(
        NODE,
        kinds.SERVER_ID,
        "host name and port",
        "name of this server, e.g. ws-1; of a host name over 58 characters, the default has the"
        " beginning and a hash",
    )
    roles: frozenset[str] = option(
        NODE,
        kinds.ROLES,
        "gateway,writer",
        "what to run: gateway serves clients, writer applies the log to the store",
    )

    log_dir: Path | None = unset(
        LOG,
        kinds.DIRECTORY,
        "none",
        "also write JSON to landline-<server-id>-<port>.log in here (30 files of 20 MB are kept)",
    )
    log_format: str = option(
        LOG,
        kinds.one_of("auto", "console", "json"),
        "auto",
        "console is for people, json for machines; auto is console on a terminal, else json",
    )

    @property
    def is_trusting(self) -> bool:
        """Say whether it takes any name, and only this machine can give one."""
        return self.auth == "none" and is_loopback(self.host)

    @property
    def limits(self) -> Limits:
        """Return the limits: those that are given, else their defaults."""
        usual = NO_LIMITS if self.is_trusting else USUAL_LIMITS
        given = {
            name: getattr(self, f"limit_{name}")
            for name in Limits.__dataclass_fields__
            if getattr(self, f"limit_{name}") is not None
        }
        return dataclasses.replace(usual, **given)

    @property
    def origins(self) -> frozenset[str]:
        """Return the origins of pages that may connect; none: only the server's own."""
        own = {self.public_url.origin} if self.public_url is not None else set()
        return self.allowed_origins | own

    @property
    def cautions(self) -> tuple[str, ...]:
        """Return a line for each value that can be had and weakens what is promised."""
        cautions = []
        if self.sweep_interval > SWEEP_SECONDS:
            cautions.append(
                f"--sweep-interval is {self.sweep_interval:g} s: a message whose hint was lost may"
                f" come later than the {PROMISED_SECONDS:g} s that are promised; give"
                f" {SWEEP_SECONDS:g}s or less"
            )
        if self.auth == "none" and self._reached_by is not None and "gateway" in self.roles:
            cautions.append(
                f"{self._reached_by} with --auth none: anybody who reaches it can read and write in"
                " any user's name; add --auth jwt --jwt-secret-file FILE"
            )
        elif self.auth != "none" and not is_loopback(self.host) and not self._is_encrypted:
            cautions.append(
                f"--host {self.host} without TLS: tokens and messages go there in plain text; add"
                " --tls-cert and --tls-key, or name the proxy that ends TLS in --trusted-proxies"
            )
        for flag, url, harm in (
            ("jwks-url", self.jwks_url, "whoever is on the way can publish keys, and be any user"),
            ("authorize-url", self.authorize_url, "whoever is on the way can answer"),
        ):
            if url is not None and is_plain_beyond_loopback(url):
                cautions.append(f"--{flag} {url} without TLS: {harm}; give an https:// address")
        return tuple(cautions)

    @property
    def _reached_by(self) -> str | None:
        """Return the option by which others than this machine reach it; None: they do not."""
        if not is_loopback(self.host):
            return f"--host {self.host}"
        if self.public_url is not None and not is_loopback(self.public_url.host):
            return f"--public-url {self.public_url}"
        return "--trusted-proxies" if self.trusted_proxies else None

    @property
    def _is_encrypted(self) -> bool:
        """Say whether clients speak TLS, with this server or with a proxy before it."""
        is_public_secure = self.public_url is not None and self.public_url.is_secure
        return self.tls_cert is not None or is_public_secure or bool(self.trusted_proxies)

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
