"""What keeps a server from starting is told in a line or two: option, value, and what to do.

It then ends by itself, with exit code 2, and without a secret or a traceback in what it says.
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from landline_stack import Stack
from landline_stack.ports import free_port
from support.faults import MESSAGES, Fleet, admin, refused
from support.server import ServerProcess
from support.stack import create_topic

SECRET = "s3cr3t-w0rd"


async def says(server: ServerProcess, *words: str) -> None:
    """See a server refuse to start, and say these words in one or two lines."""
    lines = await refused(server)
    assert 1 <= len(lines) <= 2, lines
    assert lines[0].startswith("landline: ")
    for word in words:
        assert word in " ".join(lines), lines
    check_secrets(server)


def check_secrets(server: ServerProcess) -> None:
    """See that nothing was said that only the operator may know."""
    assert SECRET not in server.log()
    assert "Traceback" not in server.log()


def serve(tmp_path: Path, *args: str, postgres: str | None = None) -> ServerProcess:
    """Return a server with these options alone."""
    env = {} if postgres is None else {"LANDLINE_POSTGRES": postgres}
    return ServerProcess(tmp_path / "server", args=args, env=env)


def database(stack: Stack, *, user: str = "landline", name: str = "landline") -> str:
    """Return an address of the stack's PostgreSQL with a password that nobody has."""
    return f"postgresql://{user}:{SECRET}@127.0.0.1:{stack.postgres.port}/{name}"


async def test_postgres_addresses_that_cannot_work(fleet: Fleet) -> None:
    """Wrong password, unknown host, nobody there, no such database, not an address at all."""
    stack = fleet.stack
    right = stack.postgres_url
    password = right.split(":", 2)[2].split("@")[0]
    cases: Sequence[tuple[str, Sequence[str]]] = [
        (database(stack), ["password", "correct"]),
        (f"postgresql://landline:{SECRET}@nowhere.invalid/landline", ["host is unknown"]),
        (f"postgresql://landline:{SECRET}@127.0.0.1:{free_port()}/x", ["nothing listens there"]),
        (stack.postgres.database_url("absent"), ["no such database", "createdb"]),
        (f"mysql://landline:{SECRET}@127.0.0.1/x", ["postgresql://"]),
    ]

    async def is_refused(url: str, words: Sequence[str]) -> None:
        server = fleet.server(postgres_url=url)
        await says(server, "POSTGRES" if url.startswith("mysql") else "--postgres", *words)
        assert password not in server.log()

    await asyncio.gather(*(is_refused(*case) for case in cases))


async def test_a_postgres_that_does_not_answer(fleet: Fleet) -> None:
    """It is waited for some seconds, not for ever."""
    server = fleet.server()
    fleet.stack.postgres.pause()
    await says(server, "--postgres", "no answer within", "see that the server runs")


async def test_a_user_without_rights(fleet: Fleet) -> None:
    """One who may not create tables, and one who may not write them."""
    role = f"{fleet.database}_guest"
    await fleet.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
    try:
        url = database(fleet.stack, user=role, name=fleet.database)
        await says(fleet.server(postgres_url=url), "--postgres", role, "may not create tables")
        owner = (await fleet.start(1))[-1]
        owner.stop()
        await says(fleet.server(postgres_url=url), "--postgres", "GRANT")
    finally:
        await fleet.execute(f"DROP ROLE {role}")


async def test_kafka_and_postgres_belong_together(fleet: Fleet, tmp_path: Path) -> None:
    """One of them alone, or Redis alone."""
    stack = fleet.stack
    await says(serve(tmp_path, "--kafka", stack.kafka_servers), "--kafka", "--postgres")
    await says(serve(tmp_path, postgres=database(stack)), "LANDLINE_POSTGRES", "--kafka")
    await says(serve(tmp_path, "--postgres", database(stack)), "--postgres", "--kafka")
    await says(serve(tmp_path, "--redis", stack.redis_url), "--redis", "--kafka")


