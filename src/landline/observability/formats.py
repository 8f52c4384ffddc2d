"""What a log line looks like: the processors that every event passes, then those of a format.

A format is a short chain of structlog processors that ends in a renderer, as each handler has one
with structlog's `ProcessorFormatter`. People read `console`, machines read `json`. Whatever the
facts are, an event becomes one line that is safe to look at.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

# From an event that has passed the shared processors to the line of an output. Changes the event.
Format = Callable[[EventDict], bytes]

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


def shared_processors(identity: Mapping[str, object]) -> list[Processor]:
    """Return what every event passes before it is rendered.

    `identity` names this server on every JSON line; no event may claim another one.
    """

    def drop_false_identity(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {key: value for key, value in event.items() if key not in identity}

    return [
        structlog.contextvars.merge_contextvars,
        drop_false_identity,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        _make_plain,
    ]


def json_format(identity: Mapping[str, object]) -> Format:
    """Return the format for machines: one object a line, ready for ELK."""

    def name_for_elk(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        named = {"@timestamp": f"{now}Z", "level": event.pop("level"), "event": event.pop("event")}
        named.update(identity)
        if "logger" in event:
            named["logger"] = event.pop("logger")
        error = event.pop("exception", None)
        named.update(event)
        if error is not None:
            named["error"] = error
        return named

    return _chain(
        structlog.processors.ExceptionRenderer(_error_of),
        name_for_elk,
        structlog.processors.JSONRenderer(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE),
    )


def console_format() -> Format:
    """Return the format for people: with colours where the terminal has them."""
    has_colors = "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
    render = structlog.dev.ConsoleRenderer(
        colors=has_colors and sys.stdout is not None and sys.stdout.isatty(),
        sort_keys=False,
        exception_formatter=_write_stack,
    )
    return _chain(structlog.processors.TimeStamper("%H:%M:%S", utc=False), render, _encode)


def render_each(formats: Mapping[str, Format]) -> Processor:
    """Return the last processor: it hands the logger a line in each format, by its name."""

    def render(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {name: to_line(dict(event)) for name, to_line in formats.items()}

    return render


def _chain(*processors: Callable[[WrappedLogger, str, Any], Any]) -> Format:
    def to_line(event: EventDict) -> bytes:
        line: Any = event
        for process in processors:
            line = process(None, "", line)  # none of them asks for the logger or its method
        assert isinstance(line, bytes), "the last processor of a format renders"
        return line

    return to_line


def _encode(_: WrappedLogger, __: str, line: str) -> bytes:
    return f"{line}\n".encode()


def _make_plain(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Make every fact something that JSON has, with all text escaped."""
    return {
        _escape(key): value if key == "exc_info" else _plain(value) for key, value in event.items()
    }


def _error_of(exc_info: ExcInfo) -> dict[str, object]:
    kind, exception, _ = exc_info
    # The names of the Elastic Common Schema.
    return {
        "type": kind.__qualname__,
        "message": _plain(exception),
        "stack_trace": _stack(exception),
    }


def _write_stack(to: TextIO, exc_info: ExcInfo) -> None:
    # Indented: whatever an exception's message contains, it cannot pose as a log line.
    to.write("\n    " + _stack(exc_info[1]).rstrip().replace("\n", "\n    "))


def _stack(exception: BaseException) -> str:
    # Never the values of local variables: messages are among them.
    text = "".join(traceback.format_exception(exception))
    text = text if len(text) <= _STACK_CHARACTERS else f"... {text[-_STACK_CHARACTERS:]}"
    return _CONTROLS_BUT_NEWLINE.sub(_escaped, text)


def _plain(value: object, depth: int = _DEPTH) -> object:
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
