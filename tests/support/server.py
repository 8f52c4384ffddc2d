"""A real server in a child process, as the tests start it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from landline_stack import LandlineServer
from landline_stack.errors import StackError

START_TRIES = 3

# How a server says that a part of the stack did not answer while it started.
_LATE = re.compile(rb"no answer within|in time|Timed out")


class ServerProcess(LandlineServer):
    """`landline serve` on a port and a data directory of its own; its log is JSON lines."""

    ANSWER_SECONDS = 20.0  # it may stand still for a while

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(
            data_dir.name, data_dir.parent, args, port=port, environment=env, prefix=prefix
        )
        self.data_dir = data_dir
        self.log_path = data_dir.parent / f"{data_dir.name}.log"

    def start(self) -> None:
        """Start it and wait until it is ready. Kafka or PostgreSQL may have stood still at that
        moment: then it is started again, as whoever watches over a server would do.

        Raises: StackError.
        """
        for _ in range(START_TRIES - 1):
            try:
                super().start()
            except StackError:
                last_words = self._log_since_start().splitlines()[-1:]
                if self.exit_code() != 2 or not any(map(_LATE.search, last_words)):
                    raise
            else:
                return
        super().start()

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        code = self.stop()
        assert code is not None, "it was never started"
        return code

    def __exit__(self, *_: object) -> None:
        """End it the hard way: a test that wants more says so."""
        self.kill()

    def log(self) -> str:
        """Return everything the server has said since its first start."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def says_that_it_drains(self) -> bool:
        """Say whether this run of the server has begun to drain."""
        return b'"draining"' in self._log_since_start()

    def _command(self) -> Sequence[str]:
        own = ["--data-dir", str(self.data_dir), "--log-format", "json"]
        command = list(super()._command())
        place = command.index("serve") + 1
        return [*command[:place], *own, *command[place:]]
