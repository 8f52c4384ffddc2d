"""ARCHITECTURE.md names every part of the heart and of the gateway, and no other."""

import pytest

from support.pages import ROOT, read, table

PAGE = read("ARCHITECTURE.md")


@pytest.mark.parametrize(
    ("heading", "folder"), [("### The heart", "delivery"), ("### The gateway", "gateway")]
)
def test_every_module_is_in_the_table_and_no_other(heading: str, folder: str) -> None:
    rows = table(PAGE.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0])
    named = {name.strip("`") for row in rows if row.startswith("`") for name in row.split(", ")}
    modules = {path.name for path in (ROOT / "src" / "landline" / folder).glob("*.py")}
    assert named == modules - {"__init__.py"}
