"""Directory and bus of the embedded server: in-process, shared by the servers of one process."""

from landline.adapters.memory.directory import MemoryDirectory, Registry
from landline.adapters.memory.routing_bus import Exchange, MemoryRoutingBus

__all__ = ["Exchange", "MemoryDirectory", "MemoryRoutingBus", "Registry"]
