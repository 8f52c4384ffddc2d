"""Which partition a key belongs to: ours to say, so that every client library agrees (F15)."""

from zlib import crc32


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of `key` among `partitions`: CRC-32 of its UTF-8, modulo."""
    return crc32(key.encode()) % partitions
