"""`landline verify`: find out whether a deployment loses messages."""

import argparse
import secrets
from typing import TYPE_CHECKING, Any

from landline.cli.arguments import (
    DEFAULT_URL,
    SHAPE,
    check_url,
    destination,
    number,
    path_of,
    value,
)
from landline.config.kinds import POSTGRES_URL, SECONDS, SERVERS
from landline.config.loading import printable
from landline.errors import ConfigError, LandlineError, StartupError

if TYPE_CHECKING:
    from landline_verify.options import Options
    from landline_verify.tokens import TokenMaker

OPTION_NAMES: tuple[str, ...] = ()

# A user that gets more than this every second is slow because it is busy, which proves nothing.
RATE_PER_USER = 50
_CLAIMS = ("jwt-issuer", "jwt-audience", "jwt-user-claim")
# The kinds of `landline_verify.clients.flooder`, which is imported only where it is needed.
FLOODS = ("junk", "acks", "bad", "sends", "pings", "fragments")

_DESCRIPTION = """\
Try a running deployment as its users do, and find out whether it loses, doubles,
spoils or misleads messages. It makes users of its own and disturbs nobody else's."""

_EXAMPLES = """\
examples:
  landline verify --duration 60s
  landline verify --data-dir landline-data
  landline verify --url ws://127.0.0.1:8081/ws/chat --url ws://127.0.0.1:8082/ws/chat \\
      --kafka 127.0.0.1:9092 --postgres postgresql://landline@127.0.0.1/landline \\
      --report report.html --history run.jsonl
  landline verify --check run.jsonl --report report.html
  landline verify --faults cluster --for 2m --seed 7
  landline verify --faults embedded --auth jwt --for 2m
  landline verify --jwt-secret-file secret.txt --users 20 --rate 50
  landline verify --flood junk --duration 30s

Exit code 0: all promises were kept. 1: one was broken, and the page tells the story.
2: too little happened to judge, or the run could not begin. The first Ctrl-C ends the
load and looks at what was accepted so far; a second one ends everything."""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "verify",
        help="find out whether a deployment loses messages",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **SHAPE,
    )
    parser.set_defaults(run=_run)
    add = parser.add_argument
    add("--url", action="append", help=f"a server; repeat it for each (default: {DEFAULT_URL})")
    add("--kafka", metavar="HOST:PORT,...", help="check the log too")
    add(
        "--postgres",
        metavar="URL",
        help="check the store too; leave the password to PGPASSWORD or ~/.pgpass",
    )
    add(
        "--data-dir",
        type=path_of("--data-dir"),
        metavar="PATH",
        help="of an embedded server on this machine: check its file, which is log and store, too",
    )
    add(
        "--faults",
        nargs="?",
        const="embedded",
        choices=("embedded", "cluster", "cluster3"),
        help="start servers and harm them: one process with its file, or two servers on one broker"
        " or three (default: %(const)s)",
    )
    add("--seed", metavar="N", help="with --faults: repeat the plan of a run")
    add("--only", metavar="FAULT,...", help="with --faults: these alone")
    add(
        "--flood",
        choices=FLOODS,
        help="let a client send the first server as much of this as its socket takes, for at most"
        " 20 s, and check that the others are still answered (default: off)",
    )
    add(
        "--auth",
        choices=("none", "jwt"),
        help="with --faults: jwt starts servers that check tokens (default: none)",
    )
    add(
        "--jwt-secret-file",
        metavar="FILE",
        type=path_of("--jwt-secret-file"),
        help="the secret of the servers, where they check tokens (HS256): each user gets one",
    )
    for flag, metavar in (("issuer", "TEXT"), ("audience", "TEXT"), ("user-claim", "NAME")):
        add(f"--jwt-{flag}", metavar=metavar, help="as the servers have it, if they do")
    add(
        "--flood-anywhere",
        action="store_true",
        help="with --flood: allow a server that is not on this machine",
    )
    add(
        "--list-faults", action="store_true", help="list the faults and what they can harm, and end"
    )
    add(
        "--duration",
        "--for",
        metavar="DURATION",
        default="60s",
        help="of the load; with --faults or --flood give it a minute: a shorter time may leave no"
        " room for a fault or a flood, and is refused then (default: %(default)s)",
    )
    add("--users", metavar="N", default="100", help="how many users (default: %(default)s)")
    add("--rate", metavar="N", default="500", help="messages a second (default: %(default)s)")
    add(
        "--rooms",
        metavar="N",
        default="10",
        help="how many rooms; 0: neither rooms nor read marks (default: %(default)s)",
    )
    add(
        "--devices",
        metavar="N",
        default="2",
        help="how many devices some users have; 0: nobody has one (default: %(default)s)",
    )
    add(
        "--report",
        metavar="FILE",
        type=path_of("--report"),
        help="write the page as HTML, with a picture",
    )
    add(
        "--history",
        metavar="FILE",
        type=path_of("--history"),
        help="keep all that happened, as JSON lines",
    )
    add(
        "--check",
        metavar="FILE",
        type=path_of("--check"),
        help="make no run: judge one that was kept",
    )


