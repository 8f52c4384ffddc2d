"""Answers plain requests, GET and HEAD."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson

from landline.api.pages import Page, is_versioned, load_pages
from landline.observability.metrics import CONTENT_TYPE
from landline.protocol.codes import FINAL_REFUSAL, FINAL_STATUSES, ErrorCode, Outcome
from landline.protocol.server_frames import error

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"

METHODS = ("GET", "HEAD")
METHOD_NAME = re.compile(r"[A-Za-z-]{1,20}")
# Where the addresses of the interface for programs begin.
INTERFACE = "/v1/"
MESSAGES = "/v1/messages"

# The code of a refusal by its status; `bad_frame` for the others.
CODES = {
    HTTPStatus.UNAUTHORIZED: ErrorCode.FORBIDDEN,
    HTTPStatus.FORBIDDEN: ErrorCode.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorCode.BUSY,
    HTTPStatus.SERVICE_UNAVAILABLE: ErrorCode.UNAVAILABLE,
}

_OTHER_RELEASE = "this file belongs to another release of the page; load the page again"

_PLAIN_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str]


class RequestRefused(Exception):
    """A request that is not served: HTTP status and a sentence for the client's developer."""

    def __init__(
        self,
        status: HTTPStatus,
        reason: str,
        headers: Mapping[str, str] | None = None,
        *,
        is_passing: bool = False,
    ) -> None:
        """`is_passing`: the same request may be served later, whatever the status says."""
        super().__init__(reason)
        self.is_final = status in FINAL_STATUSES and not is_passing
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    def answer(self, path: str = "") -> HttpResponse:
        """Return the response with this status and sentence: of the interface for programs, as the
        body that an `error` frame has.
        """
        headers = {**_PLAIN_HEADERS, **self.headers}
        headers |= [FINAL_REFUSAL] if self.is_final else []
        if path.startswith(INTERFACE):
            code = CODES.get(self.status, ErrorCode.BAD_FRAME)
            is_message = path == MESSAGES and code is ErrorCode.UNAVAILABLE
            outcome = Outcome.UNKNOWN if is_message else None
            body = error(code, self.reason, outcome=outcome)
            return HttpResponse(self.status, _JSON, body, headers)
        return HttpResponse(self.status, _TEXT, f"{self.reason}\n".encode(), headers)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What keeps a server from doing its work (`problems`) and what only makes it slower
    (`missing`): part -> reason, both empty when all is well.
    """

    problems: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class Http:
    """The HTTP side of the listener.

    `readiness` says what is wrong with this server. `metrics` returns the page in Prometheus' text
    format. `pages` are the files of the web client by their paths.
    """

    def __init__(
        self,
        readiness: Callable[[], Readiness],
        metrics: Callable[[], bytes],
        pages: Mapping[str, Page] | None = None,
        *,
        is_for_operators: bool = True,
    ) -> None:
        """Operators see metrics, and what is wrong with the server. Users see the pages: by
        default those of the web client.
        """
        self._readiness = readiness
        self._metrics = metrics
        self._is_for_operators = is_for_operators
        self._pages = load_pages() if pages is None else pages
        self._own = {"/healthz": _alive, "/readyz": self._ready}
        if is_for_operators:
            self._own["/metrics"] = self._numbers

    def answer(self, method: str, path: str) -> HttpResponse:
        """Return the answer to a request for this path (without its query). Raises: RequestRefused.

        The answer to HEAD is that to GET: the listener leaves out the body.
        """
        get = self._own.get(path)
        page = self._pages.get(path)
        if get is None and page is None:
            raise RequestRefused(
                HTTPStatus.NOT_FOUND, _OTHER_RELEASE if is_versioned(path) else "not found"
            )
        if method not in METHODS:
            raise method_refused(method)
        if get is not None:
            return get()
        assert page is not None, "one of the two is there"
        return HttpResponse(HTTPStatus.OK, page.content_type, page.body, page.headers)

    def _ready(self) -> HttpResponse:
        now = self._readiness()
        word = "not ready" if now.problems else "degraded" if now.missing else "ready"
        status = HTTPStatus.SERVICE_UNAVAILABLE if now.problems else HTTPStatus.OK
        body: dict[str, object] = {"status": word}
        if self._is_for_operators:
            body["problems"] = {**now.problems, **now.missing}
        return _plain(status, _JSON, orjson.dumps(body))

    def _numbers(self) -> HttpResponse:
        return _plain(HTTPStatus.OK, CONTENT_TYPE, self._metrics())


def _alive() -> HttpResponse:
    return _plain(HTTPStatus.OK, _JSON, b'{"status":"alive"}')


def method_refused(method: str, allowed: Sequence[str] = METHODS) -> RequestRefused:
    """Return the refusal of a method other than those that are allowed."""
    # What is no method may be anything, a token too, and the reason is told in the log.
    shown = method if METHOD_NAME.fullmatch(method) else "this method"
    return RequestRefused(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{shown} is not supported here; use {' or '.join(allowed)}",
        {"Allow": ", ".join(allowed)},
    )


def json_response(
    status: HTTPStatus, body: bytes, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return a response with this JSON, which nobody keeps."""
    return HttpResponse(status, _JSON, body, {**_PLAIN_HEADERS, **(headers or {})})


def _plain(status: HTTPStatus, content_type: str, body: bytes) -> HttpResponse:
    return HttpResponse(status, content_type, body, _PLAIN_HEADERS)
