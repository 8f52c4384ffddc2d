"""A message in pieces is put together, and what breaks the rules ends the connection."""

import pytest

from landline.gateway.fragments import FRAGMENTS, BadFragment, Fragments
from landline.protocol.codes import CloseCode
from landline.protocol.limits import FRAME_BYTES


def test_pieces_become_a_message_again_and_again() -> None:
    fragments = Fragments()
    for _ in range(2):
        assert fragments.add(b"hel", is_first=True, is_final=False) is None
        assert fragments
        assert fragments.add(b"", is_first=False, is_final=False) is None
        assert fragments.add(b"lo", is_first=False, is_final=True) == b"hello"
        assert not fragments


def test_a_message_may_use_the_bounds_up() -> None:
    fragments = Fragments()
    piece = b"x" * (FRAME_BYTES // FRAGMENTS)
    for number in range(FRAGMENTS - 1):
        assert fragments.add(piece, is_first=number == 0, is_final=False) is None
    assert fragments.add(piece, is_first=False, is_final=True) == piece * FRAGMENTS


@pytest.mark.parametrize("begun", [False, True])
def test_pieces_out_of_order_are_a_protocol_error(begun: bool) -> None:
    """A continuation of nothing, and a new message in the middle of one."""
    fragments = Fragments()
    if begun:
        fragments.add(b"a", is_first=True, is_final=False)
    with pytest.raises(BadFragment) as bad:
        fragments.add(b"b", is_first=begun, is_final=False)
    assert bad.value.code == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(("pieces", "size"), [(FRAGMENTS + 1, 0), (2, FRAME_BYTES // 2 + 1)])
def test_too_many_and_too_large_pieces_are_too_large(pieces: int, size: int) -> None:
    fragments = Fragments()
    for number in range(pieces - 1):
        fragments.add(bytes(size), is_first=number == 0, is_final=False)
    with pytest.raises(BadFragment) as bad:
        fragments.add(bytes(size), is_first=False, is_final=True)
    assert bad.value.code == CloseCode.TOO_LARGE


@pytest.mark.parametrize("pieces", [[b"\xff"], [b"\xe2", b"\x28"], [b"ok", b"\xed\xa0\x80"]])
def test_a_piece_that_is_no_utf_8_is_refused_before_the_last_one(pieces: list[bytes]) -> None:
    fragments = Fragments()
    *good, bad = pieces
    for number, piece in enumerate(good):
        fragments.add(piece, is_first=number == 0, is_final=False)
    with pytest.raises(BadFragment) as refused:
        fragments.add(bad, is_first=not good, is_final=False)
    assert refused.value.code == CloseCode.INVALID_TEXT


def test_a_character_may_be_cut_but_not_left_out() -> None:
    fragments = Fragments()
    for _ in range(2):
        fragments.add(b"\xe2\x82", is_first=True, is_final=False)
        assert fragments.add(b"\xac", is_first=False, is_final=True) == "€".encode()
    fragments.add(b"\xe2\x82", is_first=True, is_final=False)
    with pytest.raises(BadFragment) as refused:
        fragments.add(b"", is_first=False, is_final=True)
    assert refused.value.code == CloseCode.INVALID_TEXT
