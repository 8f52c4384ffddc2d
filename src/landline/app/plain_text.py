"""Lines to Kafka, PostgreSQL and Redis on which whoever is in between reads along."""

import os
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from landline.adapters.kafka.security import read_security
from landline.adapters.postgres.environment import used_variables
from landline.adapters.postgres.hosts import hosts_of
from landline.config import Settings
from landline.config.hosts import is_loopback

# With the others a server that offers no TLS, or somebody who says so in its name, is believed.
_ENCRYPTED: Final = ("require", "verify-ca", "verify-full")


def plain_text(settings: Settings) -> list[str]:
    """Return an advice for each line that leaves this machine without TLS. Raises: StartupError."""
    return [*_kafka(settings), *_postgres(settings), *_redis(settings)]


def _kafka(settings: Settings) -> Iterable[str]:
    security = read_security(settings.kafka_config) if settings.kafka_config else {}
    servers = [server.rpartition(":")[0].strip("[]") for server in settings.kafka or ()]
    protocol = security.get("security.protocol", "plaintext").lower()
    if protocol.endswith("plaintext") and not all(map(is_loopback, servers)):
        yield "--kafka without TLS: see security.protocol in --kafka-config"


def _postgres(settings: Settings) -> Iterable[str]:
    if settings.postgres is None:
        return
    url = settings.postgres.reveal()
    variable = used_variables(settings.postgres).get("sslmode", "")
    modes = parse_qs(urlsplit(url).query).get("sslmode") or [os.environ.get(variable, "prefer")]
    hosts = [host.name for host in hosts_of(url)]
    is_near = all(host.startswith("/") or is_loopback(host) for host in hosts)
    if modes[-1] not in _ENCRYPTED and not is_near:
        yield "--postgres without TLS: add ?sslmode=verify-full&sslrootcert=FILE"


def _redis(settings: Settings) -> Iterable[str]:
    if settings.redis is None:
        return
    parts = urlsplit(settings.redis.reveal())
    if parts.scheme == "redis" and not is_loopback(parts.hostname or "localhost"):
        yield "--redis without TLS: write rediss:// and ?ssl_ca_certs=FILE"
