"""`landline audit`: compare log and store, or apply again what is in quarantine."""

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
they agree, 1: they do not, 2: the comparison failed. Servers may run meanwhile.

With --redrive nothing is compared. What stands in quarantine and can be read by this version
is put at the end of the log again, where it is applied as any other record, and its row goes.
Exit code 0: nothing stays there, 1: something does, 2: it failed, and can be run again. The
embedded server must be stopped; those of a cluster may run. Needs the right to write to the
topic, and to delete from the table quarantine."""

_EXAMPLES = """\
examples:
  landline audit
  landline audit --data-dir /var/lib/landline
  landline audit --config landline.toml --metrics /var/lib/node_exporter/landline_audit.prom
  landline audit --redrive --config landline.toml"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "audit",
        help="compare log and store; apply again what is in quarantine",
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
    parser.add_argument(
        "--redrive",
        action="store_true",
        help="append again what is in quarantine and can be read by now",
    )
    for option in (CONFIG_FILE, *map(OPTIONS.__getitem__, OPTION_NAMES)):
        add_option(parser, option)


def _run(arguments: argparse.Namespace) -> int:
    limit = arguments.limit
    if not is_number(limit):
        raise ConfigError(f"--limit {printable(limit)} is not a number from 0 up: give e.g. 100")
    if arguments.redrive and arguments.metrics is not None:
        raise ConfigError(
            "--redrive with --metrics: nothing is measured then; leave out one of them"
        )
    settings = load_for_audit(given(arguments, OPTION_NAMES), os.environ)
    if arguments.redrive:
        from landline.app import redrive  # noqa: PLC0415 - only what a command needs is imported

        return redrive.run(settings)
    from landline.app import audit  # noqa: PLC0415

    return audit.run(settings, limit=int(limit), metrics=arguments.metrics)
