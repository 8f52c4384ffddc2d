"""A cluster on this machine: the stack, and Landline's servers on it, until Ctrl-C."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from landline_stack import LandlineServer, Progress, Stack, StackServer
from landline_stack.errors import StackError
from landline_stack.jars import JarCache
from landline_stack.java import find_java
from landline_stack.ports import problem_with
from landline_stack.postgres import find_postgres
from landline_stack.process import hang_up_with_terminal, interrupt_on_termination
from landline_stack.redis import find_redis
from landline_stack.stack import start_together, together

_WATCH_SECONDS = 0.5

_DESCRIPTION = """\
Start Kafka, PostgreSQL and Redis on free ports of this machine, and Landline's servers
on them. Ctrl-C stops it all and leaves no process behind, and so does the end of the
terminal (not below nohup)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cluster until Ctrl-C, SIGTERM or the end of its terminal; return the exit code.

    2: it could not start.
    """
    interrupt_on_termination()
    hang_up_with_terminal()
    try:
        given = _parser().parse_args(arguments)
        if given.prepare:
            _prepare(Progress())
        else:
            _run(given.directory, given.brokers, given.ports)
    except StackError as error:
        print(f"landline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass  # asked to stop, and stopped
    return 0


def _run(directory: Path | None, brokers: int, ports: Sequence[int]) -> None:
    _check_ports(ports)  # before anything starts that takes a while
    progress = Progress()
    with Stack(directory, brokers=brokers, progress=progress) as stack:
        servers: list[StackServer] = [
            LandlineServer.on(stack, f"ws-{number}", stack.directory / f"ws-{number}", port=port)
            for number, port in enumerate(ports, 1)
        ]
        try:
            start_together(servers, progress)
            _tell(stack, servers)
            _watch([*servers, *stack.servers])
        finally:
            progress.say("Stopping ...")
            together(servers, StackServer.stop)  # while they still have somebody to say goodbye to
            progress.show("")


def _check_ports(ports: Sequence[int]) -> None:
    """Raises: StackError, where one of Landline's servers could not have its port."""
    for port in ports:
        if (problem := problem_with(port)) is not None:
            raise StackError(
                f"port {port} cannot be used ({problem}): stop what uses it, a `make run` perhaps,"
                ' or choose other ports: make cluster ARGS="--ports 9081,9082"'
            )


def _tell(stack: Stack, servers: Sequence[StackServer]) -> None:
    rows = [(server.name, server.address) for server in servers]
    rows += [
        ("Kafka", stack.kafka_servers),
        ("PostgreSQL", stack.postgres_url),
        ("Redis", stack.redis_url),
        ("logs, data", str(stack.directory)),
    ]
    print("\nThe cluster is up:\n")
    for name, address in rows:
        print(f"  {name:<11} {address}")
    print("\npress Ctrl-C to stop", flush=True)


def _watch(servers: Sequence[StackServer]) -> NoReturn:
    """Tell which of them has ended: a user who tries what happens then wants to see it."""
    gone: set[str] = set()
    while True:
        for server in servers:
            if not server.is_running and server.name not in gone:
                gone.add(server.name)
                print(server.how_it_ended(), file=sys.stderr)  # its log may go when we do
        time.sleep(_WATCH_SECONDS)


def _prepare(progress: Progress) -> None:
    find_java()
    find_postgres()
    find_redis()
    JarCache(progress=progress).class_path()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StackError(f"{message}\nSee {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m landline_stack",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--directory", type=Path, metavar="PATH", help="keep data and logs there (default: nowhere)"
    )
    parser.add_argument(
        "--brokers", type=int, choices=(1, 3), default=1, help="of Kafka (default: %(default)s)"
    )
    parser.add_argument(
        "--ports",
        type=_ports,
        default="8081,8082",
        metavar="PORT,...",
        help="one of Landline's servers on each; none: the stack alone (default: %(default)s)",
    )
    parser.add_argument(
        "--prepare", action="store_true", help="only fetch what is missing on this machine"
    )
    return parser


def _ports(text: str) -> list[int]:
    if text == "none":
        return []
    parts = text.split(",")
    if not all(part.isdecimal() and 0 < int(part) < 65_536 for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is not a list of ports such as 8081,8082")
    ports = [int(part) for part in parts]
    if len(set(ports)) < len(ports):
        raise argparse.ArgumentTypeError(f"{text} names a port twice")
    return ports


if __name__ == "__main__":
    sys.exit(main())
