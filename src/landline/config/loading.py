"""Command line, environment and file in; `Settings` out, or one sentence on what is wrong."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from landline.config.checks import (
    check_access,
    check_belongings,
    check_roles,
    check_storage,
    check_sweep,
)
from landline.config.given import Given
from landline.config.kinds import FLAG, PORT
from landline.config.option import Option
from landline.config.settings import (
    CONFIG_FILE,
    OPTIONS,
    Settings,
)
from landline.config.values import UnfitValue, check_characters, mask
from landline.errors import ConfigError

# How alike a stray LANDLINE_* variable must be to count as a slip of the pen, unless one letter is
# all. Anything else is somebody's own business, e.g. LANDLINE_HOME in a deployment script.
_SLIP: Final = 0.8

_SHOWN_CHARACTERS: Final = 120
_PATH_CHARACTERS: Final = 4_096  # what Linux takes
# Python writes no longer number in decimal digits; hexadecimal it does.
_DECIMAL_BITS: Final = 4_096

_LINES: Final = 'correct it: each line is an option and its value, e.g. host = "::1"'


def load(command_line: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Return the settings of a server. Both mappings hold text; `command_line` by the options'
    names.

    Raises: ConfigError, one or two lines that name the option in the form in which it was given.
    """
    settings, given = _read(command_line, environment)
    check_storage(settings, given)
    check_roles(settings, given)
    check_sweep(settings, given)
    check_belongings(settings, given)
    check_access(settings, given)
    return settings