async def test_a_kafka_that_cannot_be_reached(fleet: Fleet, tmp_path: Path) -> None:
    """Nobody listens, no such host, somebody else listens, it does not answer, no address."""
    stack = fleet.stack

    async def is_refused(servers: str, *words: str) -> None:
        place = tmp_path / servers
        server = serve(place, "--kafka", servers, "--allow-unsafe", postgres=fleet.postgres_url)
        await says(server, "--kafka", servers, *words)

    await asyncio.gather(
        is_refused(f"127.0.0.1:{free_port()}", "start Kafka"),
        is_refused("nowhere.invalid:9092", "nowhere.invalid", "correct the addresses"),
        is_refused(f"127.0.0.1:{stack.redis.port}", "correct the addresses"),
        is_refused("127.0.0.1", "port"),
    )
    stack.brokers[0].pause()
    await says(fleet.server(), "--kafka", stack.kafka_servers, "start Kafka")


async def test_redis_addresses_that_cannot_work(fleet: Fleet) -> None:
    """A typo in the scheme, the host or the database, TLS where there is none, no Redis at all."""
    stack = fleet.stack
    port = stack.redis.port

    async def is_refused(url: str, *words: str) -> None:
        await says(fleet.server("--redis", url, redis=False), "--redis", *words)

    await asyncio.gather(
        is_refused(f"redsi://:{SECRET}@127.0.0.1:{port}/0", "redis://"),
        is_refused("redis://nowhere.invalid:6379/0", "no such host"),
        is_refused(f"redis://:{SECRET}@127.0.0.1:{port}/0", "password"),
        is_refused(f"redis://127.0.0.1:{port}/9999", "9999"),
        is_refused(f"rediss://127.0.0.1:{port}/0", "TLS"),
        is_refused(f"redis://127.0.0.1:{stack.brokers[0].port}/0", "correct host and port"),
    )


async def test_topic_settings_that_break_the_promise(fleet: Fleet) -> None:
    """One line each, all of them at once; with --allow-unsafe they are warnings."""
    config = {
        "cleanup.policy": "compact",
        "retention.ms": "3600000",
        "retention.bytes": "1000000",
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": "50000",
        "unclean.leader.election.enable": "true",
    }
    await asyncio.to_thread(
        lambda: create_topic(admin(fleet.stack), MESSAGES, partitions=32, config=config)
    )
    server = fleet.server(unsafe=False)
    first, *broken = await refused(server)
    assert "--allow-unsafe" in first
    names = [*config, "replication factor", "min.insync.replicas"]
    assert len(broken) == len(names)
    for name in names:
        (line,) = [line for line in broken if f" {name} is " in line]
        assert "needed is" in line
    check_secrets(server)

    allowed = fleet.server()
    await asyncio.to_thread(allowed.start)
    assert allowed.log().count('"unsafe_setting"') == len(names)


async def test_a_port_that_is_taken(fleet: Fleet, tmp_path: Path) -> None:
    """Whoever does it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = fleet.server("--port", str(port))
        await says(server, f"--port {port}", "choose another")


async def test_a_kafka_config_that_is_not_for_tls_or_users(fleet: Fleet, tmp_path: Path) -> None:
    """A file of another program, one that would weaken the promise, one that is not there."""

    async def is_refused(number: int, text: str, *words: str) -> None:
        file = tmp_path / f"{number}.properties"
        file.write_text(text)
        await says(fleet.server("--kafka-config", str(file)), "--kafka-config", str(file), *words)

    absent = str(tmp_path / "absent")
    await asyncio.gather(
        is_refused(1, "acks=1\n", "line 1", "security.protocol"),
        is_refused(2, f"# ours\nsasl.password={SECRET}\nbootstrap.servers=x:1\n", "line 3"),
        is_refused(3, "security.protocol=nonsense\n", "security.protocol"),
        is_refused(4, f"sasl.pasword={SECRET}\n", "sasl.pasword"),
        is_refused(5, f"security.protocol=SSL\nssl.key.pem={SECRET}\n", "ssl.key.pem"),
        is_refused(6, "security.protocol=SSL\nssl.ca.location=/absent.pem\n", "ssl.ca.location"),
        is_refused(7, f"sasl.password {SECRET}\n", "line 1"),
        says(fleet.server("--kafka-config", absent), "--kafka-config", absent),
    )
