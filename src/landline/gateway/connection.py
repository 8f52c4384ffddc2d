"""One WebSocket connection: frames in, frames out, and its last words."""

import asyncio
from collections import deque
from collections.abc import Mapping

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from landline.auth.principal import Principal
from landline.gateway.fragments import BadFragment, Fragments, Frame
from landline.gateway.goodbyes import NO_CLOSE_FRAME, answer_to, code_said, fitting, goodbye_heard
from landline.gateway.heartbeat import Heartbeat
from landline.gateway.owner import Owner
from landline.gateway.pace import Pace
from landline.gateway.pauses import Pause
from landline.gateway.sign_in import SIGN_IN_BYTES, NotSignedIn, SignIn
from landline.observability.logging import get_logger
from landline.protocol.client_frames import Auth, BadFrame, decode
from landline.protocol.codes import CloseCode
from landline.protocol.limits import FRAME_BYTES

# When this much waits to be written the session gets nothing more until it has drained.
WRITE_HIGH_BYTES = 256 * 1024
WRITE_LOW_BYTES = 64 * 1024
# Answers are written all the same; a peer that lets them pile up to here reads nothing at all.
WRITE_LIMIT_BYTES = 1024 * 1024

# Of a larger frame picows leaves the header in a buffer that its next frame overwrites, though it
# may not have been written yet. So the header is put before a copy of the frame, as one piece.
COPIED_BYTES = 8_192
HEADER_BYTES = 14

CLOSE_WITHIN_SECONDS = 3.0
UNKNOWN_WITHIN_SECONDS = 1.0  # it has not signed in

# A socket that has been read for so long, and had nothing, was empty.
EMPTY_AFTER_SECONDS = 0.5

