"""SQL in named files: each adapter has a folder `sql`, with one statement or script a file.

What only steers a connection (BEGIN, PRAGMA, SET, advisory locks) stands where it is run.
"""

from importlib.resources import files


def statement(adapter: str, name: str) -> str:
    """Return the text of `<adapter>/sql/<name>.sql`."""
    return (files("landline.adapters") / adapter / "sql" / f"{name}.sql").read_text("utf-8")
