"""Reads `--kafka-config`: how to reach a cluster that wants TLS or a user."""

from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from landline.config.values import UnfitValue, check_characters
from landline.errors import StartupError

# What Python counts among the blanks beside these may be the end of a password.
_BLANKS = " \t"
# What decides whether a message survives is not the operator's to change here.
_PREFIXES = ("security.", "sasl.", "ssl.", "enable.ssl.")
# Java leaves it empty where any name in a certificate will do; librdkafka has a word for that.
_HOST_CHECK = "ssl.endpoint.identification.algorithm"
_ANY_HOST = "none"


def read_security(path: Path) -> Mapping[str, str]:
    """Return the settings of a properties file: `name=value` lines, `#` for comments.

    Raises: StartupError. Values may be secrets and are never shown.
    """
    try:
        # Only these end a line; editors of Windows begin a file with a byte-order mark.
        lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StartupError(
            f"--kafka-config {path}: cannot be read ({why}); give a properties file"
        ) from error
    settings: dict[str, str] = {}
    for number, whole in enumerate(lines, 1):
        line = whole.strip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        name, separator, value = (part.strip(_BLANKS) for part in line.partition("="))
        if name == _HOST_CHECK and separator and not value:
            value = _ANY_HOST
        if not separator or not name.startswith(_PREFIXES):
            raise StartupError(
                f"--kafka-config {path}, line {number}: not a setting for TLS or users;"
                f" give lines such as security.protocol=SASL_SSL"
                f" (names that begin with {', '.join(_PREFIXES)})"
            )
        problem = _problem(name, value, settings)
        if problem is not None:
            raise StartupError(f"--kafka-config {path}, line {number}: {name} {problem}")
        settings[name] = value
    _try_out(path, settings)
    unused = _unused(settings)
    if unused is not None:
        raise StartupError(f"--kafka-config {path}: {unused}")
    return settings


def _unused(settings: Mapping[str, str]) -> str | None:
    """Say which settings go unused with this protocol: librdkafka leaves them out in silence.

    An operator who writes them believes that the connection is encrypted, or a user is checked.
    """
    given = settings.get("security.protocol")
    protocol = (given or "plaintext").lower()
    if protocol not in {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"}:
        return None  # librdkafka says what is wrong with it
    users = [name for name in settings if name.startswith("sasl.")]
    tls = [name for name in settings if name.startswith(("ssl.", "enable.ssl."))]
    unused = [
        *(users if not protocol.startswith("sasl_") else ()),
        *(tls if not protocol.endswith("ssl") else ()),
    ]
    if not unused:
        return None
    wanted = {
        (True, True): "SASL_SSL",
        (True, False): "SASL_SSL, or SASL_PLAINTEXT where nobody else is on the line",
        (False, True): "SSL",
    }[bool(users), bool(tls)]
    if users and protocol == "ssl":
        wanted = "SASL_SSL"
    said = f"security.protocol={given}" if given else "security.protocol (so it is plaintext)"
    return (
        f"{', '.join(unused)} {'has' if len(unused) == 1 else 'have'} no effect"
        f" {'with' if given else 'without'} {said}; write security.protocol={wanted},"
        " or leave them out"
    )


def _problem(name: str, value: str, before: Mapping[str, str]) -> str | None:
    if not value:
        return "has no value; give one or leave the line out"
    if name in before:
        return "is given twice; leave one of them out"
    try:
        check_characters(name + value)
    except UnfitValue as error:
        return f"{error.problem}; {error.remedy}"
    return None


def _try_out(path: Path, settings: Mapping[str, str]) -> None:
    """Have librdkafka look at them: it names what it cannot use, and never a secret's value."""
    try:
        AdminClient({"log_level": 0, **settings})
    except KafkaException as error:
        raise StartupError(
            f"--kafka-config {path}: {error.args[0].str()}; correct the file"
        ) from error
