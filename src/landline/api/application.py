"""What is answered over HTTP: pages for browsers and probes, and the interface for programs."""

from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from landline.api import openapi
from landline.api.backend import Backend
from landline.api.http import Http, HttpResponse, RequestRefused, json_response, method_refused
from landline.api.messages import post_message
from landline.api.sessions import delete_sessions, get_sessions

_JSON: Final = "application/json"

Answer = Callable[[Request], Awaitable[HttpResponse]]


def application(
    http: Http, backend: Backend | None, note: Callable[[Request, RequestRefused], None]
) -> Starlette:
    """Return the application. `backend` has what programs ask for; None: here they ask nothing.
    `note` is told of each request that is refused.
    """

    async def page(request: Request) -> HttpResponse:
        return http.answer(request.method, request.scope["raw_path"].decode("ascii"))

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):  # Starlette's own, where no route is right
            error = RequestRefused(HTTPStatus(error.status_code), error.detail.lower())
        assert isinstance(error, RequestRefused), "it is for these alone"
        note(request, error)
        return _response(error.answer(request.url.path))

    made = Starlette(
        routes=[*(_interface(backend) if backend is not None else ()), Mount("/", _Endpoint(page))],
        exception_handlers={RequestRefused: refused, HTTPException: refused},
    )
    made.router.redirect_slashes = False  # an address has one spelling
    return made


def _interface(backend: Backend) -> list[Route]:
    described = json_response(HTTPStatus.OK, openapi.document())

    async def description(_request: Request) -> HttpResponse:
        return described

    listed = partial(get_sessions, backend=backend)
    closed = partial(delete_sessions, backend=backend)
    return [
        Route("/v1/messages", _Resource({"POST": partial(post_message, backend=backend)})),
        Route("/v1/users/{user}/sessions", _Resource({"GET": listed, "DELETE": closed})),
        Route("/v1/openapi.json", _Resource({"GET": description})),
    ]


class _Endpoint:
    """Answers requests of every method: which of them there are is said below."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _response(await self._answer(Request(scope, receive)))
        await response(scope, receive, send)


class _Resource(_Endpoint):
    """One address of the interface for programs, by method. The answer to HEAD is that to GET."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__(self._by_method)
        self._answers = {**answers}
        if "GET" in answers:
            self._answers["HEAD"] = answers["GET"]

    async def _by_method(self, request: Request) -> HttpResponse:
        answer = self._answers.get(request.method)
        if answer is None:
            raise method_refused(request.method, tuple(self._answers))
        kind = request.headers.get("content-type", _JSON)
        if request.method in ("POST", "PUT", "PATCH") and kind.partition(";")[0].strip() != _JSON:
            raise RequestRefused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json"
            )
        return await answer(request)


def _response(answer: HttpResponse) -> Response:
    headers = {"Date": formatdate(usegmt=True), **answer.headers}
    return Response(answer.body, answer.status.value, headers, media_type=answer.content_type)