log = get_logger(__name__)


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
        principal: Principal | None,
        session: str,
        *,
        auto_ack: bool,
        device: str | None = None,
        facts: Mapping[str, str],
        place: str,
        claimed: str | None = None,
        frame_rate: float = 0.0,
    ) -> None:
        """`principal`: who it is; None where a token is to say so, and `claimed` is the name that
        was given before. `facts` are for the log. `place`: what its address counts as.
        `frame_rate`: how many frames a second are taken, 0 for all.
        """
        self._owner = owner
        self.facts = facts
        self.principal = principal
        self.session = session
        self.place = place
        self.claimed = claimed
        self.auto_ack = auto_ack
        self.device = device
        self._sign_in: SignIn | None = None
        self._frame_rate = frame_rate
        self._pace: Pace | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
        self._transport: WSTransport | None = None
        self.turn_round = 0
        self.turn_until = 0.0
        self.turned_at = float("-inf")
        self._inbox: deque[Frame] = deque()
        self._is_in_queue = False
        self._fragments = Fragments()
        self._closing: asyncio.TimerHandle | None = None
        self._pauses: set[Pause] = set()
        # Since when bytes may wait in the socket; see `delivery.unread`. None: it was read empty.
        self._unread_since: float | None = None
        self._read_again_at = 0.0
        self._heartbeat = Heartbeat()
        self.opened_at = 0.0
        self._frames_in = 0
        self._frames_out = 0
        self._close_code = NO_CLOSE_FRAME

    @property
    def user(self) -> str:
        """Return whose it is, once that is known."""
        assert self.principal is not None, "it has signed in"
        return self.principal.user

    @property
    def is_closing(self) -> bool:
        """Say whether it has said goodbye, or is gone."""
        return self._transport is None or self._closing is not None

    @property
    def was_open(self) -> bool:
        """Say whether it has ever been open."""
        return self.opened_at > 0

    # What the hub asks for -------------------------------------------------------------------

    def signed_in(self, principal: Principal) -> None:
        """It is known now whose it is."""
        self.principal = principal
        if self._sign_in is not None:
            self._sign_in.cancel()
            self._sign_in = None
        if self._frame_rate:
            self._pace = Pace(self._frame_rate, self._owner.clock.monotonic())
        self._owner.opened(self)
        log.info("connection_opened", session=self.session, user=principal.user, **self.facts)
        self.resume(Pause.SIGN_IN)

    def renewed(self, principal: Principal) -> None:
        """A fresh token of the same user was taken."""
        self.principal = principal

    def transmit(self, frame: bytes) -> None:
        """Write a frame."""
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        if transport.underlying_transport.is_closing():  # the peer has ended TLS: it takes a while
            return
        # What was written before and still waits: one large frame alone says nothing about the peer.
        if Pause.WRITING in self._pauses and self._buffered() > WRITE_LIMIT_BYTES:
            self.close(CloseCode.NO_PROGRESS, "the client does not read")
            return
        self._frames_out += 1
        if len(frame) <= COPIED_BYTES:
            transport.send(WSMsgType.TEXT, frame)
            return
        room_for_header = bytearray(HEADER_BYTES)
        transport.send_reuse_external_bytearray(
            WSMsgType.TEXT, room_for_header + frame, HEADER_BYTES
        )

    def is_listening(self) -> bool:
        """Say whether bytes still mean something: no more once picows has given up on the peer."""
        transport = self._transport
        return transport is None or self._closing is not None or not transport.is_close_frame_sent

    def is_flushed(self) -> bool:
        """Say whether everything written has left the process."""
        return self._closing is None and self._buffered() == 0

    def pause(self, why: Pause) -> None:
        """Take no more frames."""
        self._pauses.add(why)
        self._apply_reading()

    def resume(self, why: Pause) -> None:
        """Take frames again, those that wait first, unless there is another reason to wait."""
        self._pauses.discard(why)
        self._apply_reading()

    def is_busy(self, now: float) -> bool:
        """See `Taker`: more than half of the frames that may come at once have come."""
        return self._pace is not None and self._pace.is_half_spent(now)

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
        self._is_in_queue = bool(self._inbox) and not self._is_paused()
        if not self._inbox:
            self._apply_reading()
        return self._is_in_queue

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye; the peer gets a few seconds for its own close frame."""
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        self._close_code = int(code)
        transport.send_close(WSCloseCode(code) if code < 4000 else code, fitting(reason))  # type: ignore[arg-type]
        within_seconds = CLOSE_WITHIN_SECONDS if self.principal else UNKNOWN_WITHIN_SECONDS
        self._closing = asyncio.get_running_loop().call_later(within_seconds, self.abort)
        self._apply_reading()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def beat(self, now: float) -> None:
        """Ping a silent peer; cut one that does not answer. Called about once a second."""
        if self._transport is None or self._closing is not None:
            return
        ends_at = self.principal.ends_at if self.principal is not None else None
        if ends_at is not None and self._owner.clock.wall_ms() >= ends_at * 1000:
            self.close(CloseCode.NOT_AUTHENTICATED, "the token has expired")
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
        self.opened_at = self._owner.clock.monotonic()
        self._heartbeat.heard(self.opened_at)
        if self.principal is not None:
            self.signed_in(self.principal)
        else:
            self._sign_in = SignIn(self.close)
            self._owner.lobby.came(self)

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        """A WebSocket frame has arrived."""
        now = self._owner.clock.monotonic()
        self._heartbeat.heard(now)
        if self._closing is None and (frame.rsv1 or frame.rsv2 or frame.rsv3):
            self._end(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
            return
        taken = Frame(frame.msg_type, frame.fin, frame.get_payload_as_bytes())
        if not self._inbox and not self._is_paused() and self._owner.turns.may_take(self, now):
            self._take(taken)
            return
        self._inbox.append(taken)
        if len(self._inbox) == 1:
            self._apply_reading()

    def cannot_be_read_on(self) -> None:
        """A frame is broken, and picows will close. Behind the peer's goodbye it means nothing:
        then the goodbye is answered (RFC 6455, 5.5.1), which picows hands over only later.
        """
        transport = self._transport
        if transport is not None and (said := goodbye_heard(transport)) is not None:
            self._answer_close(transport, said)

    def may_have(self, size_bytes: int) -> bool:
        """Bytes have come. Say whether they are looked at: no more once picows has given up on the
        peer, and only a few before it is known who that is.
        """
        if self._sign_in is not None and self._sign_in.is_too_much(size_bytes):
            self.close(CloseCode.TOO_LARGE, f"sign in first, with at most {SIGN_IN_BYTES} bytes")
            return False
        return self.is_listening()

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
        if self._close_code == NO_CLOSE_FRAME:  # or picows itself has said it: a frame was broken
            self._close_code = code_said(transport)
        for timer in (self._closing, self._pace_timer, self._sign_in):
            if timer is not None:
                timer.cancel()
        self._owner.lobby.gone(self)
        self._owner.closed(self, self._close_code)
        user = {"user": self.principal.user} if self.principal is not None else {}
        log.info(
            "connection_closed",
            session=self.session,
            **user,
            **self.facts,
            code=self._close_code,
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            duration_seconds=round(self._owner.clock.monotonic() - self.opened_at, 3),
        )

    def pause_writing(self) -> None:
        """The write buffer is full. A peer that does not read is not listened to either."""
        self.pause(Pause.WRITING)
        self._owner.writable(self, False)

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        self.resume(Pause.WRITING)
        self._owner.writable(self, True)

    # Inside ----------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        transport = self._transport
        if transport is None:
            return
        kind = frame.kind
        if self._pace is not None and self._closing is None:
            self._keep_pace(self._pace)
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
        if self._sign_in is not None:
            self._take_token(self._sign_in, payload)
            return
        try:
            frame = decode(payload.decode())
        except UnicodeDecodeError:
            self._end(CloseCode.INVALID_TEXT, "text frames are UTF-8")
        except BadFrame as bad:
            self._owner.received_bad(self, bad)
        else:
            if isinstance(frame, Auth):
                self._owner.lobby.renew(self, frame.token)
            else:
                self._owner.received(self, frame)

    def _take_token(self, sign_in: SignIn, payload: bytes) -> None:
        try:
            token = sign_in.token(payload)
        except NotSignedIn as error:
            self._end(CloseCode.NOT_AUTHENTICATED, str(error))
        else:
            sign_in.cancel()  # from now on it is we who take our time
            self.pause(Pause.SIGN_IN)
            self._owner.lobby.show(self, token)

    def _keep_pace(self, pace: Pace) -> None:
        """A frame is taken: the next ones wait where there were too many of late."""
        wait_seconds = pace.take(self._owner.clock.monotonic())
        if wait_seconds and Pause.PACE not in self._pauses:
            self.pause(Pause.PACE)
            loop = asyncio.get_running_loop()
            self._pace_timer = loop.call_later(wait_seconds, self.resume, Pause.PACE)

    def _take_fragment(self, frame: Frame) -> None:
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
            self._close_code, code = answer_to(payload)
            transport.send_close(code)  # type: ignore[arg-type]  # an enum in the stub alone
            # TLS waits for the peer's goodbye.
            self._closing = asyncio.get_running_loop().call_later(CLOSE_WITHIN_SECONDS, self.abort)
        transport.disconnect()

    def _apply_reading(self) -> None:
        """Read the socket, or do not; and see to it that what waits has its turn."""
        if self._transport is None:
            return
        if self._inbox and not self._is_in_queue and not self._is_paused():
            self._is_in_queue = True
            self._owner.turns.wait(self)
        underlying = self._transport.underlying_transport
        should_pause = bool(self._inbox) or self._is_paused()
        if should_pause and underlying.is_reading():
            underlying.pause_reading()
            self._owner.reading(self, False)
            if self._unread_since is None:
                self._unread_since = self._owner.clock.monotonic()
        elif not should_pause and not underlying.is_reading() and not underlying.is_closing():
            underlying.resume_reading()
            self._owner.reading(self, True)
            self._read_again_at = self._owner.clock.monotonic()

    def _tell_unread(self) -> None:
        if self._unread_since is not None:
            self._owner.left_unread(self, self._unread_since)

    def _is_paused(self) -> bool:
        """Say whether frames have to wait. After our goodbye they do not: one of them is theirs."""
        return bool(self._pauses) and self._closing is None

    def _buffered(self) -> int:
        if self._transport is None:
            return 0
        return self._transport.underlying_transport.get_write_buffer_size()
