"""Settings come from the command line, the environment, a file, or a default, in that order."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.config import SecretUrl, Settings, load
from landline.config.kinds import FLAG, SERVER_ID
from landline.config.loading import notes
from landline.config.settings import OPTIONS, SECTIONS
from landline.config.values import UnfitValue, mask
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


CLUSTER = {"kafka": "k:9092", "postgres": "postgresql://h/db"}

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
    more = CLUSTER if name == "kafka-config" else {}
    expected = replace(load(more, {}), **{name.replace("-", "_"): value})  # type: ignore[arg-type]
    assert load({name: text, **more}, {}) == expected
    assert load(more, {OPTIONS[name].variable: text}) == expected
    assert load({"config": str(file), **more}, {}) == expected
    assert load(more, {"LANDLINE_CONFIG": str(file)}) == expected


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
    ("data-dir", "a\0b", "control character (U+0000)"),
    ("data-dir", "~nobody-of-that-name/x", "no such home directory"),
    ("kafka", "broker", "not a list of servers"),
    ("kafka", ",", "has an empty item"),
    ("postgres", "mysql://h/db", "not such a URL"),
    ("redis", "h:6379", "not such a URL"),
    ("server-id", "", "not a server id"),
    ("server-id", "a/b", "not a server id"),
    ("server-id", "a" * 65, "not a server id"),
    ("roles", "reader", "not a list of roles"),
    ("roles", "", "not a list of roles"),
    ("log-dir", " ", "not a path"),
    ("log-format", "xml", "none of its values"),
    *(
        ("host", host, "not a host")
        for host in (
            "127.1",
            "1.2.3",
            "999.999.1.1",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "[localhost]",
            "a..b",
            "-a",
            "...",
            "h\u00e4uschen",
            "\u0668",
            "a" * 64,
            ".".join(["a" * 60] * 5),
            "[::1]:80",
            "fe80::1%",
            "http://a",
        )
    ),
    *(("port", port, "not a port") for port in ("", " 80", "+80", "0x50", "8_081", "9" * 5_000)),
    *(
        ("ack-timeout", each, "not a duration")
        for each in (
            "",
            "nan",
            "infs",
            "-1s",
            "1e3s",
            "\u0661s",
            "1,5s",
            "1S",
            "1m30s",
            ".5s",
            "5.s",
        )
    ),
    *(("ack-timeout", each, "out of range") for each in ("9" * 400 + "h", "0.0001ms", "0.0s")),
    *(
        ("kafka", each, "not a list of servers")
        for each in (
            "h:0",
            "h:65536",
            "h:",
            ":9092",
            "h:1,h",
            "::1:9092",
            "[::1]",
            "[::1]:0",
            "[::1:9092",
            "[x]:1",
            "PLAINTEXT://h:9092",
            "u@h:9092",
            "a b:1",
            "h:9092/x",
            "h:+1",
            "h:\u0661",
            "1.2.3:9092",
        )
    ),
    *(("kafka", each, "has an empty item") for each in ("h:1,", ",h:1", "h:1,,h:2", "h:1, ,h:2")),
    *(("postgres", each, "names no host") for each in ("postgresql://", "postgresql://?sslmode=x")),
    *(
        ("postgres", each, "has no host and port")
        for each in (
            "postgresql://h:0/db",
            "postgresql://h:65536/db",
            "postgresql://h:x/db",
            "postgresql://[::1/db",
            "postgresql://h,/db",
            "postgresql://::1/db",
            "postgresql://-/db",
            "postgresql://%2Frun%2Fpg:x/db",
            "postgresql:///db?host=h:x",
            "postgresql:///db?host=h:0",
            "postgresql:///db?host=::1",
            "postgresql:///db?host=",
            "postgresql:///db?host=h,",
            "postgresql:///db?host=/run/pg:5432",
        )
    ),
    *(
        ("postgres", each, "has no port behind ?port= that can be used")
        for each in (
            "postgresql://h/db?port=abc",
            "postgresql://h/db?port=0",
            "postgresql://h/db?port=99999",
            "postgresql://h/db?port=",
            "postgresql://h/db?port=1&port=2",
            "postgresql://h/db?port=1,2",
            "postgresql://h1,h2/db?port=1,x",
            "postgresql://h1,h2,h3/db?port=1,2",
            "postgresql:///db?host=h&port=+1",
            "postgresql:///db?port=x",
        )
    ),
    *(
        ("postgres", each, "names its host twice")
        for each in (
            "postgresql://h/db?host=other",
            "postgresql://h/db?host=/run/postgresql",
            "postgresql://u:p@h/db?sslmode=require&host=h",
            "postgresql:///db?host=a&host=b",
        )
    ),
    *(
        ("postgres", f"postgresql://h/db?{each}", f"cannot be there ({each.partition('=')[0]})")
        for each in (
            "client_encoding=latin1",
            "CLIENT_ENCODING=UTF8",
            "standard_conforming_strings=off",
            "synchronous_commit=off",
            "default_transaction_read_only=off",
            "enable_seqscan=on",
            "options=-c%20client_encoding%3Dlatin1",
            "channel_binding=require",
            "connect_timeout=10",
            "keepalives=1",
            "gssencmode=disable",
            "pgbouncer=true",
            "application_name=x",
            "SSLMODE=require",
            "nonsense",
        )
    ),
    *(
        ("postgres", f"postgresql://h/db?{name}={value}", f"has no {name} behind its ?")
        for name, values in (
            ("sslmode", ("", "nonsense", "REQUIRE", "require%0D")),
            ("sslnegotiation", ("tls",)),
            ("sslrootcert", ("", "system", "a%00b")),
            ("ssl_min_protocol_version", ("1.2", "SSLv3", "TLSv1_2")),
            ("ssl_max_protocol_version", ("TLSv9",)),
            ("target_session_attrs", ("bogus", "standby", "prefer-standby", "read-only", "")),
            ("gsslib", ("other",)),
            ("search_path", ("pg_temp", "%22pg_temp%22", "my-schema", "a,", "a%27", "%22a", "")),
            ("user", ("a%00client_encoding%00latin1",)),
        )
        for value in values
    ),
    ("postgres", "postgresql://h/db?user=a&user=b", "has user more than once"),
    ("postgres", "postgresql://h/db?dbname=other", "names its database twice"),
    ("postgres", "postgresql://h?dbname=a&database=b", "names its database twice"),
    ("postgres", "postgresql://a%00b@h/db", "has a %00 in it"),
    ("postgres", "postgresql://u:p[x@h/db", "has a [ or ] that belongs to no address"),
    ("postgres", "postgresql://u:p]x@h/db", "has a [ or ] that belongs to no address"),
    *(
        ("postgres", each, "has a blank")
        for each in ("postgresql://h/my db", "postgresql://h/db\u00a0")
    ),
    *(
        ("redis", each, "has no host and port")
        for each in (
            "redis://",
            "redis://:6379",
            "redis://h:0",
            "redis://h:99999",
            "redis://h:x",
            "redis://[::1",
        )
    ),
    *(("redis", each, "has no number") for each in ("redis://h/x", "redis://h/0/1")),
    *(
        ("redis", f"{scheme}?{name}={value}", f"has no {name} that can be used")
        for scheme, name, values in (
            ("redis://h", "db", ("x", "-1", "", "1.5")),
            ("unix:///s", "db", ("x",)),
            ("redis://h", "client_name", ("a%20b", "a%0Ab")),
            ("redis://h", "health_check_interval", ("-1", "soon", "1e3", "nan")),
            ("redis://h", "socket_keepalive", ("maybe",)),
            ("rediss://h", "ssl_cert_reqs", ("zzz", "CERT_NONE")),
            ("rediss://h", "ssl_check_hostname", ("maybe",)),
            ("rediss://h", "ssl_min_version", ("1.2", "9")),
            ("rediss://h", "ssl_ca_certs", ("",)),
        )
        for value in values
    ),
    *(
        ("redis", f"redis://h:6379?{each}", f"not known ({each.partition('=')[0]})")
        for each in (
            "retry=5",
            "event_dispatcher=1",
            "credential_provider=x",
            "retry_on_error=a",
            "retry_on_timeout=1",
            "socket_connect_timeout=-1",
            "socket_timeout=5",
            "max_connections=0",
            "timeout=1",
            "protocol=3",
            "encoder_class=x",
            "parser_class=x",
            "host=other",
            "port=1",
            "path=/x",
            "no_such_option=1",
        )
    ),
    ("redis", "redis://h?Db=1", "not known (Db)"),
    ("redis", "redis://h?db=1&db=2", "has db more than once"),
    ("redis", "redis://h?ssl_ca_certs=f", "has ssl_ca_certs behind its ?, which is for TLS"),
    ("redis", "unix:///s?ssl_cert_reqs=none", "has ssl_cert_reqs behind its ?, which is for TLS"),
    ("redis", "unix:///s?socket_keepalive=1", "not known (socket_keepalive)"),
    *(
        ("redis", each, "names no socket")
        for each in ("unix://", "unix://tmp/x", "unix://u:p@tmp/x")
    ),
    *(
        (name, each.format(scheme), "has an @ too many")
        for name, scheme in (("postgres", "postgresql"), ("redis", "redis"))
        for each in (
            "{}://u:p/w@h/0",
            "{}://u:p@w@h/0",
            "{}://u:p@w@h:1?db=0",
            "{}://u@x:p@h/0",
            "{}://u:1/w@h/0",
            "{}://u:p@w/x@h/0",
            "{}://u:p@h/d@b",
        )
    ),
    ("postgres", "postgresql://u:p#w@h/0", "has a # in it"),
    ("redis", "redis://u:p#w@h/0", "has a # in it"),
    *(
        ("postgres", each, "has ports behind its hosts and in its query")
        for each in (
            "postgresql://h1,h2:5433/db?port=5444",
            "postgresql://h1:5433/db?port=5433",
            "postgresql://u:p@h1:1,h2:2?port=1,2",
            "postgresql://[::1]:5433/db?port=5444",
            "postgresql:///db?host=h:5433&port=5444",
        )
    ),
    *(
        ("allowed-origins", each, "not a list of origins")
        for each in (
            "app://",
            "app://a/b",
            "app://a b",
            "app://-:0",
            "app://u@h",
            "https://-",
            "http://.",
            "http://[fe80::1%eth0]",
        )
    ),
    *(
        ("allowed-origins", each, "not a list of origins")
        for each in (
            "https://a:0",
            "https://a:65536",
            "https://a..b",
            "https://[:::]",
            "https://",
            "://a",
            "a.example",
            "null",
            "file://x",
            "file://",
            "ws://a",
            "javascript://a",
            "https://a/",
            "https://a?b",
            "https://a b",
            "capacitor://",
            "1x://a",
            "https://a#b",
            "https://h\u00e4user.example",
        )
    ),
    *(
        ("allowed-origins", each, "has an empty item")
        for each in ("https://a,", ",", "https://a,,https://b")
    ),
    ("roles", "gateway,", "has an empty item"),
    ("log-dir", "\ud800", "not a path"),
]


@pytest.mark.parametrize("name", [name for name in NAMES if OPTIONS[name].kind is not FLAG])
@pytest.mark.parametrize(
    "character", ["\r", "\n", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff"]
)
def test_no_value_has_a_control_character(name: str, character: str, tmp_path: Path) -> None:
    """Wherever it stands, and wherever the value comes from; most often it is a carriage return."""
    good = {sample[0]: sample[1] for sample in SAMPLES} | CLUSTER | {"redis": "redis://h"}
    for text in (good[name] + character, character + good[name], good[name][:1] + character + "x"):
        for sentence in (refusal({name: text}), refusal({}, {OPTIONS[name].variable: text})):
            assert f"has a control character (U+{ord(character):04X}) in it: remove it" in sentence
            assert sentence.isprintable()
    escaped = json.dumps(good[name] + character)
    assert "control character" in refusal_of_file(
        tmp_path, f"{name} = {escaped}".replace("\x7f", "\\u007f")
    )


def test_a_file_may_begin_with_a_byte_order_mark_and_have_the_line_ends_of_windows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "landline.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 9000\r\nserver-id = 'ws-1'\r\n")
    assert load({"config": str(file)}, {}) == Settings(port=9000, server_id="ws-1")


TLS = (
    "ssl_ca_certs=/a&ssl_ca_path=/b&ssl_certfile=c&ssl_keyfile=d&ssl_password=e"
    "&ssl_cert_reqs=optional&ssl_check_hostname=false&ssl_min_version=772&ssl_ciphers=ALL"
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("kafka", "[::1]:9092,k-1.example:1", ("[::1]:9092", "k-1.example:1")),
        ("kafka", "k:1, k:1", ("k:1",)),
        ("kafka", "my_kafka:9092", ("my_kafka:9092",)),
        ("host", "fe80::1%eth0", "fe80::1%eth0"),
        ("host", "my_host.example.", "my_host.example."),
        ("allowed-origins", "capacitor://localhost, tauri://localhost", {"capacitor://localhost", "tauri://localhost"}),
        ("allowed-origins", "Ionic://localhost:8100", {"ionic://localhost:8100"}),
        ("allowed-origins", "HTTPS://[::1]:443", {"https://[::1]"}),
        ("allowed-origins", "https://[0:0:0:0:0:0:0:1]:8443", {"https://[::1]:8443"}),
        ("allowed-origins", "http://[2001:DB8:0:0:1:0:0:1]", {"http://[2001:db8::1:0:0:1]"}),
        ("allowed-origins", "http://[2001:db8::0]", {"http://[2001:db8::]"}),
        ("allowed-origins", "http://[1:2:3:4:5:6:0:8]", {"http://[1:2:3:4:5:6:0:8]"}),
        ("allowed-origins", "http://[1::5:6:7:8]", {"http://[1::5:6:7:8]"}),
        ("allowed-origins", "http://[::ffff:1.2.3.4]", {"http://[::ffff:102:304]"}),
        ("allowed-origins", "http://[::1.2.3.4]", {"http://[::102:304]"}),
        ("allowed-origins", "capacitor-electron://-,App://-", {"capacitor-electron://-", "app://-"}),
        ("allowed-origins", "app://.,app://~x_.-Y:80", {"app://.", "app://~x_.-Y:80"}),
        ("postgres", "postgresql://h1,h2/db?port=5444", SecretUrl("postgresql://h1,h2/db?port=5444")),
        ("postgres", "postgresql://[::1],h2/db?port=5444", SecretUrl("postgresql://[::1],h2/db?port=5444")),
        ("postgres", "postgresql://u:p@h/db?user=a@b", SecretUrl("postgresql://u:p@h/db?user=a@b")),
        ("postgres", "postgresql://h/db?port=5433", SecretUrl("postgresql://h/db?port=5433")),
        ("postgres", "postgresql:///db?host=h:1,[::1]:2", SecretUrl("postgresql:///db?host=h:1,[::1]:2")),
        ("postgres", "postgresql:///db?host=/run/postgresql&port=5433", SecretUrl("postgresql:///db?host=/run/postgresql&port=5433")),
        ("postgres", "postgresql:///db?port=5433", SecretUrl("postgresql:///db?port=5433")),
        ("redis", "unix://u:p@/run/redis.sock", SecretUrl("unix://u:p@/run/redis.sock")),
        ("postgres", "postgresql:///db?host=/run/postgresql", SecretUrl("postgresql:///db?host=/run/postgresql")),
        ("postgres", "postgres://u:p%2Fw@[::1]:5432,h/db", SecretUrl("postgres://u:p%2Fw@[::1]:5432,h/db")),
        ("postgres", "postgresql://%2Frun%2Fpg/db", SecretUrl("postgresql://%2Frun%2Fpg/db")),
        ("redis", "rediss://u:p@h:6379/1?db=2", SecretUrl("rediss://u:p@h:6379/1?db=2")),
        ("redis", f"rediss://h?{TLS}", SecretUrl(f"rediss://h?{TLS}")),
        ("redis", "redis://h?client_name=a&socket_keepalive=no&health_check_interval=5", SecretUrl("redis://h?client_name=a&socket_keepalive=no&health_check_interval=5")),
        ("redis", "unix:///run/redis.sock?db=1", SecretUrl("unix:///run/redis.sock?db=1")),
    ],
)  # fmt: skip
def test_what_looks_strange_and_works_is_taken(name: str, text: str, value: object) -> None:
    assert OPTIONS[name].kind.parse(text) == value


def test_the_port_that_kubernetes_sets_for_a_service_called_landline_is_ignored() -> None:
    environment = {
        "LANDLINE_PORT": "tcp://10.96.0.7:8081",
        "LANDLINE_SERVICE_HOST": "10.96.0.7",
        "LANDLINE_SERVICE_PORT": "8081",
        "LANDLINE_SERVICE_PORT_HTTP": "8081",
        "LANDLINE_PORT_8081_TCP": "tcp://10.96.0.7:8081",
        "LANDLINE_PORT_8081_TCP_PROTO": "tcp",
        "LANDLINE_PORT_8081_TCP_PORT": "8081",
        "LANDLINE_PORT_8081_TCP_ADDR": "10.96.0.7",
        "LANDLINE_PORT_53_UDP": "udp://10.96.0.7:53",
        "LANDLINE_HOST_SERVICE_HOST": "10.96.0.8",
        "LANDLINE_HOST_SERVICE_PORT": "8081",
        "LANDLINE_HOST_PORT": "tcp://10.96.0.8:8081",
    }
    assert load({}, environment) == Settings()
    assert load({"port": "9000"}, environment) == Settings(port=9000)
    [note] = notes(environment)
    assert note.startswith("LANDLINE_PORT=tcp://10.96.0.7:8081 is what Kubernetes sets")
    assert notes({"LANDLINE_PORT": "9000"}) == []
    assert "not a port" in refusal({}, {"LANDLINE_PORT": "http://10.96.0.7:8081"})


def test_how_to_reach_kafka_without_kafka_is_refused() -> None:
    assert refusal({"kafka-config": "x"}).startswith("--kafka-config x without --kafka: ")


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "port = " + "9" * 5_000, "port = 1\nport = 2", "a = 1\x00", "x" * 100_000],
)
def test_a_file_that_stops_the_parser_is_refused_as_well(content: str, tmp_path: Path) -> None:
    sentence = refusal_of_file(tmp_path, content)
    assert "this file is not TOML" in sentence
    assert "; correct it: " in sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "config"])
@pytest.mark.parametrize("number", ["0x" + "f" * 5_000, "0o" + "7" * 9_000, "0b" + "1" * 30_000])
def test_a_number_of_thousands_of_digits_is_refused(name: str, number: str, tmp_path: Path) -> None:
    sentence = refusal_of_file(tmp_path, f"{name} = {number}")
    assert sentence.startswith(f"{name} = 0x")
    assert len(sentence) < 1_000
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50)
@given(
    text=st.text(st.characters(), max_size=40)
    | st.sampled_from(["9", "a", "[", "h:1,"]).map(lambda s: s * 3_000)
)
def test_whatever_is_given_the_answer_is_settings_or_two_clear_lines(name: str, text: str) -> None:
    """All the way, as an operator meets it: no traceback, nothing that garbles the terminal."""
    try:
        load({name: text}, {})
    except ConfigError as error:
        sentence = str(error)
        assert len(sentence.split("\n")) <= 2
        assert sentence.replace("\n", "").isprintable()
        assert len(sentence) < 600
        assert name in sentence


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
    sentence = refusal({"config": str(tmp_path / "latin1.toml")})
    assert sentence.endswith("it is not UTF-8; save it as UTF-8")


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


def slips(variable: str) -> set[str]:
    """Return the names that a slip of the pen makes of this one: a letter wrong, missing, twice, or
    swapped with the next; or small letters.
    """
    prefix, _, name = variable.partition("_")
    made = {name.lower()}
    for at in range(len(name)):
        begin, letter, end = name[:at], name[at], name[at + 1 :]
        made |= {f"{begin}Z{end}", begin + end, begin + letter * 2 + end}
        made.add(begin + end[:1] + letter + end[1:])
    return {f"{prefix}_{each}" for each in made if each != name}


@pytest.mark.parametrize("variable", [each.variable for each in OPTIONS.values()])
def test_a_slip_in_the_name_of_a_variable_is_refused(variable: str) -> None:
    for slip in slips(variable):
        sentence = refusal({}, {slip: "9000"})
        assert sentence.startswith(f"{slip} in the environment is not an option")
        assert f"{variable}?" in sentence


@pytest.mark.parametrize("name", ["HOME", "VERSION", "IMAGE", "URL", "TOKEN", "DATA", "LOG", ""])
def test_a_variable_that_is_no_slip_is_somebody_s_own_business(name: str) -> None:
    assert load({}, {f"LANDLINE_{name}": "x"}) == Settings()


def test_one_of_kafka_and_postgres_alone_is_refused() -> None:
    sentence = refusal({"kafka": "k:9092"})
    assert sentence.startswith("--kafka k:9092 without --postgres: a cluster needs both.")
    sentence = refusal({}, {"LANDLINE_POSTGRES": "postgresql://h/db"})
    assert sentence.startswith("LANDLINE_POSTGRES=postgresql://h/db without --kafka")


def test_a_slip_in_a_parameter_of_redis_is_told_with_what_there_is() -> None:
    sentence = refusal({"redis": "rediss://h?ssl_cacerts=f"})
    assert "(ssl_cacerts): write ssl_ca_certs if that is meant; known are db, " in sentence


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("SSLMODE=require", "write sslmode if that is meant"),
        ("client_encoding=latin1", "leave it out, Landline sets it itself"),
        ("application_name=x", "--server-id"),
        ("options=x", "search_path=NAME"),
        ("channel_binding=require", "sslmode=verify-full"),
        ("synchronous_commit=off", "ALTER ROLE ... SET"),
        ("nonsense=1", "known here are host, port, "),
    ],
)
def test_a_parameter_that_postgres_cannot_have_is_told_with_what_to_do(
    given: str, remedy: str
) -> None:
    sentence = refusal({"kafka": "k:9092", "postgres": f"postgresql://h/db?{given}"})
    assert sentence.startswith("--postgres postgresql://h/db?")
    assert f"behind its ? that cannot be there ({given.partition('=')[0]})" in sentence
    assert remedy in sentence


@pytest.mark.parametrize(
    "given",
    [
        "sslmode=verify-full&sslrootcert=/ca.pem&sslcert=c&sslkey=k&sslpassword=p&sslcrl=l",
        "sslmode=require&ssl_min_protocol_version=TLSv1.2&ssl_max_protocol_version=TLSv1.3",
        "sslnegotiation=direct&sslmode=require",
        "target_session_attrs=read-write&krbsrvname=postgres&gsslib=gssapi",
        "user=u&password=p%26q&passfile=/f&service=s",
        "search_path=chat,%20public",
        "search_path=%22$user%22,public",
        "search_path=%22my-schema%22",
    ],
)
def test_parameters_of_postgres_that_the_driver_knows_are_taken(given: str) -> None:
    url = f"postgresql://h/db?{given}"
    settings = load({"kafka": "k:9092", "postgres": url}, {})
    assert settings.postgres is not None
    assert settings.postgres.reveal() == url


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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "chat.example.org"])  # noqa: S104
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


@pytest.mark.parametrize("length", range(50, 65))
def test_pods_whose_names_differ_at_the_end_have_names_of_their_own(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes names them after their deployment, and tells them apart by five characters."""
    names = set()
    for end in ("x2x70", "x2x71", "x2x70"):
        host = f"{'chat-' * 20}"[: length - 6] + f"-{end}"
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        name = Settings().server_name(65535)
        assert SERVER_ID.parse(name) == name
        assert name.startswith(host[:40])
        names.add(name)
    assert len(names) == 2


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
