"""A value as somebody gave it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody gave it; `shown` is its form in that place, fit to be printed."""

    text: str
    shown: str
