"""Every fault that can be done to a deployment of our own: whom it strikes, and how it is healed.

A name begins with what it strikes, as `landline_verify.events` says: the checker excuses by it.
"""

import resource
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, TypeVar

from confluent_kafka.admin import AdminClient

from landline_stack.errors import StackError
from landline_stack.kafka import KafkaNode
from landline_stack.process import StackServer
from landline_stack.proxy import Proxy
from landline_stack.redis import RedisServer
from landline_verify import clock, disk
from landline_verify.deployments import (
    BROKERS,
    DEPLOYMENT_KINDS,
    Deployment,
    EmbeddedServer,
    Equipment,
)
from landline_verify.dumps import TOPIC
from landline_verify.settings import TopicSetting

_ALL: Final = tuple(DEPLOYMENT_KINDS)
_CLUSTERS: Final = tuple(BROKERS)
_ASK_SECONDS: Final = 10.0
_HOUR: Final = 3_600
# Each of them breaks the promise, and only that: nothing that is there is deleted for it.
_UNSAFE: Final = (
    ("min.insync.replicas", "1"),
    ("retention.ms", str(_HOUR * 1_000)),
    ("unclean.leader.election.enable", "true"),
)
_SHORT_RETENTION_MS: Final = 20_000
_STEPS: Final = (-30 * 24 * _HOUR, -24 * _HOUR, -_HOUR, _HOUR, 24 * _HOUR, 30 * 24 * _HOUR)


class _Named(Protocol):
    name: str


V = TypeVar("V", bound=_Named)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still wrong for so many seconds when a fault is over, and began with it."""

    name: str
    seconds: float
    heal: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault on its victim. Both functions block, and may raise StackError."""

    victim: str
    harm: Callable[[], object]
    heal: Callable[[], object]
    rest: Rest | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can be done.

    `seconds` is the shortest and the longest time between harm and heal, `heal_seconds` what the
    heal itself takes, about. `aim` chooses among several victims by a number. `needs` is what the
    deployment has to be started with.
    """

    name: str
    about: str
    fits: Sequence[str]
    seconds: tuple[float, float]
    heal_seconds: float
    aim: Callable[[Deployment, int], Strike]
    obstacle: Callable[[], str | None] = lambda: None
    needs: Equipment | None = None


def fitting(kind: str) -> list[Fault]:
    """Return the faults that can be done to a deployment of this kind, on this machine."""
    return [each for each in FAULTS if kind in each.fits and each.obstacle() is None]


def left_out(kind: str) -> dict[str, str]:
    """Return the faults that would fit, but cannot be done here, with the reason."""
    found = {each.name: each.obstacle() for each in FAULTS if kind in each.fits}
    return {name: reason for name, reason in found.items() if reason is not None}


# How ---------------------------------------------------------------------------------------------


def _one_of(
    victims: Callable[[Deployment], Sequence[V]],
    harm: Callable[[V], object],
    heal: Callable[[V], object],
) -> Callable[[Deployment, int], Strike]:
    """Aim at one of these."""

    def aim(deployment: Deployment, number: int) -> Strike:
        among = victims(deployment)
        victim = among[number % len(among)]
        return Strike(victim.name, partial(harm, victim), partial(heal, victim))

    return aim


def _lines(harm: Callable[[Proxy], object]) -> Callable[[Deployment, int], Strike]:
    """Aim at the connections of all clients."""

    def aim(deployment: Deployment, _number: int) -> Strike:
        def all_of(action: Callable[[Proxy], object]) -> None:
            for proxy in deployment.proxies:
                action(proxy)

        return Strike("all", partial(all_of, harm), partial(all_of, Proxy.flow))

    return aim


def _leader(deployment: Deployment, _number: int) -> Strike:
    """Aim at the broker that leads most of the log's partitions when it is struck."""
    brokers = {broker.node: broker for broker in deployment.brokers}
    leader = brokers[_leader_of(",".join(broker.address for broker in deployment.brokers))]
    return Strike(leader.name, leader.kill, leader.start)


def _leader_of(brokers: str) -> int:
    partitions = AdminClient({"bootstrap.servers": brokers, "log_level": 0}).list_topics(
        TOPIC, timeout=_ASK_SECONDS
    )
    leaders = Counter(each.leader for each in partitions.topics[TOPIC].partitions.values())
    leaders.pop(-1, None)
    if not leaders:
        raise StackError(f"no partition of {TOPIC} has a leader that could be killed")
    return leaders.most_common(1)[0][0]


def _drain(server: StackServer) -> None:
    """End it politely. Raises: StackError, where it does not end as it promises."""
    code = server.stop()
    if code != 0:
        raise StackError(
            f"{server.name} did not drain ({code=}); its log ends with:\n{server.log_tail()}"
        )


