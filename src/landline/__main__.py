"""Where the command `landline` and `python -m landline` begin."""

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import TextIO

# What a shell reports for a program that wrote to a pipe that nobody reads.
_UNREAD = 128 + signal.SIGPIPE


def main() -> int:
    """Run the command line. Returns the exit code."""
    _fill_standard_streams()
    if sys.argv[1:2] == ["serve"]:
        # What it runs takes a while to load, and by default signals kill, or are lost on the first
        # process of a container. This one means "open log files again" to a server, also to one
        # that has none yet.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)
    from landline.cli import main as run  # noqa: PLC0415 - see above

    return _until_nobody_reads(run)


def _until_nobody_reads(run: Callable[[], int]) -> int:
    """Run a command. Where nobody reads any more what it prints (`| head -1`) it ends without a
    word, with the code that a shell reports for a program that ended so.

    A server and a chat go on: what they are for is not what they print.
    """
    code = _UNREAD
    try:
        try:
            code = run()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    except* BrokenPipeError:
        if not (_has_no_reader(sys.stdout) or _has_no_reader(sys.stderr)):
            raise
        # The interpreter tries once more when it ends, aloud.
        for stream in (sys.stdout, sys.stderr):
            if _has_no_reader(stream):
                _discard(stream)
        if sys.argv[1:2] not in (["serve"], ["chat"]):
            code = _UNREAD
    return code


def _has_no_reader(stream: TextIO) -> bool:
    """Say whether a pipe or a socket has nobody at its other end."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))


def _discard(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _fill_standard_streams() -> None:
    """Open /dev/null for standard streams that are closed. The next file that is opened would get
    their numbers: what is meant for people would be written into it, and libuv aborts over one.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # as the streams of a child are its parent's
    os.close(descriptor)
    # What Python has found closed is None, and not everybody who prints expects that.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - lasts as long as we do
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _end(_number: int, _frame: object) -> None:
    """A server that is asked to stop before it listens has nothing to tidy up."""
    try:
        os.write(2, b"landline: stopped before it had started, as it was asked to\n")
    finally:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
