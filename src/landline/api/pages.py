"""The web client's files, read once from the package.

One version covers all files and is part of the address of each, except of the page itself. Modules
name each other by relative addresses. So a page never gets modules of two releases, even while
servers of both answer its requests. And a browser may keep the files for ever.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}

_INDEX = "index.html"
_VERSION_DIGITS = 16
# The address of a file of any release. Those of this release are in `load_pages`.
_VERSIONED = re.compile(rf"/web/[0-9a-f]{{{_VERSION_DIGITS}}}/[^/]+")
# How index.html names the folder of its files.
_FOLDER = b'"web/'
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

_HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
# The page names the version: an old copy in a browser or a proxy would ask for files that are gone.
# "no-cache" is not enough: browsers show such a copy when the user goes back to it.
_INDEX_CACHE = "no-store"
_FILE_CACHE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    content_type: str
    body: bytes
    headers: Mapping[str, str]


def load_pages() -> dict[str, Page]:
    """Return the pages by path: `/` is the web client, its parts are below `/web/<version>/`."""
    found = {
        file.name: file.read_bytes()
        for file in files("landline").joinpath("web").iterdir()
        if _suffix(file.name) in _TYPES
    }
    index = found.pop(_INDEX)
    version = _version({**found, _INDEX: index})
    headers = {**_HEADERS, "Cache-Control": _FILE_CACHE, "Content-Security-Policy": _policy(b"")}
    pages = {
        f"/web/{version}/{name}": Page(_TYPES[_suffix(name)], body, headers)
        for name, body in found.items()
    }
    index = index.replace(_FOLDER, _FOLDER + f"{version}/".encode())
    headers = {**_HEADERS, "Cache-Control": _INDEX_CACHE, "Content-Security-Policy": _policy(index)}
    return {**pages, "/": Page(_TYPES[_suffix(_INDEX)], index, headers)}


def is_versioned(path: str) -> bool:
    """Say whether this may be a file of another release."""
    return _VERSIONED.fullmatch(path) is not None


def _version(contents: Mapping[str, bytes]) -> str:
    digest = sha256()
    for name, body in sorted(contents.items()):
        digest.update(f"{name} {len(body)} ".encode())
        digest.update(body)
    return digest.hexdigest()[:_VERSION_DIGITS]


def _policy(page: bytes) -> str:
    """Return the policy of a page: it may talk to its own server only.

    Of the scripts inside the page only our own run: the policy names them by their hash.
    """
    ours = [
        f" 'sha256-{b64encode(sha256(script).digest()).decode()}'"
        for script in _SCRIPT.findall(page)
    ]
    return (
        f"default-src 'self'; script-src 'self'{''.join(ours)}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
