"""What a server is made of, whichever adapters stand behind the ports."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from landline.ports import (
    ConversationStore,
    DeviceStore,
    Directory,
    EventLog,
    MessageStore,
    RevocationStore,
    RoutingBus,
)
from landline.purge import PurgeLog, PurgeMessages


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The adapters of one server, ready to be used.

    `services` run for as long as the server does: an adapter's own beat or watch. `close` lets go
    of everything, in the right order. `where` says in the log where messages are kept. `breach`
    says why nothing more must be entrusted to a log that works: its settings were changed. For
    `purge_messages` and `purge_log` see `landline.purge`.
    """

    event_log: EventLog
    store: MessageStore
    devices: DeviceStore
    conversations: ConversationStore
    revocations: RevocationStore
    directory: Directory
    bus: RoutingBus
    close: Callable[[], Awaitable[None]]
    services: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    breach: Callable[[], str | None] = lambda: None
    purge_messages: PurgeMessages
    purge_log: PurgeLog | None = None
