"""Real servers on a real stack: the topics, the database and Redis are as new for each test.

`servers` gives a scenario its servers, in both shapes that Landline has: one embedded server, or
two of a cluster with the sides of a chat on different ones.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from landline_stack import Stack
from support.command import run_landline
from support.server import ServerProcess
from support.waiting import wait_until

TOPICS = ("CHAT-MESSAGES", "CHAT-ROUTING")

_ASK_SECONDS = 10.0  # for one answer of a busy broker, which may lose the question


class ClusterServer(ServerProcess):
    """`landline serve` in cluster mode, under an id and on a port that it keeps."""

    def __init__(
        self, server_id: str, directory: Path, postgres_url: str, args: Sequence[str]
    ) -> None:
        super().__init__(
            directory / f"{server_id}-data",
            args=["--server-id", server_id, "--allow-unsafe", *args],
            # There is a password in it, and a command line can be read by everybody.
            env={"LANDLINE_POSTGRES": postgres_url},
        )
        self.server_id = server_id


class Servers:
    """The servers of one scenario: one that is both `here` and `there`, or two."""

    def __init__(self, every: Sequence[ServerProcess]) -> None:
        self.every = list(every)

    @property
    def here(self) -> ServerProcess:
        """Return the sender's server."""
        return self.every[0]

    @property
    def there(self) -> ServerProcess:
        """Return the recipient's server."""
        return self.every[-1]

    @property
    def is_cluster(self) -> bool:
        """Say whether `here` and `there` are two."""
        return len(self.every) > 1

    @property
    def from_here(self) -> list[str]:
        """Return where a client of `here` connects; elsewhere when that is gone."""
        return [server.ws_url for server in self.every]

    @property
    def from_there(self) -> list[str]:
        """Return where a client of `there` connects; elsewhere when that is gone."""
        return self.from_here[::-1]

    def start(self) -> None:
        """Start those that do not run, all at once, and wait until they are ready."""
        with ThreadPoolExecutor(len(self.every)) as pool:
            list(
                pool.map(ServerProcess.start, (each for each in self.every if not each.is_running))
            )

    def stop(self) -> list[int]:
        """Ask all of them to end, at once, and return their exit codes."""
        with ThreadPoolExecutor(len(self.every)) as pool:
            return list(pool.map(ServerProcess.end, self.every))

    def kill(self) -> None:
        """End all of them the hard way."""
        for server in self.every:
            server.kill()


class Cluster:
    """A stack that is as new, and the servers that a test makes on it."""

    def __init__(self, stack: Stack, postgres_url: str, redis_url: str, directory: Path) -> None:
        self.kafka = stack.kafka_servers
        self.postgres_url = postgres_url
        self.servers: list[ClusterServer] = []
        self._redis_url = redis_url
        self._directory = directory

    def server(self, server_id: str, *args: str, redis: bool = True) -> ClusterServer:
        """Make a server; it is not started yet."""
        options = ["--kafka", self.kafka, *(["--redis", self._redis_url] if redis else []), *args]
        place = self._directory / str(len(self.servers))  # two may have the same id
        place.mkdir()
        server = ClusterServer(server_id, place, self.postgres_url, options)
        self.servers.append(server)
        return server

    def pair(self, *args: str) -> Servers:
        """Start two servers, `ws-1` and `ws-2`."""
        servers = Servers([self.server("ws-1", *args), self.server("ws-2", *args)])
        servers.start()
        return servers


@pytest.fixture
def cluster(stack: Stack, postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of our own. Its servers are killed at the end; whatever came, none ever tripped."""
    cluster = Cluster(stack, postgres_url, redis_url, tmp_path)
    yield cluster
    for server in cluster.servers:
        server.kill()
    delete_topics(stack.kafka_servers)
    for server in cluster.servers:
        assert "Traceback" not in server.log()


@pytest.fixture
def options() -> Sequence[str]:
    """Options of the servers; a test that needs some gives them with `parametrize`."""
    return ()


@pytest.fixture(params=["embedded", pytest.param("cluster", marks=pytest.mark.stack)])
def servers(
    request: pytest.FixtureRequest, tmp_path: Path, options: Sequence[str]
) -> Iterator[Servers]:
    """The servers of a scenario that holds in both modes."""
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("cluster")
        yield cluster.pair(*options)
        return
    server = ServerProcess(tmp_path / "data", args=options)
    server.start()
    yield Servers([server])
    server.kill()
    assert "Traceback" not in server.log()


def delete_topics(kafka: str, topics: Sequence[str] = TOPICS) -> None:
    """Delete topics, all of Landline's, and wait until they are gone: Kafka does it later.

    All of them, whatever is listed: a broker lists a new topic a moment after it was made. And
    again, until they are gone: a busy broker may not answer in time, or never.
    """
    admin = AdminClient({"bootstrap.servers": kafka})

    def are_gone() -> bool:
        with suppress(KafkaException, TimeoutError):  # there is none, or no answer
            for deleted in admin.delete_topics(list(topics), request_timeout=_ASK_SECONDS).values():
                deleted.exception(2 * _ASK_SECONDS)
            return admin.list_topics(timeout=_ASK_SECONDS).topics.keys().isdisjoint(topics)
        return False

    wait_until(are_gone, "Kafka has deleted the topics")


def gateways_and_writers(cluster: Cluster) -> tuple[Servers, list[ClusterServer]]:
    """Start two servers that serve clients, and two that apply the log."""
    servers = Servers([cluster.server(f"ws-{n}", "--roles", "gateway") for n in (1, 2)])
    writers = [cluster.server(f"writer-{n}", "--roles", "writer") for n in (1, 2)]
    Servers([*servers.every, *writers]).start()
    return servers, writers


async def check_audit(cluster: Cluster) -> None:
    """Log and store agree, in every table."""
    env = {"LANDLINE_POSTGRES": cluster.postgres_url}
    code, said = await asyncio.to_thread(run_landline, "audit", "--kafka", cluster.kafka, env=env)
    assert (code, said.splitlines()[-1]) == (0, "log and store agree"), said
