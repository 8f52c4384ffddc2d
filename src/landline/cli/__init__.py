"""The commands, one module each. The code that does their work is elsewhere, and is imported only
when it is needed.
"""

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from landline.cli import audit, chat, migrate, serve, sessions, token, verify
from landline.cli.arguments import SHAPE
from landline.config.loading import printable
from landline.config.settings import OPTIONS
from landline.errors import ConfigError, LandlineError, StartupError

# What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130

COMMANDS = {
    "serve": serve,
    "chat": chat,
    "token": token,
    "sessions": sessions,
    "migrate": migrate,
    "audit": audit,
    "verify": verify,
}

_DESCRIPTION = """\
A chat server and client. A message that was acknowledged to its sender reaches
its recipient, whatever disconnects, restarts or fails in between."""

_EXAMPLES = """\
try it:
  landline serve                       start a server, then open http://127.0.0.1:8081/
  landline chat --as alice --to bob    or chat from a terminal
  landline chat --as bob --to alice    in another one"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (2: it could not start)."""
    parser = _parser()
    try:
        known, unknown = parser.parse_known_args(arguments)
        if unknown:
            _refuse(unknown[0], known.command)
        if known.command is None:
            parser.print_help(sys.stderr)
            return 2
        return int(known.run(known))
    except StartupError as error:
        print(f"landline: {error}", file=sys.stderr)
        return 2
    except LandlineError as error:
        print(f"landline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Says in two lines what is wrong and where to read more."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{printable(message)}\nSee {self.prog} --help.")


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - see above

        print(f"landline {version('landline')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="landline", description=_DESCRIPTION, epilog=_EXAMPLES, **SHAPE)
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    for command in COMMANDS.values():
        command.add(commands)
    return parser


def _refuse(argument: str, command: str | None) -> NoReturn:
    name, names = "landline", tuple[str, ...]()
    if command is not None:
        name, names = f"landline {command}", COMMANDS[command].OPTION_NAMES
    flags = [OPTIONS[each].flag for each in names]
    meant = get_close_matches(argument.partition("=")[0], flags, 1)
    hint = f"did you mean {meant[0]}?" if meant else f"see {name} --help"
    raise ConfigError(f"{printable(argument)} is not an option of {name}: {hint}")