def load_for_audit(command_line: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Return the settings for an audit of log and store. Raises: ConfigError."""
    settings, given = _read(command_line, environment)
    check_storage(settings, given)
    return settings


def load_for_migration(
    command_line: Mapping[str, str], environment: Mapping[str, str], *, needs_log: bool
) -> Settings:
    """Return the settings for a migration of the store. Raises: ConfigError."""
    settings, _given = _read(command_line, environment)
    needed = {"postgres": settings.postgres, **({"kafka": settings.kafka} if needs_log else {})}
    for name, value in needed.items():
        if value is None:
            embedded = (
                " (an embedded server, without PostgreSQL, brings its file up to date itself)"
            )
            raise _missing(OPTIONS[name], "" if needs_log else embedded)
    return settings


def load_for_tokens(command_line: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Return the settings for making tokens. Raises: ConfigError."""
    settings, _given = _read(command_line, environment)
    if settings.jwt_secret_file is None:
        raise _missing(OPTIONS["jwt-secret-file"])
    return settings


def _missing(option: Option, more: str = "") -> ConfigError:
    return ConfigError(
        f"{option.flag} is missing: give {option.flag} {option.kind.metavar},"
        f" {option.variable}, or {option.name} in the file of --config{more}"
    )


def _read(
    command_line: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[Settings, Mapping[str, Given]]:
    given = _from_environment(environment)
    given |= {name: _from_command_line(name, text) for name, text in command_line.items()}
    file = given.pop(CONFIG_FILE.name, None)
    if file is not None:
        given = _from_file(file) | given
    settings = Settings(
        **{name.replace("-", "_"): _parse(OPTIONS[name], each) for name, each in given.items()}
    )
    return settings, given


def _parse(option: Option, given: Given) -> Any:
    try:
        check_characters(given.text)
        return option.kind.parse(given.text)
    except UnfitValue as error:
        raise ConfigError(f"{given.shown} {error.problem}: {error.remedy}") from None


def printable(text: str, longest: int = _SHOWN_CHARACTERS) -> str:
    """Return `text` fit for an error message: short, on one line, without secrets."""
    text = mask(text)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= longest else f"{text[:longest]}..."


def printable_path(path: str) -> str:
    """Return a file's name fit for an error message, and whole: a part of it names no file."""
    return printable(path, _PATH_CHARACTERS)


# --- where values come from -----------------------------------------------------------------------


def _from_command_line(name: str, text: str) -> Given:
    if name in OPTIONS and OPTIONS[name].kind is FLAG:
        return Given(text, f"--{name}" if text == "true" else f"--no-{name}")
    return Given(text, f"--{name} {_shown(name, text) or repr('')}")


def _shown(name: str, text: str) -> str:
    return printable_path(text) if name == CONFIG_FILE.name else printable(text)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    known = {option.variable: option.name for option in (*OPTIONS.values(), CONFIG_FILE)}
    given = {}
    for variable, text in environment.items():
        if variable not in known:
            _refuse_slip(variable, known)
        elif text and not _is_of_kubernetes(variable, text):
            # Empty is how shells and compose files say "not set".
            name = known[variable]
            given[name] = Given(text, f"{variable}={_shown(name, text)}")
    return given


def notes(environment: Mapping[str, str]) -> list[str]:
    """Return what an operator should know of the environment, in sentences."""
    return [
        f"{variable}={printable(text)} is what Kubernetes sets for a service of that name, and is"
        " ignored; enableServiceLinks: false keeps it away"
        for variable, text in environment.items()
        if _is_of_kubernetes(variable, text)
    ]


def _is_of_kubernetes(variable: str, text: str) -> bool:
    """Say whether it is the address of a service that is called landline: LANDLINE_PORT=tcp://..."""
    is_port = any(each.variable == variable and each.kind is PORT for each in OPTIONS.values())
    return is_port and re.fullmatch(r"(?:tcp|udp|sctp)://[^/\s]+:[0-9]+", text) is not None


def _refuse_slip(variable: str, known: Mapping[str, str]) -> None:
    prefix, _, rest = variable.partition("_")
    if prefix.upper() != "LANDLINE":
        return
    names = [name.partition("_")[2] for name in known]
    rest = rest.upper()
    meant = [name for name in names if _is_one_letter_off(rest, name)]
    meant = meant or get_close_matches(rest, names, 1, _SLIP)
    if meant:
        raise ConfigError(
            f"{printable(variable)} in the environment is not an option: "
            f"did you mean LANDLINE_{meant[0]}? Rename it or unset it"
        )


def _is_one_letter_off(given: str, name: str) -> bool:
    """Say whether it is the name but for a letter that is wrong, missing, too many, or swapped
    with the next. In a short name even one is much, and two names may still be quite unlike.
    """
    pairs = enumerate(zip(given, name, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(given), len(name)))
    given, name = given[same:], name[same:]
    return (
        given[1:] in (name, name[1:])
        or given == name[1:]
        or (given[:2] == name[1::-1] and given[2:] == name[2:])
    )


def _from_file(file: Given) -> dict[str, Given]:
    import tomllib  # noqa: PLC0415 - most starts have no file

    path: Path = _parse(CONFIG_FILE, file)
    try:
        # Editors of Windows begin a file with a byte-order mark.
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"{file.shown}: this file cannot be read ({error.strerror}); give one that can"
        ) from None
    except UnicodeDecodeError:
        raise _not_toml(file, "it is not UTF-8", "save it as UTF-8") from None
    except RecursionError:
        raise _not_toml(file, "it is nested too deep", _LINES) from None
    except ValueError as error:  # a number with too many digits is one as well
        raise _not_toml(file, printable(str(error)), _LINES) from None
    where = f"in {printable_path(str(path))}"
    return {key: _from_key(key, value, where) for key, value in content.items()}


def _not_toml(file: Given, why: str, remedy: str) -> ConfigError:
    return ConfigError(f"{file.shown}: this file is not TOML: {why}; {remedy}")


def _from_key(key: str, value: object, where: str) -> Given:
    option = OPTIONS.get(key)
    if option is None:
        meant = get_close_matches(key.lower().replace("_", "-"), OPTIONS, 1)
        hint = f"did you mean {meant[0]}?" if meant else "see landline serve --help"
        raise ConfigError(f"{printable(key)} {where} is not an option: {hint}")
    shown = f"{key} = {_toml(value)} {where}"
    if type(value) not in option.kind.toml or _toml(value) == "[...]":
        raise ConfigError(f"{shown} has the wrong type: give {_example(option)}")
    if isinstance(value, list):
        return Given(",".join(value), shown)
    return Given(value if isinstance(value, str) else _written(value), shown)


def _written(value: object) -> str:
    """Return a value that is no text as text."""
    if isinstance(value, bool):
        return str(value).lower()
    is_long = isinstance(value, int) and value.bit_length() > _DECIMAL_BITS
    return f"{value:#x}" if is_long else str(value)


def _toml(value: object) -> str:
    """Return the value as it may have been written. What may hide a secret in it is left out."""
    if isinstance(value, bool | int | float):
        return printable(_written(value))
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return f"[{', '.join(map(_toml, value))}]"
    return "[...]" if isinstance(value, list) else "{...}"


def _example(option: Option) -> str:
    if int in option.kind.toml:
        return f"{option.name} = {option.default}"
    if bool in option.kind.toml:
        return f"{option.name} = true or {option.name} = false"
    return f'{option.name} = "{option.kind.metavar}"'
