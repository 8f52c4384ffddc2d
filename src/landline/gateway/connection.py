"""One WebSocket connection: frames in, frames out, and its last words."""

import asyncio
from typing import TYPE_CHECKING, Any

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from landline.observability.logging import get_logger
from landline.protocol.codes import CloseCode
from landline.protocol.frames import BadFrame, decode
from landline.protocol.limits import FRAME_BYTES

if TYPE_CHECKING:
    from landline.gateway.hub import Hub

# When this much waits to be written the session gets nothing more until it has drained.
WRITE_HIGH_BYTES = 256 * 1024
WRITE_LOW_BYTES = 64 * 1024
# Answers are written all the same; a peer that lets them pile up to here reads nothing at all.
WRITE_LIMIT_BYTES = 1024 * 1024

PING_AFTER_SECONDS = 20.0
PONG_WITHIN_SECONDS = 15.0
CLOSE_WITHIN_SECONDS = 3.0

# A message in more pieces than this is an attack on the reassembly, not a message.
FRAGMENTS = 128

# What a close frame may hold (RFC 6455, section 7.4, and IANA's registry), and the words for
# one that is empty and one that never came; those two are never sent.
_PEERS_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
NO_CODE = 1005
NO_CLOSE_FRAME = 1006

log = get_logger(__name__)


class Connection(WSListener):
    """A socket and its session. The hub's methods are called for what the peer does."""

    def __init__(self, hub: "Hub", user: str, session: str, *, auto_ack: bool) -> None:
        self._hub = hub
        self.user = user
        self.session = session
        self.auto_ack = auto_ack
        self._transport: WSTransport | None = None
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0
        self._closing: asyncio.TimerHandle | None = None
        self._is_writing_paused = False
        self._is_reading_paused = False
        self._heard_at = 0.0
        self._pinged_at: float | None = None
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
        """Take frames again."""
        self._is_reading_paused = False
        self._apply_reading()

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
        if self._pinged_at is not None:
            if now - self._pinged_at > PONG_WITHIN_SECONDS:
                log.info("connection_silent", session=self.session)
                self.abort()
        elif now - self._heard_at > PING_AFTER_SECONDS and not self._transport_is_paused():
            self._pinged_at = now
            self._transport.send_ping()

    # What the peer does (picows calls these) ------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self._opened_at = self._heard_at = self._hub.clock.monotonic()
        self._hub.opened(self)
        log.info("connection_opened", session=self.session, user=self.user, peer=self._peer())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A WebSocket frame has arrived."""
        self._heard_at = self._hub.clock.monotonic()
        self._pinged_at = None
        kind = frame.msg_type
        if self._closing is None and (frame.rsv1 or frame.rsv2 or frame.rsv3):
            self._end(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        elif kind == WSMsgType.CLOSE:
            self._answer_close(transport, frame)
        elif self._closing is not None or kind == WSMsgType.PONG:
            return
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.BINARY:
            self._end(CloseCode.UNSUPPORTED, "frames are text, not binary")
        elif kind == WSMsgType.CONTINUATION or not frame.fin or self._fragments:
            self._take_fragment(frame)
        else:
            self._take_text(frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._transport = None
        if self._close_code == NO_CLOSE_FRAME and transport.is_close_frame_sent:
            sent = transport.close_handshake.sent  # by picows itself: the frame was broken
            assert sent is not None
            self._close_code = int(sent.code)  # type: ignore[call-overload]  # an IntEnum
        if self._closing is not None:
            self._closing.cancel()
        self._hub.closed(self, self._close_code)
        log.info(
            "connection_closed",
            session=self.session,
            user=self.user,
            code=self._close_code,
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            duration_seconds=round(self._hub.clock.monotonic() - self._opened_at, 3),
        )

    def pause_writing(self) -> None:
        """The write buffer is full. A peer that does not read is not listened to either."""
        self._is_writing_paused = True
        self._apply_reading()
        self._hub.writable(self, False)

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        self._is_writing_paused = False
        self._apply_reading()
        self._hub.writable(self, True)

    # Inside ----------------------------------------------------------------------------------

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
            self._hub.received_bad(self, bad)
        else:
            self._hub.received(self, frame)

    def _take_fragment(self, frame: WSFrame) -> None:
        is_first = frame.msg_type == WSMsgType.TEXT
        if is_first == bool(self._fragments):
            self._end(CloseCode.PROTOCOL_ERROR, "fragments are out of order")
            return
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragment_bytes += frame.payload_size
        if self._fragment_bytes > FRAME_BYTES or len(self._fragments) > FRAGMENTS:
            self._end(
                CloseCode.TOO_LARGE,
                f"a message has at most {FRAME_BYTES} bytes in {FRAGMENTS} fragments",
            )
        elif frame.fin:
            payload = b"".join(self._fragments)
            self._fragments.clear()
            self._fragment_bytes = 0
            self._take_text(payload)

    def _end(self, code: CloseCode, reason: str) -> None:
        """The peer broke the WebSocket protocol: this connection has nothing more to say."""
        self._fragments.clear()
        self.close(code, reason)

    def _answer_close(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._closing is None:
            code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            if frame.payload_size == 0:
                self._close_code, code = NO_CODE, 1000
            elif code in _PEERS_CLOSE_CODES:
                self._close_code = code
            else:  # picows lets some through that must not be sent
                self._close_code = code = int(CloseCode.PROTOCOL_ERROR)
            transport.send_close(code)  # type: ignore[arg-type]  # an enum in the stub alone
        transport.disconnect()

    def _apply_reading(self) -> None:
        if self._transport is None:
            return
        underlying = self._transport.underlying_transport
        should_pause = self._transport_is_paused() and self._closing is None
        if should_pause and underlying.is_reading():
            underlying.pause_reading()
        elif not should_pause and not underlying.is_reading() and not underlying.is_closing():
            underlying.resume_reading()

    def _transport_is_paused(self) -> bool:
        return self._is_reading_paused or self._is_writing_paused

    def _buffered(self) -> int:
        if self._transport is None:
            return 0
        return self._transport.underlying_transport.get_write_buffer_size()

    def _peer(self) -> str:
        peer: Any = self._transport and self._transport.underlying_transport.get_extra_info(
            "peername"
        )
        return f"{peer[0]}:{peer[1]}" if peer else "unknown"
