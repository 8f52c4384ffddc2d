"""`landline token`: make a token for development."""

import argparse
import os
import time
from typing import Any

from landline.cli.arguments import SHAPE, add_option, check_name, given, value
from landline.config.kinds import LIFETIME
from landline.config.loading import load_for_tokens
from landline.config.settings import CONFIG_FILE, OPTIONS
from landline.errors import ConfigError

OPTION_NAMES = (
    "jwt-secret-file",
    "jwt-issuer",
    "jwt-audience",
    "jwt-user-claim",
    "jwt-role-claim",
)
DEFAULT_LIFETIME = "1h"
SERVICE_USER = "service"

_DESCRIPTION = """\
Make a token for development, from the secret that `landline serve --auth jwt` checks it with,
and print it. In production your own backend makes tokens, for users who have signed in to it."""

_EXAMPLES = """\
examples:
  openssl rand -base64 32 > secret.txt
  landline serve --auth jwt --jwt-secret-file secret.txt
  landline token --user alice --jwt-secret-file secret.txt > alice.token
  landline chat --token-file alice.token --to bob
  landline token --service --expires 5m --config landline.toml

DURATION is a number with its unit: 30s, 5m, 1h, 365d. Options that a server has (--jwt-audience
and the like) must be the same here: the file of --config and the environment serve both."""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "token",
        help="make a token for development",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("--user", metavar="NAME", help="whom the token is for")
    parser.add_argument(
        "--service",
        action="store_true",
        help=f"for the product's own backend; its name is --user, or {SERVICE_USER}",
    )
    parser.add_argument(
        "--expires",
        default=DEFAULT_LIFETIME,
        metavar="DURATION",
        help="how long it is good, from 1s to 365d (default: %(default)s)",
    )
    for option in (CONFIG_FILE, *map(OPTIONS.__getitem__, OPTION_NAMES)):
        add_option(parser, option)


def _run(arguments: argparse.Namespace) -> int:
    user = arguments.user
    if user is None:
        if not arguments.service:
            raise ConfigError("--user is missing: give --user NAME, or --service")
        user = SERVICE_USER
    check_name("--user", user)
    lifetime_seconds = value("--expires", arguments.expires, LIFETIME)
    settings = load_for_tokens(given(arguments, OPTION_NAMES), os.environ)
    from landline.auth.minting import make_token  # noqa: PLC0415 - only what a command needs

    expires_at = time.time() + lifetime_seconds
    print(make_token(settings, user, is_service=arguments.service, expires_at=expires_at))
    return 0
