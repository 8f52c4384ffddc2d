"""One WebSocket connection: frames in, frames out, and its last words."""

import asyncio
from collections import deque
from typing import NamedTuple, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from landline.gateway.fragments import BadFragment, Fragments
from landline.gateway.heartbeat import Heartbeat
from landline.gateway.turns import Turns
from landline.observability.logging import get_logger
from landline.ports import Clock
from landline.protocol.client_frames import BadFrame, ClientFrame, decode
from landline.protocol.codes import CloseCode
from landline.protocol.limits import FRAME_BYTES

# When this much waits to be written the session gets nothing more until it has drained.
WRITE_HIGH_BYTES = 256 * 1024
WRITE_LOW_BYTES = 64 * 1024
# Answers are written all the same; a peer that lets them pile up to here reads nothing at all.
WRITE_LIMIT_BYTES = 1024 * 1024

CLOSE_WITHIN_SECONDS = 3.0

# A socket that has been read for so long, and had nothing, was empty.
EMPTY_AFTER_SECONDS = 0.5

# What a close frame may hold (RFC 6455, section 7.4, and IANA's registry), and the words for
# one that is empty and one that never came; those two are never sent.
_PEERS_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
NO_CODE = 1005
NO_CLOSE_FRAME = 1006

log = get_logger(__name__)


class _Frame(NamedTuple):
    """A WebSocket frame of the peer, copied out of the read buffer."""

    kind: WSMsgType
    is_final: bool
    payload: bytes


class Owner(Protocol):
    """The hub: it is told what the peers of connections do."""

    clock: Clock
    turns: Turns

    def opened(self, connection: "Connection") -> None:
        """A connection is open."""

    def closed(self, connection: "Connection", code: int) -> None:
        """A connection is gone; `code` is that of the first close frame."""

    def received(self, connection: "Connection", frame: ClientFrame) -> None:
        """A good frame has arrived."""

    def received_bad(self, connection: "Connection", bad: BadFrame) -> None:
        """A bad frame has arrived."""

    def writable(self, connection: "Connection", is_writable: bool) -> None:
        """A write buffer has filled up or drained."""

    def left_unread(self, connection: "Connection", since: float) -> None:
        """What a connection has said until now may have waited since then."""


