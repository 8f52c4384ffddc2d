"""What docs/http.md says of each request: written from the OpenAPI document that the server gives.

What the document has and this module does not know stops it, so that nothing is left out.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson

from landline.api.http import CODES
from landline.api.messages import STATUSES
from landline.api.openapi import document
from landline.protocol.codes import ErrorCode

Json = dict[str, Any]

# Codes whose frames no request brings.
_OF_FRAMES = {ErrorCode.UNKNOWN_TYPE}
_KNOWN = {
    "additionalProperties", "anyOf", "default", "description", "enum", "examples", "format",
    "items", "maxItems", "maxLength", "maximum", "minLength", "minimum", "properties", "required",
    "title", "type", "$ref",
}  # fmt: skip
_NULL: Json = {"type": "null"}


def requests() -> str:
    """Return a section for each method of each path."""
    described = orjson.loads(document())
    return "\n\n".join(
        "\n".join(_request(described, path, method, operation, item.get("parameters", [])))
        for path, item in described["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    )


def error_codes() -> str:
    """Return the rows of the table of error codes."""
    return "\n".join(
        f"| `{code}` | {_statuses(code)} | {_without_links(code.means)} |"
        for code in ErrorCode
        if code not in _OF_FRAMES
    )


def _statuses(code: ErrorCode) -> str:
    own = STATUSES.get(code, HTTPStatus.BAD_REQUEST)
    found = {own, *(status for status, of in CODES.items() if of is code)}
    if code is ErrorCode.FORBIDDEN:
        found.add(HTTPStatus.SERVICE_UNAVAILABLE)  # with `unknown`
    more = ", and every other refusal" if code is ErrorCode.BAD_FRAME else ""
    return ", ".join(str(int(status)) for status in sorted(found)) + more


def _without_links(text: str) -> str:
    """The anchors in it are of another page."""
    return text.replace("](#", "](protocol.md#")


def _request(
    described: Json, path: str, method: str, operation: Json, parameters: list[Json]
) -> Iterator[str]:
    yield f"### {method.upper()} {path}"
    yield f"\n{operation['summary']}. **Who may:** {operation['description']}"
    fields = [
        _row(each["name"], each["in"], each["schema"], each.get("required", False), each)
        for each in (*parameters, *operation.get("parameters", []))
    ]
    if (body := operation.get("requestBody")) is not None:
        schema = _schema(described, body)
        fields += [
            _row(name, "body", inner, name in schema["required"], inner)
            for name, inner in schema["properties"].items()
        ]
    if fields:
        yield "\n| request | where | type | |\n|---|---|---|---|"
        yield from fields
    yield "\n| answer | means | fields |\n|---|---|---|"
    for status, response in operation["responses"].items():
        schema = _schema(described, response)
        headers = "".join(f", header `{name}`" for name in response.get("headers", {}))
        is_error = schema["title"] == "Error"
        shown = "an [error](#errors)" if is_error else ", ".join(_fields(described, schema))
        yield f"| {status} | {response['description']} | {shown}{headers} |"


def _row(name: str, where: str, schema: Json, is_required: bool, described: Json) -> str:
    assert set(schema) <= _KNOWN, schema
    need = "required" if is_required else "optional"
    kind = _kind(schema)
    schema = _not_null(schema)
    meaning = described.get("description", "") or schema.get("description", "")
    if "maxLength" in schema and "bytes" not in meaning:
        # A schema can count characters alone. The server counts their bytes, and takes no more.
        meaning += f"; {schema['minLength']} to {schema['maxLength']:,} bytes of UTF-8"
    return f"| `{name}` | {where}, {need} | {kind} | {meaning} |"


def _kind(schema: Json) -> str:
    """Return what a value may be, in words."""
    assert set(schema) <= _KNOWN, schema
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "items" in schema:
        return f"list of {_kind(schema['items'])}s"
    return str(schema.get("format", schema["type"]))


def _not_null(schema: Json) -> Json:
    """Return what a value is if it is not null."""
    choices: list[Json] = schema.get("anyOf", [schema])
    [found] = [each for each in choices if each != _NULL]
    return found


def _fields(described: Json, schema: Json) -> Iterator[str]:
    for name, inner in schema["properties"].items():
        assert set(inner) <= _KNOWN, inner
        some = "" if name in schema["required"] or "default" in inner else "?"
        if "items" in inner:
            of = ", ".join(_fields(described, _resolved(described, inner["items"])))
            yield f"`{name}{some}` (list of {of})"
        else:
            yield f"`{name}{some}`"


def error_fields() -> str:
    """Return the rows of the table of an error's fields."""
    schema = orjson.loads(document())["components"]["schemas"]["Error"]
    rows = []
    for name, inner in schema["properties"].items():
        is_there = name in schema["required"] or "default" in inner
        when = "always" if is_there else "where it applies"
        rows.append(f"| `{name}` | {when} | {inner.get('description', '')} |")
    return "\n".join(rows)


def _schema(described: Json, holder: Json) -> Json:
    [(kind, content)] = holder["content"].items()
    assert kind == "application/json"
    return _resolved(described, content["schema"])


def _resolved(described: Json, schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    resolved: Json = described["components"]["schemas"][name]
    return resolved
