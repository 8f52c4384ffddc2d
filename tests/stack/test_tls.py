"""Kafka, PostgreSQL and Redis behind TLS, each of which wants a certificate of its client.

The broker speaks TLS itself. The wheels of PostgreSQL and Redis are built without it, so a line
before each of them does it: what is tested is our side.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from landline_stack import Stack
from landline_stack.errors import Missing
from landline_stack.jars import JarCache
from landline_stack.java import find_java
from landline_stack.kafka import KafkaNode, new_cluster_id
from support.faults import refused
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until

pytestmark = pytest.mark.stack

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Papers:
    """An authority, and a certificate by it with its key, each in a file."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def made(cls, directory: Path) -> "Papers":
        """Make them; their owner is 127.0.0.1."""
        directory.mkdir()
        papers = cls(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
        authority = trustme.CA()
        issued = authority.issue_cert(HOST)
        authority.cert_pem.write_to_path(papers.ca)
        issued.cert_chain_pems[0].write_to_path(papers.certificate)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        papers.key.write_bytes(  # in the one form that Java reads
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        papers.key.chmod(0o600)
        return papers

    def server_side(self) -> ssl.SSLContext:
        """Return what a server needs that asks for certificates."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


class TlsNode(KafkaNode):
    """A broker that shows its certificate and wants to see one."""

    papers: Papers

    def _settings(self, nodes: Sequence[KafkaNode]) -> dict[str, object]:
        settings = super()._settings(nodes)
        # Named as the node sees them from its directory: that one's path may hold anything.
        both, authority = self.directory / "both.pem", self.directory / "ca.pem"
        both.write_bytes(self.papers.key.read_bytes() + self.papers.certificate.read_bytes())
        authority.write_bytes(self.papers.ca.read_bytes())
        for key in ("listeners", "advertised.listeners"):
            settings[key] = str(settings[key]).replace("PLAINTEXT://", "SSL://", 1)
        return settings | {
            "listener.security.protocol.map": "SSL:SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SSL",
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": both.name,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": authority.name,
        }


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.made(tmp_path_factory.mktemp("papers") / "right")


@pytest.fixture(scope="module")
def broker(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    try:
        class_path, java = JarCache().class_path(), find_java()
    except Missing as error:
        pytest.skip(str(error))
    node = TlsNode(1, tmp_path_factory.mktemp("tls") / "kafka", java)
    node.directory.mkdir()
    node.papers = papers
    node.join([node], new_cluster_id(), class_path)
    node.start()
    yield node
    node.kill()


@asynccontextmanager
async def behind_tls(port: int, papers: Papers, *, asked_first: bool) -> AsyncIterator[int]:
    """Listen with TLS before a server without it. PostgreSQL's clients ask whether they may."""
    lines: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if asked_first:
                assert await reader.readexactly(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
                writer.write(b"S")
                await writer.start_tls(papers.server_side())
            there = await asyncio.open_connection(HOST, port)
            await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.add(asyncio.create_task(carry(reader, writer)))

    context = None if asked_first else papers.server_side()
    async with await asyncio.start_server(accept, HOST, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
    for line in lines:
        line.cancel()
    await asyncio.gather(*lines, return_exceptions=True)


async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
    except OSError:
        pass
    finally:
        sink.close()


def quoted(path: Path) -> str:
    """Return a path as a part of an address: it may hold blanks."""
    return quote(str(path))


@dataclass(frozen=True)
class Neighbours:
    """Where all three are found."""

    kafka: str
    postgres: str
    redis: str

    def server(self, directory: Path, papers: Papers) -> ServerProcess:
        """Return a server that reaches them with these papers."""
        directory.mkdir()
        config = directory / "kafka.properties"
        config.write_text(
            f"security.protocol=SSL\nssl.ca.location={papers.ca}\n"
            f"ssl.certificate.location={papers.certificate}\nssl.key.location={papers.key}\n"
        )
        ca, certificate, key = map(quoted, (papers.ca, papers.certificate, papers.key))
        postgres = f"{self.postgres}?sslmode=verify-full&sslrootcert={ca}"
        redis = f"{self.redis}?ssl_ca_certs={ca}"
        return ServerProcess(
            directory / "server",
            args=["--kafka", self.kafka, "--kafka-config", str(config), "--allow-unsafe"],
            env={
                "LANDLINE_POSTGRES": f"{postgres}&sslcert={certificate}&sslkey={key}",
                "LANDLINE_REDIS": f"{redis}&ssl_certfile={certificate}&ssl_keyfile={key}",
            },
        )


@pytest.fixture
async def neighbours(
    broker: KafkaNode, stack: Stack, postgres_url: str, redis_url: str, papers: Papers
) -> AsyncIterator[Neighbours]:
    redis_port = int(redis_url.rpartition(":")[2].partition("/")[0])
    async with (
        behind_tls(stack.postgres.port, papers, asked_first=True) as postgres,
        behind_tls(redis_port, papers, asked_first=False) as redis,
    ):
        yield Neighbours(
            broker.address,
            postgres_url.replace(f":{stack.postgres.port}/", f":{postgres}/"),
            redis_url.replace(f":{redis_port}/", f":{redis}/").replace("redis:", "rediss:"),
        )


async def test_a_message_goes_its_way_through_tls(
    neighbours: Neighbours, papers: Papers, tmp_path: Path
) -> None:
    server = neighbours.server(tmp_path / "a", papers)
    try:
        await asyncio.to_thread(server.start)
        async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
            sent = await alice.send_and_wait("bob", "hello")
            await until(lambda: sent["id"] in bob.received, "bob has it")
        late = await alice_says_to_nobody(server)
        async with Peer(server.ws_url, "carol") as carol:  # from the store
            await until(lambda: late in carol.received, "carol has it")
        await until(server.is_ready, "it is ready")
    finally:
        server.kill()


async def alice_says_to_nobody(server: ServerProcess) -> str:
    async with Peer(server.ws_url, "alice") as alice:
        return str((await alice.send_and_wait("carol", "later"))["id"])


@pytest.mark.parametrize("who", ["kafka", "postgres", "redis"])
async def test_an_authority_that_is_not_theirs_is_told_in_a_line(
    who: str, neighbours: Neighbours, papers: Papers, tmp_path: Path
) -> None:
    wrong = Papers.made(tmp_path / "wrong")
    server = neighbours.server(tmp_path / "a", papers)
    other = neighbours.server(tmp_path / "b", Papers(wrong.ca, papers.certificate, papers.key))
    if who == "kafka":
        server.arguments = other.arguments
    else:
        name = f"LANDLINE_{who.upper()}"
        server.environment[name] = other.environment[name]
    lines = await refused(server)
    assert 1 <= len(lines) <= 2, lines
    assert f"--{who}" in lines[0], lines
    assert "certificate" in " ".join(lines), lines
