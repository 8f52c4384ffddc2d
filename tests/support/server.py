"""A real server in a child process."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from landline_stack.ports import free_port

START_SECONDS = 30.0
STOP_SECONDS = 20.0


class ServerProcess:
    """`landline serve` on a port and a data directory of its own."""

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.args = list(args)
        self.env = dict(env or {})
        self.prefix = list(prefix)
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Return the address of the WebSocket."""
        return f"ws://127.0.0.1:{self.port}/ws/chat"

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start, or start again on the same port and data, and wait until it is ready."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"server ended: {self.log()[-2000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"server not ready: {self.log()[-2000:]}")
            time.sleep(0.02)

    def launch(self) -> None:
        """Start without waiting."""
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            "landline",
            "serve",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.data_dir),
            "--log-format",
            "json",
            *self.args,
        ]
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
            )

    def is_ready(self) -> bool:
        """Say whether it runs and /readyz answers 200."""
        return self.is_alive and self.get("/readyz")[0] == 200

    @property
    def is_alive(self) -> bool:
        """Say whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=2) as response:  # noqa: S310 - http
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def kill(self) -> None:
        """End it the hard way: SIGKILL."""
        if self.process is not None:
            self.process.kill()  # does nothing to one that has ended
            self.process.wait(STOP_SECONDS)

    def pause(self) -> None:
        """Have it stand still: SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on: SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """End it politely, SIGTERM, and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def log(self) -> str:
        """Return everything the server has said since its first start."""
        return self.log_path.read_text() if self.log_path.exists() else ""