def _flush(server: RedisServer) -> None:
    """Have it forget everything, by its inline protocol."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=_ASK_SECONDS) as sock:
        sock.sendall(b"FLUSHALL\r\n")
        if not sock.recv(64).startswith(b"+OK"):
            raise StackError("redis does not carry FLUSHALL out")


def _nothing(_victim: object) -> None:
    """It is over when it is done."""


def _no_limits() -> str | None:
    return (
        None if hasattr(resource, "prlimit") else "only Linux limits the files of other processes"
    )


def _step(deployment: Deployment, number: int) -> Strike:
    """Aim at the clock of a server with clients: a month, a day or an hour, there and back."""
    names = sorted(deployment.clocks)
    name = names[number % len(names)]
    offset = _STEPS[number // len(names) % len(_STEPS)]
    step = deployment.clocks[name].step
    return Strike(name, partial(step, offset), partial(step, 0))


def _hang(deployment: Deployment, _number: int) -> Strike:
    """Aim at the first of PostgreSQL's addresses: who connects there waits for ever."""
    host = deployment.hosts[0]
    return Strike(host.name, host.silence, host.flow)


def _hang_at_start(deployment: Deployment, number: int) -> Strike:
    """The same, for a server that starts then."""
    host, server = deployment.hosts[0], deployment.servers[number % len(deployment.servers)]

    def harm() -> None:
        host.silence()
        server.kill()
        server.launch()

    def heal() -> None:
        host.flow()
        if not server.is_running:
            server.launch()
        server.wait_ready()

    return Strike(f"{host.name} for {server.name}", harm, heal)


def _away(deployment: Deployment, number: int) -> Strike:
    """Aim at PostgreSQL, refusing or hanging, and have everybody connect while it is away."""
    store = deployment.postgres[0]
    is_killed = number % 2 == 0

    def harm() -> None:
        (store.kill if is_killed else store.pause)()
        for proxy in deployment.proxies:
            proxy.cut()

    return Strike(store.name, harm, store.start if is_killed else store.resume)


def _setting(deployment: Deployment, name: str, value: str) -> Strike:
    assert deployment.kafka is not None
    setting = TopicSetting(deployment.kafka, name)
    return Strike(f"{name}={value}", partial(setting.change, value), setting.restore)


def _set_unsafe(deployment: Deployment, number: int) -> Strike:
    return _setting(deployment, *_UNSAFE[number % len(_UNSAFE)])


def _set_too_strict(deployment: Deployment, _number: int) -> Strike:
    """Ask for one replica more than there are."""
    return _setting(deployment, "min.insync.replicas", str(len(deployment.brokers) + 1))


def _shorten_retention(deployment: Deployment, _number: int) -> Strike:
    """Let the log keep less than the store, which is away, will miss; then enough, with the store
    still away.
    """
    store = deployment.postgres[0]
    setting = _setting(deployment, "retention.ms", str(_SHORT_RETENTION_MS))

    def harm() -> None:
        store.pause()
        setting.harm()

    return replace(setting, harm=harm, rest=Rest("postgres-pause", 14.0, store.resume))


def _flood(deployment: Deployment, _number: int) -> Strike:
    return Strike("one user", deployment.flood.set, deployment.flood.clear)


# The parts of a deployment -----------------------------------------------------------------------


def _servers(deployment: Deployment) -> Sequence[StackServer]:
    return deployment.servers


def _writers(deployment: Deployment) -> Sequence[StackServer]:
    return deployment.writers


def _brokers(deployment: Deployment) -> Sequence[KafkaNode]:
    return deployment.brokers


def _postgres(deployment: Deployment) -> Sequence[StackServer]:
    return deployment.postgres


def _redis(deployment: Deployment) -> Sequence[RedisServer]:
    return deployment.redis


def _embedded(deployment: Deployment) -> Sequence[EmbeddedServer]:
    return deployment.embedded


