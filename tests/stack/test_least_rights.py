"""The rights that docs/deploy.md gives are enough for a server and for an audit: tried for real."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from redis import Redis

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
    *runs, done = said.splitlines()
    assert runs == [f"runs {script.name}" for script in load_migrations()]
    assert done == f"schema is at version {len(runs)}; {len(runs)} migrations run"
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
    await grant_postgres(guarded)
    await asyncio.to_thread(grant_kafka, guarded)
    await asyncio.to_thread(grant_redis, guarded)
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
