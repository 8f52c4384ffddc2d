"""The library that steps a server's clock, wherever it is installed."""

import os
import shutil
from pathlib import Path

import pytest

from landline_verify.faults import clock


@pytest.mark.parametrize("name", ["plain", "with two  spaces", "long" * 50])
def test_a_clock_can_be_stepped_from_every_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = clock._library()
    assert library is not None
    (tmp_path / name).mkdir()
    copy = Path(shutil.copy(library, tmp_path / name))
    monkeypatch.setattr(clock, "_library", lambda: copy)
    assert clock.obstacle() is None


def test_what_else_is_searched_for_libraries_still_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/theirs")
    paths = (
        clock.ServerClock(tmp_path / "offset").environment()["LD_LIBRARY_PATH"].split(os.pathsep)
    )
    assert paths[1:] == ["/opt/theirs"]
