"""Logs: an event's name and its facts, for people on a terminal and as JSON for machines.

structlog does it in three steps. The level filter of the bound logger drops what is below `info`.
The processors of `formats.py` add what every line has, make all facts safe and render them. The
logger at the end, an `OutputLogger`, hands the lines to the outputs and never waits for one.

Rule for callers: one line when a connection opens and one when it closes, none per message; never
a message's content, never a token. What a client chose (names, refs) may be logged: control
characters are escaped.
"""

import atexit
import logging
import os
import sys
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar, Final, cast

import structlog

from landline.errors import StartupError
from landline.observability.formats import (
    Format,
    console_format,
    json_format,
    render_each,
    shared_processors,
)
from landline.observability.outputs import (
    Destination,
    Output,
    OutputLogger,
    RotatingFile,
    Stream,
)

# How long the exit waits for a log that cannot be written.
_CLOSE_SECONDS: Final = 2.0


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger for the module `name`. It may be made before logging is configured."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(name))


def configure_logging(format: str, log_dir: Path | None, server_id: str, port: int) -> None:  # noqa: A002
    """Send every log line to standard output, and to a file when `log_dir` is given.

    `format` is `console`, `json`, or `auto` (console on a terminal, else json); the file is always
    JSON. Calling it again replaces what was configured before. Never blocks afterwards.
    Raises: StartupError when the file cannot be written.
    """
    shutdown_logging()
    identity = {"server_id": server_id, "port": port}
    outputs = _Outputs(identity)
    if log_dir is not None:
        outputs.add_file(log_dir / f"landline-{server_id}-{port}.log")
    outputs.add_standard_output(format)
    structlog.configure(
        processors=[*shared_processors(identity), render_each(outputs.formats)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=partial(OutputLogger, outputs.by_format),
        # A lookup costs some microseconds and no line is hot; a cached logger would keep the
        # outputs that it saw first.
        cache_logger_on_first_use=False,
    )
    outputs.install()


def shutdown_logging() -> None:
    """Write what is left and stop; from then on lines go nowhere. Called at exit by itself."""
    if _Outputs.installed is not None:
        _Outputs.installed.close()


def reopen_log_files() -> None:
    """Open the files of `--log-dir` again, for somebody who has moved them. A signal handler may
    call it at any moment; the lines that tell how it went come later.
    """
    if _Outputs.installed is not None:
        _Outputs.installed.reopen_files()


class _Outputs:
    """The outputs that are open, by the format of their lines."""

    installed: "ClassVar[_Outputs | None]" = None

    def __init__(self, identity: Mapping[str, object]) -> None:
        self._identity = identity
        self.formats: dict[str, Format] = {}
        self.by_format: dict[str, list[Output]] = {}
        self._files: dict[str, Output] = {}
        self._bridge = _Bridge(logging.WARNING)

    def add_file(self, path: Path) -> None:
        """Add a file of JSON lines. Raises: StartupError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = RotatingFile(path)
        except OSError as error:
            raise StartupError(
                f"--log-dir {path.parent}: cannot write {path.name} there "
                f"({error.strerror}); give a directory that this user may write to"
            ) from error
        self._files[str(path)] = self._add("json", "file", file)

    def add_standard_output(self, format: str) -> None:  # noqa: A002
        """Add standard output, where there is one."""
        try:
            descriptor = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError):  # none, not a file, or closed
            return
        is_console = format == "console" or (format == "auto" and os.isatty(descriptor))
        self._add("console" if is_console else "json", "stdout", Stream(descriptor))

    def install(self) -> None:
        """Hear what libraries say, and write what is left at exit."""
        logging.captureWarnings(capture=True)
        logging.getLogger().addHandler(self._bridge)
        _Outputs.installed = self
        atexit.register(self.close)

    def close(self) -> None:
        """Write what is left and stop."""
        _Outputs.installed = None
        atexit.unregister(self.close)
        logging.getLogger().removeHandler(self._bridge)
        logging.captureWarnings(capture=False)
        for output in chain.from_iterable(self.by_format.values()):
            output.close(_CLOSE_SECONDS)

    def reopen_files(self) -> None:
        """See `reopen_log_files`."""
        for path, output in self._files.items():
            output.reopen(partial(_report_reopened, path))
        if not self._files:
            log.info("no_log_file", advice="nothing to open again without --log-dir")

    def _add(self, format: str, name: str, destination: Destination) -> Output:  # noqa: A002
        if format not in self.formats:
            is_console = format == "console"
            self.formats[format] = console_format() if is_console else json_format(self._identity)
        output = Output(name, destination, partial(_lost_line, self.formats[format]))
        self.by_format.setdefault(format, []).append(output)
        return output


class _Bridge(logging.Handler):
    """Brings in what libraries say through the standard library: asyncio, picows, warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the format
            message = str(record.msg)
        level = min(record.levelno // 10 * 10, logging.CRITICAL)  # structlog has no others
        get_logger(record.name).log(level, message, exc_info=record.exc_info)


def _lost_line(to_line: Format, count: int) -> bytes:
    return to_line({"event": "log_lines_lost", "level": "warning", "count": count})


def _report_reopened(path: str, problem: OSError | None) -> None:
    if problem is None:
        log.info("log_file_opened", file=path)
        return
    advice = "lines go where they went before; see to the directory and send SIGHUP again"
    log.error("log_file_failed", file=path, reason=str(problem), advice=advice)


log = get_logger(__name__)
