"""`landline chat`: chat from a terminal."""

import argparse
from typing import Any

from landline.cli.arguments import DEFAULT_URL, SHAPE, check_name, check_url

OPTION_NAMES: tuple[str, ...] = ()

_DESCRIPTION = """\
Chat from a terminal. Write a line to send it; a tick says that the server has it
for good, two ticks that it was delivered while you were connected. /help lists the
commands, Ctrl-D ends.

In a pipe every line is sent (UTF-8, at most 16,384 bytes). Exit code 0: all of them
were accepted. 1: some were not, and standard error names them; what has no answer
yet is kept and goes out with the next chat of the same user at the same address.

Only one `landline chat` of a user at an address can run at a time from your account:
a second one is refused, in a pipe after it has waited up to 20 s for the first to end."""

_EXAMPLES = """\
examples:
  landline chat --as alice --to bob
  landline chat --as bob --url ws://192.0.2.7:8081/ws/chat
  uptime | landline chat --as watch --to alice"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "chat",
        help="chat from a terminal",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("--as", dest="username", metavar="NAME", required=True, help="your name")
    parser.add_argument("--to", metavar="NAME", help="whom to write to at first")
    parser.add_argument("--url", default=DEFAULT_URL, help="the server (default: %(default)s)")


def _run(arguments: argparse.Namespace) -> int:
    check_name("--as", arguments.username)
    if arguments.to is not None:
        check_name("--to", arguments.to)
    check_url(arguments.url)

    import asyncio  # noqa: PLC0415

    from landline.terminal import run_chat  # noqa: PLC0415

    return asyncio.run(run_chat(arguments.url, arguments.username, arguments.to, outbox=None))
