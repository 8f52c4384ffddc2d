"""Where the command `landline` and `python -m landline` begin."""

import signal
import sys


def main() -> int:
    """Run the command line. Returns the exit code."""
    if sys.argv[1:2] == ["serve"]:
        # It means "open log files again" to a server, also to one that has none yet; what it runs
        # takes a while to load, and by default the signal kills.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from landline.cli import main as run  # noqa: PLC0415 - see above

    return run()


if __name__ == "__main__":
    sys.exit(main())
