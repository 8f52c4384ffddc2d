"""What the pages point to is there: links and their anchors, files, tests, commands."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from landline.cli import COMMANDS
from landline.observability.metrics import AUDIT_METRICS, METRICS
from support.pages import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("bench/*.md")])
SOURCE = ROOT / "src" / "landline"

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*/?")

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> list[str]:
    """Return what links may point to in a page: its headings, as GitHub names them."""
    headings = _HEADING.findall(prose(page))
    return [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]


def quoted(page: Path) -> Iterator[str]:
    """Yield what stands between backquotes."""
    yield from _QUOTED.findall(prose(page))


def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_no_two_headings_of_a_page_have_one_name(page: Path) -> None:
    assert [name for name, count in Counter(anchors(page)).items() if count > 1] == []


@cache
def bare_names() -> set[str]:
    """Return the names of all modules and folders of sources and tests."""
    paths = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*")]
    return {f"{path.name}/" if path.is_dir() else path.name for path in paths}


def test_every_file_that_is_named_is_there(page: Path) -> None:
    """From the root, or for short from the package or by its bare name."""
    for words in quoted(page):
        is_file = words.endswith((".py", ".md", ".toml", "/")) and _FILE.fullmatch(words)
        if is_file or words.startswith(("tests/", "docs/", "src/", "scripts/", "bench/")):
            file, _, _name = words.partition("::")  # a test in it, see test_docs_catalogue.py
            where = [ROOT / file, SOURCE / file, page.parent / file]
            assert file in bare_names() or any(path.exists() for path in where), words


def test_every_command_that_is_named_is_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for words in quoted(page):
        program, _, rest = words.partition(" ")
        command = rest.split(" ")[0]
        if program == "make" and command:
            assert re.search(rf"^{command}:", makefile, re.MULTILINE), words
        elif program == "landline" and command:
            assert command in COMMANDS, words


def test_every_metric_that_is_named_is_measured(page: Path) -> None:
    metrics = {metric.name for metric in (*METRICS, *AUDIT_METRICS)}
    packages = {path.name for path in SOURCE.parent.iterdir()}
    for words in quoted(page):
        if words.startswith("landline_"):
            assert words in metrics | packages, words
