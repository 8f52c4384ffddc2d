"""The hosts that a PostgreSQL URL lists."""

import pytest

from landline.adapters.postgres.hosts import Host, Hosts, hosts_of
from landline.config.values import SecretUrl

ONE, TWO = Host("one", 5432), Host("two", 5432)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://one,two/db", [ONE, TWO]),
        ("postgresql://me:p%40ss,word@one:1,two:2/db?sslmode=require", [("one", 1), ("two", 2)]),
        ("postgresql://one:1,two/db?port=7", [("one", 1), ("two", 7)]),
        ("postgresql://[::1]:6,[fe80::1%25eth0]/db", [("::1", 6), ("fe80::1%eth0", 5432)]),
        ("postgresql:///db?host=one,two&port=8,9", [("one", 8), ("two", 9)]),
        ("postgresql:///db?host=/run/a,/run/b", [("/run/a", 5432), ("/run/b", 5432)]),
        ("postgresql://me@/db?host=one,two", [ONE, TWO]),
        ("postgresql://%2Frun%2Fa,one/db", [("/run/a", 5432), ONE]),
        ("postgresql://one/db", [ONE]),
        ("postgresql://one/db?port=7", [("one", 7)]),
        ("postgresql://me:p%40@[::1]:6/db", [("::1", 6)]),
        ("postgresql:///db?host=one:6", [("one", 6)]),
        ("postgresql:///db?host=/run/postgresql&port=7", [("/run/postgresql", 7)]),
    ],
)  # fmt: skip
def test_hosts_each_with_its_port(url: str, hosts: list[tuple[str, int]]) -> None:
    assert hosts_of(url) == hosts


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///db",
        "postgresql:///db?port=7",
        "postgresql://one:x/db",
        "postgresql://one,/db",
        "postgresql://one:x,two/db",
        "postgresql://one:1:2,two/db",
        "postgresql://one,two,three/db?port=1,2",
        "postgresql://[::1,two/db",
    ],
)
def test_no_host_or_a_list_that_is_none_is_the_driver_s_affair(url: str) -> None:
    assert hosts_of(url) == ()


def test_the_environment_names_hosts_where_the_url_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "one,two")
    assert hosts_of("postgresql:///db") == [ONE, TWO]
    assert hosts_of("postgresql://three/db") == [("three", 5432)]
    assert hosts_of("postgresql:///db?service=mine") == ()
    monkeypatch.setenv("PGPORT", "7,8")
    assert hosts_of("postgresql:///db") == [("one", 7), ("two", 8)]
    monkeypatch.setenv("PGPORT", "7")
    assert hosts_of("postgresql://three/db") == [("three", 7)]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://one/db?port=7", ("one", 7)),
        ("postgresql://one:7/db", ("one", 7)),
        ("postgresql://[::1]:7/db", ("::1", 7)),
        ("postgresql:///db?host=one:7", ("one", 7)),
        ("postgresql:///db?host=/run/postgresql&port=7", ("/run/postgresql", 7)),
        ("postgresql://%2Frun%2Fpostgresql:7/db", ("/run/postgresql", 7)),
        ("postgresql:///db", (None, None)),
    ],
)
async def test_the_driver_goes_where_the_url_says(
    url: str, place: tuple[str | None, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it leaves out a `?port=` behind the only host, and goes to another server."""
    asked: list[object] = []

    async def connect(*_: object, host: str | None, port: int | None, **__: object) -> None:
        asked.append((host, port))

    monkeypatch.setattr("asyncpg.connect", connect)
    await Hosts(SecretUrl(url), "ws-1").connect(1.0)
    assert asked == [place]
