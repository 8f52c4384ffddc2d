"""Addresses of PostgreSQL and Redis: what is taken, what is refused and with which remedy."""

import pytest

from landline.config import SecretUrl, load
from landline.config.settings import OPTIONS
from support.configuration import assert_refused, refusal

BAD_VALUES = [
    ("postgres", "mysql://h/db", "not such a URL"),
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
    ("postgres", "postgresql://u:p#w@h/0", "has a # in it"),
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
    ("redis", "h:6379", "not such a URL"),
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
    ("redis", "redis://u:p#w@h/0", "has a # in it"),
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
]


TLS = (
    "ssl_ca_certs=/a&ssl_ca_path=/b&ssl_certfile=c&ssl_keyfile=d&ssl_password=e"
    "&ssl_cert_reqs=optional&ssl_check_hostname=false&ssl_min_version=772&ssl_ciphers=ALL"
)


@pytest.mark.parametrize(("name", "text", "problem"), BAD_VALUES)
def test_a_bad_value_is_refused_with_option_value_and_remedy(
    name: str, text: str, problem: str
) -> None:
    assert_refused(name, text, problem)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
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
