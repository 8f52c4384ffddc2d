"""Which neighbours of a server are reached in plain text, over a network that others may be on."""

import os
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from landline.adapters.postgres.hosts import hosts_of
from landline.config import Settings
from landline.config.hosts import is_loopback

# Each of these is TLS or an error. With the others, whoever is on the line decides.
_DEMANDED: Final = frozenset({"require", "verify-ca", "verify-full"})


def plaintext_cautions(settings: Settings, kafka_security: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each neighbour beyond loopback that need not speak TLS."""
    return (*_kafka(settings, kafka_security), *_postgres(settings), *_redis(settings))


def _kafka(settings: Settings, security: Mapping[str, str]) -> Iterator[str]:
    protocol = security.get("security.protocol", "plaintext").lower()
    servers = [each for each in settings.kafka or () if not is_loopback(_host(f"//{each}"))]
    if servers and not protocol.endswith("ssl"):
        yield (
            f"--kafka {','.join(servers)}: messages go there in plain text; give security.protocol="
            "SASL_SSL or SSL in the file of --kafka-config"
        )


def _postgres(settings: Settings) -> Iterator[str]:
    if settings.postgres is None:
        return
    url = settings.postgres.reveal()
    names = [host.name for host in hosts_of(url)]
    away = [name for name in names if not name.startswith("/") and not is_loopback(name)]
    given = parse_qs(urlsplit(url).query).get("sslmode") or [os.environ.get("PGSSLMODE", "")]
    if away and given[-1].replace("_", "-") not in _DEMANDED:
        yield (
            f"--postgres {settings.postgres}: nothing demands TLS on the way to {','.join(away)},"
            " so messages may go there in plain text; add sslmode=verify-full and sslrootcert to it"
        )


def _redis(settings: Settings) -> Iterator[str]:
    if settings.redis is None:
        return
    url = settings.redis.reveal()
    if url.startswith("redis://") and not is_loopback(_host(url)):
        yield (
            f"--redis {settings.redis}: names of users and the password go there in plain text;"
            " give rediss:// and ?ssl_ca_certs=FILE"
        )


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
