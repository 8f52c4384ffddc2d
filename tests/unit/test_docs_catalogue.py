"""docs/failure-catalogue.md: each test it names is there. Each number that is used is in it, or in
docs/security.md.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.pages import ROOT, read
from support.security import LATER
from support.security import ROWS as CONTROLS

PAGE = read("docs/failure-catalogue.md")
ROWS = re.findall(r"^\| (F\d\d) \| (.+) \|$", PAGE, re.MULTILINE)
UNTRIED = re.findall(r"^- \*\*(F\d\d)\*\*: ", PAGE, re.MULTILINE)
NUMBERS = {number for number, _ in ROWS} | set(UNTRIED) | set(CONTROLS) | set(LATER)

_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
_NUMBER = re.compile(r"\b[FS]\d\d\b")
_SUFFIXES = {".py", ".md", ".sql", ".js", ".html", ".css", ".toml", ".c", ".sh", ".yaml", ""}
# A paper that is not in the repository, or a chapter of it.
_PAPER = re.compile(
    r"\b(?:spec|specification|design|contract|style) \d|\b(?:spec|design|faults|style)\.md\b",
    re.IGNORECASE,
)


@cache
def functions(path: Path) -> set[str]:
    """Return the names of a module's functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def our_texts() -> Iterator[tuple[Path, str]]:
    """Yield what people wrote, apart from this test."""
    folders = [ROOT / name for name in ("src", "tests", "docs", "bench", "scripts", "examples")]
    paths = [*ROOT.glob("*.*"), ROOT / "Makefile", ROOT / "Dockerfile"]
    for path in (*paths, *(path for folder in folders for path in folder.rglob("*"))):
        if path.is_file() and path.suffix in _SUFFIXES and path != Path(__file__):
            yield path, path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[number for number, _ in ROWS])
def test_every_row_names_tests_that_are_there(number: str, row: str) -> None:
    tests = _TEST.findall(row.rsplit(" | ", 1)[1])
    assert tests, number
    for path, name in tests:
        assert name in functions(ROOT / path), f"{path}::{name}"


def test_a_number_stands_for_one_row() -> None:
    counts = Counter([*(number for number, _ in ROWS), *UNTRIED])
    assert [number for number, count in counts.items() if count > 1] == []


def test_every_number_that_is_used_is_in_a_catalogue() -> None:
    for path, text in our_texts():
        assert set(_NUMBER.findall(text)) <= NUMBERS, path


def test_nobody_refers_to_a_paper_that_is_not_here() -> None:
    for path, text in our_texts():
        assert not _PAPER.search(text), path
