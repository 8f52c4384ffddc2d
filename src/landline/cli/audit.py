"""`landline audit`: compare log and store."""

import argparse
import os
from typing import Any

from landline.cli.arguments import SHAPE, add_option, given, is_number, path_of
from landline.config.loading import load_for_audit, printable
from landline.config.settings import CONFIG_FILE, OPTIONS
from landline.errors import ConfigError

OPTION_NAMES = ("data-dir", "kafka", "kafka-config", "postgres")
DEFAULT_LIMIT = 100

_DESCRIPTION = """\
Compare log and store and name every difference, never a message's content. Exit code 0:
they agree, 1: they do not, 2: the comparison failed. Servers may run meanwhile."""

_EXAMPLES = """\
examples:
  landline audit
  landline audit --data-dir /var/lib/landline
  landline audit --config landline.toml --metrics /var/lib/node_exporter/landline_audit.prom"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "audit",
        help="compare log and store",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    parser.add_argument(
        "--limit",
        default=str(DEFAULT_LIMIT),
        metavar="NUMBER",
        help="differences to show; all are counted (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        type=path_of("--metrics"),
        metavar="FILE",
        help="also write the numbers for Prometheus there",
    )
    for option in (CONFIG_FILE, *map(OPTIONS.__getitem__, OPTION_NAMES)):
        add_option(parser, option)


def _run(arguments: argparse.Namespace) -> int:
    limit = arguments.limit
    if not is_number(limit):
        raise ConfigError(f"--limit {printable(limit)} is not a number from 0 up: give e.g. 100")
    settings = load_for_audit(given(arguments, OPTION_NAMES), os.environ)
    from landline.app import audit  # noqa: PLC0415 - only what a command needs is imported

    return audit.run(settings, limit=int(limit), metrics=arguments.metrics)
