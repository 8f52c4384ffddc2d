"""The history of a run: kept in memory, written as JSON lines, read back and checked line by line.

A file that was cut off in the middle of a line is a history that ends one event earlier.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import TracebackType
from typing import (
    Any,
    BinaryIO,
    Final,
    Literal,
    Self,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

import orjson

from landline_verify.errors import BadHistory
from landline_verify.history.events import EVENT_KINDS, VERSION, Event, Run

# So many lines are held at a time while they are written: some 2 MB.
CHUNK_EVENTS: Final = 10_000

_Read = Callable[[Any], Any]
_Readers = tuple[tuple[str, _Read], ...]
_Decoder = tuple[type[Event], _Readers, dict[str, Any]]


class History(Sequence[Event]):
    """Events in the order of time; with a file, those recorded since are written by `flush`."""

    def __init__(self, events: Iterable[Event] = (), *, file: Path | None = None) -> None:
        """Raises: BadHistory, when the file cannot be written."""
        self._events = list(events)
        self._written = 0
        self._path = file
        self._file: BinaryIO | None = None
        if file is not None:
            try:
                self._file = file.open("wb", buffering=0)
            except OSError as error:
                raise BadHistory(f"cannot write the history {file}: {error.strerror}") from error

    def record(self, event: Event) -> None:
        """Add an event. Never waits: the file is for `flush`."""
        self._events.append(event)

    def flush(self) -> None:
        """Write what is new, in whole lines. Raises: BadHistory, e.g. when the disk is full."""
        if self._file is None:
            return
        try:
            while self._written < len(self._events):
                chunk = self._events[self._written : self._written + CHUNK_EVENTS]
                lines = b"".join(map(encode_event, chunk))
                while lines:
                    lines = lines[self._file.write(lines) :]
                self._written += len(chunk)
        except OSError as error:
            raise BadHistory(f"cannot write the history {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Write what is new and close the file. The events stay."""
        try:
            self.flush()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._events[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)


def read_history(path: Path) -> History:
    """Return the history in a file. Raises: BadHistory, with the number of the bad line."""
    events: list[Event] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    events.append(decode_event(line))
                except ValueError as error:
                    raise BadHistory(f"{path}, line {number}: {error}") from None
                if number == 1:
                    _check_start(path, events[0])
    except OSError as error:
        raise BadHistory(f"cannot read the history {path}: {error.strerror}") from error
    if not events:
        raise BadHistory(f"{path} holds no history: it has no whole line")
    return History(events)


def _check_start(path: Path, event: Event) -> None:
    if not isinstance(event, Run):
        raise BadHistory(f"{path} is no history: its first line is no `run`")
    if event.version != VERSION:
        raise BadHistory(
            f"{path} is a history of version {event.version}; this program reads {VERSION}"
        )


def encode_event(event: Event) -> bytes:
    """Return an event's line, its end included."""
    line: dict[str, Any] = {"t": event.t, "kind": event.kind}
    if event.variant is not None:
        name, value = event.variant
        line[name] = value
    for field in fields(event):
        line[field.name] = getattr(event, field.name)
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def decode_event(line: bytes) -> Event:
    """Return the event of a line. Raises: ValueError."""
    values = orjson.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  the file is at fault
    return make_event(values)


def make_event(values: dict[str, Any]) -> Event:
    """Return the event with these fields, `t` and `kind` among them; others are ignored.

    Raises: ValueError.
    """
    key = _key(values)
    if key not in _DECODERS:
        raise ValueError(f"unknown kind of event: {' '.join(map(str, key)):.80}")
    cls, readers, defaults = _DECODERS[key]
    if defaults:
        values = {**defaults, **values}
    try:
        return cls(*[read(values[name]) for name, read in readers])
    except KeyError as error:
        raise ValueError(f"`{cls.kind}` without `{error.args[0]}`") from None
    except TypeError:
        raise ValueError(f"`{cls.kind}` with {_misfit(values, readers)}") from None


def _key(values: dict[str, Any]) -> tuple[object, ...]:
    """Return what the event's class is found by: its kind, and its variant where it has one."""
    kind = values.get("kind")
    name = {"record": "record", "row": "table"}.get(kind) if isinstance(kind, str) else None
    key = (kind,) if name is None else (kind, values.get(name))
    return tuple(part if isinstance(part, str) else repr(part) for part in key)


def _misfit(values: dict[str, Any], readers: _Readers) -> str:
    """Return which field a reader refused."""
    for name, read in readers:
        try:
            read(values[name])
        except TypeError:
            return f"`{name}` = {values[name]!r:.40}"
    raise AssertionError("every reader took its value")


# Reading a field: its value, or TypeError ---------------------------------------------------------


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return sys.intern(value)  # names, conversations and ids come again and again


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError
    return tuple(map(_text, value))


def _or_none(read: _Read) -> _Read:
    return lambda value: None if value is None else read(value)


def _rows(*readers: _Read) -> _Read:
    """Return a reader of a list of lists, each with a value for each of these readers."""

    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or any(
            type(each) is not list or len(each) != len(readers) for each in value
        ):
            raise TypeError
        return tuple(
            tuple(read(part) for read, part in zip(readers, each, strict=True)) for each in value
        )

    return read


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise TypeError
    return value


_READERS: dict[object, _Read] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    tuple[str, ...]: _texts,
    dict[str, Any]: _object,
    str | None: _or_none(_text),
    int | None: _or_none(_integer),
    bool | None: _or_none(_boolean),
    tuple[tuple[str, str | None, tuple[str, ...]], ...]: _rows(_text, _or_none(_text), _texts),
    tuple[tuple[str, int], ...]: _rows(_text, _integer),
    tuple[tuple[str, int, str], ...]: _rows(_text, _integer, _text),
    tuple[tuple[str, int, int, int], ...]: _rows(_text, _integer, _integer, _integer),
}


def _reader(hint: object) -> _Read:
    if get_origin(hint) is not Literal:
        return _READERS[hint]
    choices: dict[str, str] = {choice: choice for choice in get_args(hint)}

    def choose(value: Any) -> str:
        if type(value) is not str or value not in choices:
            raise TypeError
        return choices[value]

    return choose


def _decoder(cls: type[Event]) -> _Decoder:
    hints = get_type_hints(cls)
    return (
        cls,
        tuple((field.name, _reader(hints[field.name])) for field in fields(cls)),
        {field.name: field.default for field in fields(cls) if field.default is not MISSING},
    )


_DECODERS: dict[tuple[object, ...], _Decoder] = {
    (cls.kind, cls.variant[1]) if cls.variant else (cls.kind,): _decoder(cls) for cls in EVENT_KINDS
}
