"""A port is given once on this machine, and its holder may listen on it again and again."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from landline_stack import ports
from landline_stack.ports import free_port, is_listening, is_open, problem_with


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


def test_a_port_that_is_kept_for_a_server_has_no_problem_until_it_is_there() -> None:
    port = free_port()
    assert problem_with(port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert problem_with(port) == "Address already in use"
    assert problem_with(port) is None


def test_a_listener_on_all_addresses_has_the_port_too() -> None:
    port = free_port()
    with socket.create_server(("", port)):
        assert problem_with(port) == "Address already in use"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the sockets of a process")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_whose_port_it_is(family: socket.AddressFamily) -> None:
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert not is_listening(os.getpid(), port)
        with socket.create_server(("", port), family=family):
            assert is_listening(os.getpid(), port)
            assert not is_listening(other.pid, port)
        assert other.stdin is not None
        other.stdin.close()
    assert not is_listening(other.pid, port)  # it has ended
