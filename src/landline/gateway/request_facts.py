"""What a line in the log says of a request: whose it was, and nothing that may be secret."""

import re
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request

from landline.api.http import METHOD_NAME

SHOWN_CHARACTERS: Final = 200
# People misspell the sign before a query, and libraries escape it, sometimes twice.
_QUERY: Final = re.compile(r"[ \t?#;&]|%(?:25)*(?:3f|23|3b|26)", re.IGNORECASE)
# What a token is written with. The shortest signature that is taken, of HS256, has so many of them:
# whatever has a part as long as that may be one.
_WORD: Final = re.compile(r"[A-Za-z0-9_=.-]+")
_SIGNATURE_CHARACTERS: Final = 43
_SIGNATURE: Final = re.compile(rf"[A-Za-z0-9_=-]{{{_SIGNATURE_CHARACTERS}}}")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
# Escapes of escapes, so deep: what is deeper nobody has meant.
_ESCAPES: Final = 4
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+|/*")
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
    secret. So may a part of the path or a name, where a token stands by mistake. It also leaves out
    a method that is none. What it costs grows with the head and no faster: a stranger wrote that.
    """
    text = head.decode("utf-8", "surrogateescape")
    method, rest = re.split(r"[ \t]|$", re.split(r"[\r\n]", text, maxsplit=1)[0], maxsplit=1)
    query = re.split(r"[ #]", rest, maxsplit=1)[0].partition("?")[2]
    user = _find(r"^username:[ \t]*([^\r\n]*)", text) or _find(r"(?:^|&)username=([^&;?]*)", query)
    origin = _find(r"^origin:[ \t]*([^\r\n]*)", text)
    given = {
        "method": method if METHOD_NAME.fullmatch(method) else "",
        "path": _QUERY.split(_without_credentials(rest), maxsplit=1)[0],
        "origin": _ORIGIN.sub(r"\1", _without_credentials(origin)),
        "user": user,
    }
    facts: dict[str, Any] = {
        name: _without_tokens(value)[:SHOWN_CHARACTERS] for name, value in given.items() if value
    }
    if "user" in facts:
        facts["user"] = unquote(facts["user"], errors="backslashreplace")
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
    scheme = _SCHEME.match(target)
    start = scheme.end() if scheme is not None else 0
    _secret, at, rest = target[start:].rpartition("@")
    return f"{target[:start]}***@{rest}" if at else target


def _without_tokens(value: str) -> str:
    """Return it without what may be a token, also where its signs are escaped."""
    plain, escapes = _ESCAPE.subn(_unescaped, value)
    for _ in range(_ESCAPES):
        if not escapes:
            break
        plain, escapes = _ESCAPE.subn(_unescaped, plain)
    if escapes:
        return "***"
    return _WORD.sub(_unless_signed, plain) if _SIGNATURE.search(plain) else value


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))


def _unless_signed(word: re.Match[str]) -> str:
    is_short = all(len(part) < _SIGNATURE_CHARACTERS for part in word[0].split("."))
    return word[0] if is_short else "***"


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""
