"""A server as a child process: started, paused, killed, started again - and never left behind."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from landline_stack import guard
from landline_stack.errors import StackError
from landline_stack.ports import is_listening

_POLL_SECONDS: Final = 0.02
_TAIL_LINES: Final = 8


class GuardedProcess:
    """A command that ends when this process does, even by SIGKILL: see `landline_stack.guard`."""

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        *,
        owner: str = "",
        farewell: int | None = None,
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
        held: Sequence[int] = (),
    ) -> None:
        """Start it; what it says is added to the log. Raises: StackError.

        `held` are file descriptors that its guard keeps open: a lock is then held until the last
        of its processes is gone, also where this one goes first.
        """
        self.name = Path(command[0]).name
        self._lock = threading.Lock()
        with log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, owner, str(farewell or ""), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                pass_fds=held,
                env={**os.environ, **(env or {})},
                cwd=directory,
                # Ctrl-C in a terminal reaches this process alone, which then stops them in order.
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        line = self._guard.stdout.readline()
        if not line:
            self.wait()
            raise StackError(f"{self.name} could not be started, see {log_path}")
        self.pid = int(line)

    @property
    def guard_pid(self) -> int:
        """Return the process id of its guard."""
        return self._guard.pid

    def exit_code(self) -> int | None:
        """Return its exit code, 128 + n where signal n has ended it; None while it runs."""
        return self._guard.poll()

    def order(self, order: bytes) -> None:
        """Give an order of `landline_stack.guard` and wait until it is carried out."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        with self._lock, suppress(BrokenPipeError):  # it has ended meanwhile
            if not self._guard.stdin.closed:
                self._guard.stdin.write(order)
                self._guard.stdout.readline()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code. Raises: subprocess.TimeoutExpired."""
        code = self._guard.wait(timeout)
        with self._lock:
            for stream in (self._guard.stdin, self._guard.stdout):
                assert stream is not None
                stream.close()
        return code

    def kill(self) -> None:
        """End it and all that it has started with SIGKILL, and wait until they are gone."""
        if self.exit_code() is None:
            self.order(guard.KILL)
        self.wait()

    def let_go(self) -> None:
        """End it as it ends when this process is gone, and wait until all of them are gone."""
        assert self._guard.stdin is not None
        with self._lock:
            self._guard.stdin.close()
        self.wait()


class StackServer(ABC):
    """One server of the stack; the same one again after `kill` and `start`: port and data stay."""

    START_SECONDS = 90.0
    STOP_SECONDS = 20.0
    STOP_ORDER = guard.TERMINATE
    # What it gets before SIGKILL when nobody wants it or its data any more.
    FAREWELL: signal.Signals | None = None

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log_path = directory / "server.log"
        self.held: Sequence[int] = ()
        self._process: GuardedProcess | None = None
        self._lock = threading.Lock()
        self._is_wanted = True
        self._log_start = 0

    @property
    @abstractmethod
    def address(self) -> str:
        """Return where clients find it."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether it serves clients now."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return what starts it."""

    def _prepare(self) -> None:  # noqa: B027 - not every server needs it
        """Make what has to be there before the first start."""

    def _owner(self) -> str:
        """Return `UID:GID` of the user to run as, or nothing for the one we are."""
        return ""

    def _environment(self) -> Mapping[str, str]:
        """Return what is added to the environment."""
        return {}

    # --- start and stop ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, or start it again, and wait until it is ready. Raises: StackError."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting. Raises: StackError."""
        if self.is_running:
            raise StackError(f"{self.name} runs already, with process id {self.pid}")
        if self._process is not None:
            self._process.wait()  # it may have ended by itself
        self.directory.mkdir(parents=True, exist_ok=True)
        self._prepare()
        self._log_start = self._log_size()
        self._process = self._run(self._command(), self.log_path)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until it is ready. Raises: StackError where it ends, or is not in time."""
        seconds = timeout or self.START_SECONDS
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self._is_wanted:
                raise StackError(f"{self.name} was stopped while it started")
            if not self.is_running:
                code = self.exit_code()
                raise StackError(f"{self.name} ended while it started ({code=}){self._evidence()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StackError(f"{self.name} was not ready in {seconds:g} s{self._evidence()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, timeout: float | None = None) -> int | None:
        """End it politely, or hard where it takes too long. Returns its exit code."""
        process = self._process
        if process is None:
            return None
        if process.exit_code() is None:
            process.order(guard.RESUME)
            process.order(self.STOP_ORDER)
        try:
            return process.wait(timeout or self.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.exit_code()

    def kill(self) -> None:
        """End it and all its processes with SIGKILL, paused or not; return when they are gone."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop it politely and start it again."""
        self.stop()
        self.start()

    def give_up(self) -> None:
        """End everything at once, for good: a start under way in another thread fails."""
        with self._lock:
            self._is_wanted = False
        if self._process is not None:
            self._process.let_go()

    def pause(self) -> None:
        """Stop all its processes with SIGSTOP; return when none of them runs any more."""
        self._order(guard.PAUSE)

    def resume(self) -> None:
        """Let them run on."""
        self._order(guard.RESUME)

    # --- what it is doing -------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Say whether its process exists, paused or not."""
        return self._process is not None and self._process.exit_code() is None

    def is_listening(self, port: int) -> bool:
        """Say whether it is this server that takes connections there.

        Another process on that port may answer as this one would: it may be another Landline.
        """
        return self.is_running and is_listening(self.pid, port)

    def exit_code(self) -> int | None:
        """Return its exit code, 128 + n where signal n has ended it; None unless it has ended."""
        return self._process.exit_code() if self._process is not None else None

    def wait(self, timeout: float) -> int:
        """Wait until it ends by itself. Raises: subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(timeout)

    def how_it_ended(self) -> str:
        """Return a sentence that says so, with the last lines of its log."""
        code = self.exit_code()
        return f"{self.name} has ended ({code=}){self._evidence()}"

    @property
    def pid(self) -> int:
        """Return the process id of the server itself."""
        assert self._process is not None
        return self._process.pid

    @property
    def guard_pid(self) -> int:
        """Return the process id of its guard."""
        assert self._process is not None
        return self._process.guard_pid

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """Return the last lines of its log."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(max(0, self._log_size() - 500 * lines))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _log_since_start(self) -> bytes:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def _log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def _evidence(self) -> str:
        return f". Its log, {self.log_path}, ends with:\n{self.log_tail()}"

    # --- parts ------------------------------------------------------------------------------------

    def _order(self, order: bytes) -> None:
        if not self.is_running:
            raise StackError(f"{self.name} is not running")
        assert self._process is not None
        self._process.order(order)

    def _run(self, command: Sequence[str], log_path: Path) -> GuardedProcess:
        with self._lock:
            if not self._is_wanted:
                raise StackError(f"{self.name} was stopped while it started")
            self._process = GuardedProcess(
                command,
                log_path,
                owner=self._owner(),
                farewell=self.FAREWELL,
                env=self._environment(),
                directory=self.directory,
                held=self.held,
            )
            return self._process

    def _run_to_end(self, command: Sequence[str]) -> None:
        """Run a tool of the server's. Raises: StackError where it fails."""
        tool = self._run(command, self.log_path)
        code = tool.wait()
        if code != 0:
            raise StackError(f"{tool.name} failed for {self.name} ({code=}){self._evidence()}")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def interrupt_on_termination() -> None:
    """Treat SIGTERM and SIGHUP as Ctrl-C: what was started is then stopped on the way out.

    A SIGHUP that is ignored, as under nohup(1), stays ignored.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _hang_up(*_: object) -> None:
    # A terminal's end may be told several times, and a second Ctrl-C would end everything at once.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt


def hang_up_with_terminal() -> None:
    """Get a SIGHUP when the terminal is gone, also where the system tells another process.

    The system tells the first process of the session alone. That may be a `make`, which then waits
    for what it has started, and tells nobody.
    """
    terminals = [number for number in (0, 1, 2) if os.isatty(number)]
    if terminals and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        arguments = (terminals[0], threading.main_thread().ident)
        threading.Thread(target=_await_end, args=arguments, daemon=True).start()


def _await_end(terminal: int, thread: int) -> None:
    poll = select.poll()
    poll.register(terminal, 0)  # nothing but its end
    poll.poll()
    signal.pthread_kill(thread, signal.SIGHUP)
