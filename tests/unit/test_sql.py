"""No statement is put together from values: they are parameters, and the text is constant.

The linter (S608) looks for a few words; this looks at every text with something filled in.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from support.pages import ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))

_SQL = re.compile(
    r"^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|DROP|ALTER|PRAGMA|SET|BEGIN|COPY|TRUNCATE|GRANT"
    r"|REVOKE|LOCK|VACUUM|ATTACH|EXPLAIN|CALL|EXECUTE|LISTEN|NOTIFY|REINDEX|ANALYZE)\s[^.:]"
)
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")

# What is filled in is never a value of a user: a name that this program gives, or has looked up in
# a table of its own. Placeholders cannot stand for names.
NAMES = {
    "DROP INDEX CONCURRENTLY {index}": "an index that a migration of ours names",
    "PRAGMA {name} = {value}": "one of the settings in SQLite's table of ours",
    "PRAGMA {name}": "likewise",
    "PRAGMA table_info({name})": "one of the tables of an outbox",
    "PRAGMA {name} is {actual}, not {expected}: this file system cannot keep the promise":
        "no statement: what an operator reads",
}  # fmt: skip


def shown(text: ast.expr) -> str:
    """Return a text with something filled in, as it is written."""
    if isinstance(text, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str)
            else f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else "?"
            for part in text.values
        )  # fmt: skip
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        return text.value
    if isinstance(text, ast.BinOp):
        return shown(text.left) + shown(text.right)
    return f"{{{ast.unparse(text)}}}"


def filled_in(tree: ast.AST) -> Iterator[tuple[str, list[ast.expr]]]:
    """Yield every text that has something filled in, with what that is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            yield shown(node), values
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            yield shown(node), [node.left, node.right]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("format", "format_map", "replace", "join")
        ):
            yield shown(node.func.value), [*node.args, *(each.value for each in node.keywords)]


def is_constant(value: ast.expr) -> bool:
    """Say whether it is made of literals and of names in capitals alone."""
    return all(
        isinstance(each, ast.Constant | ast.BinOp | ast.operator | ast.expr_context)
        or (isinstance(each, ast.Name) and _CONSTANT.fullmatch(each.id) is not None)
        or (isinstance(each, ast.JoinedStr | ast.FormattedValue))
        for each in ast.walk(value)
    )


def suspects(source: str) -> list[str]:
    """Return the statements with something filled in that is no constant and no name of ours."""
    return [
        text
        for text, values in filled_in(ast.parse(source))
        if _SQL.match(text) and text not in NAMES and not all(map(is_constant, values))
    ]


def test_no_sql_is_put_together_from_values() -> None:
    found = {path: suspects(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: texts for path, texts in found.items() if texts} == {}


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT * FROM messages WHERE sender = {user}"',
        "f\"DELETE FROM pending WHERE mailbox = '{mailbox}'\"",
        '"SELECT id FROM messages WHERE sender = " + user',
        '"SELECT id FROM messages WHERE sender = %s" % user',
        '"UPDATE messages SET content = {}".format(content)',
        '"INSERT INTO messages VALUES (:id)".replace(":id", id)',
        'f"PRAGMA {anything}"',
    ],
)
def test_such_a_statement_would_be_found(source: str) -> None:
    assert len(suspects(source)) == 1


def test_every_exception_is_needed() -> None:
    found = {
        text
        for path in SOURCES
        for text, _ in filled_in(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert set(NAMES) <= found


def test_no_script_runs_a_statement_that_it_has_put_together() -> None:
    """PL/pgSQL could, with EXECUTE."""
    scripts = sorted((ROOT / "src").rglob("*.sql"))
    assert len(scripts) > 30
    for path in scripts:
        text = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\bEXECUTE\b(?!\s+(?:FUNCTION|PROCEDURE)\b)", text, re.IGNORECASE), (
            path
        )
