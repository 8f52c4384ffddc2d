"""The variables of PostgreSQL: what cannot be used in them is not blamed on the URL."""

import pytest

from landline.adapters.postgres import check
from landline.adapters.postgres.environment import find_mistake, place
from landline.config.postgres_parameters import VARIABLES
from landline.config.values import SecretUrl
from landline.errors import StartupError
from landline_stack.ports import free_port
from support.hosts import NO_SUCH_HOST, know_no_such_host


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("url", "variable", "value", "problem"),
    [
        ("postgresql://h/db", "PGPORT", "abc", "cannot be used; set it to a port"),
        ("postgresql://h/db", "PGPORT", "0", "cannot be used; set it to a port"),
        ("postgresql://h/db", "PGPORT", "1,2", "cannot be used; set it to a port"),
        ("postgresql://h:5/db", "PGPORT", "1,2", "cannot be used; set it to a port"),
        ("postgresql://h,i:7/db", "PGPORT", "x", "cannot be used; set it to a port"),
        ("postgresql:///db", "PGHOST", "127.0.0.1\r", "has a control character (U+000D)"),
        ("postgresql:///db", "PGHOST", "a b", "cannot be used; set it to a host"),
        ("postgresql:///db", "PGHOST", "a,,b", "cannot be used; set it to a host"),
        ("postgresql://h/db", "PGSSLMODE", "REQUIRE", "cannot be used; set it to disable, "),
        ("postgresql://h/db", "PGSSLMODE", "", "cannot be used; set it to disable, "),
        (
            "postgresql://h/db",
            "PGSSLNEGOTIATION",
            "tls",
            "cannot be used; set it to postgres or direct",
        ),
        (
            "postgresql://h/db",
            "PGSSLMINPROTOCOLVERSION",
            "1.2",
            "cannot be used; set it to TLSv1.2 or TLSv1.3",
        ),
        ("postgresql://h/db", "PGGSSLIB", "x", "cannot be used; set it to gssapi or sspi"),
        ("postgresql://h/db", "PGUSER", "me\r", "has a control character (U+000D)"),
        ("postgresql://h/db", "PGPASSWORD", "s3cret\r", "has a control character (U+000D)"),
        ("postgresql://h", "PGDATABASE", "db\r", "has a control character (U+000D)"),
    ],
)
async def test_a_variable_that_cannot_be_used_is_named(
    url: str, variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartupError) as raised:
        await check(SecretUrl(url))
    sentence = str(raised.value)
    assert sentence.startswith(f"--postgres {url}: {variable} in the environment {problem}")
    assert "s3cret" not in sentence


@pytest.mark.parametrize(
    ("url", "variable", "value"),
    [
        ("postgresql://h:5/db", "PGPORT", "abc"),
        ("postgresql://[::1]:5/db", "PGPORT", "abc"),
        ("postgresql://h/db?port=5", "PGPORT", "abc"),
        ("postgresql:///db?host=h", "PGHOST", "\r"),
        ("postgresql://h/db", "PGHOST", "\r"),
        ("postgresql://h/db?sslmode=disable", "PGSSLMODE", "x"),
        ("postgresql://me@h/db", "PGUSER", "\r"),
        ("postgresql://me:p@h/db", "PGPASSWORD", "\r"),
        ("postgresql://h/db", "PGDATABASE", "\r"),
        ("postgresql:///?database=db&host=h", "PGDATABASE", "\r"),
        ("postgresql://h/db", "PGPORT", ""),
        ("postgresql://h,i/db", "PGPORT", "1,2"),
        ("postgresql:///db", "PGHOST", "/run/postgresql"),
        ("postgresql:///db", "PGHOST", "one:1,[::1]:2"),
        ("postgresql:///db?service=mine", "PGHOST", "\r"),
        ("postgresql://h/db", "PGTARGETSESSIONATTRS", "x"),
    ],
)
def test_a_variable_that_is_fine_or_does_not_count_is_none_s_business(
    url: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert find_mistake(SecretUrl(url)) is None


async def test_who_has_to_be_corrected_is_who_said_it(monkeypatch: pytest.MonkeyPatch) -> None:
    url = SecretUrl("postgresql://me@/db")
    port = str(free_port())
    monkeypatch.setenv("PGPORT", port)
    know_no_such_host(monkeypatch)
    monkeypatch.setenv("PGHOST", NO_SUCH_HOST)
    with pytest.raises(StartupError, match="correct the host in PGHOST in the environment"):
        await check(url)
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    with pytest.raises(StartupError, match="correct host and port in PGHOST and PGPORT in the"):
        await check(url)
    with pytest.raises(StartupError, match=r"correct host and port in the URL$"):
        await check(SecretUrl(f"postgresql://127.0.0.1:{port}/db"))
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    assert place(url, "user", "password") == "the URL and PGPASSWORD"
