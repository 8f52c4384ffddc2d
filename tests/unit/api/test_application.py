"""What is answered where no route is right, and nothing else has the word."""

import json
from typing import Any

import pytest
from starlette.requests import Request

from landline.api.application import application
from landline.api.http import Http, Readiness, RequestRefused


@pytest.mark.parametrize("path", ["/v1/x\ny", "/x\ny", "/nothing"])
async def test_an_address_that_is_none_is_refused_as_everything_is(path: str) -> None:
    """Starlette's own answer has a body of its own and nobody hears of it."""
    refused: list[tuple[str, int]] = []
    said: list[Any] = []

    def note(asked: Request, why: RequestRefused) -> None:
        refused.append((asked.url.path, why.status))

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(event: Any) -> None:
        said.append(event)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": b"/nothing",
        "query_string": b"",
        "headers": [],
    }
    await application(Http(Readiness, bytes), None, note)(scope, receive, send)
    assert [status for _, status in refused] == [404]
    start, body = said
    assert start["status"] == 404
    assert (b"x-content-type-options", b"nosniff") in start["headers"]
    if path.startswith("/v1/"):
        assert json.loads(body["body"])["type"] == "error"
    else:
        assert body["body"] == b"not found\n"
