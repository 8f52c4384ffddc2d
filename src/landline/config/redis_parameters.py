"""What may follow the `?` of a Redis URL.

The driver hands every name on to its own constructors. Many of them want an object there, or fail
only when they connect, which looks like an outage for ever. Others change what Landline decides
itself: how many connections there are, how long a call waits, and whether it is tried again.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

_TEXT: Final = (r".+", "a text")
_FILE: Final = (r".+", "a file's name")
_FLAG: Final = (r"(?i:true|false|yes|no|on|off|1|0)", "true or false")

# The pattern of each value, and how it is called.
_ALWAYS: Final[Mapping[str, tuple[str, str]]] = {
    "db": (r"[0-9]{1,5}", "the number of a database"),
    "username": _TEXT,
    "password": _TEXT,
    "client_name": (r"[!-~]+", "a name without blanks"),
    "health_check_interval": (r"[0-9]{1,5}", "a whole number of seconds"),
}
_OVER_TCP: Final = {"socket_keepalive": _FLAG}
_OVER_TLS: Final = {
    "ssl_ca_certs": _FILE,
    "ssl_ca_path": (r".+", "a directory's name"),
    "ssl_certfile": _FILE,
    "ssl_keyfile": _FILE,
    "ssl_password": _TEXT,
    "ssl_cert_reqs": (r"required|optional|none", "required, optional or none"),
    "ssl_check_hostname": _FLAG,
    "ssl_min_version": (r"771|772", "771 for TLS 1.2 or 772 for TLS 1.3"),
    "ssl_ciphers": _TEXT,
}


def find_mistake(scheme: str, query: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return what is wrong with the parameters of such a URL and what to do, or None.

    No value is told: it may be a secret.
    """
    allowed = {
        **_ALWAYS,
        **(_OVER_TCP if scheme != "unix" else {}),
        **(_OVER_TLS if scheme == "rediss" else {}),
    }
    for name, values in query.items():
        if name in _OVER_TLS and name not in allowed:
            return f"has {name} behind its ?, which is for TLS", "use rediss://, or leave it out"
        if name not in allowed:
            close = get_close_matches(name.lower(), allowed, 1)
            remedy = f"write {close[0]} if that is meant" if close else "leave it out"
            shown = f" ({name})" if re.fullmatch(r"[A-Za-z_]{1,40}", name) else ""
            return (
                f"has something behind its ? that is not known{shown}",
                f"{remedy}; known are {', '.join(allowed)}",
            )
        pattern, what = allowed[name]
        if len(values) > 1:
            return f"has {name} more than once behind its ?", "give it once"
        if not re.fullmatch(pattern, values[0]):
            return f"has no {name} that can be used", f"give {what}, or leave it out"
    return None
