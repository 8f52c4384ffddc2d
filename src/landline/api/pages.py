"""The web client's files, read once from the package."""

from dataclasses import dataclass
from importlib.resources import files

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    content_type: str
    body: bytes


def load_pages() -> dict[str, Page]:
    """Return the pages by path: `/` is the web client, its parts are below `/web/`."""
    pages = {}
    for file in files("landline").joinpath("web").iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in _TYPES:
            pages[f"/web/{file.name}"] = Page(_TYPES[suffix], file.read_bytes())
    if "/web/index.html" in pages:
        pages["/"] = pages.pop("/web/index.html")
    return pages
