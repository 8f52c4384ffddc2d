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
from landline.api.conversations import get_conversations, get_history, get_members, put_read
from landline.api.http import Http, HttpResponse, RequestRefused, json_response, method_refused
from landline.api.messages import post_message
from landline.api.rooms import delete_member, patch_room, post_room, put_member
from landline.api.sessions import delete_sessions, get_sessions
from landline.api.users import delete_user

_JSON: Final = "application/json"

Answer = Callable[[Request], Awaitable[HttpResponse]]
Asked = Callable[[Request, Backend], Awaitable[HttpResponse]]

# What programs may ask for, by address and method.
_RESOURCES: Final[Mapping[str, Mapping[str, Asked]]] = {
    "/v1/messages": {"POST": post_message},
    "/v1/conversations": {"GET": get_conversations},
    "/v1/conversations/{conversation}/messages": {"GET": get_history},
    "/v1/conversations/{conversation}/members": {"GET": get_members},
    "/v1/conversations/{conversation}/read": {"PUT": put_read},
    "/v1/rooms": {"POST": post_room},
    "/v1/rooms/{conversation}": {"PATCH": patch_room},
    "/v1/rooms/{conversation}/members": {"GET": get_members},
    "/v1/rooms/{conversation}/members/{user}": {"PUT": put_member, "DELETE": delete_member},
    "/v1/users/{user}": {"DELETE": delete_user},
    "/v1/users/{user}/sessions": {"GET": get_sessions, "DELETE": delete_sessions},
}


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

    def answers(asked: Mapping[str, Asked]) -> dict[str, Answer]:
        return {method: partial(_answer, asks, backend) for method, asks in asked.items()}

    return [
        *(Route(path, _Resource(answers(asked))) for path, asked in _RESOURCES.items()),
        Route("/v1/openapi.json", _Resource({"GET": description})),
    ]


async def _answer(asks: Asked, backend: Backend, request: Request) -> HttpResponse:
    return await asks(request, backend)


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
