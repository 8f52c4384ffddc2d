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
    return settings


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
