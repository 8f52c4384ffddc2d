"""Programs that come as Python packages. Nothing of those packages is imported or run."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

# Not `pip install landline[stack]`: what a package index has under a name may be somebody else's.
HOW_TO_INSTALL: Final = (
    "install Landline with its extra `stack` (in a checkout of it: make setup,"
    " or pip install '.[stack]')"
)


def find_in_wheel(package: str, pattern: str) -> Path | None:
    """Return the file of a package that matches, or None."""
    spec = find_spec(package)
    for location in (spec and spec.submodule_search_locations) or []:
        for path in Path(location).glob(pattern):
            return path
    return None
