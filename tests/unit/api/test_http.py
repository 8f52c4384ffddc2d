"""Pages: which there are, and what /readyz says."""

from collections.abc import Mapping

import orjson
import pytest

from landline.api.http import Http, Readiness, RequestRefused


@pytest.mark.parametrize(
    ("problems", "missing", "status", "word"),
    [
        ({}, {}, 200, "ready"),
        ({}, {"routing": "Redis is away"}, 200, "degraded"),
        ({"log": "no broker"}, {}, 503, "not ready"),
        ({"store": "no database"}, {"routing": "Redis is away"}, 503, "not ready"),
        ({"server": "draining"}, {}, 503, "not ready"),
    ],
)
def test_missing_hints_take_no_server_out(
    problems: Mapping[str, str], missing: Mapping[str, str], status: int, word: str
) -> None:
    """All servers share one Redis: a balancer would take out every one of them at once."""
    http = Http(lambda: Readiness(problems, missing), bytes)
    answer = http.answer("GET", "/readyz")
    body = orjson.loads(answer.body)
    assert (answer.status, body["status"]) == (status, word)
    assert body["problems"] == {**problems, **missing}


def test_a_method_that_no_page_has_is_told_which_there_are() -> None:
    http = Http(Readiness, bytes)
    for method, path, status in [
        ("POST", "/healthz", 405),
        ("POST", "/x", 404),
        ("GET", "/x", 404),
    ]:
        with pytest.raises(RequestRefused) as error:
            http.answer(method, path)
        assert error.value.status == status
        assert error.value.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)


def test_users_hear_no_reasons_and_see_no_metrics() -> None:
    problems = {"store": "db.example.org does not answer"}
    http = Http(lambda: Readiness(problems), bytes, is_for_operators=False)
    answer = http.answer("GET", "/readyz")
    assert (answer.status, orjson.loads(answer.body)) == (503, {"status": "not ready"})
    assert http.answer("GET", "/healthz").status == http.answer("GET", "/").status == 200
    with pytest.raises(RequestRefused) as error:
        http.answer("GET", "/metrics")
    assert error.value.status == 404


def test_operators_have_no_page_to_chat() -> None:
    http = Http(Readiness, bytes, pages={})
    for path in ("/healthz", "/readyz", "/metrics"):
        assert http.answer("GET", path).status == 200
    with pytest.raises(RequestRefused) as error:
        http.answer("GET", "/")
    assert error.value.status == 404
