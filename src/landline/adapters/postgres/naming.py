"""How the sessions of a server are called in PostgreSQL: with that, others know who is there."""

from typing import Final

# What PostgreSQL keeps of a name.
_CHARACTERS: Final = 63
# What tells a server of this version from one that knows format 1 alone. No server's id has a `/`.
_SUFFIX: Final = "/2"


def session_name(server_id: str) -> str:
    """Return the name of a server's sessions. Of a very long id it has the beginning."""
    return f"landline-{server_id}"[: _CHARACTERS - len(_SUFFIX)] + _SUFFIX
