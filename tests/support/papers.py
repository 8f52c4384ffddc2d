"""Certificates for servers of the tests, and servers that show them."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme

from support.server import ServerProcess

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Papers:
    """An authority, and a certificate by it with its key, each in a file."""

    authority: trustme.CA
    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def made(cls, directory: Path) -> Self:
        """Make them; their owner is 127.0.0.1."""
        directory.mkdir(parents=True, exist_ok=True)
        names = (directory / name for name in ("ca.pem", "certificate.pem", "key.pem"))
        papers = cls(trustme.CA(), *names)
        papers.authority.cert_pem.write_to_path(papers.ca)
        papers.renew()
        return papers

    def renew(self) -> bytes:
        """Put another certificate of the same authority in place; return it as DER."""
        issued = self.authority.issue_cert(HOST)
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        _replace(self.key, issued.private_key_pem.bytes())
        _replace(self.certificate, chain)
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    @property
    def arguments(self) -> Sequence[str]:
        """Return how a server is told of them."""
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]

    def client(self) -> ssl.SSLContext:
        """Return what a client needs that believes the authority."""
        return ssl.create_default_context(cafile=self.ca)


class TlsServerProcess(ServerProcess):
    """A server whose clients speak TLS. Who asks it has to believe its authority."""

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"wss://{HOST}:{self.port}/ws/chat"


def _replace(path: Path, data: bytes) -> None:
    """Write a file, so that nobody ever sees a part of it."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)
