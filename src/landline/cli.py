"""The commands, and nothing else: what they do lives elsewhere and is imported when asked for."""

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from landline.config.loading import load, load_for_audit, load_for_migration, notes, printable
from landline.config.settings import CONFIG_FILE, OPTIONS, SECTIONS, Option
from landline.config.values import (
    FILE,
    FLAG,
    POSTGRES_URL,
    SECONDS,
    SERVERS,
    Kind,
    T,
    UnfitValue,
    check_characters,
)
from landline.errors import ConfigError, LandlineError, StartupError
from landline.protocol.identity import BadName, check_user_name

if TYPE_CHECKING:
    from landline.verify.runner import Options

DEFAULT_URL = "ws://127.0.0.1:8081/ws/chat"

# What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130

_DESCRIPTION = """\
A chat server and client. A message that was acknowledged to its sender reaches
its recipient, whatever disconnects, restarts or fails in between."""

_EXAMPLES = """\
try it:
  landline serve                       start a server, then open http://127.0.0.1:8081/
  landline chat --as alice --to bob    or chat from a terminal
  landline chat --as bob --to alice    in another one"""

_SERVE_DESCRIPTION = """\
Run a server. Without options it is complete: one process, its messages in files
below ./landline-data, and a chat page at http://127.0.0.1:8081/."""

_SERVE_EXAMPLES = """\
examples:
  landline serve
  landline serve --port 9000 --data-dir /var/lib/landline --log-dir /var/log/landline
  LANDLINE_PORT=9000 landline serve
  landline serve --config landline.toml

Every option is also a variable (in brackets) and a key in the file: the command line
beats the environment, which beats the file. DURATION is a number with its unit, such
as 500ms, 60s or 2m. Ctrl-C or SIGTERM stops the server without losing anything."""

_CHAT_DESCRIPTION = """\
Chat from a terminal. Write a line to send it; a tick says that the server has it
for good, two ticks that it was delivered while you were connected. /help lists the
commands, Ctrl-D ends.

In a pipe every line is sent (UTF-8, at most 16,384 bytes). Exit code 0: all of them
were accepted. 1: some were not, and standard error names them; what has no answer
yet is kept and goes out with the next chat of the same user at the same address.

Only one `landline chat` of a user at an address can run at a time from your account:
a second one is refused, in a pipe after it has waited up to 20 s for the first to end."""

_CHAT_EXAMPLES = """\
examples:
  landline chat --as alice --to bob
  landline chat --as bob --url ws://192.0.2.7:8081/ws/chat
  uptime | landline chat --as watch --to alice"""

_MIGRATE_DESCRIPTION = """\
Bring the schema of the store up to this version. A server does it too when it starts; here
it can be done by a user with more rights, and before the servers are replaced."""

_MIGRATE_EXAMPLES = """\
examples:
  landline migrate --postgres postgresql://owner@db.example.org/landline
  landline migrate --config landline.toml
  landline migrate --new-log --config landline.toml

--new-log is for the day on which CHAT-MESSAGES was replaced on purpose (made again, more
partitions, another cluster) or has lost records. Stop all servers first. It shows what the
store knew and what is there now, and asks."""

_AUDIT_DESCRIPTION = """\
Compare log and store and name every difference, never a message's content. Exit code 0:
they agree, 1: they do not, 2: it could not be found out. Servers may run meanwhile."""

_AUDIT_EXAMPLES = """\
examples:
  landline audit
  landline audit --data-dir /var/lib/landline
  landline audit --config landline.toml --metrics /var/lib/node_exporter/landline_audit.prom"""

# What of a server's options concerns the other commands.
_COMMAND_OPTIONS = {
    "serve": tuple(OPTIONS),
    "migrate": ("postgres", "kafka", "kafka-config", "allow-unsafe"),
    "audit": ("data-dir", "kafka", "kafka-config", "postgres"),
}

DEFAULT_LIMIT = 100

_VERIFY_DESCRIPTION = """\
Try a running deployment as its users do, and find out whether it loses, doubles,
spoils or misleads messages. It makes users of its own and disturbs nobody else's."""

_VERIFY_EXAMPLES = """\
examples:
  landline verify --duration 60s
  landline verify --data-dir landline-data
  landline verify --url ws://127.0.0.1:8081/ws/chat --url ws://127.0.0.1:8082/ws/chat \\
      --kafka 127.0.0.1:9092 --postgres postgresql://landline@127.0.0.1/landline \\
      --report report.html --history run.jsonl
  landline verify --check run.jsonl --report report.html
  landline verify --faults cluster --for 2m --seed 7
  landline verify --flood junk --duration 30s

Exit code 0: all promises were kept. 1: one was broken, and the page tells the story.
2: too little happened to tell, or the run could not begin. The first Ctrl-C ends the
load and looks at what was accepted so far; a second one ends everything."""

