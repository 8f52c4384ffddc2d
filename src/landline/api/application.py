"""What is answered over HTTP: pages for browsers and probes, and the interface for programs."""

from collections.abc import Callable
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from landline.api.http import Http, HttpResponse, RequestRefused


def application(http: Http, note: Callable[[Request, RequestRefused], None]) -> Starlette:
    """Return the application. `note` is told of each request that is refused."""

    def page(request: Request) -> Response:
        return _response(http.answer(request.method, request.scope["raw_path"].decode("ascii")))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestRefused), "it is for these alone"
        note(request, error)
        return _response(error.answer())

    made = Starlette(
        routes=[Mount("/", _Endpoint(page))], exception_handlers={RequestRefused: refused}
    )
    made.router.redirect_slashes = False  # an address has one spelling
    return made


class _Endpoint:
    """Answers requests of every method: which of them there are is said below."""

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._answer(Request(scope, receive))
        await response(scope, receive, send)


def _response(answer: HttpResponse) -> Response:
    headers = {"Date": formatdate(usegmt=True), **answer.headers}
    return Response(answer.body, answer.status.value, headers, media_type=answer.content_type)