def _run(arguments: argparse.Namespace) -> int:
    from landline_stack.errors import StackError  # noqa: PLC0415 - only what a command needs
    from landline_verify.errors import VerifyError  # noqa: PLC0415

    try:
        return _verify_or_check(arguments)
    except (LandlineError, StackError, VerifyError) as error:
        # Exit code 1 means that a promise was broken, and nothing else.
        raise StartupError(str(error)) from error


def _verify_or_check(arguments: argparse.Namespace) -> int:
    from landline_verify.command import (  # noqa: PLC0415 - see above
        check_file,
        list_faults,
        verify,
        verify_with_faults,
    )
    from landline_verify.options import check_directory  # noqa: PLC0415 - see above

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
            _options(arguments, []),
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
        check_url(url)
    if arguments.kafka is not None:
        value("--kafka", arguments.kafka, SERVERS)
    if arguments.postgres is not None:
        value("--postgres", arguments.postgres, POSTGRES_URL)
    options = _options(arguments, list(dict.fromkeys(urls)))
    if options.data_dir is not None:
        if options.kafka is not None or options.postgres is not None:
            raise ConfigError(
                "--data-dir is an embedded server's: leave --kafka and --postgres out"
            )
        check_directory(options.data_dir, options.urls)
    return verify(options, arguments.history, arguments.report)


def _options(arguments: argparse.Namespace, urls: list[str]) -> "Options":
    from landline_verify.options import Options  # noqa: PLC0415 - see above

    users = number("--users", arguments.users, 2, 10_000)
    seed = arguments.seed
    return Options(
        urls=urls,
        duration_seconds=value("--duration", arguments.duration, SECONDS),
        users=users,
        rate=number(
            "--rate", arguments.rate, 1, users * RATE_PER_USER, f", {RATE_PER_USER} for each user"
        ),
        seed=secrets.randbelow(1_000_000) if seed is None else number("--seed", seed, 0, 10**9),
        kafka=arguments.kafka,
        postgres=arguments.postgres,
        data_dir=arguments.data_dir,
        flood=arguments.flood,
        rooms=number("--rooms", arguments.rooms, 0, 1_000),
        devices=number("--devices", arguments.devices, 0, 15),
        tokens=_tokens(arguments),
    )


def _tokens(arguments: argparse.Namespace) -> "TokenMaker | None":
    """Return what makes the users' tokens, None if nobody checks them. Raises: ConfigError."""
    from landline_verify.tokens import (  # noqa: PLC0415 - see above
        SECRET_BYTES,
        TokenMaker,
        read_secret,
    )

    has_own_servers = arguments.faults is not None
    if arguments.auth is not None and not has_own_servers:
        raise ConfigError(
            "--auth goes with --faults, which starts servers: for others give --jwt-secret-file"
        )
    if arguments.jwt_secret_file is not None and arguments.auth != "none":
        secret = read_secret(arguments.jwt_secret_file)
    elif arguments.auth == "jwt":
        secret = secrets.token_hex(SECRET_BYTES).encode()
    else:
        for name in ("jwt-secret-file", *_CLAIMS):
            if getattr(arguments, destination(name)) is not None:
                wanted = "--auth jwt" if has_own_servers else "--jwt-secret-file"
                raise ConfigError(f"--{name} goes with {wanted}: add that, or leave it out")
        return None
    issuer, audience, user_claim = (getattr(arguments, destination(each)) for each in _CLAIMS)
    return TokenMaker(secret, issuer, audience, user_claim or "sub")


def _check_flood(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError for a flood that may do harm, or has no time to begin."""
    from landline_verify.clients.flood import CALM_SECONDS  # noqa: PLC0415 - see above
    from landline_verify.options import is_loopback  # noqa: PLC0415 - see above

    url = (arguments.url or [DEFAULT_URL])[0]
    if not url.startswith("ws://"):
        raise ConfigError(f"--flood goes to ws:// alone, and {printable(url)} is none")
    if not is_loopback(url) and not arguments.flood_anywhere:
        raise ConfigError(
            f"--flood: {printable(url)} is not on this machine; it may not be yours to flood."
            " If it is, add --flood-anywhere"
        )
    if value("--duration", arguments.duration, SECONDS) < 3 * CALM_SECONDS:
        raise ConfigError(
            f"--duration {printable(arguments.duration)} is too short for --flood: give it a minute"
        )


def _only(arguments: argparse.Namespace) -> list[str] | None:
    """Return the names of the faults that were asked for. Raises: ConfigError."""
    for flag in ("url", "kafka", "postgres", "data-dir", "flood"):
        if getattr(arguments, destination(flag)) is not None:
            raise ConfigError(
                f"--{flag} does not go with --faults, which starts servers of its own"
            )
    if arguments.only is None:
        return None
    return [printable(name.strip()) for name in arguments.only.split(",")]
