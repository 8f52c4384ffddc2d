"""`landline` offers everything that the client's public signatures name."""

import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator

import landline
from landline import client

_PUBLIC = ("__aenter__", "__aexit__", "__aiter__", "__anext__")


def named_by(hint: object) -> Iterator[type]:
    """Yield the classes of ours in a type, however deep they are."""
    for part in typing.get_args(hint):
        yield from named_by(part)
    if isinstance(hint, type) and hint.__module__.startswith("landline."):
        yield hint


def hints_of(kind: type) -> Iterator[object]:
    """Yield the types that a class shows: of its fields, and of its public methods."""
    if dataclasses.is_dataclass(kind):
        yield from typing.get_type_hints(kind).values()
    for name, member in inspect.getmembers(kind):
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and (name in _PUBLIC or not name.startswith("_")):
            yield from typing.get_type_hints(function).values()


def test_everything_that_a_signature_names_can_be_imported_from_landline() -> None:
    shown = list(typing.get_type_hints(client.connect).values())
    for name in client.__all__:
        kind = getattr(client, name)
        if inspect.isclass(kind):
            shown += hints_of(kind)
    named = {kind.__name__ for hint in shown for kind in named_by(hint)}
    assert {"Chat", "Draft", "UnansweredSend"} <= named
    assert named <= set(landline.__all__)


def test_landline_offers_all_of_the_client_and_nothing_else() -> None:
    assert set(landline.__all__) == {*client.__all__, "__version__"}
    for name in client.__all__:
        assert getattr(landline, name) is getattr(client, name)
    assert set(landline.__all__) <= set(dir(landline))


def test_the_server_does_not_import_the_clients_libraries() -> None:
    program = "import sys, landline.app; print('landline.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
