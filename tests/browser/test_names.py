"""The page takes the names that the server takes, and no other."""

import json
import sys
from pathlib import Path

from browser.conftest import OpenWindow
from landline.protocol.identity import BadName, check_user_name

NAMES = json.loads(Path(__file__).parents[1].joinpath("support", "names.json").read_text())

# Ranges of code points that may not stand within a name; the page's own module says which.
REFUSED = """async (last) => {
  const app = document.querySelector("script[src]").src;
  const { nameProblem } = await import(new URL("names.js", app));
  const ranges = [];
  for (let code = 0; code <= last; code++) {
    if (nameProblem(`a${String.fromCodePoint(code)}b`) === "") continue;
    const range = ranges.at(-1);
    if (range !== undefined && range[1] === code - 1) range[1] = code;
    else ranges.push([code, code]);
  }
  return ranges;
}"""
PROBLEMS = """async (names) => {
  const app = document.querySelector("script[src]").src;
  const { nameProblem } = await import(new URL("names.js", app));
  return names.map((name) => nameProblem(JSON.parse(name)));
}"""


def is_refused(name: str) -> bool:
    try:
        check_user_name(name)
    except BadName:
        return True
    return False


def test_the_page_takes_the_same_names_as_the_server(open_window: OpenWindow) -> None:
    """Whichever Unicode the browser knows: both look into one table."""
    window = open_window()
    refused: list[list[int]] = window.page.evaluate(REFUSED, sys.maxunicode)
    here = {code for code in range(sys.maxunicode + 1) if is_refused(f"a{chr(code)}b")}
    there = {code for first, last in refused for code in range(first, last + 1)}
    assert sorted(here ^ there)[:10] == []
    # As JSON: a lone surrogate would not survive the way to the browser.
    taken = window.page.evaluate(PROBLEMS, [json.dumps(name) for name in NAMES["good"]])
    assert dict(zip(NAMES["good"], taken, strict=True)) == dict.fromkeys(NAMES["good"], "")
    problems = window.page.evaluate(PROBLEMS, [json.dumps(name) for name in NAMES["bad"]])
    assert [name for name, why in zip(NAMES["bad"], problems, strict=True) if why == ""] == []