class Connection(WSListener):
    """A socket and its session. Its owner's methods are called for what the peer does.

    Frames are taken in turns (`landline.gateway.turns`): what arrives beyond a turn waits in
    `_inbox`, and the socket is not read meanwhile. So the inbox holds one read at the most.

    It has many attributes because picows calls one object for all that happens on a socket, and
    the log says all of it in one line at the end.
    """

    def __init__(
        self,
        owner: Owner,
        user: str,
        session: str,
        *,
        auto_ack: bool,
        peer: str,
        origin: str | None,
    ) -> None:
        """`peer` is the address, `origin` what a browser said; both are for the log."""
        self._owner = owner
        self._from = {"peer": peer, **({"origin": origin} if origin is not None else {})}
        self.user = user
        self.session = session
        self.auto_ack = auto_ack
        self._transport: WSTransport | None = None
        self.turn_round = 0
        self.turn_until = 0.0
        self._inbox: deque[_Frame] = deque()
        self._is_in_ring = False
        self._fragments = Fragments()
        self._closing: asyncio.TimerHandle | None = None
        self._is_writing_paused = False
        self._is_reading_paused = False
        # Since when bytes may wait in the socket; see `delivery.unread`. None: it was read empty.
        self._unread_since: float | None = None
        self._read_again_at = 0.0
        self._heartbeat = Heartbeat()
        self._opened_at = 0.0
        self._frames_in = 0
        self._frames_out = 0
        self._close_code = NO_CLOSE_FRAME

    # What the hub asks for -------------------------------------------------------------------

    def transmit(self, frame: bytes) -> None:
        """Write a frame."""
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        self._frames_out += 1
        transport.send(WSMsgType.TEXT, frame)
        if self._is_writing_paused and self._buffered() > WRITE_LIMIT_BYTES:
            self.close(CloseCode.NO_PROGRESS, "the client does not read")

    def is_listening(self) -> bool:
        """Say whether bytes still mean something: no more once picows has given up on the peer."""
        transport = self._transport
        return transport is None or self._closing is not None or not transport.is_close_frame_sent

    def is_flushed(self) -> bool:
        """Say whether everything written has left the process."""
        return self._closing is None and self._buffered() == 0

    def pause_reading(self) -> None:
        """Take no more frames: too many sends are in flight."""
        self._is_reading_paused = True
        self._apply_reading()

    def resume_reading(self) -> None:
        """Take frames again, those that wait first."""
        self._is_reading_paused = False
        self._apply_reading()

    def take_turn(self, until: float) -> bool:
        """Take frames that wait until the clock says `until`. Returns whether to come back."""
        try:
            while self._inbox and not self._is_paused():
                self._take(self._inbox.popleft())
                if self._owner.clock.monotonic() >= until:
                    break
        except Exception:  # a defect: as where picows calls us, it ends this connection alone
            log.exception("connection_failed", session=self.session)
            self._inbox.clear()
            self.close(CloseCode.INTERNAL, "internal error")
        self._tell_unread()
        self._is_in_ring = bool(self._inbox) and not self._is_paused()
        if not self._inbox:
            self._apply_reading()
        return self._is_in_ring

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye; the peer gets a few seconds for its own close frame."""
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        self._close_code = int(code)
        transport.send_close(WSCloseCode(code) if code < 4000 else code, reason)  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(CLOSE_WITHIN_SECONDS, self.abort)
        self._apply_reading()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def beat(self, now: float) -> None:
        """Ping a silent peer; cut one that does not answer. Called about once a second."""
        if self._transport is None or self._closing is not None:
            return
        is_read = self._transport.underlying_transport.is_reading()
        if is_read and now - self._read_again_at > EMPTY_AFTER_SECONDS:
            self._unread_since = None
        if self._heartbeat.is_gone(now):
            log.info("connection_silent", session=self.session)
            self.abort()
        elif self._heartbeat.is_ping_due(now) and not self._is_paused():
            self._heartbeat.pinged(now)
            self._transport.send_ping()

    # What the peer does (picows calls these) ------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self._opened_at = self._owner.clock.monotonic()
        self._heartbeat.heard(self._opened_at)
        self._owner.opened(self)
        log.info("connection_opened", session=self.session, user=self.user, **self._from)

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        """A WebSocket frame has arrived."""
        now = self._owner.clock.monotonic()
        self._heartbeat.heard(now)
        if self._closing is None and (frame.rsv1 or frame.rsv2 or frame.rsv3):
            self._end(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
            return
        taken = _Frame(frame.msg_type, frame.fin, frame.get_payload_as_bytes())
        if not self._inbox and not self._is_paused() and self._owner.turns.may_take(self, now):
            self._take(taken)
            return
        self._inbox.append(taken)
        if len(self._inbox) == 1:
            self._apply_reading()

    def cannot_be_read_on(self) -> None:
        """A frame is broken, and picows will close. Behind the peer's goodbye it means nothing: then
        the goodbye is answered (RFC 6455, section 5.5.1), which picows would hand over only later.
        """
        transport = self._transport
        goodbye = transport and transport.close_handshake and transport.close_handshake.recv
        if transport is not None and goodbye:
            code = int(goodbye.code)  # type: ignore[call-overload]  # an IntEnum; 0: it was empty
            self._answer_close(transport, code.to_bytes(2, "big") if code else b"")

    def was_read(self, *, is_empty: bool) -> None:
        """Bytes of the socket were taken; `is_empty`: all that had come. Called for each read."""
        if self._unread_since is None:
            return
        self._tell_unread()
        if is_empty and not self._inbox:
            self._unread_since = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone. What waits was not answered, so its sender will say it again."""
        self._transport = None
        self._inbox.clear()
        if self._close_code == NO_CLOSE_FRAME and transport.is_close_frame_sent:
            sent = transport.close_handshake.sent  # by picows itself: the frame was broken
            assert sent is not None
            self._close_code = int(sent.code)  # type: ignore[call-overload]  # an IntEnum
        if self._closing is not None:
            self._closing.cancel()
        self._owner.closed(self, self._close_code)
        log.info(
            "connection_closed",
            session=self.session,
            user=self.user,
            **self._from,
            code=self._close_code,
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            duration_seconds=round(self._owner.clock.monotonic() - self._opened_at, 3),
        )

    def pause_writing(self) -> None:
        """The write buffer is full. A peer that does not read is not listened to either."""
        self._is_writing_paused = True
        self._apply_reading()
        self._owner.writable(self, False)

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        self._is_writing_paused = False
        self._apply_reading()
        self._owner.writable(self, True)

    # Inside ----------------------------------------------------------------------------------

    def _take(self, frame: _Frame) -> None:
        transport = self._transport
        if transport is None:
            return
        kind = frame.kind
        if kind == WSMsgType.CLOSE:
            self._answer_close(transport, frame.payload)
        elif self._close_code != NO_CLOSE_FRAME or kind == WSMsgType.PONG:
            return  # behind a goodbye, ours or theirs, nothing means anything
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.payload)
        elif kind == WSMsgType.BINARY:
            self._end(CloseCode.UNSUPPORTED, "frames are text, not binary")
        elif kind == WSMsgType.CONTINUATION or not frame.is_final or self._fragments:
            self._take_fragment(frame)
        else:
            self._take_text(frame.payload)

    def _take_text(self, payload: bytes) -> None:
        self._frames_in += 1
        if len(payload) > FRAME_BYTES:
            self._end(CloseCode.TOO_LARGE, f"a frame has at most {FRAME_BYTES} bytes")
            return
        try:
            frame = decode(payload.decode())
        except UnicodeDecodeError:
            self._end(CloseCode.INVALID_TEXT, "text frames are UTF-8")
        except BadFrame as bad:
            self._owner.received_bad(self, bad)
        else:
            self._owner.received(self, frame)

    def _take_fragment(self, frame: _Frame) -> None:
        is_first = frame.kind == WSMsgType.TEXT
        try:
            message = self._fragments.add(frame.payload, is_first=is_first, is_final=frame.is_final)
        except BadFragment as bad:
            self._end(bad.code, bad.reason)
            return
        if message is not None:
            self._take_text(message)

    def _end(self, code: CloseCode, reason: str) -> None:
        """The peer broke the WebSocket protocol: this connection has nothing more to say."""
        self._fragments.clear()
        self.close(code, reason)

    def _answer_close(self, transport: WSTransport, payload: bytes) -> None:
        if self._closing is None:
            code = int.from_bytes(payload[:2], "big")
            if not payload:
                self._close_code, code = NO_CODE, 1000
            elif code in _PEERS_CLOSE_CODES:
                self._close_code = code
            else:  # picows lets some through that must not be sent
                self._close_code = code = int(CloseCode.PROTOCOL_ERROR)
            transport.send_close(code)  # type: ignore[arg-type]  # an enum in the stub alone
        transport.disconnect()

    def _apply_reading(self) -> None:
        """Read the socket, or do not; and see to it that what waits has its turn."""
        if self._transport is None:
            return
        if self._inbox and not self._is_in_ring and not self._is_paused():
            self._is_in_ring = True
            self._owner.turns.wait(self)
        underlying = self._transport.underlying_transport
        should_pause = bool(self._inbox) or self._is_paused()
        if should_pause and underlying.is_reading():
            underlying.pause_reading()
            if self._unread_since is None:
                self._unread_since = self._owner.clock.monotonic()
        elif not should_pause and not underlying.is_reading() and not underlying.is_closing():
            underlying.resume_reading()
            self._read_again_at = self._owner.clock.monotonic()

    def _tell_unread(self) -> None:
        if self._unread_since is not None:
            self._owner.left_unread(self, self._unread_since)

    def _is_paused(self) -> bool:
        """Say whether frames have to wait. After our goodbye they do not: one of them is theirs."""
        return self._closing is None and (self._is_reading_paused or self._is_writing_paused)

    def _buffered(self) -> int:
        if self._transport is None:
            return 0
        return self._transport.underlying_transport.get_write_buffer_size()
