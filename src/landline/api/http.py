"""Answers plain GET requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from landline.api.pages import load_pages

_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

# The page talks to the server that it came from, and to nobody else.
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PLAIN_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str]


class Http:
    """The HTTP side of the listener.

    `problems` returns what keeps this server from doing its work: part -> reason, empty when
    it is ready. `metrics` returns the page in Prometheus' text format.
    """

    def __init__(
        self, problems: Callable[[], Mapping[str, str]], metrics: Callable[[], bytes]
    ) -> None:
        self._problems = problems
        self._metrics = metrics
        self._pages = load_pages()

    def answer(self, path: str) -> Answer:
        """Return the answer to `GET path` (without its query)."""
        if path == "/healthz":
            return _plain(HTTPStatus.OK, _JSON, b'{"status":"alive"}')
        if path == "/readyz":
            return self._ready()
        if path == "/metrics":
            return _plain(HTTPStatus.OK, _METRICS, self._metrics())
        page = self._pages.get(path)
        if page is None:
            return _plain(HTTPStatus.NOT_FOUND, _TEXT, b"not found\n")
        return Answer(HTTPStatus.OK, page.content_type, page.body, _PAGE_HEADERS)

    def _ready(self) -> Answer:
        problems = self._problems()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = {"status": "not ready" if problems else "ready", "problems": problems}
        return _plain(status, _JSON, orjson.dumps(body))


def _plain(status: HTTPStatus, content_type: str, body: bytes) -> Answer:
    return Answer(status, content_type, body, _PLAIN_HEADERS)
