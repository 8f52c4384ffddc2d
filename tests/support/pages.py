"""The documentation, as tests read it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    """Return a page, by its path from the root of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def code_blocks(page: str, language: str) -> list[str]:
    """Return the page's code blocks in one language, in order."""
    return [code for tag, code in _FENCE.findall(page) if tag == language]


def section(page: str, heading: str) -> str:
    """Return what stands below a heading of the second level, up to the next one."""
    return page.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str) -> dict[str, list[str]]:
    """Return the rows of the tables in `text`: first cell -> the other cells."""
    rows = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[first] = others
    return rows
