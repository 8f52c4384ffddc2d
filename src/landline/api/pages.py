"""The web client's files, read once from the package.

One version covers all files and is part of the address of each, except of the page itself. Modules
name each other by relative addresses. So a page never gets modules of two releases, even while
servers of both answer its requests. And a browser may keep the files for ever.

Pages of other sites import `/embed.js`. It names no other file, and its address never changes.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
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
_EMBED = "embed.js"
_VERSION_DIGITS = 16
# The address of a file of any release. Those of this release are in `load_pages`.
_VERSIONED = re.compile(rf"/web/[0-9a-f]{{{_VERSION_DIGITS}}}/[^/]+")
# How index.html names the folder of its files.
_FOLDER = b'"web/'
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
# Where index.html says how this server learns who somebody is.
_SIGN_IN = b'<meta name="landline-auth" content="none">'
# What a policy can name. Browsers take no address of IPv6 there.
_SOURCE = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]+)?")

_HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
# The page names the version: an old copy in a browser or a proxy would ask for files that are gone.
# "no-cache" is not enough: browsers show such a copy when the user goes back to it.
_INDEX_CACHE = "no-store"
_FILE_CACHE = "public, max-age=31536000, immutable"
# Any release of it works with any release of the page, so it need not be asked for each time.
_EMBED_CACHE = "public, max-age=3600"


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    content_type: str
    body: bytes
    headers: Mapping[str, str]


def load_pages(auth: str = "none", embedders: Iterable[str] = ()) -> dict[str, Page]:
    """Return the pages by path: `/` is the web client, its parts are below `/web/<version>/`.

    `auth` is how this server learns who somebody is: none, jwt or proxy. `embedders` are the
    origins whose pages may show the web client within them, by `/embed.js`.
    """
    found = {
        file.name: file.read_bytes()
        for file in files("landline").joinpath("web").iterdir()
        if _suffix(file.name) in _TYPES
    }
    version = _version(found)
    index, embed = found.pop(_INDEX), found.pop(_EMBED)
    assert _SIGN_IN in index, "the page would not know how to sign in"
    index = index.replace(_SIGN_IN, _SIGN_IN.replace(b"none", auth.encode()))
    index = index.replace(_FOLDER, _FOLDER + f"{version}/".encode())
    may_frame = " ".join(sorted(filter(_SOURCE.fullmatch, embedders)))
    pages = {
        f"/web/{version}/{name}": _page(name, body, _FILE_CACHE, _policy())
        for name, body in found.items()
    }
    pages["/"] = _page(_INDEX, index, _INDEX_CACHE, _policy(index, may_frame or "'none'"))
    pages[f"/{_EMBED}"] = _page(
        _EMBED, embed, _EMBED_CACHE, _policy(), {"Access-Control-Allow-Origin": "*"}
    )
    return pages


def _page(
    name: str, body: bytes, cache: str, policy: str, more: Mapping[str, str] | None = None
) -> Page:
    headers = {**_HEADERS, "Cache-Control": cache, "Content-Security-Policy": policy}
    return Page(_TYPES[_suffix(name)], body, {**headers, **(more or {})})


def is_versioned(path: str) -> bool:
    """Say whether this may be a file of another release."""
    return _VERSIONED.fullmatch(path) is not None


def _version(contents: Mapping[str, bytes]) -> str:
    digest = sha256()
    for name, body in sorted(contents.items()):
        digest.update(f"{name} {len(body)} ".encode())
        digest.update(body)
    return digest.hexdigest()[:_VERSION_DIGITS]


def _policy(page: bytes = b"", may_frame: str = "'none'") -> str:
    """Return the policy of a page: it may talk to its own server only.

    Of the scripts inside the page only our own run: the policy names them by their hash. Only pages
    of `may_frame` can show this one within them.
    """
    ours = [
        f" 'sha256-{b64encode(sha256(script).digest()).decode()}'"
        for script in _SCRIPT.findall(page)
    ]
    return (
        f"default-src 'self'; script-src 'self'{''.join(ours)}; "
        f"base-uri 'none'; form-action 'self'; frame-ancestors {may_frame}"
    )


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
