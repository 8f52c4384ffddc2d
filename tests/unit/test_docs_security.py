"""docs/security.md: every control has tests, and each test it names is there."""

import ast
from functools import cache

import pytest

from support.pages import ROOT, read, section, table
from support.security import LATER, ROWS

NUMBERS = {f"S{number:02}" for number in range(1, 29)}


@cache
def functions(module: str) -> set[str]:
    """Return the names of a module's functions."""
    tree = ast.parse((ROOT / "tests" / module).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("number", ROWS)
def test_every_control_names_tests_that_are_there(number: str) -> None:
    row = ROWS[number]
    for test in row.tests:
        module, _, name = test.partition("::")
        assert (ROOT / "tests" / module).exists(), test
        assert name in functions(module), test
    assert len(set(row.tests)) == len(row.tests)


def test_every_control_has_tests_and_a_figure() -> None:
    assert all(row.tests and row.figure for row in ROWS.values())


def test_no_number_is_left_out() -> None:
    assert set(ROWS) == NUMBERS - set(LATER)
    assert set(LATER) == {"S21", "S27"}


def test_every_row_of_the_page_fits_its_table() -> None:
    rows = table(section(read("docs/security.md"), "## The controls"))
    for number in NUMBERS:
        assert len(rows[number]) == 4, number
