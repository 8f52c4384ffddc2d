"""Settings come from the command line, the environment, a file, or a default, in that order."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.config import SecretUrl, Settings, load
from landline.config.settings import OPTIONS, SECTIONS
from landline.config.values import FLAG, UnfitValue, mask
from landline.errors import ConfigError

NAMES = list(OPTIONS)


def refusal(
    command_line: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Return the sentence with which these are refused."""
    with pytest.raises(ConfigError) as error:
        load(command_line or {}, environment or {})
    return str(error.value)


def refusal_of_file(tmp_path: Path, content: str) -> str:
    file = tmp_path / "landline.toml"
    file.write_text(content)
    return refusal({"config": str(file)})


def test_without_any_configuration_the_embedded_server_listens_on_8081() -> None:
    settings = load({}, {})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8081)
    assert settings.data_dir == Path("landline-data")
    assert (settings.ack_timeout, settings.sweep_interval) == (60.0, 10.0)
    assert settings.roles == {"gateway", "writer"}
    assert (settings.kafka, settings.postgres, settings.redis) == (None, None, None)


# An option, how it is written as text and in TOML, and what becomes of it.
SAMPLES = [
    ("host", "::1", '"::1"', "::1"),
    ("port", "0", "0", 0),
    ("auth", "none", '"none"', "none"),
    ("insecure", "true", "true", True),
    ("allowed-origins", "https://a.example", '["https://a.example"]', {"https://a.example"}),
    ("ack-timeout", "1.5s", '"1.5s"', 1.5),
    ("sweep-interval", "12s", '"12s"', 12.0),
    ("data-dir", "/srv/chat", '"/srv/chat"', Path("/srv/chat")),
    ("server-id", "ws-1", '"ws-1"', "ws-1"),
    ("roles", "writer, gateway", '["writer", "gateway"]', {"gateway", "writer"}),
    ("kafka-config", "kafka.properties", '"kafka.properties"', Path("kafka.properties")),
    ("allow-unsafe", "true", "true", True),
    ("log-dir", "logs", '"logs"', Path("logs")),
    ("log-format", "json", '"json"', "json"),
]


def test_the_samples_cover_every_option_of_this_version() -> None:
    cluster = {"kafka", "postgres", "redis"}
    assert {sample[0] for sample in SAMPLES} | cluster == set(OPTIONS)


@pytest.mark.parametrize(("name", "text", "toml", "value"), SAMPLES)
def test_an_option_means_the_same_wherever_it_is_given(
    name: str, text: str, toml: str, value: object, tmp_path: Path
) -> None:
    file = tmp_path / "landline.toml"
    file.write_text(f"{name} = {toml}\n")
    expected = Settings(**{name.replace("-", "_"): value})  # type: ignore[arg-type]
    assert load({name: text}, {}) == expected
    assert load({}, {OPTIONS[name].variable: text}) == expected
    assert load({"config": str(file)}, {}) == expected
    assert load({}, {"LANDLINE_CONFIG": str(file)}) == expected


def test_the_command_line_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "landline.toml"
    file.write_text('port = 1\nserver-id = "file"\nack-timeout = "1s"\n')
    environment = {
        "LANDLINE_CONFIG": str(file),
        "LANDLINE_PORT": "2",
        "LANDLINE_SERVER_ID": "environment",
    }
    settings = load({"port": "3"}, environment)
    assert settings == Settings(port=3, server_id="environment", ack_timeout=1.0)


def test_the_command_line_can_take_back_a_flag_of_the_environment() -> None:
    assert load({"insecure": "false"}, {"LANDLINE_INSECURE": "yes"}) == Settings()


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"LANDLINE_PORT": "", "LANDLINE_CONFIG": ""}) == Settings()


