"""Certificates: which are taken, and what an operator is told of the others."""

import errno
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.app.certificates import Certificate
from landline.errors import StartupError
from support.papers import HOST, Papers


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.made(tmp_path_factory.mktemp("papers"))


def test_what_has_expired_is_not_taken_and_told_at_the_start(tmp_path: Path) -> None:
    papers = Papers.made(tmp_path)
    certificate = Certificate(papers.certificate, papers.key)
    before = certificate.context()
    expire(papers)
    with capture_logs() as lines:
        certificate.warn()
        certificate.read_again()
        Certificate(papers.certificate, papers.key).warn()
    assert [line["event"] for line in lines] == ["certificate_not_reloaded", "certificate_expired"]
    assert "has expired (2020-" in lines[0]["reason"]
    assert lines[1]["not_after"].startswith("2020-")
    assert certificate.context() is before


def expire(papers: Papers) -> None:
    issued = papers.authority.issue_cert(HOST, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    issued.private_key_pem.write_to_path(papers.key)
    issued.cert_chain_pems[0].write_to_path(papers.certificate)


def test_no_permission_is_told_with_what_to_do(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StartupError, match="let the user that the server runs as read it"):
        Certificate(papers.certificate, papers.key)


def test_renegotiation_and_old_versions_are_off(papers: Papers) -> None:
    context = Certificate(papers.certificate, papers.key).context()
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
