"""The head of an HTTP request, read strictly (RFC 9112, section 2 to 6).

A proxy in front may read what is not quite right in another way than we do, and let through what it
was told to keep away. So whatever can be read in two ways is refused: bare line feeds, folded and
doubled headers, bodies where none belong, and every address that is not the one plain spelling of
its path. Sans-I/O: bytes in, a `Request` or a `RequestRefused` out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from landline.api.http import INTERFACE, RequestRefused

HEAD_BYTES: Final = 16 * 1024
HEADERS: Final = 100
BODY_BYTES: Final = 64 * 1024

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE: Final = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])" % _TOKEN)
_NAME: Final = re.compile(_TOKEN)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

# The characters of a path that need no escape (RFC 3986, section 3.3), but for `;`, which some
# servers take for the beginning of a parameter.
_PATH: Final = re.compile(r"/|(?:/[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?")
# Names of users and conversations are the only parts of an address that may be escaped, as far as
# they can be names.
_ESCAPED: Final = r"((?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+)"
_NAMES_PATH: Final = re.compile(
    rf"{INTERFACE}(?:users|conversations|rooms)/{_ESCAPED}(?:/members/{_ESCAPED}|(/.*))?"
)
_CONTROL_OR_SLASH: Final = re.compile(r"[\x00-\x1f\x7f/\\]")
_DOTS: Final = frozenset({".", ".."})
_BAD_QUERY: Final = re.compile(r"#|%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


@dataclass(frozen=True, slots=True)
class Request:
    """A sound request. Header names are in lower case; values are UTF-8, with surrogates."""

    method: str
    path: str
    query: str
    version: str
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """Return the value of a header that may stand there once. Raises: RequestRefused."""
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise _bad(f"the header {name} is given twice")
        return values[0] if values else None

    def listed(self, name: str) -> list[str]:
        """Return the items of a header that is a list, from all its lines."""
        lines = self.headers.get(name, ())
        return [item.strip(" \t") for line in lines for item in line.split(",")]


def read_head(head: bytes) -> Request:
    """Return the request whose head this is, without the empty line at its end.

    Raises: RequestRefused.
    """
    line, *lines = head.split(b"\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise _bad("the first line is not METHOD /path HTTP/1.1")
    if len(lines) > HEADERS:
        raise RequestRefused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has at most {HEADERS} headers"
        )
    headers = _headers(lines)
    method, target, version = (part.decode("ascii") for part in match.groups())
    if not version.startswith("1."):
        raise RequestRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    # A higher minor version is read as the highest that is known (RFC 9110, section 2.5).
    version = min(version, "1.1")
    path, _, query = target.partition("?")
    request = Request(method, path, query, version, headers)
    _check_host(request)
    _check_body(request)
    if not _is_plain(path) or _DOTS.intersection(path.split("/")):
        raise _bad("the address is not a plain path, such as /ws/chat")
    if _BAD_QUERY.search(query):
        raise _bad("the address has a query that cannot be read")
    return request


def _is_plain(path: str) -> bool:
    """Say whether it is a path that everybody on the way reads alike."""
    match = _NAMES_PATH.fullmatch(path)
    if match is None:
        return _PATH.fullmatch(path) is not None
    *names, rest = match.groups()
    are_names = all(_may_be_name(each) for each in names if each is not None)
    return are_names and (rest is None or _PATH.fullmatch(rest) is not None)


def _may_be_name(escaped: str) -> bool:
    try:
        name = unquote(escaped, errors="strict")
    except UnicodeDecodeError:
        return False
    return not _CONTROL_OR_SLASH.search(name) and name not in _DOTS


def _headers(lines: Sequence[bytes]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise _bad("a header cannot be read: each is one line, Name: value")
        text = value.strip(b" \t").decode("utf-8", "surrogateescape")
        headers.setdefault(name.decode("ascii").lower(), []).append(text)
    return headers


def _check_host(request: Request) -> None:
    host = request.header("host")
    if host is None and request.version == "1.0":
        return
    if not _HOST.fullmatch(host or ""):
        raise _bad("the header Host is missing, or is not host:port")


def _check_body(request: Request) -> None:
    """See to it that there is none, or that nobody can doubt how long it is."""
    coding = request.header("transfer-encoding")
    length = request.header("content-length")
    is_ambiguous = (
        (coding is not None and (length is not None or request.version == "1.0"))
        or (coding is not None and coding.lower() != "chunked")
        or (length is not None and not re.fullmatch(r"[0-9]{1,15}", length))
    )
    if is_ambiguous:
        raise _bad("the length of the body is ambiguous")
    has_body = coding is not None or int(length or "0") > 0
    if has_body and request.method in ("GET", "HEAD"):
        raise _bad(f"a {request.method} request must not have a body")


def body_too_large() -> RequestRefused:
    """Return the refusal of a body above the limit."""
    return RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {BODY_BYTES} bytes"
    )


def _bad(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, reason)
