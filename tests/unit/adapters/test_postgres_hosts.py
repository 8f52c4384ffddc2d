"""The hosts that a PostgreSQL URL lists."""

import pytest

from landline.adapters.postgres.hosts import Host, hosts_of

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
    ],
)  # fmt: skip
def test_several_hosts_each_with_its_port(url: str, hosts: list[tuple[str, int]]) -> None:
    assert hosts_of(url) == hosts


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://one/db",
        "postgresql:///db",
        "postgresql://one,/db",
        "postgresql://one:x,two/db",
        "postgresql://one:1:2,two/db",
        "postgresql://one,two,three/db?port=1,2",
        "postgresql://[::1,two/db",
    ],
)
def test_one_host_or_a_list_that_is_none_is_the_driver_s_affair(url: str) -> None:
    assert hosts_of(url) == ()


def test_the_environment_names_hosts_where_the_url_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "one,two")
    assert hosts_of("postgresql:///db") == [ONE, TWO]
    assert hosts_of("postgresql://three/db") == ()
    monkeypatch.setenv("PGPORT", "7,8")
    assert hosts_of("postgresql:///db") == [("one", 7), ("two", 8)]
