"""Why there is no connection, as people read it."""

import asyncio
import re
import ssl

import pytest
from websockets.exceptions import InvalidMessage

import landline
from landline.client import ConnectionFailed
from landline.client.address import read_address
from landline.client.dialing import DialFailed, DialTarget, dial
from landline.client.reasons import why_closed, why_refused, why_unreachable
from landline_stack.ports import free_port


def _of_openssl(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1012, "retry_after_ms=200", "the server is restarting"),
        (1013, "retry_after_ms=200", "the server is overloaded"),
        (1012, "new version, retry_after_ms=200", "new version"),
        (1012, "", "the server is restarting"),
        (1001, "", "the server is going away"),
        (1011, "", "the server had an internal error"),
        (4408, "no ack for 60 s", "no ack for 60 s"),
        (4408, "", "no answer came in time"),
        (1006, "", "the connection was lost"),
        (1000, "", "the connection was lost"),
        (4999, "", "the connection was lost"),
        (None, "", "the connection was lost"),
    ],
)
def test_the_end_of_a_connection(code: int | None, reason: str, told: str) -> None:
    assert why_closed(code, reason) == told


@pytest.mark.parametrize(
    ("url", "status", "sentence", "told"),
    [
        ("ws://h/", 404, "", "HTTP 404: is the path /ws/chat?"),
        ("ws://h/chat", 404, "there is no such page", "HTTP 404: is the path /ws/chat?"),
        ("ws://h", 200, "", "HTTP 200: is the path /ws/chat?"),
        ("ws://h/", 302, "", "HTTP 302: is the path /ws/chat?"),
        ("ws://h/x/ws/chat", 404, "", "HTTP 404: is it right?"),
        ("ws://h/ws", 200, "", "HTTP 200: is it right?"),
        ("ws://h/", 502, "", "HTTP 502"),
        ("ws://h/", 503, "restarting", "HTTP 503: restarting"),
    ],
)
def test_an_answer_that_is_no_websocket(url: str, status: int, sentence: str, told: str) -> None:
    assert why_refused(read_address(url), status, sentence) == f"the address answers with {told}"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('::1', 9, 0, 0)"), "nothing listens at"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), "
                "[Errno 111] Connect call failed ('127.0.0.1', 9)"
            ),
            "nothing listens at",
        ),
        (OSError(113, "Connect call failed ('192.0.2.1', 9)"), "cannot be reached: no route to"),
        (TimeoutError("timed out during opening handshake"), "localhost:9 does not answer"),
        (EOFError(), "EOFError"),
    ],
)
def test_a_failure_on_the_way(error: Exception, told: str) -> None:
    said = why_unreachable(read_address("ws://localhost:9/ws"), error, has_proxy=False)
    assert told in said
    assert re.search(r"Errno|Connect call|\(", said) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_nothing_listens(host: str) -> None:
    url = f"ws://{host}:{free_port()}/ws/chat"
    with pytest.raises(DialFailed) as caught:
        await dial(DialTarget("a", read_address(url), {}, None))
    assert caught.value.reason == f"nothing listens at {url.split('/')[2]}"
    assert caught.value.is_nobody_here
    said = ""
    async with asyncio.timeout(60):
        # Where the time is over before the first try, there is no reason yet.
        while f"cannot reach {url}: nothing listens at" not in said:
            with pytest.raises(ConnectionFailed) as failed:
                await landline.connect(url, username="a", connect_timeout=0.3).__aenter__()
            said = str(failed.value)


@pytest.mark.parametrize(
    ("url", "error", "told"),
    [
        (
            "ws://h:1/ws",
            InvalidMessage("x"),
            "h:1 does not speak HTTP: is it wss:// and not ws://?",
        ),
        ("wss://h:1/ws", _of_openssl("WRONG_VERSION_NUMBER"), "is it ws:// and not wss://?"),
        ("wss://h:1/ws", _of_openssl("CERTIFICATE_VERIFY_FAILED"), "TLS with h:1 fails"),
    ],
)
def test_the_other_scheme_is_named_where_it_is_meant(url: str, error: Exception, told: str) -> None:
    why = why_unreachable(read_address(url), error, has_proxy=False)
    assert told in why
    assert ("is it" in why) == ("is it" in told)
