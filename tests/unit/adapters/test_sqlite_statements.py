"""What SQLite is asked, in words that every supported Python takes."""

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"


def test_placeholders_have_no_numbers() -> None:
    """Some releases of Python 3.12 take `?1` for a name, and want a mapping for names."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"[ (]\?\d", node.value), file
