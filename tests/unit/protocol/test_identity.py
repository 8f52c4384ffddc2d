"""Who is who: which names there are, and which id a message has."""

import json
import runpy
import sys
import unicodedata
import uuid
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocol.identity import (
    BadName,
    check_recorded_name,
    check_user_name,
    direct_conversation,
    is_message_id,
    is_ref,
    message_id,
    uuid_text,
)
from landline.protocol.name_characters import UNNAMEABLE

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "alice",
        "Ålesund",  # one code point, as NFC wants it
        "名無し",
        "\U0001d4b3",
        "a.b@c-d_e+f",
        "x" * 64,
        "é" * 32,  # 64 bytes
    ],
)
def test_a_user_name_may_have_letters_of_any_script(name: str) -> None:
    assert check_user_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "1 to 64 bytes"),
        ("x" * 65, "1 to 64 bytes"),
        ("é" * 32 + "x", "1 to 64 bytes"),  # 33 characters, 65 bytes
        ("A\u030alesund", "normal form C"),  # a letter and its ring, apart
        ("a b", "white space"),
        ("a\u00a0b", "white space"),
        ("a\u2003b", "white space"),
        ("a\tb", "white space"),
        ("a\nb", "white space"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\x00b", "control"),
        ("a\ud800b", "surrogates"),
        ("a\u200bb", r"invisible .* \(U\+200B is one\)"),
        ("a\U000e0041b", r"U\+E0041 is one"),
        ("a:b", "':'"),
        ("a/b", "'/'"),
    ],
)
def test_what_could_be_mistaken_for_another_name_is_none(name: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        check_user_name(name)


NAMES = json.loads(Path(__file__).parents[2].joinpath("support", "names.json").read_text())
CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}


@pytest.mark.parametrize("name", NAMES["good"])
def test_a_name_is_taken_here_and_by_the_page(name: str) -> None:
    """The page's side of the same list is in tests/browser."""
    assert check_user_name(name) == name


@pytest.mark.parametrize("name", NAMES["bad"], ids=ascii)
def test_a_name_is_refused_here_and_by_the_page(name: str) -> None:
    with pytest.raises(BadName):
        check_user_name(name)


def test_no_name_has_a_character_of_these_categories() -> None:
    """Whichever Unicode this Python knows: its own unassigned characters are refused as well."""
    wrong = [
        f"U+{code:04X}"
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in CATEGORIES and is_nameable(chr(code))
    ]
    assert wrong == []


def is_nameable(text: str) -> bool:
    try:
        check_user_name(text)
    except BadName:
        return False
    return True


def test_server_and_page_have_one_table() -> None:
    page = (files("landline") / "web" / "name-characters.js").read_text()
    assert page.partition("`")[2].partition("`")[0].split() == UNNAMEABLE.split()


if unicodedata.unidata_version == "14.0.0":  # no other Python can make the table, so none is asked

    def test_the_table_is_what_its_script_makes_of_unicode() -> None:
        script = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "names"))
        assert script["unnameable"]().split() == UNNAMEABLE.split()


@given(st.text(max_size=8))
def test_a_name_of_a_record_may_be_any_that_is_taken_today(name: str) -> None:
    if is_nameable(name):
        assert check_recorded_name(name) == name


@pytest.mark.parametrize(
    "name", ["a\u200bb", "👩\u200d🚀", "a\u202eb", "\u3164", "a\ue000", "a\u0378"]
)
def test_a_name_that_was_taken_before_is_one_in_a_record(name: str) -> None:
    assert check_recorded_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\x00", "\ud800", "x" * 65, "A\u030alesund"])
def test_a_name_that_was_never_taken_is_none_in_a_record(name: str) -> None:
    with pytest.raises(BadName):
        check_recorded_name(name)


@pytest.mark.parametrize(
    ("one", "other", "conversation"),
    [
        ("alice", "bob", "dm:alice:bob"),
        ("alice", "alice", "dm:alice:alice"),
        ("Bob", "alice", "dm:Bob:alice"),  # not by alphabet
        ("a", "ab", "dm:a:ab"),
        ("z", "é", "dm:z:é"),
        # U+FF5E against U+1F600: by UTF-16 units, as JavaScript and Java compare strings, the
        # emoji (D83D DE00) would come first.
        ("\uff5e", "\U0001f600", "dm:\uff5e:\U0001f600"),
    ],
)
def test_a_conversation_has_its_names_in_code_point_order(
    one: str, other: str, conversation: str
) -> None:
    assert direct_conversation(one, other) == direct_conversation(other, one) == conversation