def test_variables_of_others_are_left_alone() -> None:
    assert load({}, {"LANDLINE_HOME": "/opt/landline", "LANDLINE": "1", "PORT": "x"}) == Settings()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("500ms", 0.5), ("60s", 60), ("1.5m", 90), ("24h", 86_400)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert load({"ack-timeout": text}, {}).ack_timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("given_origins", "sent_by_browsers"),
    [
        ("https://Chat.Example.org:443", {"https://chat.example.org"}),
        ("http://[::1]:8080,http://localhost:80", {"http://[::1]:8080", "http://localhost"}),
        ("", set()),
    ],
)
def test_origins_are_kept_as_browsers_send_them(
    given_origins: str, sent_by_browsers: set[str]
) -> None:
    assert load({"allowed-origins": given_origins}, {}).allowed_origins == sent_by_browsers


BAD_VALUES = [
    ("host", "", "not a host"),
    ("host", "a b", "not a host"),
    ("host", "127.0.0.1:8081", "not a host"),
    ("port", "abc", "not a port"),
    ("port", "-1", "not a port"),
    ("port", "65536", "not a port"),
    ("port", "8081.0", "not a port"),
    ("port", "٨", "not a port"),
    ("auth", "jwt", "not in this version yet"),
    ("allowed-origins", "*", "not a list of origins"),
    ("allowed-origins", "https://a.example/path", "not a list of origins"),
    ("allowed-origins", "https://u@a.example", "not a list of origins"),
    ("ack-timeout", "60", "not a duration"),
    ("ack-timeout", "1 s", "not a duration"),
    ("ack-timeout", "0s", "out of range"),
    ("ack-timeout", "25h", "out of range"),
    ("sweep-interval", "infs", "not a duration"),
    ("data-dir", "", "not a path"),
    ("data-dir", "a\0b", "not a path"),
    ("data-dir", "~nobody-of-that-name/x", "no such home directory"),
    ("kafka", "broker", "not a list of servers"),
    ("kafka", ",", "not a list of servers"),
    ("postgres", "mysql://h/db", "not such a URL"),
    ("redis", "h:6379", "not such a URL"),
    ("server-id", "", "not a server id"),
    ("server-id", "a/b", "not a server id"),
    ("server-id", "a" * 65, "not a server id"),
    ("roles", "reader", "not a list of roles"),
    ("roles", "", "not a list of roles"),
    ("log-dir", " ", "not a path"),
    ("log-format", "xml", "none of its values"),
]


@pytest.mark.parametrize(("name", "text", "problem"), BAD_VALUES)
def test_a_bad_value_is_refused_with_option_value_and_remedy(
    name: str, text: str, problem: str
) -> None:
    sentence = refusal({name: text})
    assert sentence.startswith(f"--{name} ")
    assert problem in sentence
    assert ": " in sentence.partition(problem)[2]
    assert len(sentence.splitlines()) <= 2
    assert sentence.isprintable()


@pytest.mark.parametrize("interval", ["15001ms", "16s", "1m", "24h"])
def test_a_sweep_beyond_the_promise_is_refused_unless_that_is_accepted(interval: str) -> None:
    """A message whose hint was lost comes with the sweep; 15 s are promised."""
    sentence = refusal({"sweep-interval": interval})
    assert sentence.startswith(f"--sweep-interval {interval}: ")
    assert "15 s are promised" in sentence
    assert "10s or less" in sentence
    settings = load({"sweep-interval": interval, "allow-unsafe": "true"}, {})
    assert len(settings.cautions) == 1


def test_a_sweep_that_leaves_the_writer_no_time_is_warned_of() -> None:
    assert load({}, {}).cautions == ()
    assert load({"sweep-interval": "10s"}, {}).cautions == ()
    [caution] = load({"sweep-interval": "15s"}, {}).cautions
    assert caution.startswith("--sweep-interval is 15 s: ")
    assert "10s or less" in caution


