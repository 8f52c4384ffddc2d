"""Small bounds and short deadlines for the server, so that short schedules reach every edge."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from landline import retention, writer
from landline.delivery import (
    acceptances,
    ahead,
    delivery,
    flights,
    intake,
    memory,
    reads,
    receipts,
    session,
    window,
)
from landline.gateway import devices, hub, membership, repeats, replay, rooms
from simulation.plan import Plan

# Small bounds and short deadlines, so that short schedules reach every edge.
BOUNDS: dict[Any, dict[str, Any]] = {
    session: {"WINDOW": 6, "PAGE_ROWS": 3, "DEAF_SECONDS": 1.0},
    window: {"WINDOW": 6},
    ahead: {"AHEAD_CONVERSATIONS": 2},
    memory: {"HELD_MESSAGES": 3, "REMEMBERED_IDS": 4, "PUSHED_IDS": 12, "OWN_IDS": 5},
    delivery: {"WRITE_TIMEOUT_SECONDS": 2.0},
    intake: {"SESSION_FLIGHTS": 4},
    flights: {"FLIGHTS": 14},
    receipts: {"RECEIPTS_PER_RECORD": 4},
    devices: {"UNANSWERED_SECONDS": 1.0},
    hub: {"DRAIN_SECONDS": 3.0, "FAREWELL_SECONDS": 1.0},
    membership: {"LOG_SECONDS": 1.0},
    replay: {"STORE_SECONDS": 1.5, "PART_SECONDS": 0.5, "SWEEP_QUERIES": 3, "PAGES_AT_ONCE": 4},
    repeats: {"FIND_SECONDS": 3.0, "CONFIRM_SECONDS": 1.0},
    retention: {"RETENTION_WATCH_SECONDS": 1.0, "LOG_ANSWER_SECONDS": 1.0},
    writer: {
        "BATCH_ENTRIES": 5,
        "APPLY_SECONDS": 2.0,
        "ANSWER_SECONDS": 1.0,
        "STAND_BY_SECONDS": 0.5,
        "_LAST_BACKOFF_SECONDS": 0.5,
    },
}
CRAMPED: dict[Any, dict[str, Any]] = {
    memory: {"HELD_BYTES": 1_600, "ALL_HELD_BYTES": 2_400, "ALL_PUSHED_BYTES": 6 * 320},
    window: {"BURST_BYTES": 700},
    acceptances: {"REMEMBERED_ACCEPTANCES": 3, "REMEMBERED_SECONDS": 2.0},
    flights: {"FLIGHTS": 5},
    receipts: {
        "QUEUED_RECEIPTS": 4,
        "SETTLED_RECEIPTS": 6,
        "TOLD_RECEIPTS": 8,
        "TOLD_SECONDS": 2.0,
    },
    reads: {"QUEUED_READS": 1},
    rooms: {"REMEMBERED_MEMBERS": 4, "WAITING_PUSHES": 2},
}

# Within this long after `accepted` a connected recipient has the message, once log and store are
# healthy: writer's lag + sweep + a second for what a page waits for.
STRANDED_SECONDS = 6.0
# In a run without faults a connected recipient has it before the next sweep could have helped.
PROMPT_SECONDS = 1.5
# A session that has waited so long (and a tick) for a store that is away hears live messages within
# the second time: a message before it may have to be looked for in the store first, which fails.
DEAF_SECONDS = BOUNDS[session]["DEAF_SECONDS"] + hub.TICK_SECONDS
HEARD_SECONDS = PROMPT_SECONDS + BOUNDS[repeats]["CONFIRM_SECONDS"]
# Within this long after the last fault everything has come to rest.
REST_SECONDS = 20.0
# So many sessions may it take each user, where there is room for a few receipts only.
FINAL_ROUNDS = 12

NETWORK_FAULTS = frozenset({"directory", "hints", "gaps"})


@contextmanager
def bounds(plan: Plan) -> Iterator[None]:
    """Set the bounds of the server's modules for a run; silence its log."""
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    state = random.getstate()
    random.seed(plan.seed)
    changed: list[tuple[Any, str, Any]] = []
    try:
        for table in (BOUNDS, CRAMPED if "cramped" in plan.faults else {}):
            for module, values in table.items():
                for name, value in values.items():
                    changed.append((module, name, getattr(module, name)))
                    setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(changed):
            setattr(module, name, value)
        random.setstate(state)
        structlog.configure(**before)
