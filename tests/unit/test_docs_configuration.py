"""docs/configuration.md says what the options say."""

from pathlib import Path

from landline.config.page import page
from landline.config.settings import OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_page_has_every_option_once() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `--")]
    for option in OPTIONS.values():
        assert sum(f"`{option.variable}`" in row for row in rows) == 1
