"""A connection that speaks HTTP: each request's head is read strictly and within bounds.

Then it becomes a WebSocket, or the application answers it (`landline.gateway.asgi`) and the next
one may come. What is not sound is answered here, and the connection ends with it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, cast

from landline.api.http import HttpResponse, RequestRefused
from landline.gateway.addresses import place_of
from landline.gateway.asgi import IDLE_SECONDS, Exchange
from landline.gateway.head_reader import HeadReader
from landline.gateway.http_request import (
    BODY_BYTES,
    HEAD_BYTES,
    Request,
    body_too_large,
    read_head,
)
from landline.gateway.reception import Admission, ForTheApplication, Peer, Reception
from landline.gateway.request_facts import request_facts, shown_peer
from landline.observability.logging import get_logger

HANDSHAKE_SECONDS: Final = 5.0
# An answer is followed by the end of our side; then what still comes is thrown away for a while.
# Hanging up at once would be a reset, which can overtake the answer (RFC 9112, section 9.6).
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1024 * 1024
# Frames behind an upgrade request that is not answered yet: some clients do not wait.
EARLY_BYTES: Final = 8 * 1024
# A request that waits for its turn. With it, a token that is checked for 10 s and a send that takes
# 28, there is an answer within 45 s.
TURN_SECONDS: Final = 5.0
# How long a slow reader may take for a page, the application for its answer, a client for a body.
RESPONSE_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 60.0
BODY_SECONDS: Final = 10.0
# A body in chunks, with what stands around them.
_CHUNKED_BYTES: Final = 2 * BODY_BYTES


log = get_logger(__name__)


class _Reads(Enum):
    """What is read now."""

    HEAD = "of the next request"
    WAIT = "while it is found out whether the upgrade is granted"
    TURN = "while others' requests begin"
    BODY = "of the request that the application has"
    NOTHING = "while the application answers"
    REST = "what still comes is thrown away"


class HttpConnection(asyncio.Protocol):
    """Reads requests, within bounds of time and bytes. It is a `landline.gateway.asgi.Line`."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._transport: asyncio.Transport | None = None
        self._peer: Peer = ("unknown", 0)
        self._facts: dict[str, str] = {}
        self._path = ""  # of the last request whose head was sound
        self._deciding: asyncio.Task[None] | None = None
        self._has_ended = False  # the peer's side
        self._is_answered = False
        self._reads = _Reads.HEAD
        self._received = bytearray()
        self._heads = HeadReader()
        self._head = b""  # of the request that is dealt with
        self._body_left = 0
        self._is_chunked = False
        self._thrown_away = 0
        self._exchange: Exchange | None = None
        self._waits_as: str | None = None  # for a turn, as one of this place
        self._timer: asyncio.TimerHandle | None = None

    # What the socket tells -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._peer = (transport.get_extra_info("peername") or self._peer)[:2]
        self._facts = {"peer": shown_peer(self._peer)}
        if self._reception.came(self, self._peer):
            self._wait(HANDSHAKE_SECONDS, self._time_is_up)
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._reads is _Reads.REST:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES:
                self.abort()
            return
        if self._reads is _Reads.HEAD and not self._received and self._exchange is not None:
            self._wait(HANDSHAKE_SECONDS, self._time_is_up)  # it was idle until now
        self._received += data
        self._go_on()

    def eof_received(self) -> bool:
        """The peer says no more. Returns whether to keep our side open: while it waits for an
        answer, which it can still read.
        """
        self._has_ended = True
        if self._reads is _Reads.BODY or (self._reads is _Reads.HEAD and self._received):
            self._go_on()  # another whole request may be there, or half of one
        if self._reads in (_Reads.NOTHING, _Reads.TURN):
            return self._can_half_close()
        if self._deciding is not None:
            self._deciding.cancel()
        return False

    def pause_writing(self) -> None:
        """The write buffer is full."""
        if self._exchange is not None:
            self._exchange.pause_writing()

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        if self._exchange is not None:
            self._exchange.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone. An error is the peer's: when it is we who hang up, there is none."""
        if error is not None and self._received and self._reads is _Reads.HEAD:
            reason = "the request is incomplete: the connection was cut"
            self._note(RequestRefused(HTTPStatus.BAD_REQUEST, reason))
        if self._deciding is not None:
            self._deciding.cancel()
        self._leave()
        self._transport = None
        if self._exchange is not None:
            self._exchange.lost()

    def abort(self) -> None:
        """Hang up at once."""
        self._leave_turns()
        if self._transport is not None:
            self._transport.abort()

    # What the application does -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See `Line`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def answered(self) -> None:
        """See `Line`."""
        self._is_answered = True
        if self._reads is _Reads.NOTHING:
            self._await_next()
        elif self._reads is _Reads.BODY and self._has_ended:
            self.finish()
        # Otherwise the rest of a body that nobody asked for comes first.

    def _await_next(self) -> None:
        """Wait for the connection's next request, which may be somebody else's."""
        self._facts = {"peer": shown_peer(self._peer)}
        self._reads = _Reads.HEAD
        self._head = b""
        if self._has_ended and not self._received:
            self.finish()
            return
        # What has come already is the beginning of a request, which may not take as long.
        self._wait(HANDSHAKE_SECONDS if self._received else IDLE_SECONDS, self._time_is_up)
        self.resume_reading()
        if self._received:
            asyncio.get_running_loop().call_soon(self._go_on)

    def finish(self) -> None:
        """See `Line`."""
        transport = self._transport
        if transport is None or self._reads is _Reads.REST:
            return
        self._leave_turns()
        self._reads = _Reads.REST
        self._received.clear()
        transport.resume_reading()
        if self._can_half_close():
            transport.write_eof()
            self._wait(LINGER_SECONDS, self._hang_up, RESPONSE_SECONDS)
        else:  # TLS has a goodbye of its own: the peer has so long for it, and for what is unread
            self._stop_waiting()
            transport.close()

    def is_closing(self) -> bool:
        """See `Line`."""
        transport = self._transport
        return transport is None or self._reads is _Reads.REST or transport.is_closing()

    def pause_reading(self) -> None:
        """See `Line`."""
        if self._transport is not None and not self.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Line`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Reading -------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take what has come, as far as it goes."""
        if self._transport is None:
            return
        try:
            if self._reads is _Reads.HEAD:
                self._take_head()
            if self._reads is _Reads.BODY:
                self._take_body()
        except RequestRefused as refused:
            self._refuse(refused)
        is_busy = self._reads in (_Reads.NOTHING, _Reads.WAIT, _Reads.TURN)
        if is_busy and len(self._received) > HEAD_BYTES + EARLY_BYTES:
            self.pause_reading()
        if self._has_ended and not self.is_closing():
            if self._reads is _Reads.HEAD:
                self._end()
            elif self._reads is _Reads.BODY:
                self._end_in_body()

    def _end(self) -> None:
        """Nothing more comes: what is here is no whole request."""
        if self._received.strip(b"\r\n"):
            self._refuse_incomplete()
        else:
            self.finish()

    def _end_in_body(self) -> None:
        """The rest of a body does not come. An answer that has begun goes on being written."""
        assert self._exchange is not None, "a request has begun"
        if self._is_answered:
            self.finish()
        elif not self._exchange.has_begun_to_answer:
            self._refuse_incomplete()

    def _refuse_incomplete(self) -> None:
        self._refuse(RequestRefused(HTTPStatus.BAD_REQUEST, "the request is incomplete"))

    def _take_head(self) -> None:
        self._path = ""
        head = self._heads.read(self._received)
        if head is None:
            return
        self._head = head
        request = read_head(head)
        self._path = request.path
        self._facts = self._reception.whose(request, self._peer)
        decided = self._reception.decide(request, self._peer)
        if isinstance(decided, ForTheApplication):
            self._begin_in_turn(request)
        elif isinstance(decided, Coroutine):
            self._reads = _Reads.WAIT
            self._wait(HANDSHAKE_SECONDS, self._time_is_up)  # from now on it is we who take it
            self._deciding = asyncio.create_task(self._decide(decided))
        else:
            self._admit(decided)

    async def _decide(self, decided: Coroutine[Any, Any, Admission]) -> None:
        try:
            self._admit(await decided)
        except RequestRefused as refused:
            self._reads = _Reads.HEAD
            self._refuse(refused)
        except Exception:  # a defect: it ends this connection alone
            log.exception("connection_failed")
            self._reads = _Reads.HEAD
            self._refuse(RequestRefused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error"))

    def _admit(self, admission: Admission) -> None:
        early = bytes(self._received)
        if len(early) > EARLY_BYTES:
            admission.withdraw()
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST, "wait for the answer before you send frames"
            )
        transport = self._transport
        if transport is None or transport.is_closing():
            admission.withdraw()
            return
        self._received.clear()
        self._leave()
        transport.resume_reading()
        self._transport = None  # it is the WebSocket's now
        if self._exchange is not None:  # of requests before
            self._exchange.lost()
            self._exchange = None
        admission.take_over(transport, early)

    def _begin_in_turn(self, request: Request) -> None:
        turns = self._reception.runner.turns
        if turns.take():
            self._begin(request)
            return

        def begin() -> None:
            self._waits_as = None
            try:
                self.resume_reading()
                self._begin(request)
                self._go_on()  # with what has come of its body
            except RequestRefused as refused:
                self._refuse(refused)
            except Exception:  # a defect: it ends this connection alone
                log.exception("connection_failed")
                self.abort()

        self._reads = _Reads.TURN
        self._wait(TURN_SECONDS, self._turn_is_late)
        self._waits_as = place_of(self._address)
        turns.wait(self._waits_as, self, begin)

    def _turn_is_late(self) -> None:
        reason = "too many requests wait before this one; send it again in a moment"
        self._refuse(RequestRefused(HTTPStatus.TOO_MANY_REQUESTS, reason, {"Retry-After": "1"}))

    def _begin(self, request: Request) -> None:
        """Give a request to the application."""
        self._is_chunked = request.header("transfer-encoding") is not None
        length = int(request.header("content-length") or "0")
        if length > BODY_BYTES:
            raise body_too_large()
        if self._exchange is None:
            transport = self._transport
            assert transport is not None, "bytes come from a connection"
            is_tls = transport.get_extra_info("ssl_object") is not None
            self._exchange = Exchange(self._reception.runner, self, self._peer, is_tls=is_tls)
        self._body_left = _CHUNKED_BYTES if self._is_chunked else length
        self._reads = _Reads.BODY
        self._wait(BODY_SECONDS, self._time_is_up)
        self._is_answered = False
        self._exchange.begin(request, closes=self._is_chunked)

    def _take_body(self) -> None:
        exchange = self._exchange
        assert exchange is not None, "a request has begun"
        piece = bytes(self._received[: self._body_left])
        del self._received[: len(piece)]
        self._body_left -= len(piece)
        if piece:
            exchange.take(piece)
        if exchange.has_whole_body if self._is_chunked else not self._body_left:
            self._reads = _Reads.NOTHING
            self._wait(ANSWER_SECONDS, self.abort)
            if self._is_answered:
                self._await_next()
        elif not self._body_left:
            raise body_too_large()

    # Ends ----------------------------------------------------------------------------------------

    def _time_is_up(self) -> None:
        if self._exchange is not None and self._reads is _Reads.HEAD and not self._received:
            self.finish()  # it was idle for long enough
            return
        if self._deciding is not None:
            self._deciding.cancel()
            self._reads = _Reads.HEAD
        is_body = self._reads is _Reads.BODY
        seconds = BODY_SECONDS if is_body else HANDSHAKE_SECONDS
        reason = f"no complete {'body' if is_body else 'request'} within {seconds:g} s"
        self._refuse(RequestRefused(HTTPStatus.REQUEST_TIMEOUT, reason))

    def _refuse(self, refused: RequestRefused) -> None:
        self._note(refused)
        is_head = (self._head or self._received).startswith(b"HEAD ")
        if self._reads is _Reads.BODY:
            assert self._exchange is not None, "a request has begun"
            if self._exchange.has_begun_to_answer:
                self.abort()
                return
        elif (
            not self._head and not self._received
        ):  # it never spoke: it may be a browser's spare connection
            self.abort()
            return
        self.write(_response(refused.answer(self._path), is_head=is_head))
        if self._exchange is not None:  # the application hears that nobody waits any more
            self._exchange.lost()
            self._exchange = None
        self.finish()

    def _note(self, refused: RequestRefused) -> None:
        """Count it, and say whose it was."""
        untold = self._reception.refused(self._address)
        if untold is None:
            return
        facts = request_facts(self._head or bytes(self._received[: HEAD_BYTES + 1]))
        log.info(
            "upgrade_refused" if facts.pop("is_upgrade") else "request_refused",
            status=int(refused.status),
            reason=refused.reason,
            **self._facts,
            **facts,
            **untold,
        )

    @property
    def _address(self) -> str:
        """Return whose the request is, as far as it is known: of a proxy's client, or the peer."""
        return self._facts["peer"] if "proxy" in self._facts else self._peer[0]

    def _can_half_close(self) -> bool:
        """Say whether the end of one side is not that of the other. TLS has no such thing."""
        return self._transport is not None and self._transport.can_write_eof()

    def _hang_up(self, seconds_left: float) -> None:
        transport = self._transport
        if transport is None:
            return
        if not transport.get_write_buffer_size():
            transport.close()
        elif seconds_left > 0:
            self._wait(LINGER_SECONDS, self._hang_up, seconds_left - LINGER_SECONDS)
        else:
            self.abort()

    def _wait(self, seconds: float, then: Callable[..., None], *arguments: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then, *arguments)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self) -> None:
        self._stop_waiting()
        self._leave_turns()
        self._reception.went(self)

    def _leave_turns(self) -> None:
        if self._waits_as is not None:
            self._reception.runner.turns.leave(self._waits_as, self)
            self._waits_as = None


def _response(answer: HttpResponse, *, is_head: bool) -> bytes:
    """Return the response to a request that is refused before the application has it (RFC 9112,
    section 4). The connection ends with it.
    """
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head if is_head else head + answer.body
