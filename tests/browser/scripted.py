"""A server that does what a test tells it: for answers that a healthy server hardly ever gives."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from playwright.sync_api import Page, WebSocketRoute

from browser.window import Window

Frame = dict[str, Any]

DAY = "2026-03-01"


class ScriptedServer:
    """Takes the place of the WebSocket of one page; files still come from the real server.

    `on_send(frame)` is called for every send, `on_auth(frame)` for every `auth`: a server with one
    begins a session when that says so. `received` holds all frames of all sessions.
    """

    def __init__(
        self,
        page: Page,
        on_send: Callable[[Frame], None] | None = None,
        on_auth: Callable[[Frame], None] | None = None,
    ) -> None:
        self.received: list[Frame] = []
        self.sessions = 0
        self.answers_pings = True
        # Who the server says this is; None: it says nothing until `welcome` is called.
        self.user: str | None = "alice"
        self.on_send = on_send or (lambda frame: None)
        self.on_auth = on_auth
        self._page = page
        self._socket: WebSocketRoute | None = None
        # A frame within it counts as part of the page.
        page.route_web_socket(re.compile(r"/ws/chat(\?|$)"), self._connected)

    def push(self, *frames: Frame) -> None:
        """Send frames to the page."""
        assert self._socket is not None
        for frame in frames:
            self._socket.send(json.dumps(frame))

    def close(self, code: int, reason: str = "") -> None:
        """End the session."""
        assert self._socket is not None
        self._socket.close(code=code, reason=reason)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until the page has done something. Bounded by the test's own deadline."""
        while not condition():
            self._page.wait_for_timeout(10)  # lets events in; the condition decides, not the time

    @property
    def asked_for(self) -> str:
        """Return the address of the last session."""
        assert self._socket is not None
        return self._socket.url

    @property
    def query(self) -> dict[str, str]:
        """Return the query of that address."""
        return dict(parse_qsl(urlsplit(self.asked_for).query))

    def of_type(self, kind: str) -> list[Frame]:
        """Return the frames of this type that have arrived."""
        return [frame for frame in self.received if frame["type"] == kind]

    def acknowledged(self) -> list[str]:
        """Return the acknowledged ids, as often as they were."""
        return [message_id for frame in self.of_type("ack") for message_id in frame["ids"]]

    def accept(self, send: Frame, offset: int) -> str:
        """Answer a send with `accepted`; return the message's id."""
        frame = accepted(send, offset)
        self.push(frame)
        return str(frame["id"])

    def _connected(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        self.sessions += 1
        socket.on_message(self._take)
        if self.user is not None and self.on_auth is None:
            self.welcome()

    def welcome(self) -> None:
        """Begin the session."""
        self.push({"type": "welcome", "user": self.user, "protocol": 1, "limits": {}})

    def _take(self, text: str | bytes) -> None:
        frame = json.loads(text)
        self.received.append(frame)
        if frame["type"] == "ping" and self.answers_pings:
            self.push({"type": "pong"})
        elif frame["type"] == "send":
            self.on_send(frame)
        elif frame["type"] == "auth" and self.on_auth is not None:
            self.on_auth(frame)


def accepted(send: Frame, offset: int, time: str = f"{DAY}T10:00:00.000Z") -> Frame:
    """Return the answer to a send."""
    return {
        "type": "accepted",
        "ref": send["ref"],
        "id": str(uuid4()),
        "conversation": f"dm:alice:{send['to']}",
        "offset": offset,
        "time": time,
    }


def delivered(*ids: str, user: str = "bob") -> Frame:
    """Return the news that messages were delivered."""
    time = f"{DAY}T10:00:01.000Z"
    return {"type": "status", "ids": list(ids), "user": user, "status": "DELIVERED", "time": time}


def message(
    content: str,
    offset: int,
    sender: str = "bob",
    to: str = "alice",
    time: str = f"{DAY}T09:00:00.000Z",
) -> Frame:
    """Return a message as it is pushed."""
    return {
        "type": "message",
        "id": str(uuid4()),
        "conversation": f"dm:alice:{sender}",
        "sender": sender,
        "to": to,
        "content": content,
        "time": time,
        "offset": offset,
    }


def talking(open_window: Callable[..., Window], script: str = "") -> tuple[Window, ScriptedServer]:
    """Return a window in which alice talks to bob, and its server. The script runs first."""
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.add_init_script(script)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    return window, server