# No number of ours is longer.
_DIGITS = 12

# A user to whom more is written every second reads slowly by being busy, which proves nothing.
VERIFY_RATE_PER_USER = 50
# The kinds of `landline.verify.flood`, which is imported only where it is needed.
FLOODS = ("junk", "acks", "bad", "sends", "pings", "fragments")


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


def _serve(arguments: argparse.Namespace) -> int:
    settings = load(_given(arguments), os.environ)
    for note in notes(os.environ):
        print(f"landline: {note}", file=sys.stderr)
    from landline import app  # noqa: PLC0415 - only what a command needs is imported

    return app.run(settings)


def _migrate(arguments: argparse.Namespace) -> int:
    if arguments.yes and not arguments.new_log:
        raise ConfigError("--yes without --new-log: there is nothing to confirm; leave it out")
    settings = load_for_migration(_given(arguments), os.environ, needs_log=arguments.new_log)
    from landline.app import migrate  # noqa: PLC0415 - only what a command needs is imported

    if arguments.new_log:
        return migrate.move_to_new_log(settings, is_confirmed=arguments.yes)
    return migrate.migrate(settings)


def _audit(arguments: argparse.Namespace) -> int:
    limit = arguments.limit
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= _DIGITS):
        raise ConfigError(f"--limit {printable(limit)} is not a number from 0 on: give e.g. 100")
    settings = load_for_audit(_given(arguments), os.environ)
    from landline.app import audit  # noqa: PLC0415 - only what a command needs is imported

    return audit.run(settings, limit=int(limit), metrics=arguments.metrics)


