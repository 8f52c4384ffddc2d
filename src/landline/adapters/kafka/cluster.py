"""One Kafka cluster: how to reach it, and questions to it with a deadline."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ClusterMetadata, OffsetSpec

from landline.backoff import Backoff
from landline.errors import LogUnavailable
from landline.protocol.times import is_time

T = TypeVar("T")

# librdkafka gives up on a question after this; ours waits a little longer for its answer.
KAFKA_ASK_SECONDS = 4.0
_GRACE_SECONDS = 1.0
# How long a thread waits in librdkafka before it looks whether it is still wanted. What comes from
# Kafka wakes it at once.
KAFKA_POLL_SECONDS = 0.25

_COMMON: Mapping[str, Any] = {
    # What goes wrong is told by our own lines, once: librdkafka would repeat it every second.
    "log_level": 2,
    "log.connection.close": False,
    "socket.keepalive.enable": True,
    # A broker that falls silent without hanging up; the default is a minute.
    "socket.timeout.ms": 6_000,
    "socket.nagle.disable": True,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,
    # Or librdkafka forgets the backoff at each attempt while a question waits for a broker that is
    # away: ten thousand attempts a second, and more than a core for them. It is not in its manual.
    "enable.sparse.connections": False,
    "topic.metadata.refresh.interval.ms": 30_000,
}
# What a consumer fetches at once, and ahead, for all its partitions together.
_AHEAD_KIB = 4 * 1024
_CONSUMER: Mapping[str, Any] = {
    "group.id": "landline",  # demanded, never joined: partitions and offsets are told
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "queued.max.messages.kbytes": _AHEAD_KIB,
    "fetch.max.bytes": _AHEAD_KIB * 1024,
    "fetch.error.backoff.ms": 100,
    # How long it does not fetch once enough is ahead: by default a second, after every burst.
    "fetch.queue.backoff.ms": 20,
}
# Right after an election client and broker may disagree about its number, or the leader does not
# know the end yet; to a broker that has just come back no partition has a leader (_NOENT). One
# partition without a leader is not waited for: others must not wait for it.
_STALE = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError._NOENT,
    }
)
_STALE_TRIES = 5
_COMPLAINTS = frozenset({KafkaError._SSL, KafkaError._AUTHENTICATION})


class KafkaCluster:
    """Makes clients of one cluster, all with the same way to reach it."""

    def __init__(
        self, servers: Iterable[str], client_id: str, security: Mapping[str, str] | None = None
    ) -> None:
        """`security`: librdkafka's own settings for TLS and SASL, from `--kafka-config`."""
        self.servers = ",".join(servers)
        self._reach = {
            **_COMMON,
            **(security or {}),
            "bootstrap.servers": self.servers,
            "client.id": client_id,
        }
        self.ask_seconds = KAFKA_ASK_SECONDS
        self._admin: AdminClient | None = None
        self._complaint: str | None = None

    def settings(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a client: its own, and how to reach the cluster."""
        return {**self._reach, **own}

    def consumer(self, own: Mapping[str, Any]) -> Consumer:
        """Make a consumer, with settings of its own; it is assigned nothing yet."""
        return Consumer(self.settings({**_CONSUMER, **own}))

    @property
    def admin(self) -> AdminClient:
        """Return the client that asks."""
        if self._admin is None:
            self._admin = AdminClient(self.settings({"error_cb": self._hear}))
        self._admin.poll(0)  # or what it has to say of its connections piles up
        return self._admin

    @property
    def complaint(self) -> str | None:
        """Return what was last wrong with a certificate or a user, if anything ever was."""
        self.admin.poll(0)
        return self._complaint

    def _hear(self, error: KafkaError) -> None:
        """Keep what is wrong with certificates and users: a question that fails says only when."""
        if error.code() in _COMPLAINTS:
            self._complaint = f"Kafka: {error.str()}"

    async def known(self, topic: str, seconds: float | None = None) -> ClusterMetadata:
        """Return what any broker knows of the cluster and of a topic, which need not be there.

        A broker that starts may not know itself yet; it is asked again. Not `describe_cluster`:
        that answer ends the process (librdkafka 2.16, an assertion). Raises: LogUnavailable.
        """
        give_up_at = asyncio.get_running_loop().time() + (seconds or self.ask_seconds)
        backoff = Backoff(last_seconds=0.4)
        while True:
            pause = backoff.next_seconds()
            left = max(give_up_at - asyncio.get_running_loop().time(), 0.1)
            try:
                asked = asyncio.to_thread(self.admin.list_topics, topic, timeout=left)
                known = await _in_time(asked, left)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._PARTIAL or left <= pause:
                    raise LogUnavailable(words(error)) from error
            else:
                if known.brokers:
                    return known
                if left <= pause:
                    raise LogUnavailable("Kafka: no broker is registered yet")
            await asyncio.sleep(pause)

    async def describe(self, topic: str) -> Any:
        """Return the topic's id and partitions, with leaders and replicas in sync.

        Raises: LogUnavailable, the broker's words among it when there is no such topic.
        """
        asked = self.admin.describe_topics(
            TopicCollection([topic]), request_timeout=self.ask_seconds
        )
        return await self.ask(asked[topic])

    async def ask(self, future: "Future[T]") -> T:
        """Return what Kafka answers. Raises: LogUnavailable."""
        try:
            return await _in_time(asyncio.wrap_future(future), self.ask_seconds)
        except KafkaException as error:
            raise LogUnavailable(words(error)) from error

    async def partitions(self, topic: str) -> Sequence[Any]:
        """Return the topic's partitions, with leaders and replicas in sync, as any broker knows.

        `describe` waits for the controller, which may be away while leaders are well.
        Raises: LogUnavailable.
        """
        known = await self.known(topic)
        found = known.topics[topic]
        if found.error is not None:
            raise LogUnavailable(words(KafkaException(found.error)))
        return list(found.partitions.values())

    async def offsets(
        self, topic: str, partitions: Iterable[int], spec: OffsetSpec
    ) -> dict[int, int]:
        """Return the offset that `spec` means, for the partitions that can say.

        One request a broker, whatever the number of partitions. Raises: LogUnavailable when
        none can say.
        """
        answers = await self._ask_offsets(topic, partitions, spec)
        offsets: dict[int, int] = {}
        # A broker that does not answer in time is no error to librdkafka: it invents -1001.
        trouble: BaseException = TimeoutError("no broker answers in time")
        for each, answer in answers.items():
            if isinstance(answer, BaseException):
                trouble = answer
            elif answer.offset >= OFFSET_END:  # which is -1: no record is as young as was asked for
                offsets[each] = int(answer.offset)
        if not offsets:
            raise LogUnavailable(words(trouble)) from trouble
        return offsets

    async def newest_ms(self, topic: str, partitions: Iterable[int]) -> int | None:
        """Return how late it is by the records of two partitions at the least; None where fewer
        have any with a time that can be.

        One alone may hold a record with a sender's time, from when senders stamped. In
        milliseconds since the Unix epoch. Raises: LogUnavailable when no partition can say.
        """
        answers = await self._ask_offsets(topic, partitions, OffsetSpec.max_timestamp())
        known = [each for each in answers.values() if not isinstance(each, BaseException)]
        if not known:
            trouble = next(iter(answers.values()))
            raise LogUnavailable(words(trouble)) from trouble
        times = sorted(int(each.timestamp) for each in known if is_time(each.timestamp))
        return times[-2] if len(times) > 1 else None

    async def _ask_offsets(
        self, topic: str, partitions: Iterable[int], spec: OffsetSpec
    ) -> dict[int, Any]:
        """Return each partition's answer or error. One whose leader is another by now is asked
        again: librdkafka itself asks the one that it knew again and again.
        """
        give_up_at = asyncio.get_running_loop().time() + self.ask_seconds
        backoff = Backoff(first_seconds=0.05)
        answers = await self._ask_once(topic, partitions, spec)
        with suppress(LogUnavailable, TimeoutError):  # what there is, is there
            async with asyncio.timeout_at(give_up_at):
                for _ in range(_STALE_TRIES):
                    stale = [each for each, answer in answers.items() if _is_stale(answer)]
                    if not stale:
                        break
                    await backoff.wait()
                    await self.partitions(topic)  # so that the client knows the leaders
                    answers |= await self._ask_once(topic, stale, spec)
        return answers

    async def _ask_once(
        self, topic: str, partitions: Iterable[int], spec: OffsetSpec
    ) -> dict[int, Any]:
        asked = self.admin.list_offsets(
            {TopicPartition(topic, each): spec for each in partitions},
            request_timeout=self.ask_seconds,
        )
        answers = await _in_time(
            asyncio.gather(*map(asyncio.wrap_future, asked.values()), return_exceptions=True),
            self.ask_seconds,
        )
        return {each.partition: answer for each, answer in zip(asked, answers, strict=True)}


def _is_stale(answer: Any) -> bool:
    return isinstance(answer, KafkaException) and answer.args[0].code() in _STALE


async def _in_time(answer: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            return await answer
    except TimeoutError as error:
        raise LogUnavailable("Kafka: no broker answers in time") from error


def words(error: BaseException) -> str:
    """Return a Kafka error in words, without librdkafka's wrapping."""
    inner = error.args[0] if error.args else error
    text = getattr(inner, "str", None)
    return f"Kafka: {text() if callable(text) else inner}"
