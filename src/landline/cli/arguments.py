"""Arguments of the commands: options of the server's table, and checks of other values."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landline.config.kinds import FILE, FLAG
from landline.config.loading import printable
from landline.config.option import Option
from landline.config.settings import CONFIG_FILE
from landline.config.values import T, UnfitValue, ValueKind, check_characters
from landline.errors import ConfigError
from landline.protocol.identity import BadName, check_user_name, is_device, is_room
from landline.protocol.limits import DEVICE_BYTES

if TYPE_CHECKING:
    from landline.terminal.token_file import TokenFile

DEFAULT_URL = "ws://127.0.0.1:8081/ws/chat"
TOKEN_FILE_VARIABLE = "LANDLINE_TOKEN_FILE"  # noqa: S105 - the name of a variable

# What every parser of ours has in common.
SHAPE: dict[str, Any] = {
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "allow_abbrev": False,  # an abbreviation breaks when the next option arrives
}

# No number of ours is longer.
_DIGITS = 12


def add_option(group: argparse._ActionsContainer, option: Option) -> None:
    """Add an option of the server's table."""
    default = f"; default: {option.default}" if option.default not in {"", "none", "false"} else ""
    text = f"{option.doc}{default} [{option.variable}]".replace("%", "%%")
    if option.kind is FLAG:
        flags = (option.flag, f"--no-{option.name}")
        for flag, value in zip(flags, ("true", "false"), strict=True):
            group.add_argument(
                flag,
                dest=destination(option.name),
                action="store_const",
                const=value,
                help=text if value == "true" else argparse.SUPPRESS,
            )
    else:
        # Kept as text: one reader for command line, environment and file.
        group.add_argument(option.flag, metavar=option.kind.metavar, help=text)


def given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, str]:
    """Return those of these options that were given, as text."""
    values = {name: getattr(arguments, destination(name)) for name in (*names, CONFIG_FILE.name)}
    return {name: value for name, value in values.items() if value is not None}


def destination(name: str) -> str:
    """Return the attribute of the parsed arguments that has the value of an option."""
    return name.replace("-", "_")


def value(flag: str, text: str, kind: ValueKind[T]) -> T:
    """Read an argument as an option of the server is read. Raises: ConfigError."""
    try:
        check_characters(text)
        return kind.parse(text)
    except UnfitValue as error:
        raise ConfigError(
            f"{flag} {printable(text) or repr('')} {error.problem}: {error.remedy}"
        ) from None


def path_of(flag: str) -> Callable[[str], Path]:
    """Return a reader for an option that is a path."""
    return lambda text: value(flag, text, FILE)


def token_file(path: str | None, environment: Mapping[str, str]) -> "TokenFile | None":
    """Return the file that brings a token, None without one. Raises: ConfigError."""
    flag, text = "--token-file", path
    if path is None:
        flag, text = TOKEN_FILE_VARIABLE, environment.get(TOKEN_FILE_VARIABLE)
        if not text:
            return None
    assert text is not None
    from landline.client.errors import TokenUnavailable  # noqa: PLC0415 - only what is needed
    from landline.terminal.token_file import TokenFile  # noqa: PLC0415

    file = TokenFile(value(flag, text, FILE))
    try:
        file()
    except TokenUnavailable as error:
        raise ConfigError(f"{flag}: {error}; landline token makes one for development") from None
    return file


def number(flag: str, text: str, least: int, most: int, more: str = "") -> int:
    """Return a number within these bounds; `more` explains them. Raises: ConfigError."""
    if not is_number(text) or not least <= int(text) <= most:
        raise ConfigError(
            f"{flag} {printable(text) or repr('')} is not a number from {least} to {most}{more}"
        )
    return int(text)


def is_number(text: str) -> bool:
    """Say whether this is a number that is not too long to be read."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def check_name(flag: str, name: str) -> None:
    """Raises: ConfigError if a user may not have this name."""
    try:
        check_user_name(name)
    except BadName as error:
        raise ConfigError(f"{flag} {printable(name) or repr('')}: {error}") from None


def check_room(flag: str, room: str) -> None:
    """Raises: ConfigError if this is no room's id."""
    if not is_room(room):
        raise ConfigError(
            f"{flag} {printable(room) or repr('')} is no id of a room: it looks like"
            " room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43, and /rooms shows those of yours"
        )


def check_device(flag: str, device: str) -> None:
    """Raises: ConfigError if no device may have this name."""
    if not device or not is_device(device):
        raise ConfigError(
            f"{flag} {printable(device) or repr('')}: a device's name must have 1 to"
            f" {DEVICE_BYTES} of the characters A-Z a-z 0-9 . _ -"
        )


def check_url(url: str) -> None:
    """Raises: ConfigError if no client could connect to this address."""
    from landline.client.address import read_address  # noqa: PLC0415 - only what a command needs is imported
    from landline.client.errors import Refused  # noqa: PLC0415

    if not url.startswith(("ws://", "wss://")):
        raise ConfigError(
            f"--url {printable(url)} is not a WebSocket address: "
            f"give one that starts with ws:// or wss://, e.g. {DEFAULT_URL}"
        )
    try:
        read_address(url)
    except Refused as error:
        raise ConfigError(f"--url {printable(url)}: {error}") from None
