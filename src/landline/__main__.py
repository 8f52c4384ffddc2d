"""Where the command `landline` and `python -m landline` begin."""

import os
import signal
import sys


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

    return run()


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
