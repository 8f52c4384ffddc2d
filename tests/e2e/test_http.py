"""Plain HTTP on the same port: what is answered, and what is refused before anybody is misled."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Sequence
from itertools import product
from typing import Any

from landline.api.pages import load_pages
from landline.gateway.http_connection import LINGER_SECONDS
from landline.observability.metrics import METRICS
from support.raw import WAIT_SECONDS, dialled, request
from support.server import ServerProcess
from support.waiting import go_round, paced, until

FILES = [path for path in load_pages() if path.endswith(("/app.js", "/style.css"))]
PAGES = ["/", "/healthz", "/readyz", "/metrics", *FILES]


async def exchange(port: int, data: bytes, *, ends: bool = True) -> bytes:
    """Send bytes and the end, and return everything that comes back, until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if ends:
            writer.write_eof()
        async with asyncio.timeout(WAIT_SECONDS):
            return await reader.read()
    finally:
        writer.close()


async def ask(
    port: int, line: str, headers: Sequence[str] = ("Host: 127.0.0.1",), body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the one answer to a request."""
    text = "\r\n".join([line, *headers, "", ""])
    answer = await exchange(port, text.encode("utf-8", "surrogateescape") + body)
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    pairs = (one.partition(": ") for one in lines)
    return int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, content


async def test_head_is_get_without_its_body(server: ServerProcess) -> None:
    for page, version in product(PAGES, ["1.0", "1.1"]):
        status, headers, body = await ask(server.port, f"GET {page} HTTP/{version}")
        assert (status, int(headers["content-length"])) == (200, len(body))
        status, of_head, nothing = await ask(server.port, f"HEAD {page} HTTP/{version}")
        assert (status, nothing) == (200, b"")
        assert of_head["content-type"] == headers["content-type"]
        if page != "/metrics":  # whose numbers move
            assert of_head["content-length"] == headers["content-length"]
        assert (await ask(server.port, f"HEAD /nothing HTTP/{version}"))[::2] == (404, b"")
        status, headers, body = await ask(server.port, f"HEAD /ws/chat HTTP/{version}")
        assert (status, body) == (426, b"")
        assert (headers["upgrade"], headers["connection"]) == ("websocket", "close, Upgrade")


async def test_http_1_0_needs_no_host(server: ServerProcess) -> None:
    """As load balancers ask; an upgrade is not made of it (RFC 9110, section 7.8)."""
    assert (await ask(server.port, "GET /healthz HTTP/1.0", []))[0] == 200
    data = request(server.port).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert (await exchange(server.port, data)).startswith(b"HTTP/1.1 426 ")


async def test_other_methods_are_told_which_there_are(server: ServerProcess) -> None:
    """Also when they bring a body that nobody reads: the answer is not lost to a reset."""
    methods = ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "FOO"]
    for page, method in product([*PAGES, "/ws/chat", "/ws"], methods):
        for headers, body in [
            (["Host: 127.0.0.1"], b""),
            (["Host: 127.0.0.1", "Content-Length: 60000"], b"x" * 60_000),
            (["Host: 127.0.0.1", "Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
        ]:
            status, got, _ = await ask_again_if_late(
                server.port, f"{method} {page} HTTP/1.1", headers, body
            )
            assert (status, got["allow"]) == (405, "GET, HEAD"), page


async def ask_again_if_late(
    port: int, line: str, headers: Sequence[str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Ask; once more where the server was right to lose patience with us in the middle of it."""
    began = time.monotonic()
    try:
        return await ask(port, line, headers, body)
    except ConnectionError:
        if time.monotonic() - began < LINGER_SECONDS:
            raise
        return await ask(port, line, headers, body)


def test_every_metric_is_on_the_page_from_the_start(server: ServerProcess) -> None:
    """Nobody can alert on what appears with its first count, and a name that nobody counts is
    missing without a word.
    """
    page = server.get("/metrics")[1]
    assert [each.name for each in METRICS if f"# TYPE {each.name} {each.kind}" not in page] == []


# They only look like pages: a proxy that was told to keep `/metrics` away may not see it there.
LOOK_ALIKES = [
    *("http://x/healthz", "http://127.0.0.1/healthz", "//healthz", "///healthz", "//x/healthz"),
    *("/./healthz", "/healthz/.", "/a/../healthz", "/../healthz", "/healthz/..", "/web/../healthz"),
    *("/%68ealthz", "/healthz%00", "/healthz%20", "/%2e/healthz", "/%2fhealthz", "/web%2fapp.js"),
    *("/healthz;x", "/healthz;", "/;/healthz", "\\healthz", "/\\healthz", "/web\\app.js"),
    *("/healthz#", "/healthz#x", "#/healthz", "/healthz?#", "/healthz?%", "/healthz?a=%zz"),
    *(
        "healthz",
        "*",
        "?",
        "x:443",
        "/h\u00e9althz",
        "/healthz\udcff",
        "/healthz\x00",
        "/healthz\x7f",
    ),
    *("/healthz\t", "/healthz /x", " /healthz", "/healthz//", "/web//app.js", "/healthz|", '/"'),
    *("/ws/chat;x?username=a", "//ws/chat?username=a", "/ws/./chat?username=a", "/<healthz>"),
]


async def test_what_is_no_plain_path_is_no_path(server: ServerProcess) -> None:
    wrong = {}
    for target, method in product(LOOK_ALIKES, ["GET", "HEAD", "POST"]):
        status, _, _ = await ask(server.port, f"{method} {target} HTTP/1.1")
        if status != 400:
            wrong[method, target] = status
    assert wrong == {}
    for target in [
        "/healthz/",
        "/HEALTHZ",
        "/health",
        "/web/",
        "/web",
        "/web/nothing.js",
        "/web/app.js",  # without its version
        "/web/0123456789abcdef/app.js",
        FILES[0].replace("/web/", "/web/web/"),
        f"{FILES[0]}/",
        "/a:b@c",
    ]:
        assert (await ask(server.port, f"GET {target} HTTP/1.1"))[0] == 404, target
    for target in ["/healthz?", "/healthz?a=b&c=/?d", "/?as=alice&to=Zo%C3%AB"]:
        assert (await ask(server.port, f"GET {target} HTTP/1.1"))[0] == 200, target


GET = b"GET /healthz HTTP/1.1\r\n"
AMBIGUOUS = {
    "no Host": GET + b"\r\n",
    "an empty Host": GET + b"Host:\r\n\r\n",
    "two Hosts": GET + b"Host: 127.0.0.1\r\nHost: y\r\n\r\n",
    "two equal Hosts": GET + b"Host: 127.0.0.1\r\nhost: x\r\n\r\n",
    "a Host with a path": GET + b"Host: x/y\r\n\r\n",
    "a Host with a user": GET + b"Host: u@x\r\n\r\n",
    "a list as Host": GET + b"Host: x, y\r\n\r\n",
    "two Hosts of HTTP/1.0": b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\nHost: y\r\n\r\n",
    "a folded header": GET + b"Host: 127.0.0.1\r\nX: a\r\n b\r\n\r\n",
    "a folded first header": GET + b" Host: 127.0.0.1\r\n\r\n",
    "a blank before the colon": GET + b"Host : x\r\n\r\n",
    "no colon": GET + b"Host: 127.0.0.1\r\nX\r\n\r\n",
    "no name": GET + b"Host: 127.0.0.1\r\n: y\r\n\r\n",
    "a control character": GET + b"Host: 127.0.0.1\r\nX: a\x01b\r\n\r\n",
    "a NUL": GET + b"Host: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
    "a bare CR": GET + b"Host: 127.0.0.1\r\nX: a\rY: b\r\n\r\n",
    "a bare LF": GET + b"Host: 127.0.0.1\nX: a\r\n\r\n",
    "LF alone": b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n",
    "a blank first": b" " + GET + b"Host: 127.0.0.1\r\n\r\n",
    "two blanks": b"GET  /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a tab": b"GET\t/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no version": b"GET /healthz\r\nHost: 127.0.0.1\r\n\r\n",
    "lower case": b"GET /healthz http/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a blank last": b"GET /healthz HTTP/1.1 \r\nHost: 127.0.0.1\r\n\r\n",
    "a method that is none": b"G(T /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a body": GET + b"Host: 127.0.0.1\r\nContent-Length: 4\r\n\r\nbody",
    "a chunked body": GET + b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths": GET
    + b"Host: 127.0.0.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": GET + b"Host: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": GET + b"Host: 127.0.0.1\r\nContent-Length: 0, 0\r\n\r\n",
    "a signed length": GET + b"Host: 127.0.0.1\r\nContent-Length: +0\r\n\r\n",
    "a strange coding": GET.replace(b"GET", b"POST")
    + b"Host: 127.0.0.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "both lengths of a POST": GET.replace(b"GET", b"POST")
    + b"Host: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
}


async def test_what_two_readers_may_read_in_two_ways_is_refused(server: ServerProcess) -> None:
    """At once, and with one answer: nothing behind it is taken for a second request."""
    second = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for name, data in AMBIGUOUS.items():
        answer = await exchange(server.port, data + second)
        assert answer.startswith(b"HTTP/1.1 400 "), name
        assert answer.count(b"HTTP/1.1 ") == 1, name


async def test_another_version_of_http_is_refused(server: ServerProcess) -> None:
    for version in ["0.9", "2.0", "3.0", "9.9"]:
        assert (await ask(server.port, f"GET /healthz HTTP/{version}"))[0] == 505, version


async def test_a_later_minor_version_of_http_is_read_as_ours(server: ServerProcess) -> None:
    for version in ["1.2", "1.9"]:
        line = f"GET /healthz HTTP/{version}"
        assert (await ask(server.port, line))[0] == 200, version
        assert (await ask(server.port, line, headers=()))[0] == 400, "without Host"
        data = request(server.port, "/ws/chat?username=alice")
        async with dialled(server.port) as raw:
            later = data.replace(b"HTTP/1.1", b"HTTP/" + version.encode())
            assert (await raw.upgrade(later)).status == 101


async def test_empty_lines_before_a_request_are_no_part_of_it(server: ServerProcess) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for count in (1, 2, 8):
        assert (await exchange(server.port, b"\r\n" * count + get)).startswith(b"HTTP/1.1 200 ")
        async with dialled(server.port) as raw:
            for byte in b"\r\n" * count + get[:-1]:
                await raw.write(bytes([byte]))
                await go_round()
            assert (await raw.upgrade(get[-1:])).status == 200
    for other in (b"\n", b"\r", b"\r\r\n", b"\r\n\n", b" \r\n", b"\r\n \r\n", b"\r\n" * 9):
        assert (await exchange(server.port, other + get)).startswith(b"HTTP/1.1 400 "), other


async def test_a_connection_is_kept_for_the_next_request(server: ServerProcess) -> None:
    """Whether it comes before the answer to the last one or after it."""
    one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = await exchange(server.port, one * 3)
    assert answer.count(b"HTTP/1.1 200 ") == answer.count(b'{"status":"alive"}') == 3
    async with dialled(server.port) as raw:
        head = one.replace(b"GET", b"HEAD")
        for _ in range(3):
            assert (await raw.upgrade(head)).status == 200
        last = head.replace(b"Host", b"Connection: close\r\nHost")
        assert (await raw.upgrade(last)).headers["connection"] == "close"
        await raw.until_cut()


async def test_headers_over_the_limit_are_told(server: ServerProcess) -> None:
    """Whether they end or not, in one piece or many."""
    for data in [
        GET + b"Host: 127.0.0.1\r\nX: " + b"x" * 17_000 + b"\r\n\r\n",
        GET + b"Host: 127.0.0.1\r\nX: " + b"x" * 100_000,
        b"GET /?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        GET + b"Host: 127.0.0.1\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        request(server.port, headers=[("X", "x" * 16_384)]),
    ]:
        assert (await exchange(server.port, data)).startswith(b"HTTP/1.1 431 ")
    largest = GET + b"Host: 127.0.0.1\r\nX: "
    largest += b"x" * (16 * 1024 - len(largest)) + b"\r\n\r\n"
    assert (await exchange(server.port, largest)).startswith(b"HTTP/1.1 200 ")
    pieces = [largest[at : at + 1000] for at in range(0, len(largest), 1000)]
    async with dialled(server.port) as raw:
        async for number in paced(0.001, len(pieces) - 1):  # each is read by itself
            await raw.write(pieces[number])
        assert (await raw.upgrade(pieces[-1])).status == 200


def lines(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    """Return what the log has of an event."""
    said = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in said if line["event"] == event]


def refused_total(server: ServerProcess) -> int:
    [line] = [
        line
        for line in server.get("/metrics")[1].splitlines()
        if line.startswith("landline_upgrades_refused_total ")
    ]
    return int(float(line.split()[1]))


REFUSALS = [
    ("request_refused", 405, b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    ("request_refused", 400, b"GET //healthz?token=secret HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    ("request_refused", 400, b"GET http://u:secret@h/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    ("request_refused", 400, GET + b"Host: 127.0.0.1\r\nX: a\r\n b\r\n", b""),
    ("request_refused", 404, b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    ("request_refused", 404, b"GET /ws/chat&token=secret HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    ("request_refused", 404, b"GET /nothing?token=secret HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    ("request_refused", 431, GET + b"Host: 127.0.0.1\r\n", b"X: " + b"x" * 20_000),
    ("request_refused", 505, b"GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n", b""),
]


async def test_each_refusal_is_counted_and_has_a_line_that_says_whose_it_was(
    server: ServerProcess,
) -> None:
    who = b"Origin: https://u:secret@page.example\r\nusername: mallory\r\n"
    for number, (event, status, head, rest) in enumerate(REFUSALS, 1):
        answer = await exchange(server.port, head + who + rest + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert refused_total(server) == number
        await until(lambda: len(lines(server, event)) == number, "it is in the log")  # noqa: B023
        line = lines(server, event)[-1]
        assert line["peer"].startswith("127.0.0.1:")
        assert (line["status"], line["origin"], line["user"]) == (
            status,
            "https://***@page.example",
            "mallory",
        )
        assert line["reason"]
    assert "secret" not in server.log()
    for number, name in enumerate(["mallory", "mal%20lory"], 1):
        before = refused_total(server)
        data = request(
            server.port, f"/ws/chat?username={name}", [("Origin", "https://page.example")]
        )
        assert (await exchange(server.port, data)).startswith(b"HTTP/1.1 403 ")
        assert refused_total(server) == before + 1
        await until(lambda: len(lines(server, "upgrade_refused")) == number, "in the log")  # noqa: B023
        line = lines(server, "upgrade_refused")[-1]
        assert line["peer"].startswith("127.0.0.1:")
        assert (line["origin"], line["user"].replace(" ", "")) == (
            "https://page.example",
            "mallory",
        )


async def test_a_request_that_is_cut_off_is_counted_and_has_a_line(server: ServerProcess) -> None:
    """By a reset, which nobody can be answered after. Who said nothing has nothing to be told."""
    no_linger = struct.pack("ii", 1, 0)
    for part in (
        b"",
        b"\r\n",
        b"GET /ws/chat?username=eve HTTP/1.1\r\nOrigin: https://b.example\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(part)
        await writer.drain()
        # Its connection is accepted and its bytes are read before those of the next one.
        await ask(server.port, "GET /healthz HTTP/1.1")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        writer.transport.abort()
        assert not await reader.read()
    await until(lambda: len(lines(server, "request_refused")) == 1, "it is in the log")
    assert refused_total(server) == 1
    line = lines(server, "request_refused")[0]
    assert (line["status"], line["origin"]) == (400, "https://b.example")
    assert "was cut" in line["reason"]


async def test_a_client_that_never_finishes_its_request_is_told_and_noted(
    server: ServerProcess,
) -> None:
    async def silent() -> bytes:
        return await exchange(server.port, b"", ends=False)

    async def slow() -> bytes:
        return await exchange(
            server.port, b"GET /healthz HTTP/1.1\r\nOrigin: https://a.example\r\n", ends=False
        )

    said = await asyncio.gather(silent(), slow())
    assert said[0] == b""
    assert said[1].startswith(b"HTTP/1.1 408 ")
    await until(lambda: len(lines(server, "request_refused")) == 2, "both are in the log")
    assert {line["status"] for line in lines(server, "request_refused")} == {408}
    assert "https://a.example" in {line.get("origin") for line in lines(server, "request_refused")}


async def test_a_connection_has_its_address_and_origin_in_both_its_lines(
    server: ServerProcess,
) -> None:
    origin = f"http://127.0.0.1:{server.port}"
    async with dialled(server.port) as raw:
        data = request(server.port, "/ws?username=alice", [("Origin", origin)])
        assert (await raw.upgrade(data)).status == 101
    await until(lambda: bool(lines(server, "connection_closed")), "it is closed")
    [opened], [closed] = lines(server, "connection_opened"), lines(server, "connection_closed")
    assert opened["peer"] == closed["peer"]
    assert opened["peer"].startswith("127.0.0.1:")
    assert opened["origin"] == closed["origin"] == origin


async def test_frames_that_come_with_the_upgrade_are_taken(server: ServerProcess) -> None:
    """Within reason: a client has to wait for the answer, and some do not."""
    ping = b'{"type":"ping"}'
    frame = bytes([0x81, 0x80 | len(ping)]) + bytes(4) + ping
    async with dialled(server.port) as raw:
        assert (await raw.upgrade(request(server.port) + frame * 3)).status == 101
        assert [(await raw.answer())["type"] for _ in range(3)] == ["pong"] * 3
    async with dialled(server.port) as raw:
        assert (await raw.upgrade(request(server.port) + frame * 2_000)).status == 400


async def test_a_body_that_nobody_asked_for_ends_no_connection(server: ServerProcess) -> None:
    """The answer comes before it; then it is read, and the next request is."""
    head = b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(WAIT_SECONDS):
        for _ in range(3):
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 401 ")
            length = int(answer.lower().partition(b"content-length: ")[2].split()[0])
            await reader.readexactly(length)
            writer.write(b"{" * 9)
    writer.close()


async def test_requests_that_come_together_are_all_answered_each_in_its_turn(
    server: ServerProcess,
) -> None:
    """Long bodies, many on one connection, and clients that say no more and wait."""

    def post(number: int) -> bytes:
        body = json.dumps({"to": "bob", "content": "x" * 16_000, "ref": f"crowd-{number}"}).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nusername: crowd{number}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    get = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with asyncio.TaskGroup() as group:
        answered = [
            group.create_task(exchange(server.port, get + post(number) + get))
            for number in range(100)
        ]
    for each in answered:
        assert each.result().count(b"HTTP/1.1 200 OK\r\n") == 3
        assert b'"offset":' in each.result()
