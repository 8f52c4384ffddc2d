"""One option: its name, kind, default and meaning, and how a field of the settings declares it."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from landline.config.values import ValueKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """An option as an operator sees it. `default` is what they would write to get it."""

    name: str
    section: str
    kind: ValueKind[Any]
    default: str
    doc: str

    @property
    def flag(self) -> str:
        """Return its form on the command line. In a TOML file it is the name alone."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """Return its form in the environment."""
        return "LANDLINE_" + self.name.replace("-", "_").upper()


def option(section: str, kind: ValueKind[T], default: str, doc: str) -> T:
    """Declare an option with a default, written as an operator would write it."""
    return field(default=kind.parse(default), metadata={"facts": (section, kind, default, doc)})


def unset(section: str, kind: ValueKind[T], default: str, doc: str) -> T | None:
    """Declare an option that is None unless given; `default` says in words what that means."""
    return field(default=None, metadata={"facts": (section, kind, default, doc)})
