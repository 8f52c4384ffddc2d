"""The token of a file counts anew each time it is needed; a pipe can be read only once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from landline.cli.arguments import token_file
from landline.client import TokenUnavailable
from landline.client.credentials import TOKEN_BYTES
from landline.errors import ConfigError
from landline.terminal.token_file import TokenFile


@pytest.fixture
def pipe() -> Iterator[str]:
    """The path of a pipe with a token, as `<(landline token ...)` makes one."""
    read, write = os.pipe()
    os.write(write, b"from-a-pipe\n")
    os.close(write)
    yield f"/dev/fd/{read}"
    os.close(read)


def test_a_file_that_is_replaced_counts(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    file = TokenFile(path)
    assert file() == "one"
    path.write_text("two")
    assert file() == "two"
    path.unlink()
    with pytest.raises(TokenUnavailable, match="cannot be read: no such file or directory"):
        file()


def test_the_token_of_a_pipe_is_kept_from_the_check_at_the_start_on(pipe: str) -> None:
    file = token_file(pipe, {})
    assert file is not None
    assert file() == file() == "from-a-pipe"
    assert file.subject() is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a" * (TOKEN_BYTES + 1), "a token has at most 8,000 characters"),
        ("a" * 100_000, "a token has at most 8,000 characters"),
        ("a b", "printable characters of ASCII alone, and no blanks"),
        ("é", "printable characters of ASCII alone, and no blanks"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(
    content: str, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"^LANDLINE_TOKEN_FILE: .* holds no token: .*{why}"):
        token_file(None, {"LANDLINE_TOKEN_FILE": str(path)})