def _given(arguments: argparse.Namespace) -> dict[str, str]:
    names = (*_COMMAND_OPTIONS[arguments.command], CONFIG_FILE.name)
    values = {name: getattr(arguments, _destination(name)) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _chat(arguments: argparse.Namespace) -> int:
    _check_name("--as", arguments.username)
    if arguments.to is not None:
        _check_name("--to", arguments.to)
    _check_url(arguments.url)
    import asyncio  # noqa: PLC0415 - only what a command needs is imported

    from landline.client import Refused  # noqa: PLC0415
    from landline.client.address import read_address  # noqa: PLC0415
    from landline.terminal import run_chat  # noqa: PLC0415

    try:
        read_address(arguments.url)
    except Refused as error:
        raise ConfigError(f"--url {printable(arguments.url)}: {error}") from None

    return asyncio.run(run_chat(arguments.url, arguments.username, arguments.to, outbox=None))


def _verify(arguments: argparse.Namespace) -> int:
    try:
        return _verify_or_check(arguments)
    except LandlineError as error:
        # Exit code 1 says that a promise was broken, and nothing else may say so.
        raise StartupError(str(error)) from error


def _verify_or_check(arguments: argparse.Namespace) -> int:
    from landline.verify.command import (  # noqa: PLC0415 - see above
        check_file,
        list_faults,
        verify,
        verify_with_faults,
    )
    from landline.verify.file import check_directory  # noqa: PLC0415 - see above

    if arguments.list_faults:
        return list_faults()
    if arguments.check is not None:
        return check_file(arguments.check, arguments.report)
    if arguments.flood_anywhere and arguments.flood is None:
        raise ConfigError("--flood-anywhere goes with --flood: add that, or leave it out")
    if arguments.faults is not None:
        return verify_with_faults(
            arguments.faults,
            _only(arguments),
            _verify_options(arguments, []),
            arguments.history,
            arguments.report,
        )
    if arguments.flood is not None:
        _check_flood(arguments)
    for flag, given in (("--seed", arguments.seed), ("--only", arguments.only)):
        if given is not None:
            raise ConfigError(f"{flag} goes with --faults: add that, or leave {flag} out")
    urls = arguments.url or [DEFAULT_URL]
    for url in urls:
        _check_url(url)
    if arguments.kafka is not None:
        _value("--kafka", arguments.kafka, SERVERS)
    if arguments.postgres is not None:
        _value("--postgres", arguments.postgres, POSTGRES_URL)
    options = _verify_options(arguments, list(dict.fromkeys(urls)))
    if options.data_dir is not None:
        if options.kafka is not None or options.postgres is not None:
            raise ConfigError(
                "--data-dir is an embedded server's: leave --kafka and --postgres out"
            )
        check_directory(options.data_dir, options.urls)
    return verify(options, arguments.history, arguments.report)


def _verify_options(arguments: argparse.Namespace, urls: list[str]) -> "Options":
    from landline.verify.runner import Options  # noqa: PLC0415 - see above

    users = _number("--users", arguments.users, 2, 10_000)
    seed = arguments.seed
    return Options(
        urls=urls,
        duration_seconds=_value("--duration", arguments.duration, SECONDS),
        users=users,
        rate=_number("--rate", arguments.rate, 1, users * VERIFY_RATE_PER_USER),
        seed=secrets.randbelow(1_000_000) if seed is None else _number("--seed", seed, 0, 10**9),
        kafka=arguments.kafka,
        postgres=arguments.postgres,
        data_dir=arguments.data_dir,
        flood=arguments.flood,
    )


def _check_flood(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError for a flood that may hurt somebody, or is over before it begins."""
    from landline.verify.flood import CALM_SECONDS, is_loopback  # noqa: PLC0415 - see above

    url = (arguments.url or [DEFAULT_URL])[0]
    if not url.startswith("ws://"):
        raise ConfigError(f"--flood goes to ws:// alone, and {printable(url)} is none")
    if not is_loopback(url) and not arguments.flood_anywhere:
        raise ConfigError(
            f"--flood: {printable(url)} is not on this machine; it may not be yours to flood."
            " If it is, add --flood-anywhere"
        )
    if _value("--duration", arguments.duration, SECONDS) < 3 * CALM_SECONDS:
        raise ConfigError(
            f"--duration {printable(arguments.duration)} is too short for --flood: give it a minute"
        )


def _only(arguments: argparse.Namespace) -> list[str] | None:
    """Return the names of the faults that were asked for. Raises: ConfigError."""
    for flag in ("url", "kafka", "postgres", "data-dir", "flood"):
        if getattr(arguments, _destination(flag)) is not None:
            raise ConfigError(
                f"--{flag} does not go with --faults, which starts servers of its own"
            )
    if arguments.only is None:
        return None
    return [printable(name.strip()) for name in arguments.only.split(",")]


def _check_url(url: str) -> None:
    from landline.client.address import read_address  # noqa: PLC0415 - for those who use it
    from landline.client.errors import Refused  # noqa: PLC0415

    if not url.startswith(("ws://", "wss://")):
        raise ConfigError(
            f"--url {printable(url)} is not a WebSocket address: "
            f"give one that starts with ws:// or wss://, e.g. {DEFAULT_URL}"
        )
    try:
        read_address(url)
    except Refused as error:
        raise ConfigError(f"--url {printable(url)}: {error}") from None


def _value(flag: str, text: str, kind: Kind[T]) -> T:
    try:
        check_characters(text)
        return kind.parse(text)
    except UnfitValue as error:
        raise ConfigError(
            f"{flag} {printable(text) or repr('')} {error.problem}: {error.remedy}"
        ) from None


def _path_of(flag: str) -> Callable[[str], Path]:
    """Return what reads an option that is a path, as those of the server are read."""
    return lambda text: _value(flag, text, FILE)


def _number(flag: str, text: str, least: int, most: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    if not is_number or not least <= int(text) <= most:
        per_user = f", {VERIFY_RATE_PER_USER} for each user" if flag == "--rate" else ""
        raise ConfigError(
            f"{flag} {printable(text) or repr('')} is not a number from {least} to {most}{per_user}"
        )
    return int(text)


def _check_name(flag: str, name: str) -> None:
    try:
        check_user_name(name)
    except BadName as error:
        raise ConfigError(f"{flag} {printable(name) or repr('')}: {error}") from None


# --- the parser -----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in two lines, and where to read on."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{printable(message)}\nSee {self.prog} --help.")


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - see above

        print(f"landline {version('landline')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    shape: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,  # an abbreviation breaks when the next option arrives
    }
    parser = _Parser(prog="landline", description=_DESCRIPTION, epilog=_EXAMPLES, **shape)
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="run a server",
        description=_SERVE_DESCRIPTION,
        epilog=_SERVE_EXAMPLES,
        usage="landline serve [OPTION]...",
        **shape,
    )
    serve.set_defaults(run=_serve)
    _add(serve, CONFIG_FILE)
    for section in SECTIONS:
        group = serve.add_argument_group(section)
        for option in OPTIONS.values():
            if option.section == section:
                _add(group, option)

    chat = commands.add_parser(
        "chat",
        help="chat from a terminal",
        description=_CHAT_DESCRIPTION,
        epilog=_CHAT_EXAMPLES,
        **shape,
    )
    chat.set_defaults(run=_chat)
    chat.add_argument("--as", dest="username", metavar="NAME", required=True, help="your name")
    chat.add_argument("--to", metavar="NAME", help="whom to write to at first")
    chat.add_argument("--url", default=DEFAULT_URL, help="the server (default: %(default)s)")

    migrate = commands.add_parser(
        "migrate",
        help="bring the schema of the store up to date",
        description=_MIGRATE_DESCRIPTION,
        epilog=_MIGRATE_EXAMPLES,
        **shape,
    )
    migrate.set_defaults(run=_migrate)
    migrate.add_argument(
        "--new-log", action="store_true", help="CHAT-MESSAGES was replaced: follow the new one"
    )
    migrate.add_argument("--yes", action="store_true", help="do not ask before --new-log")

    audit = commands.add_parser(
        "audit",
        help="compare log and store",
        description=_AUDIT_DESCRIPTION,
        epilog=_AUDIT_EXAMPLES,
        **shape,
    )
    audit.set_defaults(run=_audit)
    audit.add_argument(
        "--limit",
        default=str(DEFAULT_LIMIT),
        metavar="NUMBER",
        help="differences to show; all are counted (default: %(default)s)",
    )
    audit.add_argument(
        "--metrics",
        type=_path_of("--metrics"),
        metavar="FILE",
        help="also write the numbers for Prometheus there",
    )
    for command in (migrate, audit):
        _add(command, CONFIG_FILE)
        for name in _COMMAND_OPTIONS[command.prog.rpartition(" ")[2]]:
            _add(command, OPTIONS[name])
    _add_verify(commands, shape)
    return parser


def _add_verify(commands: Any, shape: dict[str, Any]) -> None:
    verify = commands.add_parser(
        "verify",
        help="find out whether a deployment loses messages",
        description=_VERIFY_DESCRIPTION,
        epilog=_VERIFY_EXAMPLES,
        **shape,
    )
    verify.set_defaults(run=_verify)
    add = verify.add_argument
    add("--url", action="append", help=f"a server; repeat it for each (default: {DEFAULT_URL})")
    add("--kafka", metavar="HOST:PORT,...", help="check the log too")
    add(
        "--postgres",
        metavar="URL",
        help="check the store too; leave the password to PGPASSWORD or ~/.pgpass",
    )
    add(
        "--data-dir",
        type=_path_of("--data-dir"),
        metavar="PATH",
        help="of an embedded server on this machine: check log and store, which are its file, too",
    )
    add(
        "--faults",
        nargs="?",
        const="embedded",
        choices=("embedded", "cluster", "cluster3"),
        help="start servers of our own and do them harm: one process with its file, or two servers"
        " on one broker or three (default: %(const)s)",
    )
    add("--seed", metavar="N", help="with --faults: repeat the plan of a run")
    add("--only", metavar="FAULT,...", help="with --faults: these alone")
    add(
        "--flood",
        choices=FLOODS,
        help="have a client send the first server as much of this as its socket takes, for 20 s at"
        " the most, and see that the others are answered all the same (default: off)",
    )
    add(
        "--flood-anywhere",
        action="store_true",
        help="with --flood: also a server that is not on this machine",
    )
    add("--list-faults", action="store_true", help="say what can be done to what, and end")
    add(
        "--duration",
        "--for",
        metavar="DURATION",
        default="60s",
        help="of the load; with --faults or --flood give it a minute: what leaves no time for a"
        " fault or a flood is refused (default: %(default)s)",
    )
    add("--users", metavar="N", default="100", help="how many users (default: %(default)s)")
    add("--rate", metavar="N", default="500", help="messages a second (default: %(default)s)")
    add(
        "--report",
        metavar="FILE",
        type=_path_of("--report"),
        help="write the page as HTML, with a picture",
    )
    add(
        "--history",
        metavar="FILE",
        type=_path_of("--history"),
        help="keep all that happened, as JSON lines",
    )
    add(
        "--check",
        metavar="FILE",
        type=_path_of("--check"),
        help="make no run: judge one that was kept",
    )


def _destination(name: str) -> str:
    return name.replace("-", "_")


def _add(group: argparse._ActionsContainer, option: Option) -> None:
    default = f"; default: {option.default}" if option.default not in {"", "none", "false"} else ""
    text = f"{option.doc}{default} [{option.variable}]".replace("%", "%%")
    if option.kind is FLAG:
        flags = (option.flag, f"--no-{option.name}")
        for flag, value in zip(flags, ("true", "false"), strict=True):
            group.add_argument(
                flag,
                dest=_destination(option.name),
                action="store_const",
                const=value,
                help=text if value == "true" else argparse.SUPPRESS,
            )
    else:
        # Kept as text: one reader for command line, environment and file.
        group.add_argument(option.flag, metavar=option.kind.metavar, help=text)


def _refuse(argument: str, command: str | None) -> NoReturn:
    name = f"landline {command}" if command else "landline"
    flags = [OPTIONS[each].flag for each in _COMMAND_OPTIONS.get(command or "", ())]
    meant = get_close_matches(argument.partition("=")[0], flags, 1)
    hint = f"did you mean {meant[0]}?" if meant else f"see {name} --help"
    raise ConfigError(f"{printable(argument)} is not an option of {name}: {hint}")
