"""Records that could not be applied where they stood, and were put at the end of the log again.

Such a record names its old position in a field of its own, which readers of it leave alone. There
it counts for nothing, so whoever adds the log up has to know.
"""

import orjson

from landline.model import Position

_FIELD = "redriven_from"
_MARK = f'"{_FIELD}":'.encode()  # within a text its quotes would be escaped


def redriven(value: bytes, origin: Position) -> bytes:
    """Return a record that can be read, to stand at the end of the log instead of at `origin`."""
    return orjson.dumps({**orjson.loads(value), _FIELD: [*origin]})


def redriven_from(value: bytes) -> Position | None:
    """Return the old position of a record, None where it has none."""
    if _MARK not in value:
        return None
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    match record:
        case {"redriven_from": [int(partition), int(offset)]}:
            return Position(partition, offset)
    return None
