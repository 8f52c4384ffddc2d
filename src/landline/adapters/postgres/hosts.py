"""The hosts in one URL: which of them is the primary, found out without waiting for the others.

A host may refuse, hang, swallow packets, be a standby, or have a name that nobody resolves. The
driver asks one after the other and has one deadline for all, so the first that hangs would take
it all. Here each has a deadline of its own, and the next one is asked before the last has failed.
"""

import asyncio
import ipaddress
import os
import re
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakKeyDictionary

from landline.adapters.postgres import lane
from landline.adapters.postgres.lane import TROUBLE, NoHostUsable, PostgresConnection
from landline.config.values import SecretUrl
from landline.observability.logging import get_logger

# How long a host is waited for before the next one is asked too; less where there are many, so
# that the last one is asked well before the shortest deadline of a lane.
NEXT_SECONDS: Final = 0.5
ALL_SECONDS: Final = 2.0
LOOK_UP_SECONDS: Final = 3.0

_HOST: Final = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]*))(?::([0-9]*))?")

log = get_logger(__name__)


class Host(NamedTuple):
    """Where a server listens. A name that begins with `/` is the directory of a socket."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def hosts_of(url: str) -> Sequence[Host]:
    """Return the hosts that a URL lists, each with its port: the driver has a reading of its own.

    None where it lists none, or is not as it should be: the driver says what is wrong.
    """
    try:
        parts = urlsplit(url)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    except ValueError:
        return ()
    listed = parts.netloc.partition("@")[2] if "@" in parts.netloc else parts.netloc
    listed = listed or query.get("host", "")
    if not listed and ("service" in query or "PGSERVICE" in os.environ):
        return ()  # the driver reads the file of services
    listed = listed or os.environ.get("PGHOST", "")
    ports = (query.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    specs = [_HOST.fullmatch(each) for each in listed.split(",")]
    if len(ports) == 1:
        ports *= len(specs)
    if len(ports) != len(specs):
        return ()
    hosts = []
    for spec, port in zip(specs, ports, strict=True):
        text = (spec[3] or port) if spec else ""
        if spec is None or not (spec[1] or spec[2]) or not text.isdecimal():
            return ()
        hosts.append(Host(unquote(spec[1] or spec[2]), int(text)))
    return hosts


class Hosts:
    """The hosts of one URL, for all the lanes of a store.

    The primary may become another one. Lanes that are connected to the old one follow: two lanes at
    two servers would be two truths.
    """

    def __init__(self, url: SecretUrl, name: str) -> None:
        """`name`: how the sessions are called in the server."""
        self._url = url
        self._name = name
        self._hosts = hosts_of(url.reveal())
        self._only = self._hosts[0] if len(self._hosts) == 1 else ()
        self._current: Host | None = None
        self._places: WeakKeyDictionary[PostgresConnection, Host] = WeakKeyDictionary()
        self._lookups: dict[str, Future[Any]] = {}

    async def connect(self, statement_seconds: float) -> PostgresConnection:
        """Return a new connection to the primary. Raises: one of TROUBLE, ValueError for a bad URL.

        The host that was the primary the last time is asked first.
        """
        if len(self._hosts) < 2:
            return await lane.connect(self._url, self._name, statement_seconds, *self._only)
        hosts = sorted(self._hosts, key=lambda host: host != self._current)
        host, connection = await self._race(hosts, statement_seconds)
        if host != self._current:
            if self._current is not None:
                log.warning("postgres_moved", host=str(host), before=str(self._current))
            self._current = host
        self._places[connection] = host
        return connection

    def is_current(self, connection: PostgresConnection) -> bool:
        """Say whether the primary is still the host of this connection, as far as is known."""
        return self._places.get(connection) in (None, self._current)

    async def look(self) -> None:
        """Look where the primary is. A host that is slow lets others in, one that hangs does not.

        Where there is one host alone, there is nothing to find out.
        """
        if len(self._hosts) > 1:
            with suppress(*TROUBLE):
                found = await self.connect(ALL_SECONDS)
                found.terminate()

    async def _race(
        self, hosts: Sequence[Host], statement_seconds: float
    ) -> tuple[Host, PostgresConnection]:
        """Ask host after host, each a moment after the one before; the first that will do wins."""
        errors: dict[Host, BaseException] = {}
        asked: dict[asyncio.Task[PostgresConnection], Host] = {}
        waiting = list(hosts)
        try:
            while waiting or asked:
                if waiting:
                    host = waiting.pop(0)
                    asking = self._ask(host, statement_seconds)
                    asked[asyncio.create_task(asking, name=f"postgres {host}")] = host
                patience = min(NEXT_SECONDS, ALL_SECONDS / len(hosts)) if waiting else None
                done, _ = await asyncio.wait(
                    asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    error = task.exception()
                    if error is None:
                        return asked.pop(task), task.result()
                    if isinstance(error, ValueError) or not isinstance(error, TROUBLE):
                        raise error  # the URL itself is wrong, or this is a defect
                    errors[asked.pop(task)] = error
        finally:
            await _give_up(asked)
        raise NoHostUsable({str(host): errors[host] for host in self._hosts})

    async def _ask(self, host: Host, statement_seconds: float) -> PostgresConnection:
        await self._look_up(host)
        return await lane.connect(self._url, self._name, statement_seconds, *host)

    async def _look_up(self, host: Host) -> None:
        """See that the name can be resolved, in a thread of its own and one at a time.

        Where that hangs, it hangs for half a minute. The event loop has four threads for it, and
        with those in use no other name is resolved either.
        """
        if host.name.startswith("/") or _is_address(host.name):
            return
        lookup = self._lookups.get(host.name)
        if lookup is None or lookup.done():
            lookup = self._lookups[host.name] = Future()
            lookup.set_running_or_notify_cancel()  # the caller may give up, the thread cannot
            threading.Thread(
                target=_resolve, args=(host, lookup), name=f"resolve {host.name}", daemon=True
            ).start()
        await asyncio.wait_for(asyncio.wrap_future(lookup), LOOK_UP_SECONDS)


def _resolve(host: Host, lookup: "Future[Any]") -> None:
    try:
        lookup.set_result(socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM))
    except Exception as error:  # noqa: BLE001 - the caller must hear of it
        lookup.set_exception(error)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


async def _give_up(asked: "dict[asyncio.Task[PostgresConnection], Host]") -> None:
    """Let go of the hosts that were too slow, and of one that came in at the same moment."""
    for task in asked:
        task.cancel()
    if asked:
        await asyncio.wait(asked)
    for task in asked:
        if not task.cancelled() and task.exception() is None:
            task.result().terminate()
