"""CHAT-MESSAGES for an audit: read from its first record to a given end, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from confluent_kafka.admin import OffsetSpec

from landline.adapters.kafka.cluster import KafkaCluster
from landline.adapters.kafka.reader import KafkaLogReader
from landline.adapters.kafka.topics import MESSAGES_TOPIC
from landline.audit import OffsetRange
from landline.errors import LogUnavailable
from landline.model import Entry, LogIdentity, Positions

WINDOW_ENTRIES = 1_000
SILENCE_SECONDS = 30.0


class KafkaAuditLog:
    """See `landline.audit.AuditLog`."""

    def __init__(
        self, cluster: KafkaCluster, identity: LogIdentity, name: str = MESSAGES_TOPIC
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._partitions = range(identity.partitions)
        self._base = identity.base

    async def spans(self) -> Mapping[int, OffsetRange]:
        """Ask every leader for its first and its next offset."""
        first = await self._offsets(OffsetSpec.earliest())
        ends = await self._offsets(OffsetSpec.latest())
        return {
            each: OffsetRange(self._base + first[each], self._base + ends[each])
            for each in self._partitions
        }

    async def entries(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Entry]]:
        """Read all partitions at once, each up to its end."""
        left = {each: offset for each, offset in start.items() if offset < end[each]}
        if not left:
            return
        wanted = {each: offset - self._base for each, offset in left.items()}
        reader = KafkaLogReader(self._cluster, self._name, wanted, self._base)
        try:
            while left:
                async with asyncio.timeout(SILENCE_SECONDS):
                    stretches = await reader.read(WINDOW_ENTRIES)
                for stretch in stretches:
                    if stretch.end >= end[stretch.partition]:
                        left.pop(stretch.partition, None)
                    stop = end[stretch.partition]
                    yield [entry for entry in stretch.entries if entry.position.offset < stop]
        except TimeoutError as error:
            raise LogUnavailable(f"Kafka: no records for {SILENCE_SECONDS:.0f} s") from error
        finally:
            await reader.close()

    async def _offsets(self, spec: OffsetSpec) -> dict[int, int]:
        offsets = await self._cluster.offsets(self._name, self._partitions, spec)
        if len(offsets) < len(self._partitions):
            raise LogUnavailable(f"Kafka: {self._name} has partitions without a leader")
        return offsets
