"""Frames as a client may send them, right and wrong, and the limits of the protocol."""

import json

FRAME_BYTES = 65_536

CONTENT_BYTES = 16_384

EMOJI = "\U0001f600"  # 4 bytes of UTF-8


def send(**fields: object) -> str:
    """Return a send to bob, with some fields changed; `...` leaves a field out."""
    whole = {"type": "send", "to": "bob", "content": "never", "ref": "r", **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


def ping(more: str) -> str:
    """Return a ping with one more member, as it is written."""
    return f'{{"type":"ping","more":{more}}}'


ID = "0190d5a4-5b1c-8c3e-9c0d-0123456789ab"
