"""Where the dumps of a run are read from."""

from typing import Any

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args  # type: ignore[attr-defined]

from landline_verify.dumps.store import _connect


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://h/db", [("h", 5432)]),
        ("postgresql://h:7/db", [("h", 7)]),
        ("postgresql://h/db?port=7", [("h", 7)]),
        ("postgresql://h1,h2/db?port=7,8", [("h1", 7), ("h2", 8)]),
        ("postgresql://h1,h2/db?port=7", [("h1", 7), ("h2", 7)]),
        ("postgresql:///db?host=h&port=7", [("h", 7)]),
    ],
)
async def test_the_store_is_read_where_the_servers_write_it(
    url: str, places: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver leaves out a `?port=` behind a host unless it is told."""
    given: dict[str, Any] = {}

    async def connect(dsn: str, *, port: Any = None, **_: Any) -> None:
        given.update(dsn=dsn, port=port)

    monkeypatch.delenv("PGPORT", raising=False)
    monkeypatch.setattr("asyncpg.connect", connect)
    await _connect(url)
    names = ("host", "user", "password", "passfile", "database", "ssl", "service", "servicefile")
    others = ("direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib")
    found, _ = _parse_connect_dsn_and_args(**dict.fromkeys(names + others), **given)
    assert [each[:2] for each in found] == places
