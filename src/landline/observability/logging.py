"""Logs: an event's name and its facts, for people on a terminal and as JSON for machines.

Rule for callers: one line when a connection opens and one when it closes, none per message; never
a message's content, never a token. What a client chose (names, refs) may be logged: control
characters are escaped here.
"""

import atexit
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, cast

import orjson
import structlog

from landline.errors import StartupError
from landline.observability.outputs import Output, RotatingFile, Stream

LogEvent = MutableMapping[str, Any]

# C0, DEL and C1; directional and line-breaking characters that make a terminal or an editor show
# something else than what stands there; lone surrogates.
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_CONTROLS_BUT_NEWLINE: Final = re.compile(rf"(?!\n){_CONTROLS.pattern}")

# A field longer than this tells nothing more; names, refs and reasons are far shorter.
_TEXT_CHARACTERS: Final = 2_000
_STACK_CHARACTERS: Final = 20_000
_DEPTH: Final = 4
_INTEGERS: Final = range(-(2**63), 2**64)

# How long the exit waits for a log that cannot be written.
_CLOSE_SECONDS: Final = 2.0

_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


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
    pipeline = _Pipeline(server_id, port)
    if log_dir is not None:
        pipeline.add_file(log_dir / f"landline-{server_id}-{port}.log")
    pipeline.add_standard_output(format)
    pipeline.install()


def shutdown_logging() -> None:
    """Write what is left and stop; from then on lines go nowhere. Called at exit by itself."""
    if _Pipeline.installed is not None:
        _Pipeline.installed.close()


def reopen_log_files() -> None:
    """Open the files of `--log-dir` again, for who has moved them away. May be called by a signal
    handler at any moment; the lines that tell how it went come later.
    """
    if _Pipeline.installed is not None:
        _Pipeline.installed.reopen_files()


class _Pipeline:
    """From an event to the lines of every output."""

    installed: "_Pipeline | None" = None

    def __init__(self, server_id: str, port: int) -> None:
        self._identity = {"server_id": server_id, "port": port}
        self._json: list[Output] = []
        self._console: list[Output] = []
        self._files: dict[str, Output] = {}
        self._bridge = _Bridge(self)
        self._render_console = _console_renderer()

    def add_file(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = RotatingFile(path)
        except OSError as error:
            raise StartupError(
                f"--log-dir {path.parent}: cannot write {path.name} there "
                f"({error.strerror}); give a directory that this user may write to"
            ) from error
        output = Output("file", file, self._lost_as_json)
        self._json.append(output)
        self._files[str(path)] = output

    def add_standard_output(self, format: str) -> None:  # noqa: A002
        try:
            descriptor = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError):  # none, not a file, or closed
            return
        is_console = format == "console" or (format == "auto" and os.isatty(descriptor))
        lost = self._lost_as_text if is_console else self._lost_as_json
        output = Output("stdout", Stream(descriptor), lost)
        (self._console if is_console else self._json).append(output)

    def install(self) -> None:
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, self._process],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=_Source,
            # Lookups cost some microseconds and no line is hot; a cached logger would stay with
            # the pipeline it first saw.
            cache_logger_on_first_use=False,
        )
        logging.captureWarnings(capture=True)
        logging.getLogger().addHandler(self._bridge)
        _Pipeline.installed = self
        atexit.register(self.close)

    def close(self) -> None:
        _Pipeline.installed = None
        atexit.unregister(self.close)
        logging.getLogger().removeHandler(self._bridge)
        logging.captureWarnings(capture=False)
        for output in (*self._json, *self._console):
            output.close(_CLOSE_SECONDS)

    def reopen_files(self) -> None:
        for path, output in self._files.items():
            output.reopen(partial(self._report_reopened, path))
        if not self._files:
            self._report("info", "no_log_file", advice="nothing to open again without --log-dir")

    def _report_reopened(self, path: str, problem: OSError | None) -> None:
        if problem is None:
            self._report("info", "log_file_opened", file=path)
            return
        advice = "lines go where they went before; see to the directory and send SIGHUP again"
        self._report("error", "log_file_failed", file=path, reason=str(problem), advice=advice)

    def _report(self, level: str, event: str, **facts: str) -> None:
        self.emit(level, {"event": event, "logger": __name__, **facts})

    def emit(self, level: str, event: LogEvent) -> None:
        """Write one event everywhere."""
        exception = _exception_info(event.pop("exc_info", None))
        event = {
            _escape(key): _plain(value)
            for key, value in event.items()
            if key not in self._identity  # these say who speaks, on every line
        }
        if self._json:
            line = self._as_json(level, event, exception)
            for output in self._json:
                output.put(line)
        if self._console:
            line = self._as_text(level, event, exception)
            for output in self._console:
                output.put(line)

    def _process(self, source: "_Source", level: str, event: LogEvent) -> NoReturn:
        self.emit(level, {"event": event.pop("event"), "logger": source.name, **event})
        raise structlog.DropEvent  # all has been done: nothing is left for a logger

    def _as_json(self, level: str, event: LogEvent, exception: _ExceptionInfo | None) -> bytes:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        line = {"@timestamp": f"{now}Z", "level": level, "event": event.get("event")}
        line.update(self._identity)
        line.update(event)
        if exception is not None:
            # The names of the Elastic Common Schema.
            line["error"] = {
                "type": exception[0].__qualname__,
                "message": _plain(exception[1]),
                "stack_trace": _stack(exception),
            }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _as_text(self, level: str, event: LogEvent, exception: _ExceptionInfo | None) -> bytes:
        shown = {"timestamp": time.strftime("%H:%M:%S"), "level": level} | dict(event)
        if exception is not None:
            # Indented: whatever an exception's message contains, it cannot pose as a log line.
            shown["exception"] = "    " + _stack(exception).rstrip().replace("\n", "\n    ")
        return f"{self._render_console(None, level, shown)}\n".encode()

    def _lost_as_json(self, count: int) -> bytes:
        return self._as_json("warning", {"event": "log_lines_lost", "count": count}, None)

    def _lost_as_text(self, count: int) -> bytes:
        return self._as_text("warning", {"event": "log_lines_lost", "count": count}, None)


