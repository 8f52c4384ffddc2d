"""Lines of the input: the same however the bytes are cut, and never changed on the way."""

import codecs

from hypothesis import given
from hypothesis import strategies as st

from landline.protocol.limits import CONTENT_BYTES
from landline.terminal.lines import LINE_BYTES, TERMINAL_LINE_BYTES, Line, Splitter


def split(*chunks: bytes, is_terminal: bool = False) -> list[Line]:
    splitter = Splitter(is_terminal=is_terminal)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.end()]


@given(st.lists(st.binary(max_size=20)))
def test_where_the_bytes_are_cut_makes_no_difference(chunks: list[bytes]) -> None:
    assert split(*chunks) == split(b"".join(chunks))


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
def test_a_text_is_what_was_written(texts: list[str]) -> None:
    for end in ("\n", "\r\n"):
        written = codecs.BOM_UTF8 + "".join(text + end for text in texts).encode()
        expected = [text.removesuffix("\r") if end == "\n" else text for text in texts]
        lines = split(written)
        if not texts:
            assert [line.text for line in lines] == [""]  # a mark alone is an empty line
            continue
        assert [line.text for line in lines] == expected
        assert [line.number for line in lines] == list(range(1, len(texts) + 1))


@given(st.binary(max_size=200).filter(lambda raw: b"\n" not in raw))
def test_what_is_not_utf8_is_never_changed_silently(raw: bytes) -> None:
    (line,) = split(raw + b"\n")
    if line.problem is None:
        assert line.text.encode() == raw.removeprefix(codecs.BOM_UTF8).removesuffix(b"\r")
    else:
        assert "is not UTF-8" in line.problem


def test_a_mark_at_the_head_is_no_text_and_is_text_elsewhere() -> None:
    mark = codecs.BOM_UTF8
    whole = mark + b"/to carol\n" + mark + b"one" + mark
    for cut in range(len(whole)):
        lines = split(whole[:cut], whole[cut:])
        assert [line.text for line in lines] == ["/to carol", "\ufeffone\ufeff"]
    longest = split(mark + b"x" * LINE_BYTES + b"\n", b"y" * (LINE_BYTES + 1) + b"\n")
    assert [line.problem is None for line in longest] == [True, False]
    assert split(mark * 2)[0].text == "\ufeff"


@given(st.integers(LINE_BYTES - 3, LINE_BYTES + 3), st.integers(1, 5_000))
def test_what_is_too_long_is_one_line_with_a_problem(size: int, step: int) -> None:
    raw = b"x" * size + b"\nnext\n"
    line, following = split(*(raw[start : start + step] for start in range(0, len(raw), step)))
    assert (following.text, following.problem) == ("next", None)
    if size <= LINE_BYTES:
        assert (len(line.text), line.problem) == (size, None)
    else:
        assert line.problem == f"it is longer than {CONTENT_BYTES:,} bytes"


def test_a_line_without_end_costs_no_more_than_the_longest() -> None:
    splitter = Splitter()
    for _ in range(1_000):
        assert list(splitter.feed(b"x" * 4096)) == []
        assert len(splitter._line) <= LINE_BYTES + 1 + len(codecs.BOM_UTF8)
    (line,) = splitter.end()
    assert line.problem is not None
    assert len(line.text) < 200


def test_a_line_that_a_terminal_may_have_cut_is_not_taken_for_whole() -> None:
    for size, is_whole in ((TERMINAL_LINE_BYTES - 1, True), (TERMINAL_LINE_BYTES, False)):
        raw = b"x" * size + b"\n"
        assert (split(raw, is_terminal=True)[0].problem is None) == is_whole
        assert split(raw)[0].problem is None
