"""A server of a cluster: Kafka for the log and for hints, PostgreSQL for the store, Redis for the
directory.

Opening is the preflight: what is missing is made, what breaks the promise is named, and nobody is
listened to before all of it has been looked at.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from landline.adapters import postgres, redis
from landline.adapters.kafka import (
    MESSAGES_TOPIC,
    ROUTING_TOPIC,
    KafkaCluster,
    KafkaEventLog,
    KafkaRoutingBus,
    prepare_topics,
)
from landline.adapters.kafka.security import read_security
from landline.adapters.kafka.topics import Topic
from landline.adapters.memory import MemoryDirectory, MemoryRoutingBus
from landline.adapters.postgres import PostgresMessageStore
from landline.adapters.redis import RedisDirectory
from landline.app.parts import Parts
from landline.app.plaintext import plaintext_cautions
from landline.config import Settings
from landline.errors import LogLost, LogUnavailable, StartupError, StoreUnavailable
from landline.model import LogIdentity
from landline.observability.logging import get_logger
from landline.ports import Directory, RoutingBus

Services = dict[str, Callable[[], Coroutine[Any, Any, None]]]

log = get_logger(__name__)


async def open_cluster(settings: Settings, address: str) -> Parts:
    """Look at Kafka, PostgreSQL and Redis, and connect to them. `address`: id and incarnation.

    Raises: StartupError.
    """
    assert settings.postgres is not None, "config.loading sees to it"
    server_id, _, incarnation = address.partition("/")
    for line in plaintext_cautions(settings, _kafka_security(settings)):
        log.warning("unsafe_setting", setting=line)
    cluster = kafka_cluster(settings, server_id)
    topic = await look_at_kafka(settings, cluster)
    purges = settings.keep_messages is not None and "writer" in settings.roles
    broken = [*topic.broken, *await postgres.check(settings.postgres, purges=purges)]
    _judge(settings, broken)
    if caution := await postgres.collation_change(settings.postgres):
        log.warning("collation_changed", advice=caution)
    await postgres.migrate(settings.postgres)
    store = PostgresMessageStore(settings.postgres, server_id, allow_unsafe=settings.allow_unsafe)
    services: Services = {}
    directory: Directory = MemoryDirectory({}, address)
    bus: RoutingBus = MemoryRoutingBus({}, address)
    try:
        identity = await _identify(settings, store, topic)
        event_log = KafkaEventLog(
            cluster,
            MESSAGES_TOPIC,
            topic,
            identity.epoch,
            hints=ROUTING_TOPIC,
            allow_unsafe=settings.allow_unsafe,
        )
        await _check_positions(settings, store, event_log)
        services["log"] = event_log.run
        services["format"] = store.format.watch
        await _look_at_format(settings, store)
        if "gateway" in settings.roles:
            await event_log.warm_up()
            bus = KafkaRoutingBus(cluster, ROUTING_TOPIC, address)
            directory = await _open_directory(settings, server_id, incarnation, services)
    except BaseException:
        await store.close()
        raise

    async def close() -> None:
        await directory.close()
        await bus.close()
        await event_log.close()
        await store.close()

    return Parts(
        event_log=event_log,
        store=store,
        devices=store.devices,
        conversations=store.conversations,
        revocations=store.revocations,
        directory=directory,
        bus=bus,
        close=close,
        services=services,
        purge_messages=store.purge,
        where=_where(settings, identity),
        breach=event_log.breach,
    )


def kafka_cluster(settings: Settings, client: str) -> KafkaCluster:
    """Return the way to reach Kafka. Raises: StartupError for a file that is none."""
    assert settings.kafka is not None, "config.loading sees to it"
    return KafkaCluster(settings.kafka, f"landline-{client}", _kafka_security(settings))


async def look_at_kafka(settings: Settings, cluster: KafkaCluster) -> Topic:
    """Make missing topics and return what is there. Raises: StartupError."""
    try:
        return await prepare_topics(cluster)
    except LogUnavailable as error:
        raise StartupError(
            f"--kafka {','.join(settings.kafka or ())}: {cluster.complaint or error};"
            " start Kafka, correct the addresses, or see --kafka-config for TLS and users"
        ) from error


def _kafka_security(settings: Settings) -> Mapping[str, str]:
    return read_security(settings.kafka_config) if settings.kafka_config else {}


def is_same_log(identity: LogIdentity, topic: Topic) -> bool:
    """Say whether the store's rows come from this topic."""
    return (identity.cluster_id, identity.topic_id, identity.partitions) == (
        topic.cluster_id,
        topic.topic_id,
        topic.partitions,
    )


