"""Runs with servers that check tokens: their own and others'."""

import asyncio
from pathlib import Path

import pytest

from landline_verify.checker.judge import judge
from landline_verify.clients.flood import flood
from landline_verify.errors import VerifyError
from landline_verify.faults.deployments import opened
from landline_verify.history.events import Ok, Sample
from landline_verify.history.history import History
from landline_verify.history.recorder import Recorder
from landline_verify.report.text import lines
from landline_verify.tokens import TokenMaker, headers, read_secret
from support.server import ServerProcess
from verify.runs import run

SECRET = b"0123456789abcdef0123456789abcdef"
WANTED = TokenMaker(SECRET, "https://id.example.org", "chat", "name")


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET.decode() not in repr(WANTED)


def test_a_secret_is_read_as_a_server_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_bytes(SECRET + b"\r\n")
    assert read_secret(file) == SECRET
    file.write_bytes(b"canary")
    with pytest.raises(VerifyError, match="holds 6 bytes, and a secret has 32") as caught:
        read_secret(file)
    assert "canary" not in str(caught.value)


@pytest.mark.e2e
async def test_servers_of_its_own_that_check_tokens_let_its_users_in_and_nobody_else() -> None:
    with opened("embedded", tokens=WANTED) as deployment:
        history = await run(
            *deployment.urls, data_dir=deployment.data_dir, tokens=WANTED, duration_seconds=3
        )
        verdict = judge(history)
        said = "\n".join(lines(history, verdict))
        assert verdict.outcome != "fail", said
        assert any(isinstance(event, Ok) for event in history)
        assert "every user, with a token for each connection" in said
        with pytest.raises(VerifyError, match="give its secret with --jwt-secret-file"):
            await run(*deployment.urls, duration_seconds=3, tries=1)
        with pytest.raises(VerifyError, match="the server refuses this user"):
            await run(*deployment.urls, tokens=TokenMaker(SECRET), duration_seconds=3, tries=1)
        log = (deployment.everything[0].log_path).read_text()
        assert "eyJ" not in log


@pytest.mark.e2e
async def test_a_flooder_signs_in_too(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_bytes(SECRET)
    server = ServerProcess(
        tmp_path / "data", args=["--auth", "jwt", "--jwt-secret-file", str(secret)]
    )
    try:
        await asyncio.to_thread(server.start)
        with History() as history:
            token = TokenMaker(SECRET).make("flood")
            await flood("pings", server.ws_url, "flood", 1.0, Recorder(history), token=token)
            samples = [event.value for event in history if isinstance(event, Sample)]
        assert samples[-1] > 0
    finally:
        server.kill()


def test_without_tokens_nothing_is_shown() -> None:
    assert headers(None, "a") == {}
