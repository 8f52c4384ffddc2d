"""One run of a server: start, serve, drain, stop."""

import asyncio
import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvloop

from landline.adapters.clock import SystemClock
from landline.app.access import Access
from landline.app.binding import Place, admin_place, bind, cannot_listen, main_place
from landline.app.certificates import open_certificate
from landline.app.embedded import open_embedded
from landline.app.front import ROUTING_PART, Front
from landline.app.hangup import Hangup
from landline.app.parts import Parts
from landline.app.stopping import Stop
from landline.config import Settings
from landline.delivery import Delivery
from landline.errors import LogLost
from landline.expiry import DeviceExpiry
from landline.gateway.hub import Hub
from landline.gateway.permissions import Authorizing
from landline.observability.logging import configure_logging, get_logger
from landline.observability.metrics import Measured, Series, Value, series
from landline.ports import Clock
from landline.protocol.identity import uuid_text
from landline.purge import Purge
from landline.retention import RetentionWatch
from landline.writer import Writer

# How long a thread keeps Python's interpreter lock from another one that wants it. Python's own
# 5 ms are paid several times per commit by the thread that writes, while the loop is busy.
SWITCH_SECONDS = 0.000_5
# With the drain (gateway/hub.py) these stay below the 15 s after which SIGTERM has ended us.
STOP_SECONDS = 1.0
ANSWERED_SECONDS = 1.0  # what is decided is written
PARTS_CLOSE_SECONDS = 2.0

if TYPE_CHECKING:
    from landline.app.asking import Outside

log = get_logger(__name__)


def run(settings: Settings) -> int:
    """Serve until told to stop. Returns the exit code. Raises: StartupError."""
    sys.setswitchinterval(SWITCH_SECONDS)
    hangup = Hangup()
    try:
        return uvloop.run(_serve(settings, hangup))
    finally:
        hangup.ignore()  # until the process has ended


def new_id() -> str:
    """Return a fresh UUID of version 4 (RFC 9562, section 5.4)."""
    return uuid_text(os.urandom(16), version=4)


async def _serve(settings: Settings, hangup: Hangup) -> int:
    stop = Stop()
    certificate = open_certificate(settings)
    main, admin = main_place(settings), admin_place(settings)
    # In a thread: to look up a name may take long.
    sock = await stop.unless_asked(asyncio.to_thread(bind, settings, main))
    admin_sock = None
    if admin is not None:
        admin_sock = await stop.unless_asked(asyncio.to_thread(bind, settings, admin))
    port = sock.getsockname()[1]
    server_id = settings.server_name(port)
    configure_logging(settings.log_format, settings.log_dir, server_id, port)
    for line in settings.cautions:
        log.warning("unsafe_setting", setting=line)
    address = f"{server_id}/{new_id()}"  # of this run: another one of the same id is another server
    clock = SystemClock()
    outside = _outside(settings)
    access = Access(settings, clock, outside.fetch_keys if outside is not None else None)
    hangup.add(access.read_again)
    front = Front(settings, new_id, access.gate, clock)
    if certificate is not None:
        certificate.warn()
        hangup.add(certificate.read_again)
    try:
        with _listening(settings, main):
            await front.listener.open(sock, certificate.context if certificate else None)
        if admin is not None and admin_sock is not None:
            with _listening(settings, admin):
                await front.admin.open(admin_sock)
            log.info("admin_listening", url=_url("http", admin.host, admin_sock.getsockname()[1]))
        # Until here and until `admit` it says that it is starting: nobody is let in before the
        # preflight is done and everything can be used.
        parts = await stop.unless_asked(_open(settings, address))
    except BaseException:
        front.close()
        raise
    authorizing = outside.authorizing if outside is not None else None
    server = Server(
        settings, server_id, parts, front, access=access, clock=clock, authorizing=authorizing
    )
    scheme = "http" if certificate is None else "https"
    try:
        return await server.serve(_url(scheme, settings.host, port), stop)
    finally:
        if outside is not None:
            await outside.close()


def _outside(settings: Settings) -> "Outside | None":
    if settings.authorize_url is None and settings.jwks_url is None:
        return None
    from landline.app.asking import Outside  # noqa: PLC0415 - its library takes a while to load

    return Outside(settings)


async def _open(settings: Settings, address: str) -> Parts:
    if settings.kafka is None:
        return await open_embedded(settings, address)
    from landline.app.cluster import open_cluster  # noqa: PLC0415 - its drivers take a while to load

    return await open_cluster(settings, address)


