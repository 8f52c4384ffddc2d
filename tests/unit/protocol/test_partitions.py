"""The partition of a key: golden vectors, which other implementations can check against."""

import pytest

from landline.protocol.partitions import partition_of


@pytest.mark.parametrize(
    ("key", "of_32", "of_7"),
    [
        # CRC-32 (ISO-HDLC) of the UTF-8 bytes; "123456789" is that checksum's own check value.
        ("123456789", 0xCBF43926 % 32, 0xCBF43926 % 7),
        ("dm:alice:bob", 13, 5),
        ("dm:bob:bob", 3, 0),
        ("dm:ada:\u00e9lo\u00efse", 0, 6),
        ("ws-1", 5, 2),
        ("ws-2", 31, 2),
    ],
)
def test_the_partition_of_a_key_never_changes(key: str, of_32: int, of_7: int) -> None:
    assert (partition_of(key, 32), partition_of(key, 7)) == (of_32, of_7)
