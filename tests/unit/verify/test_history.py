"""A history survives its file, a cut in the middle of a line, and says which line is wrong."""

from pathlib import Path

import pytest

from landline_verify.errors import BadHistory
from landline_verify.history import events as e
from landline_verify.history.history import History, decode_event, encode_event, read_history
from support.histories import healthy

RUN = e.Run(0.0, e.VERSION, 7, ("ws://a",), {"rate": 5}, "2026-01-02T03:04:05Z", 10.0, 15.0)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Every kind of event is among them."""
    others = [
        e.Error(1.0, "u0", "c1", "bad_frame", "no"),
        e.DeviceRecord(1.0, 0, 1, "u0", "phone", "add"),
        e.ReceiptsRecord(1.0, 0, 2, (("u0", "phone", ("a", "b")), ("u1", None, ("a",))), "dm:x"),
        e.Mark(1.0, "u0", "c1", "dm:x", 7),
        e.Marked(1.0, "u0", "c1", "dm:x", (("u0", 7), ("u1", 2))),
        e.Ask(1.0, "u0", "c1", "history", "q1", "dm:x", 8),
        e.Listed(1.0, "u0", "c1", "q1", (("dm:x", 9, 7, 1),)),
        e.Paged(1.0, "u0", "c1", "q1", "dm:x", (("a", 3, "d"), ("b", 7, "d")), 3, 7, False),
        e.RoomRecord(1.0, 0, 3, "r", "u0", "room:1", "d", "phone", ("u0", "u1"), "all"),
        e.MemberRecord(1.0, 0, 4, "m", "u0", "room:1", "d", None, "u2", "add", "member"),
        e.ReadRecord(1.0, 0, 5, "room:1", (("u0", 4),)),
        e.PendingRow(1.0, "u0", "phone", 0, 1, None, is_received=True),
    ]
    events = [*healthy(1), *others]
    assert {type(each) for each in events} == set(e.EVENT_KINDS)
    with History(file=tmp_path / "history") as history:
        for event in events:
            history.record(event)
    assert list(read_history(tmp_path / "history")) == events


def test_what_was_flushed_is_there_though_nobody_closed(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = History(file=path)
    history.record(RUN)
    history.flush()
    history.record(e.Phase(1.0, "load"))
    assert list(read_history(path)) == [RUN]
    history.flush()
    history.flush()
    assert list(read_history(path)) == [RUN, e.Phase(1.0, "load")]
    history.close()
    history.close()


def test_what_is_recorded_while_the_file_is_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is read, and recorded, on a thread of its own."""
    late = e.Phase(1.0, "load")

    def encode(event: e.Event) -> bytes:
        if len(history) == 1:
            history.record(late)
        return encode_event(event)

    monkeypatch.setattr("landline_verify.history.history.encode_event", encode)
    history = History([RUN], file=tmp_path / "history")
    history.flush()
    history.close()
    assert list(read_history(tmp_path / "history")) == [RUN, late]


def test_a_line_that_was_cut_off_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(encode_event(RUN) + encode_event(e.Phase(1.0, "load"))[:-5])
    assert list(read_history(path)) == [RUN]


def test_a_history_is_a_sequence() -> None:
    history = History([RUN, e.Phase(1.0, "load")])
    assert (len(history), history[1].t, history[:1]) == (2, 1.0, [RUN])


def test_unknown_fields_are_ignored() -> None:
    line = b'{"t": 1, "kind": "phase", "name": "end", "mood": "good"}\n'
    assert decode_event(line) == e.Phase(1.0, "end")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"not json\n", "line 2: "),
        (b"[]\n", "line 2: not a JSON object"),
        (b'{"t": 1}\n', "line 2: unknown kind of event: None"),
        (b'{"t": 1, "kind": "gossip"}\n', "line 2: unknown kind of event: gossip"),
        (b'{"t": 1, "kind": "row", "table": "chairs"}\n', "unknown kind of event: row chairs"),
        (b'{"t": 1, "kind": []}\n', "unknown kind of event: []"),
        (b'{"t": 1, "kind": "phase"}\n', "line 2: `phase` without `name`"),
        (b'{"t": 1, "kind": "phase", "name": "dawn"}\n', "line 2: `phase` with `name` = 'dawn'"),
        (b'{"t": true, "kind": "phase", "name": "end"}\n', "`phase` with `t` = True"),
        (
            b'{"t": 1, "kind": "ack", "user": "a", "c": "c1", "ids": ["x", 7]}\n',
            "`ack` with `ids` = ['x', 7]",
        ),
        (
            b'{"t": 1, "kind": "disconnect", "user": "a", "c": "c1", "code": "1000"}\n',
            "`disconnect` with `code` = '1000'",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, sentence: str) -> None:
    path = tmp_path / "history"
    path.write_bytes(encode_event(RUN) + line)
    with pytest.raises(BadHistory) as caught:
        read_history(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no history"),
        (encode_event(e.Phase(0.0, "load")), "its first line is no `run`"),
        (encode_event(RUN).replace(b'"version":2', b'"version":1'), "a history of version 1"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "history"
    path.write_bytes(content)
    with pytest.raises(BadHistory, match=sentence):
        read_history(path)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadHistory, match=r"cannot read the history .*: No such file"):
        read_history(tmp_path / "none")
    with pytest.raises(BadHistory, match=r"cannot write the history .*: No such file"):
        History(file=tmp_path / "none" / "history")
