"""The rights that docs/deploy.md gives are enough for a server and for an audit, and no more than
that: tried for real.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from redis import Redis
from redis.exceptions import ResponseError

import landline
from landline.adapters.postgres.migrations import load_migrations
from landline_stack import LandlineServer, Stack
from landline_stack.kafka import KafkaNode
from landline_stack.ports import free_port
from support.command import run_landline
from support.pages import code_blocks, read
from support.postgres import execute
from support.stack import KAFKA_SECONDS, stack_or_skip, steady

pytestmark = pytest.mark.stack

PAGE = read("docs/deploy.md")
PASSWORD = "correct-horse"
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class GuardedNode(KafkaNode):
    """A broker that asks its clients who they are; its operator comes in by the back door."""

    client_port = 0

    def _settings(self, nodes: Sequence[KafkaNode]) -> dict[str, object]:
        settings = super()._settings(nodes)
        self.client_port = free_port()
        listener = f"CLIENT://127.0.0.1:{self.client_port}"
        users = " ".join(
            f'user_{name}="{PASSWORD}"' for name in ("landline", "landline-audit", "stranger")
        )
        return settings | {
            "listeners": f"{settings['listeners']},{listener}",
            "advertised.listeners": f"{settings['advertised.listeners']},{listener}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": (
                f"{settings['listener.security.protocol.map']},CLIENT:SASL_PLAINTEXT"
            ),
            "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": f"{JAAS} {users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


@pytest.fixture(scope="module")
def guarded() -> Iterator[Stack]:
    """A stack in which nobody may do more than the page gives them."""
    stack = steady(stack_or_skip())
    [plain] = stack.brokers
    stack.brokers = [GuardedNode(1, plain.directory, plain._java)]
    with stack:
        asyncio.run(grant_postgres(stack))
        grant_kafka(stack)
        grant_redis(stack)
        yield stack


def grant_kafka(stack: Stack) -> None:
    """Carry out the `kafka-acls` lines of the page."""
    lines = [line for block in code_blocks(PAGE, "sh") for line in block.splitlines()]
    acls = []
    for line in lines:
        if not line.startswith("kafka-acls "):
            continue
        words = line.split()
        given = dict(pairwise(words))
        operations = [b for a, b in pairwise(words) if a == "--operation"]
        acls += [
            AclBinding(
                ResourceType.TOPIC if "--topic" in given else ResourceType.GROUP,
                given.get("--topic") or given["--group"], ResourcePatternType.LITERAL,
                given["--allow-principal"], "*", AclOperation[operation.upper()],
                AclPermissionType.ALLOW,
            )
            for operation in ("".join(f"_{c}" if c.isupper() else c for c in each).strip("_")
                              for each in operations)
        ]  # fmt: skip
    assert acls
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    for created in admin.create_acls(acls).values():
        created.result(KAFKA_SECONDS)


async def grant_postgres(stack: Stack) -> None:
    """Carry out the SQL of the page, as the owner of the server."""
    [create, grants] = code_blocks(PAGE, "sql")
    create = create.replace("'...'", f"'{PASSWORD}'").replace("DATABASE landline", "DATABASE chat")
    for statement in create.strip().rstrip(";").split(";"):
        await execute(stack.postgres_url, statement)
    owner = with_user(stack, "landline_owner")
    code, said = await asyncio.to_thread(run_landline, "migrate", "--postgres", owner)
    assert code == 0, said
    *runs, done, store_format = said.splitlines()
    assert runs == [f"runs {script.name}" for script in load_migrations()]
    assert done == f"schema is at version {len(runs)}; {len(runs)} migrations run"
    assert "format 2" in store_format
    await execute(owner, grants)


def grant_redis(stack: Stack) -> None:
    """Carry out the `ACL SETUSER` line of the page."""
    [line] = [
        line
        for block in code_blocks(PAGE, "")
        for line in block.splitlines()
        if line.startswith("ACL SETUSER landline ")
    ]
    with Redis.from_url(stack.redis_url) as redis:
        redis.execute_command(*line.replace(">...", f">{PASSWORD}").split())


def with_user(stack: Stack, user: str) -> str:
    return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{stack.postgres.port}/chat"


def kafka_config(path: Path, user: str) -> Path:
    path.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
        f"sasl.username={user}\nsasl.password={PASSWORD}\n"
    )
    return path


def modest_server(stack: Stack, config: Path) -> LandlineServer:
    """Return a server with the rights of the page and no others."""
    server = LandlineServer.on(stack, "ws-1", stack.directory / "ws-1")
    [node] = stack.brokers
    assert isinstance(node, GuardedNode)
    redis = f"redis://landline:{PASSWORD}@{stack.redis_url.partition('://')[2]}"
    for option, value in (("--kafka", f"127.0.0.1:{node.client_port}"), ("--redis", redis)):
        server.arguments[server.arguments.index(option) + 1] = value
    server.arguments += ["--kafka-config", str(config)]
    server.environment = {"LANDLINE_POSTGRES": with_user(stack, "landline_server")}
    return server


async def test_the_rights_of_the_page_are_enough(guarded: Stack, tmp_path: Path) -> None:
    with modest_server(guarded, kafka_config(tmp_path / "server", "landline")) as server:
        url = f"ws://127.0.0.1:{server.port}/ws/chat"
        async with (
            landline.connect(url, username="alice") as alice,
            landline.connect(url, username="bob") as bob,
        ):
            await alice.send("bob", "hello")
            async for message in bob:
                assert message.content == "hello"
                break
        [node] = guarded.brokers
        assert isinstance(node, GuardedNode)
        where = ["--kafka", f"127.0.0.1:{node.client_port}", "--postgres"]
        auditor = kafka_config(tmp_path / "audit", "landline-audit")
        where += [with_user(guarded, "landline_audit"), "--kafka-config", str(auditor)]
        code, said = await asyncio.to_thread(run_landline, "audit", *where)
        assert (code, said.splitlines()[-1]) == (0, "log and store agree"), said
        stranger = kafka_config(tmp_path / "stranger", "stranger")
        code, said = await asyncio.to_thread(
            run_landline, "audit", *where, "--kafka-config", str(stranger)
        )
        assert code == 2, said
        assert "hello" not in said
    said = server.log_path.read_text()
    assert "denied" not in said.lower()
    assert "NOPERM" not in said
    waits = [line for line in said.splitlines() if "writer_waits" in line]
    assert all("in time" in line for line in waits), waits  # a busy machine, not a right


FORBIDDEN_SQL = {
    "landline_server": (
        "DELETE FROM messages",
        "DELETE FROM conversations",
        "TRUNCATE quarantine",
        "DROP TABLE messages",
        "ALTER TABLE messages ADD x text",
        "CREATE TABLE x (y text)",
        "UPDATE landline_schema SET version = 0",
        "CREATE ROLE x",
        "COPY messages TO PROGRAM 'cat'",
        "SELECT * FROM pg_authid",
    ),
    "landline_audit": (
        "INSERT INTO applied VALUES (0, 0)",
        "UPDATE messages SET content = 'x'",
        "DELETE FROM messages",
        "CREATE TABLE x (y text)",
    ),
}
FORBIDDEN_REDIS = (
    "FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "CLIENT LIST", "GET other", "SET other x",
    "DEL other", "EVAL return(redis.call('GET','other')) 0",
)  # fmt: skip


async def test_the_rights_of_the_page_are_no_more_than_needed(
    guarded: Stack, tmp_path: Path
) -> None:
    """Whoever has taken a server over cannot delete a message, nor use what belongs to others."""
    for user, statements in FORBIDDEN_SQL.items():
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await execute(with_user(guarded, user), statement)
    await asyncio.to_thread(redis_forbids, guarded)
    with modest_server(guarded, kafka_config(tmp_path / "server", "landline")):
        pass  # it makes the topics
    await asyncio.to_thread(kafka_forbids, guarded)


def redis_forbids(stack: Stack) -> None:
    with Redis.from_url(stack.redis_url, username="landline", password=PASSWORD) as redis:
        redis.set("landline:x", "mine")
        for command in FORBIDDEN_REDIS:
            with pytest.raises(ResponseError, match=r"permission|can't access"):
                redis.execute_command(*command.split(" "))


def kafka_forbids(stack: Stack) -> None:
    topic = "CHAT-MESSAGES"
    ours, strangers = (AdminClient(client_of(stack, user)) for user in ("landline", "stranger"))
    change = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[change])
    tries: list[dict[Any, Future[Any]]] = [
        ours.delete_topics([topic]),
        ours.delete_records([TopicPartition(topic, 0, 1)]),
        ours.incremental_alter_configs([resource]),
        ours.create_topics([NewTopic("other", 1)]),
        strangers.delete_topics([topic]),
    ]
    for futures in tries:
        for future in futures.values():
            with pytest.raises(KafkaException) as refused:
                future.result(KAFKA_SECONDS)
            assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    for user in ("landline-audit", "stranger"):
        assert produce_error(stack, user, topic) == KafkaError.TOPIC_AUTHORIZATION_FAILED


def client_of(stack: Stack, user: str) -> dict[str, str | int | float | bool]:
    [node] = stack.brokers
    assert isinstance(node, GuardedNode)
    return {
        "bootstrap.servers": f"127.0.0.1:{node.client_port}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORD,
    }


def produce_error(stack: Stack, user: str, topic: str) -> int | None:
    """Return why a record of this user is not in the log."""
    codes: list[int | None] = []

    def delivered(error: KafkaError | None, _: object) -> None:
        codes.append(None if error is None else error.code())

    producer = Producer(client_of(stack, user))
    producer.produce(topic, b"forged", on_delivery=delivered)
    producer.flush(KAFKA_SECONDS)
    [code] = codes
    return code
