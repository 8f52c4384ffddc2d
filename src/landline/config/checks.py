"""What no single option can be blamed for: options that need or exclude each other."""

from collections.abc import Mapping
from typing import Final

from landline.config.given import Given
from landline.config.hosts import is_loopback
from landline.config.kinds import ALL_ROLES
from landline.config.settings import PROMISED_SECONDS, SWEEP_SECONDS, Settings
from landline.errors import ConfigError


def check_storage(settings: Settings, given: Mapping[str, Given]) -> None:
    """Raises: ConfigError for a cluster of which a part is missing."""
    if settings.kafka is None and settings.kafka_config is not None:
        raise ConfigError(
            f"{given['kafka-config'].shown} without --kafka: it says how to reach Kafka;"
            " add --kafka, or leave this option out"
        )
    cluster = [given[name].shown for name in ("kafka", "postgres", "redis") if name in given]
    remedy = "Leave out --kafka, --postgres and --redis to run the embedded server."
    if settings.kafka is not None and settings.postgres is not None:
        return
    if cluster:
        missing = [
            f"--{name}"
            for name, value in (("kafka", settings.kafka), ("postgres", settings.postgres))
            if value is None
        ]
        raise ConfigError(
            f"{cluster[0]} without {' and '.join(missing)}: a cluster needs both.\n{remedy}"
        )


def check_roles(settings: Settings, given: Mapping[str, Given]) -> None:
    """Raises: ConfigError for an embedded server in parts."""
    if settings.kafka is None and settings.roles != frozenset(ALL_ROLES):
        raise ConfigError(
            f"{given['roles'].shown}: the embedded server is one process and needs both roles; "
            "leave this option out"
        )


def check_sweep(settings: Settings, given: Mapping[str, Given]) -> None:
    """Raises: ConfigError for an interval that breaks the promise."""
    if settings.sweep_interval > PROMISED_SECONDS and not settings.allow_unsafe:
        raise ConfigError(
            f"{given['sweep-interval'].shown}: a message whose hint was lost comes with the"
            f" sweep, and {PROMISED_SECONDS:g} s are promised.\n"
            f"Give {SWEEP_SECONDS:g}s or less, or accept it with --allow-unsafe."
        )


# What belongs to another option, and does nothing without it.
_BELONGS: Final = {
    "jwt-secret-file": ("auth", "jwt"),
    "jwt-public-key-file": ("auth", "jwt"),
    "jwks-url": ("auth", "jwt"),
    "jwt-issuer": ("auth", "jwt"),
    "jwt-audience": ("auth", "jwt"),
    "jwt-user-claim": ("auth", "jwt"),
    "jwt-role-claim": ("auth", "jwt"),
    "tls-cert": ("tls-key", None),
    "tls-key": ("tls-cert", None),
    "admin-host": ("admin-port", None),
    "authorize-ttl": ("authorize-url", None),
    "authorize-fail": ("authorize-url", None),
}


def check_belongings(settings: Settings, given: Mapping[str, Given]) -> None:
    """Raises: ConfigError for an option that does nothing without another one."""
    for name, (owner, value) in _BELONGS.items():
        if name not in given:
            continue
        owners = getattr(settings, owner.replace("-", "_"))
        if owners is None or value not in (None, owners):
            needed = f"--{owner}{'' if value is None else f' {value}'}"
            raise ConfigError(
                f"{given[name].shown} without {needed}: it does nothing alone;"
                f" add {needed}, or leave this option out"
            )


def check_access(settings: Settings, given: Mapping[str, Given]) -> None:
    """Raises: ConfigError where it is not said how it is known who somebody is."""
    keys = (settings.jwt_secret_file, settings.jwt_public_key_file, settings.jwks_url)
    if settings.auth == "jwt" and not any(keys):
        raise ConfigError(
            f"{given['auth'].shown}: tokens are checked with a key, and none is given;\nadd"
            " --jwt-secret-file FILE, --jwt-public-key-file FILE or --jwks-url URL."
        )
    if settings.auth == "proxy" and not settings.trusted_proxies:
        raise ConfigError(
            f"{given['auth'].shown}: no proxy is trusted to say who somebody is;\nadd"
            " --trusted-proxies with its address, e.g. 127.0.0.1."
        )
    if settings.auth == "none" and not settings.insecure and not is_loopback(settings.host):
        raise ConfigError(
            f"{given['host'].shown}: with --auth none, anybody who reaches this address can "
            "write in any user's name.\nAdd --auth jwt --jwt-secret-file FILE, give a loopback host"
            " such as 127.0.0.1, or add --insecure."
        )
