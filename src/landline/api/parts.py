"""The parts of a request: names in its path, its query, its body, and in whose name it comes."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec
from starlette.requests import Request

from landline.auth.principal import Principal
from landline.protocol.client_frames import BadFrame, Fields, read_object
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import BadName, check_user_name, is_ref

# Integers of JSON that frames take have no more digits.
_DIGITS: Final = 19


def segment(request: Request, place: int) -> str:
    """Return a name in the path, which may be percent-encoded. Raises: BadFrame.

    What is no UTF-8 must not turn into a good name. No name has a slash: the listener sees to it.
    """
    path: bytes = request.scope["raw_path"]
    return decoded(path.decode("ascii").split("/")[place])


def decoded(written: str) -> str:
    """Return a name as it was meant, given as it stands in a path. Raises: BadFrame."""
    try:
        return unquote(written, errors="strict")
    except UnicodeDecodeError:
        raise bad("the name in the path is not UTF-8") from None


def query_of(request: Request) -> Mapping[str, str]:
    """Return the parameters. Raises: BadFrame, where one is given twice or is not UTF-8."""
    text: str = request.scope["query_string"].decode("ascii")
    try:
        given = parse_qs(text, keep_blank_values=True, errors="strict")
    except ValueError:
        raise bad("the query is not UTF-8") from None
    for name, values in given.items():
        if len(values) > 1:
            raise bad(f"{name} is given {len(values)} times in the query")
    return {name: value for name, [value] in given.items()}


def check_known(query: Mapping[str, str], known: Collection[str] = ()) -> None:
    """What is misspelt, or in the wrong place, must not change something else than was meant.

    Raises: BadFrame.
    """
    if set(query) - set(known):
        allowed = f"has {' and '.join(known)} at the most" if known else "must be empty"
        raise bad(f"the query {allowed}; nothing was done")


def number(text: str) -> int | str:
    """Return what a parameter says, if it is a number. Otherwise it is for others to refuse."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else text


def read_body(body: bytes) -> Fields:
    """Return the fields of a body. Raises: BadFrame."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise bad("the body must be JSON in UTF-8") from None
    return read_object(text, what="the body")


def check_types(fields: Fields, kind: type[Any], what: str) -> None:
    """Check a body as it is described. Raises: BadFrame."""
    try:
        msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise bad(f"the body is no {what}: {error}") from None


def check_ref(fields: Fields, what: str) -> None:
    """Raises: BadFrame, where there is no `ref`."""
    if "ref" not in fields:
        reason = f"ref is missing: a name of your own for this {what}, kept before the first try"
        raise BadFrame(ErrorCode.BAD_REF, reason)


def acting(principal: Principal, given: str | None, name: str) -> str:
    """Return in whose name a request comes, given what its field or parameter of this `name` says.

    Raises: BadFrame.
    """
    if given is None or given == principal.user:
        return principal.user
    if not principal.is_service:
        reason = f"{name} is for the product's own backend; users act in their own name"
        raise BadFrame(ErrorCode.FORBIDDEN, reason)
    try:
        return check_user_name(given)
    except BadName as error:
        raise bad(f"{name}: {error}") from None


@contextmanager
def for_the_log(fields: Mapping[str, object]) -> Iterator[None]:
    """What is refused in here would have ended in the log: it is rejected, with its `ref`."""
    try:
        yield
    except BadFrame as refused:
        given = fields.get("ref")
        ref = given if isinstance(given, str) and is_ref(given) else None
        raise BadFrame(refused.code, refused.message, Outcome.REJECTED, ref) from None


def bad(reason: str) -> BadFrame:
    """Return the refusal of what cannot be read."""
    return BadFrame(ErrorCode.BAD_FRAME, reason)