def test_an_error_names_the_option_in_the_form_in_which_it_was_given(tmp_path: Path) -> None:
    assert refusal({"port": "x"}).startswith("--port x is not a port")
    assert refusal({}, {"LANDLINE_PORT": "x"}).startswith("LANDLINE_PORT=x is not a port")
    sentence = refusal({}, {"LANDLINE_INSECURE": "maybe"})
    assert sentence == "LANDLINE_INSECURE=maybe is neither true nor false: give true or false"
    sentence = refusal_of_file(tmp_path, 'port = "x"')
    assert sentence.startswith(f'port = "x" in {tmp_path}/landline.toml is not a port')


@pytest.mark.parametrize(
    ("toml", "beginning"),
    [
        ("prt = 1", "prt in FILE is not an option: did you mean port?"),
        ("ack_timeout = '60s'", "ack_timeout in FILE is not an option: did you mean ack-timeout?"),
        ("zzz = 1", "zzz in FILE is not an option: see landline serve --help"),
        ("port = true", "port = true in FILE has the wrong type: give port = 8081"),
        ("insecure = 'yes'", 'insecure = "yes" in FILE has the wrong type: give insecure = true'),
        ("host = 1", 'host = 1 in FILE has the wrong type: give host = "HOST"'),
        ("ack-timeout = 60", "ack-timeout = 60 in FILE is not a duration: give a number with its"),
        ("roles = [1]", "roles = [...] in FILE has the wrong type"),
        ("[postgres]\nurl = 'secret'", "postgres = {...} in FILE has the wrong type"),
        ("port = = 1", "--config FILE: this file is not TOML: Invalid value (at line 1"),
    ],
)
def test_a_file_that_cannot_work_is_refused(toml: str, beginning: str, tmp_path: Path) -> None:
    sentence = refusal_of_file(tmp_path, toml).replace(f"{tmp_path}/landline.toml", "FILE")
    assert sentence.startswith(beginning)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    sentence = refusal({}, {"LANDLINE_CONFIG": str(tmp_path / "none.toml")})
    assert sentence.startswith(f"LANDLINE_CONFIG={tmp_path}/none.toml: this file cannot be read")
    assert "No such file" in sentence
    (tmp_path / "latin1.toml").write_bytes(b"host = '\xe9'")
    assert "not UTF-8" in refusal({"config": str(tmp_path / "latin1.toml")})


@pytest.mark.parametrize(
    "folder",
    ["a" * 250, "/".join(["a folder"] * 30), "\u00e4" * 100],
    ids=["long", "deep", "other letters"],
)
def test_the_file_s_path_is_shown_whole_however_long_it_is(folder: str, tmp_path: Path) -> None:
    long = tmp_path / folder
    long.mkdir(parents=True)
    file = long / "landline.toml"
    assert refusal({"config": str(file)}).startswith(f"--config {file}: this file cannot be read")
    assert refusal({}, {"LANDLINE_CONFIG": str(file)}).startswith(f"LANDLINE_CONFIG={file}: this")
    assert refusal_of_file(long, "prt = 1").startswith(f"prt in {file} is not an option")
    assert refusal_of_file(long, "port = true").startswith(f"port = true in {file} has the wrong")


def test_a_slip_in_the_name_of_a_variable_is_refused() -> None:
    sentence = refusal({}, {"LANDLINE_PRT": "9000"})
    assert sentence.startswith("LANDLINE_PRT in the environment is not an option")
    assert "LANDLINE_PORT?" in sentence


def test_one_of_kafka_and_postgres_alone_is_refused() -> None:
    sentence = refusal({"kafka": "k:9092"})
    assert sentence.startswith("--kafka k:9092 without --postgres: a cluster needs both.")
    sentence = refusal({}, {"LANDLINE_POSTGRES": "postgresql://h/db"})
    assert sentence.startswith("LANDLINE_POSTGRES=postgresql://h/db without --kafka")


