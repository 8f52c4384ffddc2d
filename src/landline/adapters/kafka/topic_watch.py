"""Watches the topic of the log: its identity, its leaders, its replicas in sync, its settings."""

import asyncio
from collections.abc import Iterable
from typing import Any

from landline.adapters.kafka.cluster import KafkaCluster
from landline.adapters.kafka.topics import Topic, judge_again, read_settings
from landline.errors import LogLost, LogUnavailable
from landline.observability.logging import get_logger

# How often the topic is looked at: its identity, its leaders, its replicas in sync.
LOG_WATCH_SECONDS = 3.0
WATCH_TROUBLED_SECONDS = 0.5
# How often its settings are read: with the guard's own pace (retention.py), below 10 s until a
# change counts.
SETTINGS_SECONDS = 3.0

log = get_logger(__name__)


class TopicWatch:
    """Knows which partitions can be used, and whether the topic still keeps the promise."""

    def __init__(
        self,
        cluster: KafkaCluster,
        name: str,
        topic: Topic,
        *,
        allow_unsafe: bool,
        may_have_grown: bool,
    ) -> None:
        """`topic`: as it was found at the start. The rest is as for `KafkaEventLog`."""
        self.topic = topic
        self._cluster = cluster
        self._name = name
        self._allow_unsafe = allow_unsafe
        self._may_have_grown = may_have_grown
        self._accepted = frozenset(topic.broken)
        self._settings_due = 0.0
        self._loop = asyncio.get_running_loop()
        self._unusable: dict[int, str] = {}  # partition -> why, as far as it is known
        self._failed_at: dict[int, float] = {}

    def refusal(self, partition: int) -> str | None:
        """Return why nothing can be appended to a partition, if so."""
        return self._unusable.get(partition)

    def health(self) -> str | None:
        """Return what is known to be wrong with partitions."""
        if not self._unusable:
            return self.breach()
        why = next(iter(self._unusable.values()))
        if len(self._unusable) == self.topic.partitions:
            return why
        return f"{len(self._unusable)} of {self.topic.partitions} partitions: {why}"

    def breach(self) -> str | None:
        """Return which settings were changed so that they break the promise, unless allowed."""
        broken = [line for line in self.topic.broken if line not in self._accepted]
        if self._allow_unsafe or not broken:
            return None
        return f"the settings of the log were changed and break the promise: {'; '.join(broken)}"

    def failed(self, partition: int, why: str) -> None:
        """Take note that a record could not be appended."""
        self._failed_at[partition] = self._loop.time()
        self._note({**self._unusable, partition: why})

    async def run(self) -> None:
        """Watch for ever. Raises: LogLost when it is another topic now."""
        failures = 0
        while True:
            asked_at = self._loop.time()
            is_known = True
            try:
                partitions = await self._cluster.partitions(self._name)
            except LogUnavailable as error:
                is_known = False
                failures += 1
                if failures > 1:  # the first may have been the one broker that hangs
                    self._note(dict.fromkeys(range(self.topic.partitions), str(error)))
            else:
                failures = 0
                unusable = dict(self._why_unusable(partitions))
                for partition, failed_at in list(self._failed_at.items()):
                    if failed_at >= asked_at:  # it failed while we asked: ask again
                        unusable.setdefault(partition, "Kafka did not take the last record")
                    else:
                        del self._failed_at[partition]
                self._note(unusable)
                try:
                    self.check_identity(await self._cluster.describe(self._name))
                    await self._look_at_settings(partitions)
                except LogUnavailable:
                    is_known = False  # the controller alone knows, and may be away: look again
            is_well = is_known and not self._unusable
            await asyncio.sleep(LOG_WATCH_SECONDS if is_well else WATCH_TROUBLED_SECONDS)

    async def _look_at_settings(self, partitions: Iterable[Any]) -> None:
        """See whether somebody has changed what the promise rests on. Raises: LogUnavailable."""
        if self._loop.time() < self._settings_due:
            return  # also while there is trouble, when the rest is looked at more often
        self._settings_due = self._loop.time() + SETTINGS_SECONDS
        settings = await read_settings(self._cluster, self._name)
        replicas = min(len(each.replicas) for each in partitions)
        before = (self.topic, self.breach())
        self.topic = judge_again(self.topic, self._name, replicas, settings)
        if self.topic == before[0]:
            return
        log.info(
            "log_settings_changed",
            retention_ms=self.topic.retention_ms,
            replicas=replicas,
            min_in_sync=self.topic.in_sync,
        )
        if self._allow_unsafe:
            for line in set(self.topic.broken) - set(before[0].broken):
                log.warning("unsafe_setting", setting=line)
        elif self.breach() is not None:
            log.error("log_unsafe", reason=self.breach())
        elif before[1] is not None:
            log.info("log_safe_again")

    def _why_unusable(self, partitions: Iterable[Any]) -> Iterable[tuple[int, str]]:
        for each in partitions:
            if each.leader < 0:
                yield each.id, f"Kafka: partition {each.id} has no leader"
            elif len(each.isrs) < self.topic.in_sync:
                in_sync = f"{len(each.isrs)} of {self.topic.in_sync} needed replicas in sync"
                yield each.id, f"Kafka: partition {each.id} has {in_sync}"

    def _note(self, unusable: dict[int, str]) -> None:
        before, self._unusable = self._unusable, unusable
        if unusable and not before:
            log.error("log_unusable", reason=self.health())
        elif before and not unusable:
            log.info("log_usable")

    def check_identity(self, described: Any) -> None:
        """Raises: LogLost when what is described is another topic."""
        found = (str(described.topic_id), len(described.partitions))
        if found == (self.topic.topic_id, self.topic.partitions):
            return
        has_grown = found[1] > self.topic.partitions
        if self._may_have_grown and has_grown and found[0] == self.topic.topic_id:
            return
        what = (
            f"it was deleted and made again (id {found[0]}, was {self.topic.topic_id})"
            if found[0] != self.topic.topic_id
            else f"it has {found[1]} partitions now, it had {self.topic.partitions}"
        )
        raise LogLost(
            f"{self._name} is another log: {what}. Stop all servers; if that was on purpose,"
            " run `landline migrate --new-log`. See docs/failures.md"
        )
