"""A migration's file: what its markers say, and its statements one by one."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_OUTSIDE: Final = re.compile(r"^-- landline: outside a transaction$", re.MULTILINE)
_NEEDS: Final = re.compile(r"^-- landline: needs (\d+)$", re.MULTILINE)
# A comment, a text, a name in quotes or a body between dollars may hold a semicolon.
_PIECE: Final = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"[^"]*"|\$(\w*)\$.*?\$\1\$|[^;'"$/-]+|.""", re.DOTALL
)
_INDEX: Final = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(\w+)", re.IGNORECASE
)


@dataclass(frozen=True)
class Script:
    """One migration. `name` is that of its file, which begins with its number."""

    name: str
    text: str

    @property
    def number(self) -> int:
        """Return the version of the schema that it makes."""
        return int(self.name.partition("_")[0])

    @property
    def is_outside(self) -> bool:
        """Say whether it is run statement by statement, without a transaction around it."""
        return _OUTSIDE.search(self.text) is not None

    @property
    def needs(self) -> int:
        """Return which migration the oldest server knows that can run on what this one leaves.

        0 where it says nothing: a server that could run before can run after it.
        """
        found = _NEEDS.search(self.text)
        return int(found[1]) if found else 0

    @cached_property
    def statements(self) -> list[str]:
        """Return the statements in order, without the comments around them."""
        statements, pieces = [], []
        for found in _PIECE.finditer(self.text):
            piece = found[0]
            if piece.startswith(("--", "/*")):
                pieces.append(" ")
            elif piece == ";":
                statements.append("".join(pieces).strip())
                pieces = []
            else:
                pieces.append(piece)
        statements.append("".join(pieces).strip())
        return [each for each in statements if each]


def built_index(statement: str) -> str | None:
    """Return the name of the index that a statement builds concurrently, if it does."""
    found = _INDEX.match(statement)
    return found[1] if found else None