def test_redis_alone_makes_no_cluster() -> None:
    sentence = refusal({"redis": "redis://h"})
    assert sentence.startswith("--redis redis://h without --kafka and --postgres")
    assert "Leave out --kafka, --postgres and --redis" in sentence


def test_a_cluster_needs_no_redis_and_may_split_the_roles() -> None:
    settings = load({"kafka": "k:9092", "postgres": "postgresql://h/db", "roles": "writer"}, {})
    assert settings.redis is None
    assert settings.roles == {"writer"}


def test_the_embedded_server_refuses_to_run_one_role_alone() -> None:
    assert refusal({"roles": "writer"}).startswith("--roles writer: the embedded server")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "chat.example.org", "127.1"])  # noqa: S104
def test_auth_none_is_refused_where_others_could_connect(host: str) -> None:
    assert refusal({"host": host}).startswith(f"--host {host}: with --auth none")
    assert refusal({}, {"LANDLINE_HOST": host}).startswith(f"LANDLINE_HOST={host}: with")
    assert load({"host": host, "insecure": "true"}, {}).host == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1", "[::1]"])
def test_auth_none_is_fine_on_a_loopback_host(host: str) -> None:
    assert load({"host": host}, {}).host == host.strip("[]")


URLS = st.builds(
    "{}://{}:{}@{}/db".format,
    st.sampled_from(["postgresql", "postgres", "redis", "http"]),
    st.text("abcdef", max_size=6),
    st.just("hunter2").flatmap(
        lambda word: st.text("/@:?#%[] \n", max_size=4).map(lambda odd: odd + word + odd)
    ),
    st.text("xyz.", min_size=1, max_size=6),
)


@given(URLS)
def test_a_password_in_a_url_is_never_shown(url: str) -> None:
    secret = SecretUrl(url)
    assert secret.reveal() == url
    for shown in (
        mask(url),
        str(secret),
        repr(secret),
        f"{secret}",
        str(Settings(postgres=secret)),
    ):
        assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "host=h password=hunter2 user=u",
        "host=h PASSWORD = 'hunter2 hunter2'",
        "postgresql://h/db?password=hunter2",
        "user:hunter2@h",
        "postgresql:/u:hunter2@h",
    ],
)
def test_a_password_in_a_malformed_url_is_not_shown_either(text: str) -> None:
    assert "hunter2" not in refusal({"postgres": text})
    assert "hunter2" not in refusal({}, {"LANDLINE_REDIS": text})


def test_a_value_cannot_garble_the_terminal_or_fill_it() -> None:
    sentence = refusal({"server-id": "\x1b[2J\n" + "x" * 10_000})
    assert sentence.isprintable()
    assert len(sentence) < 400


def test_secrets_of_equal_urls_are_equal() -> None:
    assert SecretUrl("redis://h") == SecretUrl("redis://h")
    assert len({SecretUrl("redis://h"), SecretUrl("redis://h"), SecretUrl("redis://i")}) == 2


def test_a_server_without_a_name_is_called_after_its_host_and_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "häuschen.local")
    assert Settings().server_name(9000) == "h-uschen.local-9000"
    assert Settings(server_id="ws-1").server_name(9000) == "ws-1"
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 64)
    longest = Settings().server_name(65535)
    assert load({"server-id": longest}, {}).server_id == longest


@pytest.mark.parametrize("name", NAMES)
def test_every_option_explains_itself(name: str) -> None:
    option = OPTIONS[name]
    assert option.section in SECTIONS
    assert option.doc
    assert option.variable == f"LANDLINE_{name.upper().replace('-', '_')}"
    assert option.kind is FLAG or option.kind.metavar


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=40))
def test_whatever_a_value_is_it_is_taken_or_refused_with_a_sentence(name: str, text: str) -> None:
    try:
        OPTIONS[name].kind.parse(text)
    except UnfitValue as error:
        answer = [error.problem, error.remedy]
    else:
        answer = ["taken"]
    assert all(answer)