# sender, ref, conversation, content, id. Ids stand in logs and stores for ever: these never change.
# An id is BLAKE2b (16 bytes, personal string `landline.message`) of the four fields in UTF-8, each
# after its length in bytes (4 bytes, big-endian), with version 8 and the variant of RFC 9562 set.
GOLDEN = [
    ("alice", "r1", "dm:alice:bob", "hello", "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"),
    ("bob", "r1", "dm:alice:bob", "hello", "d398a317-b6a4-8faf-bd9d-baac3fde107d"),
    (
        "žofie",
        "ref 😀",
        "dm:žofie:\U0001d4b3",
        "Grüße 👋🏽\n",
        "d32dbd75-a5c0-8628-8e0c-92b90ddeba21",
    ),
    ("a", "x" * 64, "dm:a:a", "y" * 16_384, "c4babfdd-cde3-8717-8aaf-5cfb9c9ea549"),
]


@pytest.mark.parametrize(("sender", "ref", "conversation", "content", "id"), GOLDEN)
def test_the_same_message_has_the_same_id_for_ever(
    sender: str, ref: str, conversation: str, content: str, id: str
) -> None:
    assert message_id(sender, ref, conversation, content) == id


@given(st.lists(TEXT, min_size=4, max_size=4), st.integers(0, 3), TEXT)
def test_another_sender_ref_conversation_or_content_is_another_message(
    fields: list[str], changed: int, value: str
) -> None:
    other = [*fields[:changed], value, *fields[changed + 1 :]]
    assert (message_id(*fields) == message_id(*other)) == (fields == other)


@given(TEXT, st.lists(st.integers(0, 40), min_size=3, max_size=3), st.integers(0, 2), TEXT)
def test_fields_that_run_together_to_the_same_text_are_still_told_apart(
    text: str, cuts: list[int], moved: int, more: str
) -> None:
    """`ab` + `c` and `a` + `bc`: nobody gets another's id by moving a boundary."""
    text += more + "end"

    def split(at: list[int]) -> list[str]:
        return [text[start:end] for start, end in pairwise([0, *sorted(at), len(text)])]

    one = split(cuts)
    other = split([*cuts[:moved], cuts[moved] + 1, *cuts[moved + 1 :]])
    assert (message_id(*one) == message_id(*other)) == (one == other)


@pytest.mark.parametrize("version", [4, 8])
@given(octets=st.binary(min_size=16, max_size=16))
def test_an_id_is_a_uuid_of_rfc_9562_in_lower_case(version: int, octets: bytes) -> None:
    text = uuid_text(octets, version=version)
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, version, uuid.RFC_4122)
    assert is_message_id(text)
    kept = ~(0xF000 << 64 | 0xC000 << 48)  # all but version and variant is the caller's
    assert parsed.int & kept == int.from_bytes(octets, "big") & kept


@pytest.mark.parametrize(
    "text",
    [
        "2214BE8F-D5FB-8FF7-ADF5-4AA071E17D43",
        "{2214be8f-d5fb-8ff7-adf5-4aa071e17d43}",
        "2214be8fd5fb8ff7adf54aa071e17d43",
        "2214be8f-d5fb-8ff7-adf5-4aa071e17d4",
        "2214be8f-d5fb-8ff7-adf5-4aa071e17d4-",
        "2214be8fd-5fb-8ff7-adf5-4aa071e17d43",
        "2214be8f-d5fb-8ff7-adf5-4aa071e17d4g",
        " 214be8f-d5fb-8ff7-adf5-4aa071e17d43",
        "٢214be8f-d5fb-8ff7-adf5-4aa071e17d43",  # a digit, but no hexadecimal one
        "",
        b"2214be8f-d5fb-8ff7-adf5-4aa071e17d43",
        7,
        None,
    ],
)
def test_another_spelling_of_an_id_is_no_id(text: object) -> None:
    assert not is_message_id(text)


@pytest.mark.parametrize(
    ("ref", "is_one"),
    [
        ("r", True),
        ("any text: with / and spaces 😀\n", True),
        ("é" * 32, True),
        ("", False),
        ("x" * 65, False),
        ("é" * 32 + "x", False),
        ("a\x00b", False),
        ("\udfff", False),
    ],
)
def test_a_ref_is_any_short_text_that_can_be_stored(ref: str, is_one: bool) -> None:
    assert is_ref(ref) == is_one
