"""`landline sessions`: see and close a user's sessions."""

import argparse
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from landline.cli.arguments import (
    DEFAULT_URL,
    SHAPE,
    TOKEN_FILE_VARIABLE,
    check_name,
    token_file,
    value,
)
from landline.config.kinds import LIFETIME
from landline.config.loading import printable
from landline.errors import ConfigError

OPTION_NAMES: tuple[str, ...] = ()

_DESCRIPTION = """\
See a user's sessions, on whichever servers they are, or close them all. It asks a server over
HTTP, with a service token: a server with --auth none knows no services, and refuses. The user may
connect again at once, or from --until on."""

_EXAMPLES = """\
examples:
  landline token --service --jwt-secret-file secret.txt > service.token
  landline sessions list --user alice --token-file service.token
  landline sessions close --user alice --until 10m --token-file service.token
  landline sessions list --user alice --token-file <(landline token --service) \\
      --url https://chat.example.org

On a terminal `list` shows a table. In a pipe it writes a line for each session, with tabs between
session, server, time, address and origin. Exit code 0: done. 1: the server refused it, or could
not be asked. 2: the command line is wrong."""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "sessions",
        help="see and close a user's sessions",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("action", choices=("list", "close"), help="what to do")
    parser.add_argument("--user", metavar="NAME", required=True, help="whose sessions")
    parser.add_argument(
        "--until",
        metavar="TIME",
        help="with close: keep the user away for so long (10m, 2d), or until a time (RFC 3339);"
        " one that is over lets them in again",
    )
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="a server, http(s) or ws(s) (default: %(default)s)"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"file with a service token [{TOKEN_FILE_VARIABLE}]"
    )


def _run(arguments: argparse.Namespace) -> int:
    check_name("--user", arguments.user)
    until = None if arguments.until is None else _until(arguments.until, datetime.now(UTC))
    if until is not None and arguments.action != "close":
        raise ConfigError("--until belongs to close: leave it out")

    from landline.terminal.sessions import Sessions, base_address  # noqa: PLC0415

    base = base_address("--url", arguments.url)
    token = token_file(arguments.token_file, os.environ)
    if token is None:
        raise ConfigError(
            "--token-file is missing: give a file with a service token, which landline token"
            " --service makes; a server with --auth none knows no services"
        )
    sessions = Sessions(base, token)
    if arguments.action == "close":
        return sessions.close(arguments.user, until)
    return sessions.list(arguments.user)


def _until(text: str, now: datetime) -> datetime:
    """Return the time that is meant. Raises: ConfigError."""
    if text[-1:].isalpha() and text[-1:] not in "Zz":
        return now + timedelta(seconds=value("--until", text, LIFETIME))
    shown = f"--until {printable(text) or repr('')}"
    try:
        given = datetime.fromisoformat(text)
        until = None if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        until = None
    if until is None:
        raise ConfigError(
            f"{shown} is no time: give how long, e.g. 10m, or a time like 2026-01-02T03:04:05Z"
        )
    return until
