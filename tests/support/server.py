"""A real server in a child process, as the tests start it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from landline_stack import LandlineServer


class ServerProcess(LandlineServer):
    """`landline serve` on a port and a data directory of its own; its log is JSON lines."""

    START_SECONDS = 30.0

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

    def _command(self) -> Sequence[str]:
        own = ["--data-dir", str(self.data_dir), "--log-format", "json"]
        command = list(super()._command())
        place = command.index("serve") + 1
        return [*command[:place], *own, *command[place:]]
