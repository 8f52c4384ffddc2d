"""How faults are done: each function finds a victim, and says what harms and what heals it."""

import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeVar

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from landline_stack.errors import StackError
from landline_stack.kafka import KafkaNode
from landline_stack.process import StackServer
from landline_stack.proxy import Proxy
from landline_stack.redis import RedisServer
from landline_verify.dumps.log import TOPIC
from landline_verify.faults.deployments import Deployment
from landline_verify.faults.fault import Aim, Rest, Strike
from landline_verify.faults.settings import TopicSetting

_ASK_SECONDS: Final = 10.0
_LEADERS_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
_HOUR: Final = 3_600
# Each of them breaks the promise, but deletes nothing that is there.
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


def one_of(
    victims: Callable[[Deployment], Sequence[V]],
    harm: Callable[[V], object],
    heal: Callable[[V], object],
) -> Aim:
    """Aim at one of these."""

    def aim(deployment: Deployment, number: int) -> Strike:
        among = victims(deployment)
        victim = among[number % len(among)]
        return Strike(victim.name, partial(harm, victim), partial(heal, victim))

    return aim


def killed(victims: Callable[[Deployment], Sequence[StackServer]]) -> Aim:
    """Aim at one of these servers with SIGKILL; it is started again."""
    return one_of(victims, StackServer.kill, StackServer.start)


def paused(victims: Callable[[Deployment], Sequence[StackServer]]) -> Aim:
    """Aim at one of these servers with SIGSTOP."""
    return one_of(victims, StackServer.pause, StackServer.resume)


def drained(victims: Callable[[Deployment], Sequence[StackServer]]) -> Aim:
    """Aim at one of these servers with SIGTERM; it is started again."""
    return one_of(victims, _drain, StackServer.start)


def lines(harm: Callable[[Proxy], object]) -> Aim:
    """Aim at the connections of all clients."""

    def aim(deployment: Deployment, _number: int) -> Strike:
        def all_of(action: Callable[[Proxy], object]) -> None:
            for proxy in deployment.proxies:
                action(proxy)

        return Strike("all", partial(all_of, harm), partial(all_of, Proxy.flow))

    return aim


def broker(deployment: Deployment, number: int) -> Strike:
    """Aim at a broker with SIGKILL; it is started again."""
    return _killed_broker(deployment, deployment.brokers[number % len(deployment.brokers)])


def leader(deployment: Deployment, _number: int) -> Strike:
    """Aim at the broker that leads most of the log's partitions when it is struck."""
    brokers = {broker.node: broker for broker in deployment.brokers}
    return _killed_broker(deployment, brokers[_leader_of(deployment)])


def _killed_broker(deployment: Deployment, victim: KafkaNode) -> Strike:
    def heal() -> None:
        victim.start()
        _wait_for_leaders(deployment)

    return Strike(victim.name, victim.kill, heal)


def _wait_for_leaders(deployment: Deployment) -> None:
    """Wait until every partition of the log answers: a broker that runs may lead none yet.

    Raises: StackError.
    """
    admin = _admin(deployment)
    deadline = time.monotonic() + _LEADERS_SECONDS
    while (trouble := _trouble(admin)) is not None:
        if time.monotonic() > deadline:
            raise StackError(f"{TOPIC} had no leaders in {_LEADERS_SECONDS:g} s: {trouble}")
        time.sleep(_LOOK_SECONDS)


def _trouble(admin: AdminClient) -> Exception | None:
    try:
        topic = admin.list_topics(TOPIC, timeout=_ASK_SECONDS).topics[TOPIC]
        if topic.error is not None:
            return KafkaException(topic.error)
        places = {TopicPartition(TOPIC, each): OffsetSpec.latest() for each in topic.partitions}
        answers = admin.list_offsets(places, request_timeout=_ASK_SECONDS).values()
        # One that was not asked, as it has no leader, is no error to librdkafka.
        if any(answer.result().offset < 0 for answer in answers):
            return TimeoutError("a partition gives no answer")
    except KafkaException as error:
        return error
    return None


def _admin(deployment: Deployment) -> AdminClient:
    assert deployment.kafka is not None
    return AdminClient({"bootstrap.servers": deployment.kafka, "log_level": 0})


def _leader_of(deployment: Deployment) -> int:
    topics = _admin(deployment).list_topics(TOPIC, timeout=_ASK_SECONDS).topics
    leaders = Counter(each.leader for each in topics[TOPIC].partitions.values())
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


def flush(server: RedisServer) -> None:
    """Have it forget everything."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=_ASK_SECONDS) as sock:
        sock.sendall(b"FLUSHALL\r\n")
        if not sock.recv(64).startswith(b"+OK"):
            raise StackError("redis does not carry FLUSHALL out")


def nothing(_victim: object) -> None:
    """It is over when it is done."""


def no_limits() -> str | None:
    """Return why no file's size can be limited on this machine, or None."""
    return (
        None if hasattr(resource, "prlimit") else "only Linux limits the files of other processes"
    )


def step(deployment: Deployment, number: int) -> Strike:
    """Aim at the clock of a server with clients: a month, a day or an hour, there and back."""
    names = sorted(deployment.clocks)
    name = names[number % len(names)]
    offset = _STEPS[number // len(names) % len(_STEPS)]
    step = deployment.clocks[name].step
    return Strike(name, partial(step, offset), partial(step, 0))


def hang(deployment: Deployment, _number: int) -> Strike:
    """Aim at the first of PostgreSQL's addresses: a server that connects there waits for ever."""
    host = deployment.hosts[0]
    return Strike(host.name, host.silence, host.flow)


def hang_at_start(deployment: Deployment, number: int) -> Strike:
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


def away(deployment: Deployment, number: int) -> Strike:
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


def set_unsafe(deployment: Deployment, number: int) -> Strike:
    """Set the log's topic so that it breaks the promise, in one way of several."""
    return _setting(deployment, *_UNSAFE[number % len(_UNSAFE)])


def set_too_strict(deployment: Deployment, _number: int) -> Strike:
    """Ask for one replica more than there are."""
    return _setting(deployment, "min.insync.replicas", str(len(deployment.brokers) + 1))


def shorten_retention(deployment: Deployment, _number: int) -> Strike:
    """With the store away, let the log keep less than the store will need; then enough again."""
    store = deployment.postgres[0]
    setting = _setting(deployment, "retention.ms", str(_SHORT_RETENTION_MS))

    def harm() -> None:
        store.pause()
        setting.harm()

    return replace(setting, harm=harm, rest=Rest("postgres-pause", 14.0, store.resume))


def flood(deployment: Deployment, _number: int) -> Strike:
    """Have one user sent more than they acknowledge."""
    return Strike("one user", deployment.flood.set, deployment.flood.clear)
