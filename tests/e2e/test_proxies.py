"""The reverse proxies of docs/proxies.md, as the page has them, in front of a real server."""

import asyncio
import base64
import json
import os
import shlex
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from landline_stack.ports import free_port
from support.pages import ROOT, code_blocks, read
from support.server import ServerProcess
from support.waiting import until

PAGE = read("docs/proxies.md")
NAME = "chat.example.org"
ORIGIN = f"https://{NAME}"
PASSWORD = "secret"
CLIENT = "127.0.0.2"  # another address than the proxy's
FORGED = "192.0.2.7"
BINARIES = ROOT / ".tmp/proxies"

pytestmark = pytest.mark.e2e


@dataclass
class Proxy:
    port: int
    trust: ssl.SSLContext

    def socket(self, query: str = "", origin: str | None = ORIGIN, user: str = "alice") -> connect:
        """Return a connection to be made, of somebody who lies about the name."""
        secret = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        return connect(
            f"wss://{NAME}/ws/chat{query}",
            host="127.0.0.1",
            port=self.port,
            ssl=self.trust,
            origin=origin,  # type: ignore[arg-type]
            additional_headers={
                "Authorization": f"Basic {secret}",
                "username": "mallory",
                "X-Forwarded-For": FORGED,
            },
            local_addr=(CLIENT, 0),
            proxy=None,
        )

    def status(self, path: str, user: str | None = "alice") -> int:
        """Return the status of a GET."""
        sign_in = ["--user", f"{user}:{PASSWORD}"] if user else []
        where = ["--noproxy", "*", "--connect-to", f"{NAME}:443:127.0.0.1:{self.port}"]
        done = subprocess.run(
            ["curl", "-ks", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is",
             *where, *sign_in, ORIGIN + path],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return int(done.stdout)


def program(name: str) -> str:
    places = [
        os.environ["PATH"],
        "/usr/sbin",
        str(BINARIES / "usr/sbin"),
        str(BINARIES / "usr/bin"),
    ]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"there is no {name}: scripts/ensure-proxies says why")
    return found


