"""Migrations as files: numbers, markers, and statements taken apart."""

import re

import pytest

from landline.adapters.postgres.migrations import load_migrations
from landline.adapters.postgres.migrations.script import Script, built_index


def test_the_files_are_numbered_without_a_gap() -> None:
    """Two that were added side by side with the same number would both be the second."""
    numbers = [script.number for script in load_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_only_a_server_that_exists_can_be_needed() -> None:
    assert all(script.needs <= script.number for script in load_migrations())


def test_what_is_run_outside_a_transaction_can_be_run_again() -> None:
    for script in load_migrations():
        if script.is_outside:
            for each in script.statements:
                # A block goes on where it stopped: it changes what is not as it should be yet.
                is_block = each.startswith("DO ") and "EXIT WHEN NOT FOUND" in each
                assert is_block or re.search(" IF (NOT )?EXISTS ", each), script.name


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\n\n-- a; b\nSELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;''b', \";\";SELECT 2", ["SELECT 'a;''b', \";\"", "SELECT 2"]),
        ("/* ; */ SELECT 4 / 2 - 1;", ["SELECT 4 / 2 - 1"]),
        (
            "DO $$ BEGIN a; b; END $$; DO $x$ ; $$ ; $x$;",
            ["DO $$ BEGIN a; b; END $$", "DO $x$ ; $$ ; $x$"],
        ),
        ("SELECT $1;SELECT 2", ["SELECT $1", "SELECT 2"]),
    ],
)
def test_statements_end_where_postgresql_ends_them(text: str, statements: list[str]) -> None:
    assert Script("0007_x.sql", text).statements == statements


def test_markers_are_lines_of_their_own() -> None:
    plain = Script("0007_x.sql", "-- not landline: outside a transaction\nSELECT 1")
    assert (plain.number, plain.is_outside, plain.needs) == (7, False, 0)
    marked = Script("0008_x.sql", "-- landline: outside a transaction\n-- landline: needs 7\n")
    assert (marked.is_outside, marked.needs) == (True, 7)


def test_the_index_that_a_statement_builds_is_known() -> None:
    built = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS by_name ON t (name)"
    assert built_index(built) == "by_name"
    assert built_index("DROP INDEX CONCURRENTLY IF EXISTS by_name") is None
