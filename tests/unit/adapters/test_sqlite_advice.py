"""What a data directory is refused for comes with what helps."""

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from landline.adapters.sqlite.audit import open_audit_file
from landline.adapters.sqlite.opening import explained
from landline.errors import UnusableDataDirectory


def test_a_full_database_is_told_to_make_room(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (a)")
        with (
            pytest.raises(UnusableDataDirectory, match=r"full.*make room on it"),
            explained(tmp_path / "a.db", "cannot be used"),
        ):
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_to_make_room(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(UnusableDataDirectory, match="make room on it"),
        explained(tmp_path / "a.db", "cannot be made"),
    ):
        raise OSError(number, "no room")


def test_a_directory_in_which_no_server_ran_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UnusableDataDirectory, match="is not there; give the directory of a server"),
        open_audit_file(tmp_path),
    ):
        pass
