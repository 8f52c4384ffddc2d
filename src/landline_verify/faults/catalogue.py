"""Every fault that can be done to a deployment of our own: whom it strikes, and how it is healed.

A name begins with what it strikes, as `history.events` says: the checker excuses by it.
"""

from typing import Final

from landline_stack.proxy import Proxy
from landline_verify.faults import aims, clock, disk
from landline_verify.faults.deployments import BROKERS, DEPLOYMENT_KINDS, EmbeddedServer
from landline_verify.faults.fault import Fault

_ALL: Final = tuple(DEPLOYMENT_KINDS)
_CLUSTERS: Final = tuple(BROKERS)

FAULTS: Final = (
    Fault(
        "server-kill", "SIGKILL of a server with clients; started again",
        _ALL, (0.2, 4.0), 2.0, aims.killed(lambda each: each.servers),
    ),
    Fault(
        "server-pause", "SIGSTOP of a server: its sockets stay open, nobody answers",
        _ALL, (2.0, 8.0), 0.1, aims.paused(lambda each: each.servers),
    ),
    Fault(
        "server-drain", "SIGTERM of a server, which answers, says goodbye and ends; started again",
        _ALL, (0.1, 2.0), 2.0, aims.drained(lambda each: each.servers),
    ),
    Fault(
        "writer-kill", "SIGKILL of the server that only writes the store; started again",
        _CLUSTERS, (1.0, 6.0), 2.0, aims.killed(lambda each: each.writers),
    ),
    Fault(
        "writer-pause", "SIGSTOP of the server that only writes the store",
        _CLUSTERS, (3.0, 12.0), 0.1, aims.paused(lambda each: each.writers),
    ),
    Fault(
        "kafka-kill", "SIGKILL of a broker; started again",
        _CLUSTERS, (1.0, 8.0), 5.0, aims.broker,
    ),
    Fault(
        "kafka-pause", "SIGSTOP of a broker: it hangs, with its connections open",
        _CLUSTERS, (3.0, 12.0), 0.1, aims.paused(lambda each: each.brokers),
    ),
    Fault(
        "kafka-leader-kill", "SIGKILL of the broker that leads most partitions; started again",
        ("cluster3",), (3.0, 10.0), 5.0, aims.leader,
    ),
    Fault(
        "postgres-kill", "SIGKILL of PostgreSQL and all its processes; started again",
        _CLUSTERS, (1.0, 8.0), 1.0, aims.killed(lambda each: each.postgres),
    ),
    Fault(
        "postgres-pause", "SIGSTOP of PostgreSQL and all its processes: queries hang",
        _CLUSTERS, (3.0, 8.0), 0.1, aims.paused(lambda each: each.postgres),
    ),
    Fault(
        "redis-kill", "SIGKILL of Redis; started again, empty",
        _CLUSTERS, (0.2, 8.0), 0.2, aims.killed(lambda each: each.redis),
    ),
    Fault(
        "redis-pause", "SIGSTOP of Redis: look-ups hang",
        _CLUSTERS, (2.0, 8.0), 0.1, aims.paused(lambda each: each.redis),
    ),
    Fault(
        "redis-flush", "FLUSHALL: nobody is found any more",
        _CLUSTERS, (0.0, 0.1), 0.0, aims.one_of(lambda each: each.redis, aims.flush, aims.nothing),
    ),
    Fault(
        "client-cut", "every client's connection is reset",
        _ALL, (0.0, 0.1), 0.0, aims.lines(Proxy.cut),
    ),
    Fault(
        "client-half-open", "what clients and servers say to each other vanishes",
        _ALL, (2.0, 12.0), 0.1, aims.lines(Proxy.silence),
    ),
    Fault(
        "client-slow", "every client's connection carries 4 KiB a second each way",
        _ALL, (3.0, 8.0), 0.1, aims.lines(Proxy.slow_down),
    ),
    Fault(
        "disk-full", "no file of the server can grow (RLIMIT_FSIZE)",
        ("embedded",), (1.0, 6.0), 1.0,
        aims.one_of(
            lambda each: each.embedded, EmbeddedServer.fill_disk, EmbeddedServer.free_disk
        ),
        aims.no_limits,
    ),
    Fault(
        "clock-step", "the clock of a server jumps by an hour, a day or a month, and back",
        _ALL, (1.0, 5.0), 0.0, aims.step, clock.obstacle, "clock",
    ),
    Fault(
        "disk-lies", "a commit reports failure and is in the file; then no page can be read",
        ("embedded",), (2.0, 5.0), 2.0,
        aims.one_of(
            lambda each: each.embedded, EmbeddedServer.break_disk, EmbeddedServer.repair_disk
        ),
        disk.obstacle, "disk",
    ),
    Fault(
        "postgres-away", "PostgreSQL is away for long, and everybody connects again meanwhile",
        _CLUSTERS, (20.0, 60.0), 2.0, aims.away,
    ),
    Fault(
        "postgres-host-hang", "the first of two addresses of PostgreSQL hangs without refusing",
        _CLUSTERS, (28.0, 35.0), 0.1, aims.hang, needs="hosts",
    ),
    Fault(
        "postgres-host-hang-at-start", "the same, and a server starts while it hangs",
        _CLUSTERS, (28.0, 35.0), 2.0, aims.hang_at_start, needs="hosts",
    ),
    Fault(
        "settings-unsafe", "the log's topic is set so that it no longer keeps the promise",
        ("cluster3",), (15.0, 20.0), 0.1, aims.set_unsafe,
    ),
    Fault(
        "settings-too-strict", "the log's topic asks for more replicas than there are",
        _CLUSTERS, (3.0, 15.0), 0.1, aims.set_too_strict,
    ),
    Fault(
        "settings-retention",
        "the log keeps 20 s and the store is away; then days again, with the store still away",
        _CLUSTERS, (40.0, 45.0), 15.0, aims.shorten_retention,
    ),
    Fault(
        "user-flood", "one user is sent three times what they acknowledge",
        _ALL, (35.0, 45.0), 0.1, aims.flood,
    ),
)  # fmt: skip


def fitting(kind: str) -> list[Fault]:
    """Return the faults that can be done to a deployment of this kind, on this machine."""
    return [each for each in FAULTS if kind in each.fits and each.obstacle() is None]


def left_out(kind: str) -> dict[str, str]:
    """Return the faults that would fit, but cannot be done here, with the reason."""
    found = {each.name: each.obstacle() for each in FAULTS if kind in each.fits}
    return {name: reason for name, reason in found.items() if reason is not None}
