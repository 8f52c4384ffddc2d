"""A name that no resolver knows, without a question to the resolvers of this machine."""

import socket

import pytest

NO_SUCH_HOST = "no-such-host.invalid"


def know_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be unknown at once: a real resolver may take longer than a server waits."""
    resolve = socket.getaddrinfo

    def look_up(host: str, *args: object, **options: object) -> object:
        if host == NO_SUCH_HOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
