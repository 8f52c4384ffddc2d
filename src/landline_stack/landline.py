"""Landline's own servers: embedded, or as a cluster on a local stack."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from landline_stack.ports import free_port
from landline_stack.process import StackServer
from landline_stack.stack import Stack


class LandlineServer(StackServer):
    """`landline serve` with these arguments, on a port that it keeps.

    `program`: the module that is run in the place of `landline`; `prefix`: what runs it, such as
    `taskset`; `python`: the interpreter, which may be another checkout's. Arguments and
    environment count from the next start on.
    """

    ANSWER_SECONDS = 2.0  # for a page

    def __init__(
        self,
        name: str,
        directory: Path,
        arguments: Sequence[str] = (),
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("landline",),
        prefix: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        super().__init__(name, directory)
        self.port = port or free_port()
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self._program = program
        self._prefix = prefix
        self._python = python

    @classmethod
    def embedded(
        cls, name: str, directory: Path, *, prefix: Sequence[str] = (), python: str = sys.executable
    ) -> Self:
        """Return an embedded server, with its data in `directory`."""
        arguments = ["--data-dir", str(directory / "data")]
        return cls(name, directory, arguments, prefix=prefix, python=python)

    @classmethod
    def on(
        cls,
        stack: Stack,
        name: str,
        directory: Path,
        *,
        port: int | None = None,
        roles: str = "gateway,writer",
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        python: str = sys.executable,
    ) -> Self:
        """Return a server of a cluster on this stack."""
        options = {
            "--kafka": stack.kafka_servers,
            "--redis": stack.redis_url,
            "--server-id": name,
            "--roles": roles,
        }
        arguments = [part for option in options.items() for part in option]
        if len(stack.brokers) == 1:  # three of them keep what the log promises
            arguments.append("--allow-unsafe")
        # There is a password in it, and a command line can be read by everybody.
        secret = {"LANDLINE_POSTGRES": stack.postgres_url}
        return cls(
            name, directory, arguments, port=port, environment={**secret, **(environment or {})},
            prefix=prefix, python=python,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """Return where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """Return where people find it."""
        return f"{self.url}/"

    @property
    def ws_url(self) -> str:
        """Return where its clients connect."""
        return f"ws://127.0.0.1:{self.port}/ws/chat"

    def is_ready(self) -> bool:
        """Say whether it answers 200 to /readyz, and not somebody else on its port."""
        return self.is_listening(self.port) and self.get("/readyz")[0] == 200 and self.is_running

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a page; status 0 where nobody answers."""
        try:
            url = self.url + path
            with urllib.request.urlopen(url, timeout=self.ANSWER_SECONDS) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def signal(self, number: int) -> None:
        """Send a signal to the server itself."""
        os.kill(self.pid, number)

    def _command(self) -> Sequence[str]:
        return [
            *self._prefix, self._python, "-m", *self._program, "serve",
            "--port", str(self.port), *self.arguments,
        ]  # fmt: skip

    def _environment(self) -> Mapping[str, str]:
        return self.environment
