"""`landline token`: what it prints is taken by a server with the same options, and by no other."""

import time
from pathlib import Path

import jwt
import pytest

from landline import cli
from landline.auth.keys import KeySet, secret_key
from landline.auth.principal import Principal
from landline.auth.tokens import BadToken, Claims, FileKeys, Tokens

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LANDLINE_CONFIG", raising=False)
    file = tmp_path / "secret.txt"
    file.write_text(f"{SECRET}\n")
    return file


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the token that the command prints, which is all that it says."""
    assert cli.main(["token", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out == f"{out.strip()}\n"
    return out.strip()


async def checked(token: str, claims: Claims | None = None) -> Principal:
    keys = FileKeys(lambda: KeySet([secret_key(SECRET.encode())]))
    return await Tokens([keys], claims or Claims(), time.time).check(token)


async def test_a_server_with_this_secret_takes_it(
    secret_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = time.time()
    token = printed(capsys, "--user", "Zoë", "--jwt-secret-file", str(secret_file))
    principal = await checked(token)
    assert (principal.user, principal.is_service) == ("Zoë", False)
    assert principal.expires_at is not None
    assert before + 3_600 <= principal.expires_at <= time.time() + 3_601


@pytest.mark.parametrize(
    ("arguments", "user"), [((), "service"), (("--user", "billing"), "billing")]
)
async def test_one_of_a_service_has_its_role_and_a_name_of_its_own(
    arguments: tuple[str, ...], user: str, secret_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ("--jwt-secret-file", str(secret_file))
    principal = await checked(printed(capsys, "--service", *arguments, *file))
    assert (principal.user, principal.is_service) == (user, True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("2h", 7_200), ("365d", 365 * 86_400)]
)
async def test_it_is_good_for_as_long_as_is_said(
    text: str, seconds: int, secret_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = time.time()
    file = ("--jwt-secret-file", str(secret_file))
    token = printed(capsys, "--user", "a", "--expires", text, *file)
    expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
    assert before + seconds <= expires_at <= time.time() + seconds + 1


@pytest.mark.parametrize("where", ["command line", "environment", "file"])
async def test_it_fits_the_server_of_the_same_options(
    where: str,
    secret_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {
        "jwt-secret-file": str(secret_file),
        "jwt-issuer": "https://id.example.org",
        "jwt-audience": "chat",
        "jwt-user-claim": "name",
        "jwt-role-claim": "kind",
    }
    arguments: list[str] = []
    if where == "command line":
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    elif where == "environment":
        for name, value in options.items():
            monkeypatch.setenv("LANDLINE_" + name.replace("-", "_").upper(), value)
    else:
        config = tmp_path / "landline.toml"
        lines = [f'{name} = "{value}"' for name, value in options.items()]
        config.write_text("\n".join(['auth = "jwt"', 'host = "0.0.0.0"', *lines]))
        arguments = ["--config", str(config)]
    token = printed(capsys, "--user", "alice", "--service", *arguments)
    fitting = Claims("https://id.example.org", "chat", "name", "kind")
    assert (await checked(token, fitting)).is_service
    with pytest.raises(BadToken):
        await checked(token, Claims("https://id.example.org", "other", "name", "kind"))


def test_nothing_of_a_bad_secret_is_shown(
    secret_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret_file.write_text("hunter2")
    assert cli.main(["token", "--user", "a", "--jwt-secret-file", str(secret_file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "holds 7 bytes" in err
    assert "hunter2" not in err