def check_log(
    settings: Settings, identity: LogIdentity | None, topic: Topic | None
) -> tuple[LogIdentity, Topic]:
    """Return what is known of the log, if it is the one that the store was written from.

    Raises: StartupError.
    """
    where = f"--kafka {','.join(settings.kafka or ())}"
    if topic is None:
        raise StartupError(f"{where}: there is no {MESSAGES_TOPIC}; give the cluster that has it")
    if identity is None:
        raise StartupError(
            f"--postgres {settings.postgres}: this store was not written from any log yet"
        )
    if not is_same_log(identity, topic):
        raise StartupError(
            f"{where}: {MESSAGES_TOPIC} is not the log that this store was written from:"
            f" {difference(identity, topic)}; connect the right one"
        )
    return identity, topic


def difference(identity: LogIdentity, topic: Topic) -> str:
    """Return in words how the topic differs from the one that the store's rows come from."""
    if identity.cluster_id != topic.cluster_id:
        return f"another cluster ({topic.cluster_id}, was {identity.cluster_id})"
    if identity.topic_id != topic.topic_id:
        return f"made again (id {topic.topic_id}, was {identity.topic_id})"
    return f"{topic.partitions} partitions (there were {identity.partitions})"


def _judge(settings: Settings, broken: Sequence[str]) -> None:
    if broken and not settings.allow_unsafe:
        lines = "\n".join(f"  {line}" for line in broken)
        raise StartupError(
            f"these settings would break the promise; correct them, or accept it with"
            f" --allow-unsafe:\n{lines}"
        )
    for line in broken:
        log.warning("unsafe_setting", setting=line)


async def _identify(settings: Settings, store: PostgresMessageStore, topic: Topic) -> LogIdentity:
    """Return which log the store follows: this one from now on, if it had none."""
    this = LogIdentity(topic.cluster_id, topic.topic_id, topic.partitions)
    try:
        known = await store.identity() or await store.adopt(this)
    except StoreUnavailable as error:
        raise StartupError(f"--postgres {settings.postgres}: {error}; try again") from error
    if not is_same_log(known, topic):
        raise StartupError(
            f"--kafka {','.join(settings.kafka or ())}: {MESSAGES_TOPIC} is not the log that this"
            f" store was written from: {difference(known, topic)}.\nConnect the right one; if it"
            " was replaced on purpose, stop all servers and run `landline migrate --new-log`"
        )
    return known


async def _check_positions(
    settings: Settings, store: PostgresMessageStore, event_log: KafkaEventLog
) -> None:
    """See that the log still holds what the store lacks, and all that the store has seen (F24)."""
    try:
        reader = await event_log.open_reader(await store.applied())
    except StoreUnavailable as error:
        raise StartupError(f"--postgres {settings.postgres}: {error}; try again") from error
    except (LogUnavailable, LogLost) as error:
        raise StartupError(f"--kafka {','.join(settings.kafka or ())}: {error}") from error
    await reader.close()


async def _look_at_format(settings: Settings, store: PostgresMessageStore) -> None:
    """Know it before anybody connects: devices depend on it."""
    try:
        await store.format.look()
    except StoreUnavailable as error:
        raise StartupError(f"--postgres {settings.postgres}: {error}; try again") from error


async def _open_directory(
    settings: Settings, server_id: str, incarnation: str, services: Services
) -> Directory:
    if settings.redis is None:
        log.warning(
            "no_redis",
            effect="messages to users on other servers arrive with the sweep, not at once",
            sweep_interval_seconds=settings.sweep_interval,
        )
        return MemoryDirectory({}, f"{server_id}/{incarnation}", has_all=False)
    await redis.check(settings.redis.reveal())
    directory = RedisDirectory(settings.redis.reveal(), server_id, incarnation)
    try:
        await directory.claim()
    except StartupError:
        await directory.close()
        raise
    services["directory"] = directory.run
    return directory


def _where(settings: Settings, identity: LogIdentity) -> Mapping[str, str]:
    where = {
        "kafka": ",".join(settings.kafka or ()),
        "postgres": str(settings.postgres),
        "redis": str(settings.redis),
        "roles": ",".join(sorted(settings.roles)),
    }
    if identity.epoch:
        where["log_epoch"] = str(identity.epoch)
    return where