class _Bridge(logging.Handler):
    """Brings in what libraries say through the standard library: asyncio, picows, warnings."""

    def __init__(self, pipeline: _Pipeline) -> None:
        super().__init__(logging.WARNING)
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the format
            message = str(record.msg)
        event = {"event": message, "logger": record.name, "exc_info": record.exc_info}
        self._pipeline.emit(record.levelname.lower(), event)


class _Source:
    """What structlog calls the logger: here only the name of the module that speaks."""

    def __init__(self, name: str = "landline") -> None:
        self.name = name


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    has_colors = "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
    return structlog.dev.ConsoleRenderer(
        colors=has_colors and sys.stdout is not None and sys.stdout.isatty(),
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _exception_info(given: object) -> _ExceptionInfo | None:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return cast("_ExceptionInfo", given) if given[0] is not None else None
    return _exception_info(sys.exc_info()) if given else None


def _stack(exception: _ExceptionInfo) -> str:
    # Never the values of local variables: messages are among them.
    text = "".join(traceback.format_exception(exception[1]))
    text = text if len(text) <= _STACK_CHARACTERS else f"... {text[-_STACK_CHARACTERS:]}"
    return _CONTROLS_BUT_NEWLINE.sub(_escaped, text)


def _plain(value: object, depth: int = _DEPTH) -> object:
    """Return `value` as something that JSON has, with every text escaped."""
    if isinstance(value, str):
        return _escape(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        number = int(value)  # `in` walks through the range for a subclass, such as an IntEnum
        return number if number in _INTEGERS else str(number)
    if depth and isinstance(value, Mapping):
        return {_escape(str(key)): _plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [_plain(item, depth - 1) for item in value]
    try:
        return _escape(str(value))
    except Exception:  # noqa: BLE001 - a log line must not bring down what it reports on
        return f"<{type(value).__qualname__}>"


def _escape(text: str) -> str:
    if len(text) > _TEXT_CHARACTERS:
        text = f"{text[:_TEXT_CHARACTERS]}..."
    return _CONTROLS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
