"""What databases are asked stands in files, in words that every supported Python takes."""

import re
from pathlib import Path

import pytest

from landline.adapters.statements import statement

ADAPTERS = Path(__file__).parents[3] / "src/landline/adapters"


@pytest.mark.parametrize("name", [file.stem for file in (ADAPTERS / "sqlite/sql").iterdir()])
def test_placeholders_have_no_numbers(name: str) -> None:
    """Some releases of Python 3.12 take `?1` for a name, and want a mapping for names."""
    assert not re.search(r"[ (]\?\d", statement("sqlite", name))


@pytest.mark.parametrize("adapter", ["sqlite", "postgres"])
def test_every_file_is_used_and_every_statement_on_a_table_is_in_a_file(adapter: str) -> None:
    directory = ADAPTERS / adapter
    source = "".join(file.read_text() for file in directory.rglob("*.py"))
    named = set(re.findall(rf'statement\("{adapter}", "(\w+)"\)', source))
    assert named == {file.stem for file in (directory / "sql").iterdir()}
    assert not re.search(r'"\s*(SELECT .* FROM|INSERT INTO|UPDATE|DELETE FROM) ', source)


@pytest.mark.parametrize("name", [file.stem for file in (ADAPTERS / "sqlite/sql").iterdir()])
def test_sqlite_is_asked_for_nothing_that_releases_in_use_do_not_know(name: str) -> None:
    """RETURNING came with 3.35, and long-lived distributions have less."""
    assert "RETURNING" not in statement("sqlite", name).upper()
