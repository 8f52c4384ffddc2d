"""What values are made of: a kind, the reason why one is refused, and URLs that keep a secret."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# C0, DEL and C1, line and paragraph separators, and the byte-order mark.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


class UnfitValue(ValueError):
    """A value that an option cannot have."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class ValueKind(Generic[T]):
    """A type of value. `parse` raises UnfitValue; `toml` lists the TOML types that may hold it."""

    metavar: str
    parse: Callable[[str], T]
    toml: tuple[type, ...] = (str,)


class SecretUrl:
    """A URL that may hold a password. Only `reveal()` shows it: no repr, log or error does."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        """Return the URL with its password, for the driver that connects with it."""
        return self._url

    def __str__(self) -> str:
        return mask(self._url)

    def __repr__(self) -> str:
        return f"SecretUrl({mask(self._url)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other.reveal() == self._url

    def __hash__(self) -> int:
        return hash(self._url)


def mask(text: str) -> str:
    """Return `text` without anything that may be a password.

    Errs on the side of hiding, because the value may be malformed: everything between the first
    `:` behind the scheme and the last `@` goes, and so does what follows `password=` or the like.
    """
    start = "://" if "://" in text else "^"
    text = re.sub(rf"({start})([^:@/]*):.*@", r"\1\2:***@", text, flags=re.DOTALL)
    return re.sub(
        r"(passw(?:or)?d|pwd|secret|token)\s*=\s*('[^']*'?|[^&\s]*)",
        r"\1=***",
        text,
        flags=re.IGNORECASE,
    )


def check_characters(text: str) -> None:
    """Raises: UnfitValue for what no value of any option has, and what no terminal shows.

    Most often it is the carriage return of a file that was written under Windows.
    """
    found = _UNSEEN.search(text)
    if found is not None:
        raise UnfitValue(
            f"has a control character (U+{ord(found[0]):04X}) in it",
            "remove it; a file with Windows line ends has one in every line",
        )
