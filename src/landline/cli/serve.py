"""`landline serve`: run a server."""

import argparse
import os
import sys
from typing import Any

from landline.cli.arguments import SHAPE, add_option, given
from landline.config.loading import load, notes
from landline.config.settings import CONFIG_FILE, OPTIONS, SECTIONS

OPTION_NAMES = tuple(OPTIONS)

_DESCRIPTION = """\
Run a server. It needs no options: it is one process, keeps its messages in files
below ./landline-data, and serves a chat page at http://127.0.0.1:8081/."""

_EXAMPLES = """\
examples:
  landline serve
  landline serve --port 9000 --data-dir /var/lib/landline --log-dir /var/log/landline
  LANDLINE_PORT=9000 landline serve
  landline serve --config landline.toml

Every option is also a variable (in brackets) and a key in the file: the command line
beats the environment, which beats the file. DURATION is a number with its unit, such
as 500ms, 60s or 2m. Ctrl-C or SIGTERM stops the server without losing anything."""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "serve",
        help="run a server",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        usage="landline serve [OPTION]...",
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    add_option(parser, CONFIG_FILE)
    for section in SECTIONS:
        group = parser.add_argument_group(section)
        for option in OPTIONS.values():
            if option.section == section:
                add_option(group, option)


def _run(arguments: argparse.Namespace) -> int:
    settings = load(given(arguments, OPTION_NAMES), os.environ)
    for note in notes(os.environ):
        print(f"landline: {note}", file=sys.stderr)
    from landline import app  # noqa: PLC0415 - only what a command needs is imported

    return app.run(settings)