FAULTS: Final = (
    Fault(
        "server-kill", "SIGKILL of a server with clients; started again",
        _ALL, (0.2, 4.0), 2.0, _one_of(_servers, StackServer.kill, StackServer.start),
    ),
    Fault(
        "server-pause", "SIGSTOP of a server: its sockets stay open, nobody answers",
        _ALL, (2.0, 8.0), 0.1, _one_of(_servers, StackServer.pause, StackServer.resume),
    ),
    Fault(
        "server-drain", "SIGTERM of a server, which answers, says goodbye and ends; started again",
        _ALL, (0.1, 2.0), 2.0, _one_of(_servers, _drain, StackServer.start),
    ),
    Fault(
        "writer-kill", "SIGKILL of the server that only writes the store; started again",
        _CLUSTERS, (1.0, 6.0), 2.0, _one_of(_writers, StackServer.kill, StackServer.start),
    ),
    Fault(
        "writer-pause", "SIGSTOP of the server that only writes the store",
        _CLUSTERS, (3.0, 12.0), 0.1, _one_of(_writers, StackServer.pause, StackServer.resume),
    ),
    Fault(
        "kafka-kill", "SIGKILL of a broker; started again",
        _CLUSTERS, (1.0, 8.0), 5.0, _one_of(_brokers, StackServer.kill, StackServer.start),
    ),
    Fault(
        "kafka-pause", "SIGSTOP of a broker: it hangs, with its connections open",
        _CLUSTERS, (3.0, 12.0), 0.1, _one_of(_brokers, StackServer.pause, StackServer.resume),
    ),
    Fault(
        "kafka-leader-kill", "SIGKILL of the broker that leads most partitions; started again",
        ("cluster3",), (3.0, 10.0), 5.0, _leader,
    ),
    Fault(
        "postgres-kill", "SIGKILL of PostgreSQL and all its processes; started again",
        _CLUSTERS, (1.0, 8.0), 1.0, _one_of(_postgres, StackServer.kill, StackServer.start),
    ),
    Fault(
        "postgres-pause", "SIGSTOP of PostgreSQL and all its processes: queries hang",
        _CLUSTERS, (3.0, 8.0), 0.1, _one_of(_postgres, StackServer.pause, StackServer.resume),
    ),
    Fault(
        "redis-kill", "SIGKILL of Redis; started again, empty",
        _CLUSTERS, (0.2, 8.0), 0.2, _one_of(_redis, StackServer.kill, StackServer.start),
    ),
    Fault(
        "redis-pause", "SIGSTOP of Redis: look-ups hang",
        _CLUSTERS, (2.0, 8.0), 0.1, _one_of(_redis, StackServer.pause, StackServer.resume),
    ),
    Fault(
        "redis-flush", "FLUSHALL: nobody is found any more",
        _CLUSTERS, (0.0, 0.1), 0.0, _one_of(_redis, _flush, _nothing),
    ),
    Fault(
        "client-cut", "every client's connection is reset",
        _ALL, (0.0, 0.1), 0.0, _lines(Proxy.cut),
    ),
    Fault(
        "client-half-open", "what clients and servers say to each other vanishes",
        _ALL, (2.0, 12.0), 0.1, _lines(Proxy.silence),
    ),
    Fault(
        "client-slow", "every client's connection carries 4 KiB a second each way",
        _ALL, (3.0, 8.0), 0.1, _lines(Proxy.slow_down),
    ),
    Fault(
        "disk-full", "no file of the server can grow (RLIMIT_FSIZE)",
        ("embedded",), (1.0, 6.0), 1.0,
        _one_of(_embedded, EmbeddedServer.fill_disk, EmbeddedServer.free_disk), _no_limits,
    ),
    Fault(
        "clock-step", "the clock of a server jumps by an hour, a day or a month, and back",
        _ALL, (1.0, 5.0), 0.0, _step, clock.obstacle, "clock",
    ),
    Fault(
        "disk-lies", "a commit reports failure and is in the file; then no page can be read",
        ("embedded",), (2.0, 5.0), 2.0,
        _one_of(_embedded, EmbeddedServer.break_disk, EmbeddedServer.mend_disk),
        disk.obstacle, "disk",
    ),
    Fault(
        "postgres-away", "PostgreSQL is away for long, and everybody connects again meanwhile",
        _CLUSTERS, (20.0, 60.0), 2.0, _away,
    ),
    Fault(
        "postgres-host-hang", "the first of two addresses of PostgreSQL hangs without refusing",
        _CLUSTERS, (28.0, 35.0), 0.1, _hang, needs="hosts",
    ),
    Fault(
        "postgres-host-hang-at-start", "the same, and a server starts while it hangs",
        _CLUSTERS, (28.0, 35.0), 2.0, _hang_at_start, needs="hosts",
    ),
    Fault(
        "settings-unsafe", "the log's topic is set so that it no longer keeps the promise",
        ("cluster3",), (15.0, 20.0), 0.1, _set_unsafe,
    ),
    Fault(
        "settings-too-strict", "the log's topic asks for more replicas than there are",
        _CLUSTERS, (3.0, 15.0), 0.1, _set_too_strict,
    ),
    Fault(
        "settings-retention",
        "the log keeps 20 s and the store is away; then days again, with the store still away",
        _CLUSTERS, (40.0, 45.0), 15.0, _shorten_retention,
    ),
    Fault(
        "user-flood", "one user is sent three times what they acknowledge",
        _ALL, (35.0, 45.0), 0.1, _flood,
    ),
)  # fmt: skip
