"""What `connect` is given is looked at at once, and refused by the name of its parameter."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import landline
from landline.client import ClientError

URL = "ws://127.0.0.1:1/ws/chat"


async def listen(_event: object) -> None:
    """An async function, which nobody would await."""


WRONG: list[tuple[str, object, type[Exception]]] = [
    *(("url", value, TypeError) for value in (None, 7, b"ws://h", Path("x"))),
    *(("username", value, TypeError) for value in (None, 7, b"a", ["a"])),
    *(("token", value, TypeError) for value in (7, b"a", ["a"], True)),
    *(("device", value, TypeError) for value in (7, b"pc", True, ["pc"])),
    *(("device", value, ValueError) for value in ("", "my pc", "a/b", "a\n", "\u00e4", "\ud800",
                                                  "\u0664", "x" * 65)),
    *(("outbox", value, TypeError) for value in (7, b"a.db", True, ["a"], object())),
    *(("outbox", value, ValueError) for value in ("", "a\x00b", Path("a\x00b"), "\ud800")),
    *(("connect_timeout", value, TypeError) for value in ("5", True, b"5", 1j, [1])),
    *(("connect_timeout", value, ValueError) for value in (math.nan, -math.inf, 1e300, 10**400)),
    *(("on_event", value, TypeError) for value in (7, "print", listen)),
    *(("headers", value, TypeError) for value in ([("X", "1")], "X: 1", {"X": 1}, {7: "1"},
                                                  {"X": b"secret"}, {"X": None}, {None: "1"})),
    *(("proxy", value, TypeError) for value in (False, 7, 1, b"http://h:1", ["http://h:1"])),
]  # fmt: skip


@pytest.mark.parametrize(("parameter", "value", "kind"), WRONG)
def test_what_no_parameter_takes_is_refused_by_its_name(
    parameter: str, value: object, kind: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"url": URL, "username": "a", parameter: value}
    with pytest.raises(kind, match=f"^`{parameter}` ") as caught:
        landline.connect(**arguments)
    assert "secret" not in str(caught.value)


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.complex_numbers(), st.lists(st.text()),
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers())),
)  # fmt: skip


@given(
    st.sampled_from([
        "url", "username", "token", "device", "outbox", "connect_timeout", "on_event", "headers",
        "proxy"
    ]),
    _VALUES,
)  # fmt: skip
def test_anything_is_a_chat_or_refused_in_a_sentence(parameter: str, value: object) -> None:
    arguments: dict[str, Any] = {"url": URL, "username": "a", parameter: value}
    problem: Exception | None = None
    try:
        landline.connect(**arguments)
    except (ClientError, TypeError, ValueError) as error:
        problem = error
    if isinstance(problem, ClientError):
        assert parameter in {"url", "username", "token", "headers"}
    elif problem is not None:
        assert str(problem).startswith(f"`{parameter}` ")
