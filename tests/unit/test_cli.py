"""The commands: what they start, what they refuse, and how light they are to start."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from landline import cli
from landline.config import Settings
from landline.config.settings import OPTIONS
from landline.errors import LandlineError, StartupError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS.values():
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.delenv("LANDLINE_CONFIG", raising=False)


class FakeApp(ModuleType):
    """Stands where `landline.app` stands, and remembers with what it was run."""

    def __init__(self) -> None:
        super().__init__("landline.app")
        self.settings: Settings | None = None
        self.outcome: int | BaseException = 0

    def run(self, settings: Settings) -> int:
        self.settings = settings
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    fake = FakeApp()
    monkeypatch.setitem(sys.modules, "landline.app", fake)
    monkeypatch.setattr("landline.app", fake, raising=False)
    return fake


@pytest.fixture
def chats(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str | None, str | None]]:
    """Return the chats that were started."""
    started: list[tuple[str, str, str | None, str | None]] = []

    async def run_chat(
        url: str,
        username: str,
        to: str | None,
        *,
        outbox: object,
        token: object,
        device: str | None,
    ) -> int:
        del outbox, token
        await asyncio.sleep(0)
        started.append((url, username, to, device))
        return 0

    fake = ModuleType("landline.terminal")
    fake.run_chat = run_chat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "landline.terminal", fake)
    return started


def test_serve_runs_the_server_with_its_settings_and_returns_its_exit_code(app: FakeApp) -> None:
    app.outcome = 1
    assert cli.main(["serve", "--port", "0", "--insecure", "--host=::"]) == 1
    assert app.settings == Settings(port=0, insecure=True, host="::")


def test_serve_reads_the_environment(app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDLINE_PORT", "9000")
    monkeypatch.setenv("LANDLINE_INSECURE", "true")
    assert cli.main(["serve", "--no-insecure"]) == 0
    assert app.settings == Settings(port=9000)


def test_what_keeps_the_server_from_starting_is_one_sentence_and_exit_code_2(
    app: FakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    app.outcome = StartupError("--port 8081: in use; choose another")
    assert cli.main(["serve"]) == 2
    assert capsys.readouterr() == ("", "landline: --port 8081: in use; choose another\n")


def test_ctrl_c_leaves_no_traceback(app: FakeApp, capsys: pytest.CaptureFixture[str]) -> None:
    app.outcome = KeyboardInterrupt()
    assert cli.main(["serve"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--port", "x"], "landline: --port x is not a port: "),
        (["serve", "--prt", "1"], "--prt is not an option of landline serve: did you mean --port?"),
        (["serve", "--por", "1"], "--por is not an option of landline serve: did you mean --port?"),
        (["serve", "--zzz=1"], "--zzz=1 is not an option of landline serve: see landline serve"),
        (["serve", "now"], "now is not an option of landline serve"),
        (["serve", "--port"], "argument --port: expected one argument\nSee landline serve --help."),
        (["sevre"], "invalid choice: 'sevre'"),
        (["chat"], "--as is missing: give --as NAME, or --token-file FILE with a token that"),
        (["chat", "--token-file", "/nowhere/t"], "--token-file: the token file /nowhere/t cannot"),
        (["chat", "--as", "a b"], "landline: --as a b: a user name must not contain white space"),
        (["chat", "--as", ""], "landline: --as '': a user name must have 1 to 64 bytes"),
        (
            ["chat", "--as", "a", "--to", "b:c"],
            "landline: --to b:c: a user name must not contain ':'",
        ),
        (["chat", "--as", "a", "--url", "http://h"], "--url http://h is not a WebSocket address"),
        (["chat", "--as", "a", "--url", "ws://"], "--url ws://: the server's address must be like"),
        (["chat", "--as", "a", "--url", "ws://h:x/ws"], "is its port a number"),
        (["chat", "--as", "a", "--url", "ws://h/\n"], "no white space"),
        (["chat", "--as", "a", "--port", "1"], "--port is not an option of landline chat"),
        (
            ["migrate"],
            "landline: --postgres is missing: give --postgres URL, LANDLINE_POSTGRES, or",
        ),
        (["migrate", "--postgres", "h"], "--postgres h is not such a URL"),
        (
            ["migrate", "--new-log", "--postgres", "postgres://h"],
            "--kafka is missing: give --kafka",
        ),
        (["migrate", "--yes", "--postgres", "postgres://h"], "--yes without --new-log"),
        (["migrate", "--port", "1"], "--port is not an option of landline migrate"),
        (["migrate", "--postgre", "x"], "did you mean --postgres?"),
        (["audit", "--kafka", "h:1"], "--kafka h:1 without --postgres: a cluster needs both."),
        (["audit", "--limit", "-1"], "--limit -1 is not a number from 0 up: give e.g. 100"),
        (["audit", "--limit", "many"], "--limit many is not a number from 0 up: give e.g. 100"),
        (["audit", "--data-dri", "x"], "did you mean --data-dir?"),
        (["token"], "--user is missing: give --user NAME, or --service"),
        (["token", "--user", "a"], "--jwt-secret-file is missing: give --jwt-secret-file FILE,"),
        (["token", "--user", "a b"], "--user a b: a user name must not contain white space"),
        (["token", "--user", "a", "--expires", "0s"], "--expires 0s is out of range: give 1s to"),
        (["token", "--user", "a", "--expires", "366d"], "--expires 366d is out of range: give"),
        (["token", "--user", "a", "--expires", "1"], "--expires 1 is not a lifetime: give a num"),
        (
            ["token", "--user", "a", "--jwt-secret-file", "/nowhere/s"],
            "there is no such file;\nmake one: openssl rand -base64 32 > /nowhere/s",
        ),
        (["token", "--user", "a", "--jwt-secret-file", "/"], "it cannot be read (Is a directory)"),
        (
            ["token", "--user", "a", "--jwt-secret-file", "/dev/null"],
            "it holds 0 bytes, and a secret has 32 or more;\nmake one: openssl rand -base64 32",
        ),
        (["token", "--jwt-secret-fil", "x"], "did you mean --jwt-secret-file?"),
        (["sessions"], "the following arguments are required: action, --user"),
        (["sessions", "list", "--user", "a/b"], "--user a/b: a user name must not contain ':'"),
        (["sessions", "show", "--user", "a"], "invalid choice: 'show'"),
        (["sessions", "list", "--user", "a", "--until", "1h"], "--until belongs to close"),
        (["sessions", "close", "--user", "a", "--until", "400d"], "--until 400d is out of range"),
        (["sessions", "close", "--user", "a", "--until", "soon"], "--until soon is not a lifetime"),
        (["sessions", "close", "--user", "a", "--until", "12"], "--until 12 is no time: give how"),
        (
            ["sessions", "close", "--user", "a", "--until", "9999-12-31T23:59:59-12:00"],
            "is no time: give how long, e.g. 10m, or a time like",
        ),
        (["sessions", "list", "--user", "a", "--url", "h:1"], "--url h:1 is no address of a ser"),
        (["sessions", "list", "--user", "a", "--url", "http://h:x"], "is its port a number"),
        (["sessions", "list", "--user", "a", "--url", "http://u:p@h"], "leave out its query, user"),
        (
            ["sessions", "list", "--user", "a", "--token-file", "/"],
            "cannot be read: is a directory",
        ),
        (["sessions", "list", "--user", "a"], "--token-file is missing: give a file with a serv"),
        (["chat", "--as", "a", "--device", ""], "--device '': a device's name must have 1 to 64"),
        (["chat", "--as", "a", "--device", "a b"], "--device a b: a device's name must have"),
        (["--port"], "landline: --port is not an option of landline: see landline --help"),
    ],
)
def test_a_wrong_command_line_is_refused_in_two_lines(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("landline: ")
    assert len(err.splitlines()) <= 2


def test_a_password_on_a_wrong_command_line_is_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["serve", "--postgre=postgresql://u:hunter2@h/db"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_chat_starts_the_terminal(chats: list[tuple[str, str, str | None, str | None]]) -> None:
    assert cli.main(["chat", "--as", "alice"]) == 0
    assert cli.main(["chat", "--as", "alice", "--to", "bob", "--url", "wss://h/ws"]) == 0
    assert cli.main(["chat", "--as", "alice", "--device", "my.pc"]) == 0
    assert chats == [
        ("ws://127.0.0.1:8081/ws/chat", "alice", None, None),
        ("wss://h/ws", "alice", "bob", None),
        ("ws://127.0.0.1:8081/ws/chat", "alice", None, "my.pc"),
    ]


def test_an_error_of_the_chat_is_one_sentence(
    chats: list[tuple[str, str, str | None, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        raise LandlineError("the server refused the name")

    monkeypatch.setattr(sys.modules["landline.terminal"], "run_chat", refuse)
    assert cli.main(["chat", "--as", "alice"]) == 1
    assert capsys.readouterr() == ("", "landline: the server refused the name\n")


def test_without_a_command_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "landline chat --as alice --to bob" in err


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        cli.main([*arguments, "--help"])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_the_help_teaches_every_option_with_default_and_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    text = help_of(["serve"], capsys)
    lines = [line.strip() for line in text.splitlines()]
    for option in OPTIONS.values():
        assert sum(line.startswith((f"{option.flag} ", f"{option.flag}\n")) for line in lines) == 1
        assert f"[{option.variable}]" in text
        assert option.doc in text
    assert "default: 8081 [LANDLINE_PORT]" in text
    assert "landline serve --config landline.toml" in text


def test_the_help_of_each_command_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "landline serve" in help_of([], capsys)
    assert "landline chat --as alice --to bob" in help_of(["chat"], capsys)


def test_the_help_of_verify_says_how_long_a_run_has_to_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = " ".join(help_of(["verify"], capsys).split())
    assert "with --faults or --flood give it a minute" in words


@pytest.mark.parametrize(
    ("command", "its_own"),
    [
        ("migrate", {"postgres", "kafka", "kafka-config", "allow-unsafe"}),
        ("audit", {"data-dir", "kafka", "kafka-config", "postgres"}),
        (
            "token",
            {
                "jwt-secret-file",
                "jwt-issuer",
                "jwt-audience",
                "jwt-user-claim",
                "jwt-role-claim",
            },
        ),
    ],
)
def test_the_help_of_other_commands_has_the_options_that_concern_them(
    command: str, its_own: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of([command], capsys)
    assert {name for name, option in OPTIONS.items() if f"[{option.variable}]" in text} == its_own
    assert re.search(f"landline {command} .*--config landline.toml", text)


def test_a_server_s_environment_and_file_serve_the_other_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What only a server needs is read there, and does not matter."""
    seen: list[tuple[Settings, dict[str, object]]] = []

    def run(settings: Settings, **given: object) -> int:
        seen.append((settings, given))
        return 0

    fakes = {"audit": ["run"], "migrate": ["migrate", "move_to_new_log"]}
    for name, functions in fakes.items():
        fake = ModuleType(f"landline.app.{name}")
        for function in functions:
            setattr(fake, function, run)
        monkeypatch.setitem(sys.modules, f"landline.app.{name}", fake)
        monkeypatch.setattr(f"landline.app.{name}", fake, raising=False)
    file = tmp_path / "landline.toml"
    file.write_text('kafka = "h:1"\nhost = "0.0.0.0"\nroles = "gateway"\n')
    monkeypatch.setenv("LANDLINE_CONFIG", str(file))
    monkeypatch.setenv("LANDLINE_POSTGRES", "postgresql://h/db")
    monkeypatch.setenv("LANDLINE_REDIS", "redis://h")
    assert cli.main(["migrate"]) == 0
    assert cli.main(["migrate", "--new-log", "--yes"]) == 0
    assert cli.main(["audit", "--limit", "0", "--metrics", "x.prom"]) == 0
    assert [given for _settings, given in seen] == [
        {},
        {"is_confirmed": True},
        {"limit": 0, "metrics": Path("x.prom")},
    ]
    assert {settings.kafka for settings, _given in seen} == {("h:1",)}
    assert cli.main(["serve"]) == 2  # a server of that file would trust everybody who reaches it


