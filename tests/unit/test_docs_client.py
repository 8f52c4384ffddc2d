"""docs/client.md says what the client does: its errors, its events, its limits."""

import dataclasses
import inspect
import re
from typing import get_args

from landline import client
from landline.client.chat import CONNECT_TIMEOUT_SECONDS
from landline.client.events import Acceptance, Event, Message
from support.pages import read, section, table

PAGE = read("docs/client.md")


def test_every_parameter_is_explained_and_no_other() -> None:
    rows = table(PAGE.split("\n## ", 1)[0])
    explained = {name.strip("`") for name in rows if name.startswith("`")}
    assert explained == set(inspect.signature(client.connect).parameters)


def test_the_table_has_the_default_of_the_first_connection() -> None:
    [explained] = table(PAGE.split("\n## ", 1)[0])["`connect_timeout`"]
    assert f"first connection ({CONNECT_TIMEOUT_SECONDS:g});" in explained


def test_every_error_is_in_the_tree_and_no_other() -> None:
    errors = {
        name
        for name in client.__all__
        if inspect.isclass(getattr(client, name))
        and issubclass(getattr(client, name), client.ClientError)
    }
    words = re.sub("[├└│─]", "", section(PAGE, "## Errors")).splitlines()
    assert {line.split()[0] for line in words if line and not line.startswith("```")} == errors


def test_every_event_is_in_the_table_with_its_fields() -> None:
    rows = table(section(PAGE, "## Events"))
    for event in get_args(Event):
        fields = ", ".join(field.name for field in dataclasses.fields(event))
        assert f"`{event.__name__}({fields})`" in rows


def test_every_field_of_a_message_and_an_acceptance_is_named() -> None:
    for kind, heading in ((Message, "## Receiving"), (Acceptance, "## Sending")):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in section(PAGE, heading), field.name
