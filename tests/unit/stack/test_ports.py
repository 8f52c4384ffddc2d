"""A port is given once on this machine, and whoever got it may listen on it again and again."""

import asyncio
import subprocess
import sys

from landline.stack import ports
from landline.stack.ports import free_port, is_open


def test_another_process_is_not_given_it() -> None:
    """As it looks for one: by binding it."""
    bind = f"import socket; socket.socket().bind(('127.0.0.1', {free_port()}))"
    ended = subprocess.run(
        [sys.executable, "-c", bind], capture_output=True, text=True, check=False
    )
    assert "Address already in use" in ended.stderr


async def test_a_server_comes_and_goes_on_it() -> None:
    port = free_port()
    for _ in range(3):
        assert not is_open(port)
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", port):
            assert is_open(port)


def test_not_all_of_them_are_kept() -> None:
    for _ in range(2 * ports._KEPT):
        free_port()
    assert len(ports._kept) == ports._KEPT
