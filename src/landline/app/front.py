"""What a server shows from its first moment to its last: it listens, and says how far it is."""

import resource
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from landline.api.http import Http, Readiness
from landline.api.pages import load_pages
from landline.config import Settings
from landline.config.hosts import is_loopback
from landline.gateway.addresses import TrustedProxies
from landline.gateway.admin import CONNECTIONS, AdminListener
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.hub import Hub
from landline.gateway.listener import Listener
from landline.gateway.origins import Origins
from landline.observability.metrics import MetricsRegistry, Source
from landline.ports import Clock

# Files that are not connections: the database, the log, standard streams, and a margin.
RESERVED_FILES = 64
# So many more may ask for a page, or hear that there is no room, when every place is taken.
PAGE_SOCKETS = 64
_ENOUGH_FILES = 1024

# The part without which messages come later, and all the same.
ROUTING_PART = "routing"
# The part without which those cannot sign in whose tokens an issuer's keys sign; who is in stays.
KEYS_PART = "keys"

_SLOWING = (ROUTING_PART, KEYS_PART)

Health = Callable[[], Mapping[str, str | None]]


class Front:
    """The listeners and their pages, before there are parts to serve with and after they are gone.

    Numbers and reasons are for operators: at a listener of theirs, or at the main one where only
    this machine reaches it.
    """

    def __init__(
        self, settings: Settings, new_id: Callable[[], str], gate: Gatekeeper, clock: Clock
    ) -> None:
        self.doors = Doors(settings.limits)
        self._phase: str | None = "starting"
        self._health: Health = dict
        # A proxy before a server on loopback brings it the world.
        is_reached_by_others = (
            not is_loopback(settings.host)
            or bool(settings.trusted_proxies)
            or settings.public_url is not None
        )
        has_admin = settings.admin_port is not None
        max_connections = _max_connections(CONNECTIONS if has_admin else 0)
        self.admin = AdminListener(Http(self._readiness, self._metrics, pages={}), clock)
        self.listener = Listener(
            Http(
                self._readiness,
                self._metrics,
                load_pages(settings.auth, settings.allowed_origins),
                is_for_operators=not has_admin and not is_reached_by_others,
            ),
            new_id=new_id,
            gate=gate,
            doors=self.doors,
            proxies=TrustedProxies(settings.trusted_proxies),
            origins=Origins(settings.origins, is_local=settings.is_trusting),
            clock=clock,
            max_connections=max_connections if "gateway" in settings.roles else 0,
            max_sockets=max_connections + _page_sockets(),
            frame_rate=settings.limits.frames,
        )
        self._sources: list[Source] = [self.listener.measure]
        self._registry = MetricsRegistry(self._sources)

    def begin(self, hub: Hub, health: Health, sources: Iterable[Source]) -> None:
        """Let clients in. `health`: part -> why it cannot be used, or None."""
        self._health = health
        self._sources += sources
        self._phase = None
        self.listener.admit(hub)

    def drain(self) -> None:
        """Let nobody in any more. The pages stay, for probes that ask how this server is."""
        self._phase = "draining"
        self.listener.refuse_upgrades("this server is stopping; connect to another one")

    def close(self) -> None:
        """Accept no more connections; WebSockets that are open stay."""
        self.listener.close()
        self.admin.close()

    def _readiness(self) -> Readiness:
        wrong = {part: why for part, why in self._health().items() if why is not None}
        missing = {part: wrong.pop(part) for part in _SLOWING if part in wrong}
        if self._phase is not None:
            wrong["server"] = self._phase
        return Readiness(wrong, missing)

    def _metrics(self) -> bytes:
        return self._registry.render()


def _max_connections(admin_sockets: int) -> int:
    """Raise the limit of open files as far as allowed; what it leaves is for connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    # Where there are few, the reserve has to do for pages as well.
    pages = PAGE_SOCKETS + admin_sockets if soft >= _ENOUGH_FILES else 0
    return max(1, soft - RESERVED_FILES - pages)


def _page_sockets() -> int:
    """Return how many connections for pages there may be beyond those for clients."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return PAGE_SOCKETS if files >= _ENOUGH_FILES else PAGE_SOCKETS // 4
