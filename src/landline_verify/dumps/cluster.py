"""Log and store of a cluster, read together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from confluent_kafka import KafkaException

from landline_verify.dumps.log import EPOCH_BITS, DumpFailed, Log, position
from landline_verify.dumps.records import described
from landline_verify.dumps.store import STORE_ERRORS, Store
from landline_verify.history.events import Dump
from landline_verify.history.recorder import Recorder


@asynccontextmanager
async def opened(
    kafka: str | None, postgres: str | None
) -> AsyncIterator[tuple[Log | None, Store | None]]:
    """Open log and store where their addresses are given. Raises: VerifyError."""
    log = await asyncio.to_thread(Log, kafka) if kafka else None
    try:
        store = await Store.open(postgres) if postgres else None
        try:
            yield log, store
        finally:
            if store is not None:
                store.close()
    finally:
        if log is not None:
            await asyncio.to_thread(log.close)


async def dump(
    log: Log | None,
    store: Store | None,
    recorder: Recorder,
    prefix: str,
    *,
    epoch: int,
    seconds: float,
) -> list[str]:
    """Write down what log and store hold of the run's users; return what could not be read.

    The store comes first, in one snapshot, and the log up to where that snapshot has applied it:
    then the store is the fold of the log, however much is written meanwhile.
    """
    problems: list[str] = []
    base = 0
    try:
        base = (epoch if store is None else await store.epoch()) << EPOCH_BITS
        ends = {} if log is None else await asyncio.to_thread(log.ends)
    except (KafkaException, *STORE_ERRORS) as error:
        ends, problems = {}, [f"log and store could not be read: {_reason(error)}"]
    ends = {partition: base + end for partition, end in ends.items()}
    if store is not None and not problems:
        try:
            await store.wait_for(ends, base, seconds)
            starts = {} if log is None else {each: base + at for each, at in log.starts.items()}
            applied = await store.dump(recorder, prefix, starts)
            last = {} if log is None else await asyncio.to_thread(log.ends)
            for partition, offset in applied.items():
                # Not beyond the log's end: the checker has to see a store that is ahead of it.
                end = max(offset, ends.get(partition, base))
                ends[partition] = min(end, base + last.get(partition, 0))
        except (KafkaException, *STORE_ERRORS) as error:
            problems.append(f"the store could not be read: {_reason(error)}")
    if store is not None:
        recorder.record(Dump(recorder.now(), "store", not problems))
    if log is None:
        return problems
    before = len(problems)
    if ends:
        try:
            await asyncio.to_thread(_dump_log, log, recorder, prefix, base, ends)
        except (KafkaException, DumpFailed) as error:
            problems.append(f"the log could not be read: {_reason(error)}")
    recorder.record(Dump(recorder.now(), "log", bool(ends) and len(problems) == before))
    return problems


def _dump_log(log: Log, recorder: Recorder, prefix: str, base: int, ends: dict[int, int]) -> None:
    for record in log.read({each: end - base for each, end in ends.items()}):
        partition, offset = position(record)
        value = record.value() or b""
        recorder.record(described(value, recorder.now(), partition, base + offset, prefix))


def _reason(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return str(error.args[0].str())
    return str(error) or type(error).__name__
