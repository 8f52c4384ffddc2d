"""`landline migrate`: bring the schema of the store up to date, or move to another log."""

import argparse
import os
from typing import Any

from landline.cli.arguments import SHAPE, add_option, given
from landline.config.loading import load_for_migration
from landline.config.settings import CONFIG_FILE, OPTIONS
from landline.errors import ConfigError

OPTION_NAMES = ("postgres", "kafka", "kafka-config", "allow-unsafe")

_DESCRIPTION = """\
Bring the schema of the store up to this version. A server does that too when it starts. Here
a user with more rights can do it, before the servers are replaced.

Once all of them have been replaced, run it again: then it brings what is stored to format 2,
without which there are no rooms and no devices. Servers may go on meanwhile. While one of the
version before is connected it names it, changes no format and ends with exit code 1."""

_EXAMPLES = """\
examples:
  landline migrate --postgres postgresql://owner@db.example.org/landline
  landline migrate --config landline.toml
  landline migrate --new-log --config landline.toml

--new-log is for the day on which CHAT-MESSAGES was replaced on purpose (made again, more
partitions, another cluster) or has lost records. Stop all servers first. It shows what the
store knew and what is there now, and asks."""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "migrate",
        help="bring the schema of the store up to date",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    parser.add_argument(
        "--new-log", action="store_true", help="CHAT-MESSAGES was replaced: follow the new one"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before --new-log")
    for option in (CONFIG_FILE, *map(OPTIONS.__getitem__, OPTION_NAMES)):
        add_option(parser, option)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.yes and not arguments.new_log:
        raise ConfigError("--yes without --new-log: there is nothing to confirm; leave it out")
    settings = load_for_migration(
        given(arguments, OPTION_NAMES), os.environ, needs_log=arguments.new_log
    )
    from landline.app import migrate  # noqa: PLC0415 - only what a command needs is imported

    if arguments.new_log:
        return migrate.move_to_new_log(settings, is_confirmed=arguments.yes)
    return migrate.migrate(settings)
