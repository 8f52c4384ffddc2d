"""What a line in the log says of a request: whose it was, and nothing that may be secret."""

import re
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request

SHOWN_CHARACTERS: Final = 200
_METHOD: Final = re.compile(r"[A-Za-z-]{1,20}")
# People misspell the sign before a query, and libraries escape it, sometimes twice.
_QUERY: Final = re.compile(r"[ \t?#;&]|%(?:25)*(?:3f|23|3b|26)", re.IGNORECASE)
# The beginning of a token, in base64 `{"`, and all that may belong to it. Some write its dots as
# they write other signs in an address, escaped.
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:(?:\.|%(?:25)*2[Ee])[A-Za-z0-9_-]*)*")
_ORIGIN: Final = re.compile(r"^((?:[^/?#]*:/*)?[^/?#]*).*$", re.DOTALL)


def shown_peer(peername: Any) -> str:
    """Return an address as the log shows it, IPv6 in brackets as in a URL."""
    if not peername:
        return "unknown"
    host, port = peername[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def request_facts(head: bytes) -> dict[str, Any]:
    """Return what a line in the log says of a request, however broken it is.

    It leaves out the query, however it was misspelt, and the user info of a URL: they may hold a
    secret. So may a part of the path or a name; a token is known by its beginning. It also leaves
    out a method that is none.
    """
    text = head.decode("utf-8", "surrogateescape")
    method, rest = re.split(r"[ \t]|$", text.partition("\r\n")[0], maxsplit=1)
    query = re.split(r"[ #]", rest, maxsplit=1)[0].partition("?")[2]
    user = _find(r"^username:[ \t]*([^\r\n]*)", text) or _find(r"(?:^|&)username=([^&;?]*)", query)
    origin = _find(r"^origin:[ \t]*([^\r\n]*)", text)
    given = {
        "method": method if _METHOD.fullmatch(method) else "",
        "path": _QUERY.split(_without_credentials(rest), maxsplit=1)[0],
        "origin": _ORIGIN.sub(r"\1", _without_credentials(origin)),
        "user": unquote(user, errors="backslashreplace"),
    }
    facts: dict[str, Any] = {name: value for name, value in given.items() if value}
    facts = {name: _JWT.sub("***", value)[:SHOWN_CHARACTERS] for name, value in facts.items()}
    return facts | {"is_upgrade": bool(_find(r"^upgrade:[ \t]*([^\r\n]*)", text))}


def facts_of(request: Request) -> dict[str, Any]:
    """Return the same of a request that has come to the application."""
    scope = request.scope
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), target)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    facts = request_facts(b"\r\n".join(lines))
    del facts["is_upgrade"]
    return facts


def _without_credentials(target: str) -> str:
    """Return it as it is where it is a path, which has no host and nothing before one.

    Elsewhere all up to the last @ may be user and password, whatever stands between.
    """
    if target.startswith("/") and not target.startswith("//"):
        return target
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:/+|/*).*@", r"\1***@", target, flags=re.DOTALL)


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""