class Server:
    """A gateway, a writer or both over the parts that it is given."""

    def __init__(
        self,
        settings: Settings,
        server_id: str,
        parts: Parts,
        front: Front,
        *,
        access: Access,
        clock: Clock,
        authorizing: Authorizing | None = None,
    ) -> None:
        self._parts = parts
        self._front = front
        self._access = access
        self._delivery = Delivery(
            clock=clock,
            new_id=new_id,
            server_id=server_id,
            durability=parts.event_log.durability,
            ack_timeout=settings.ack_timeout,
            has_others=settings.kafka is not None,
            limits=settings.limits,
            record_version=lambda: parts.store.record_version,
        )
        self._hub = Hub(
            delivery=self._delivery,
            clock=clock,
            new_id=new_id,
            event_log=parts.event_log,
            store=parts.store,
            devices=parts.devices,
            conversations=parts.conversations,
            revocations=parts.revocations,
            directory=parts.directory,
            bus=parts.bus,
            sweep_interval=settings.sweep_interval,
            device_expiry=settings.device_expiry,
            gate=access.gate,
            doors=front.doors,
            authorizing=authorizing,
            are_rooms_for_everybody=settings.rooms == "everybody",
        )
        self._writer = Writer(parts.event_log, parts.store) if "writer" in settings.roles else None
        self._expiry = DeviceExpiry(
            parts.event_log, parts.store, parts.devices, settings.device_expiry
        )
        self._purge = Purge(
            clock,
            parts.store.applied,
            messages=parts.purge_messages,
            keep_messages_seconds=settings.keep_messages,
            entries=parts.purge_log,
            keep_log_seconds=settings.keep_log,
        )
        self._retention = RetentionWatch(
            parts.event_log, parts.store, self._delivery.refuse_sends, parts.breach
        )

    async def serve(self, url: str, stop: Stop) -> int:
        """Serve until SIGTERM or SIGINT, then drain. Returns the exit code."""
        asyncio.get_running_loop().set_exception_handler(_log_unhandled)
        services = self._start_services()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        exit_code = 0
        # What ends a server ends it also while Kafka lets it wait.
        listening = asyncio.create_task(self._hub.listen(), name="listen")
        ends = {stopping, *services}
        await asyncio.wait({listening, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            listening.result()
            _spare_what_lasts()
            sources = (self._hub.measure, self._retention.measure, self._measure)
            self._front.begin(self._hub, self._health, sources)
            log.info("listening", url=url, **self._parts.where)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for service in services:
            if service.done():  # none ends by itself: that is a defect, or the log is lost
                _log_end(service)
                exit_code = 1
        self._front.drain()
        if exit_code == 0:
            log.info("draining", connections=self._hub.connection_count)
            await self._hub.drain()
            await self._front.listener.finish(ANSWERED_SECONDS)
        self._front.close()
        ends.add(listening)
        for task in ends:
            task.cancel()
        await asyncio.wait(ends, timeout=STOP_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTS_CLOSE_SECONDS):
                await self._parts.close()
        log.info("stopped", exit_code=exit_code)
        return exit_code

    def _start_services(self) -> list[asyncio.Task[None]]:
        runs = {
            "hub": self._hub.run,
            "retention": self._retention.run,
            **self._parts.services,
            **self._access.services,
        }
        if self._writer is not None:
            runs["writer"] = self._writer.run
            runs["device_expiry"] = self._expiry.run
            runs["purge"] = self._purge.run
        return [asyncio.create_task(run(), name=name) for name, run in runs.items()]

    def _health(self) -> Mapping[str, str | None]:
        return {
            "log": self._parts.event_log.health(),
            "store": self._parts.store.health()
            or (self._writer and self._writer.trouble)
            or self._retention.health(),
            ROUTING_PART: self._parts.directory.health() or self._parts.bus.health(),
            **self._access.health(),
        }

    def _measure(self) -> Measured:
        measured: dict[Series, Value] = {
            series("landline_usable", part=part): float(why is None)
            for part, why in self._health().items()
        }
        if self._writer is not None:
            measured[series("landline_quarantined_total")] = self._writer.quarantined
        return measured


def _spare_what_lasts() -> None:
    """Keep what is loaded by now out of every later search for garbage: hardly anything of it ever
    is any, and to look through all of it stops the event loop for 0.1 s.
    """
    gc.collect()
    gc.freeze()


def _log_end(service: asyncio.Task[None]) -> None:
    error = service.exception()
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, LogLost):
        log.error("log_lost", reason=str(error))
    else:
        log.error("service_failed", service=service.get_name(), exc_info=error)


def _log_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("unhandled_exception", detail=context["message"], exc_info=context.get("exception"))


@contextmanager
def _listening(settings: Settings, place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # somebody took the port after all, though we are bound to it
        raise cannot_listen(settings, place, error) from error


def _url(scheme: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}/"
