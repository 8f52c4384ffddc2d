"""`landline chat`: chat from a terminal."""

import argparse
import os
from typing import Any

from landline.cli.arguments import (
    DEFAULT_URL,
    SHAPE,
    TOKEN_FILE_VARIABLE,
    check_device,
    check_name,
    check_room,
    check_url,
    token_file,
)
from landline.errors import ConfigError

OPTION_NAMES: tuple[str, ...] = ()

_DESCRIPTION = """\
Chat from a terminal. Write a line to send it; a tick says that the server has it
for good, two ticks that it was delivered while you were connected. /help lists the
commands, Ctrl-D ends.

In a pipe every line is sent (UTF-8, at most 16,384 bytes). Exit code 0: all of them
were accepted. 1: some were not, and standard error names them; what has no answer
yet is kept and goes out with the next chat of the same user at the same address.

Without --device you share one mailbox with all such chats of yours: what one of them has
shown does not come to another that was away. With --device the chat has a mailbox of its
own, and what you send from elsewhere is shown here too. Give the same name each time.

Only one `landline chat` of a user, or of a device, at an address can run at a time from
your account: a second one is refused, in a pipe after it has waited up to 20 s for the
first to end."""

_EXAMPLES = """\
examples:
  landline chat --as alice --to bob
  landline chat --as bob --url ws://192.0.2.7:8081/ws/chat
  uptime | landline chat --as watch --to alice
  landline chat --token-file alice.token --to bob
  landline chat --as alice --device laptop --to bob
  uptime | landline chat --as watch --room room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43

The token file is read for each connection, so a fresh token in it counts. With one, --as is
needed only if the token does not name you in its claim sub."""


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
    parser.add_argument("--as", dest="username", metavar="NAME", help="your name")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--to", metavar="NAME", help="whom to write to at first")
    whom.add_argument("--room", metavar="ID", help="or in which room; /rooms shows the ids")
    parser.add_argument("--url", default=DEFAULT_URL, help="the server (default: %(default)s)")
    parser.add_argument(
        "--device", metavar="NAME", help="this chat's own mailbox, e.g. laptop (default: none)"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"file with your token [{TOKEN_FILE_VARIABLE}]"
    )


def _run(arguments: argparse.Namespace) -> int:
    username = arguments.username
    if username is not None:
        check_name("--as", username)
    if arguments.to is not None:
        check_name("--to", arguments.to)
    if arguments.room is not None:
        check_room("--room", arguments.room)
    if arguments.device is not None:
        check_device("--device", arguments.device)
    check_url(arguments.url)
    token = token_file(arguments.token_file, os.environ)
    if username is None:
        username = None if token is None else token.subject()
    if username is None and token is not None:
        raise ConfigError(
            "--as is missing: what is in the token file names nobody in its claim sub. Give --as"
            " NAME too; or is it no token? landline token makes one for development"
        )
    if username is None:
        raise ConfigError(
            "--as is missing: give --as NAME, or --token-file FILE with a token that names you"
            " in its claim sub"
        )

    import asyncio  # noqa: PLC0415

    from landline.terminal import run_chat  # noqa: PLC0415

    return asyncio.run(
        run_chat(
            arguments.url,
            username,
            arguments.to or arguments.room,
            outbox=None,
            token=token,
            device=arguments.device,
        )
    )