def nginx(snippet: str, port: int, directory: Path) -> list[str]:
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    (directory / "landline.users").write_text(f"alice:{hashed}\n")
    snippet = snippet.replace("listen 443", f"listen 127.0.0.1:{port}")
    user = "user root;" if os.geteuid() == 0 else ""  # nobody could not read what is here
    (directory / "all.conf").write_text(
        f"daemon off; {user} pid nginx.pid; error_log stderr;\nevents {{ }}\n"
        "http {\naccess_log off;\n"
        + "".join(
            f"{each}_temp_path {each};\n"
            for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"{snippet}}}\n"
    )
    return [program("nginx"), "-p", ".", "-c", "all.conf"]


def caddy(snippet: str, port: int, directory: Path) -> list[str]:
    binary = program("caddy")
    hashed = subprocess.run(
        [binary, "hash-password", "--plaintext", PASSWORD],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    snippet = snippet.replace("HASH", hashed).replace(
        NAME + " {", f"{NAME}:{port} {{\n\tbind 127.0.0.1"
    )
    (directory / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}}\n{snippet}"
    )
    return [binary, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


@contextmanager
def running(command: list[str], directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (directory / "proxy.log").open("wb") as log:
        home = {"HOME": str(directory), "XDG_DATA_HOME": str(directory)}
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **home}, cwd=directory
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(params=["nginx", "caddy"])
async def proxy(
    request: pytest.FixtureRequest, server: ServerProcess, tmp_path: Path
) -> AsyncIterator[Proxy]:
    async with in_front(server, request.param, tmp_path) as proxy:
        yield proxy


@asynccontextmanager
async def in_front(
    server: ServerProcess, name: str, tmp_path: Path, other: int | None = None
) -> AsyncIterator[Proxy]:
    """Run the page's proxy in front of a server, and of whatever listens on the port `other`."""
    server.stop()
    [serve] = code_blocks(PAGE, "sh")
    server.arguments = shlex.split(serve)[2:]
    server.start()
    directory = tmp_path / name
    directory.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    certificate.cert_chain_pems[0].write_to_path(directory / f"{NAME}.crt")
    certificate.private_key_pem.write_to_path(directory / f"{NAME}.key")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    [snippet] = code_blocks(PAGE, name)
    port = free_port()
    if other is not None:
        line = "    server 127.0.0.1:8081;\n"
        assert line in snippet
        snippet = snippet.replace(line, f"{line}    server 127.0.0.1:{other} max_fails=0;\n")
    snippet = snippet.replace("127.0.0.1:8081", f"127.0.0.1:{server.port}")
    # Seen from the directory, in which the proxy runs: its own path may hold blanks, or a `;`.
    snippet = snippet.replace(f"/etc/{name}", ".")
    started = {"nginx": nginx, "caddy": caddy}[name](snippet, port, directory)
    proxy = Proxy(port, trust)
    with running(started, directory) as process:
        await until(
            lambda: proxy.status("/") == 200 or process.poll() is not None, "the proxy serves"
        )
        assert process.poll() is None, (directory / "proxy.log").read_text()
        yield proxy


async def hear(socket: ClientConnection, kind: str) -> dict[str, str]:
    async for text in socket:
        frame: dict[str, str] = json.loads(text)
        if frame["type"] == kind:
            return frame
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize("query", ["", "?username=alice", "?username=mallory"])
async def test_a_user_is_the_one_whom_the_proxy_names(query: str, proxy: Proxy) -> None:
    async with proxy.socket(query) as socket:
        assert (await hear(socket, "welcome"))["user"] == "alice"
        await socket.send(json.dumps({"type": "send", "to": "alice", "content": "hi", "ref": "1"}))
        assert (await hear(socket, "message"))["content"] == "hi"


async def test_the_log_has_the_address_of_the_client(proxy: Proxy, server: ServerProcess) -> None:
    """Not that of the proxy, and not the one that the client has made up."""
    async with proxy.socket() as socket:
        await hear(socket, "welcome")
    lines = [json.loads(line) for line in server.log().splitlines()]
    [line] = [line for line in lines if line["event"] == "connection_opened"]
    assert (line["user"], line["peer"]) == ("alice", CLIENT)
    assert line["proxy"].startswith("127.0.0.1:")
    assert FORGED not in server.log()


async def test_nobody_comes_past_the_proxy(proxy: Proxy, server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(f"{server.ws_url}?username=alice", local_addr=(CLIENT, 0)):
            pass


async def test_the_page_is_passed_on_and_what_is_for_operators_is_not(proxy: Proxy) -> None:
    assert proxy.status("/") == 200
    for path in ("/healthz", "/readyz", "/metrics", "/metrics?x=1"):
        assert proxy.status(path) == 404
    assert proxy.status("//metrics") != 200
    assert proxy.status("/x/../metrics") != 200
    assert proxy.status("/%6detrics") != 200


async def test_a_stranger_and_another_site_s_page_stay_outside(proxy: Proxy) -> None:
    assert proxy.status("/", user=None) == 401
    with pytest.raises(InvalidStatus, match="401"):
        async with proxy.socket(user="mallory"):
            pass
    with pytest.raises(InvalidStatus, match="403"):
        async with proxy.socket(origin="https://evil.example"):
            pass
    async with proxy.socket(origin=None) as socket:  # no browser
        assert (await hear(socket, "welcome"))["user"] == "alice"


async def test_an_upgrade_that_one_server_refuses_with_503_goes_to_another(
    server: ServerProcess, tmp_path: Path
) -> None:
    """As a server does while it drains. The balancer asks both in turn, so both are asked."""
    refused = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal refused
        head = await reader.readuntil(b"\r\n\r\n")
        refused += head.startswith(b"GET /ws/chat ")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n")
        writer.write(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    draining = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = draining.sockets[0].getsockname()[1]
    async with draining, in_front(server, "nginx", tmp_path, other=port) as proxy:
        for _ in range(4):
            async with proxy.socket() as socket:
                assert (await hear(socket, "welcome"))["user"] == "alice"
    assert refused
