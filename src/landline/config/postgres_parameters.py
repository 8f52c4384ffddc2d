"""What may follow the `?` of a PostgreSQL URL, and what its variables in the environment may hold.

The driver makes every name that it does not know a setting of the session. A parameter of other
drivers is then refused by the server in words that name no remedy, and one that the server knows
changes what Landline's statements mean, or how long they may take.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

_TEXT: Final = (r"[^\x00-\x1f\x7f]+", "a text without control characters")
_FILE: Final = (r"(?!system$)[^\x00-\x1f\x7f]+", "a file's name ('system' is none here)")
_SCHEMA: Final = r"(?:(?!pg_)[A-Za-z_][A-Za-z0-9_]*|\"(?!pg_)[^\"\x00-\x1f]+\")"
_TLS: Final = (r"TLSv1(?:\.[123])?", "TLSv1.2 or TLSv1.3")

# The pattern of each value, and how it is called. `values` looks closer at host and port.
ALLOWED: Final[Mapping[str, tuple[str, str]]] = {
    "host": (r".*", "a host"),
    "port": (r".*", "a port"),
    "user": _TEXT,
    "password": _TEXT,
    "dbname": _TEXT,
    "database": _TEXT,
    "passfile": _FILE,
    "service": _TEXT,
    "sslmode": (
        r"disable|allow|prefer|require|verify[-_]ca|verify[-_]full",
        "disable, allow, prefer, require, verify-ca or verify-full",
    ),
    "sslnegotiation": (r"postgres|direct", "postgres or direct"),
    "sslrootcert": _FILE,
    "sslcert": _FILE,
    "sslkey": _FILE,
    "sslpassword": _TEXT,
    "sslcrl": _FILE,
    "ssl_min_protocol_version": _TLS,
    "ssl_max_protocol_version": _TLS,
    "target_session_attrs": (
        r"any|primary|read-write",
        "read-write (Landline looks for the primary, whatever it is told)",
    ),
    "krbsrvname": _TEXT,
    "gsslib": (r"gssapi|sspi", "gssapi or sspi"),
    "search_path": (
        rf"{_SCHEMA}(?:\s*,\s*{_SCHEMA})*",
        "the name of a schema, or several with commas between",
    ),
}
VARIABLES: Final[Mapping[str, str]] = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGKRBSRVNAME": "krbsrvname",
    "PGGSSLIB": "gsslib",
}
# In the environment, the driver takes an empty one of these for a value; of the others, for none.
NEVER_EMPTY: Final = frozenset({"sslmode", "sslnegotiation", "gsslib"})

_OURS: Final = "leave it out, Landline sets it itself"
_SERVER_ONLY: Final = "leave it out; a setting of the server is made there: ALTER ROLE ... SET"
_REMEDIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "client_encoding",
            "standard_conforming_strings",
            "datestyle",
            "intervalstyle",
            "timezone",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "idle_session_timeout",
            "default_transaction_isolation",
            "tcp_user_timeout",
            "keepalives",
            "keepalives_idle",
            "keepalives_interval",
            "keepalives_count",
        ),
        _OURS,
    ),
    **dict.fromkeys(
        ("connect_timeout", "timeout", "command_timeout"), "leave it out, Landline's waits are set"
    ),
    **dict.fromkeys(
        ("application_name", "fallback_application_name"),
        "leave it out, a session is called landline- and what --server-id says",
    ),
    **dict.fromkeys(
        ("channel_binding", "require_auth"),
        "leave it out, the driver cannot do that; sslmode=verify-full makes sure of the server",
    ),
    **dict.fromkeys(
        ("gssencmode", "sslcompression", "sslsni", "requirepeer", "sslcertmode"),
        "leave it out, the driver cannot do that",
    ),
    "ssl": "leave it out, and write sslmode=require or sslmode=verify-full",
    "options": "leave it out; the schema is given with search_path=NAME",
    "currentschema": "write search_path=NAME",
    "schema": "write search_path=NAME",
    "pgbouncer": "leave it out, Landline needs no pooler and no word about one",
    "load_balance_hosts": "leave it out, Landline looks for the primary among the hosts",
}


def find_mistake(query: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return what is wrong with the parameters of such a URL and what to do, or None.

    No value is told: it may be a secret.
    """
    for name, values in query.items():
        if name not in ALLOWED:
            shown = f" ({name})" if re.fullmatch(r"[A-Za-z_.-]{1,60}", name) else ""
            return f"has something behind its ? that cannot be there{shown}", _remedy(name)
        if len(values) > 1:
            return f"has {name} more than once behind its ?", "give it once"
        what = find_problem(name, values[0])
        if what is not None:
            return f"has no {name} behind its ? that can be used", f"give {what}, or leave it out"
    return None


def find_problem(name: str, value: str) -> str | None:
    """Return what a parameter has to be, when the value is not, otherwise None."""
    pattern, what = ALLOWED[name]
    return None if re.fullmatch(pattern, value) else what


def _remedy(name: str) -> str:
    known = _REMEDIES.get(name.lower())
    if known is not None:
        return known
    close = get_close_matches(name.lower(), ALLOWED, 1, 0.8)
    if close:
        return f"write {close[0]} if that is meant; known are {', '.join(ALLOWED)}"
    return f"{_SERVER_ONLY}; known here are {', '.join(ALLOWED)}"