@pytest.fixture
def at_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "option",
    [
        ("serve", "--data-dir"),
        ("serve", "--log-dir"),
        ("serve", "--kafka-config"),
        ("serve", "--config"),
        ("migrate", "--kafka-config"),
        ("migrate", "--config"),
        ("audit", "--data-dir"),
        ("audit", "--metrics"),
        ("audit", "--kafka-config"),
        ("audit", "--config"),
        ("token", "--jwt-secret-file"),
        ("token", "--config"),
        ("chat", "--token-file"),
        ("verify", "--data-dir"),
        ("verify", "--report"),
        ("verify", "--history"),
        ("verify", "--check"),
    ],
)
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("x\r", "has a control character (U+000D)"),
        ("a\nb", "has a control character (U+000A)"),
        ("a\x1b[2Jb", "has a control character (U+001B)"),
        ("\ufeffx", "has a control character (U+FEFF)"),
        ("", "is not a path"),
        ("  ", "is not a path"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused_by_every_command(
    option: tuple[str, str],
    path: str,
    problem: str,
    at_empty: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, flag = option
    needed = {"token": ["--service"], "chat": ["--as", "a"]}.get(command, [])
    assert cli.main([command, *needed, flag, path]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"landline: {flag} ")
    assert problem in shown
    assert list(at_empty.iterdir()) == []


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_version_is_printed_by_the_module_too() -> None:
    from importlib.metadata import version

    done = run_python("-m", "landline", "--version")
    assert (done.returncode, done.stdout) == (0, f"landline {version('landline')}\n")


def test_a_wrong_option_is_refused_without_loading_the_server() -> None:
    program = (
        "import sys; from landline.cli import main; code = main(['serve', '--port', 'x']);"
        "heavy = {'landline.app', 'picows', 'uvloop', 'structlog', 'prometheus_client', 'sqlite3'};"
        "print(sorted(heavy & set(sys.modules))); sys.exit(code)"
    )
    done = run_python("-c", program)
    assert (done.returncode, done.stdout) == (2, "[]\n"), done.stderr
