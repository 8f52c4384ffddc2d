"""Rooms and conversations by request: users for themselves, the product's backend for anybody."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from landline.api.types import (
    Accepted,
    ConversationList,
    Error,
    MarkAccepted,
    MemberList,
    TimelinePage,
    UserEnded,
)
from landline.auth.tokens import Claims, minted
from support.cluster import Servers
from support.saying import hear
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS

SECRET = b"a secret of the tests, and of nobody else"
FOX = "🦊"
NOWHERE = "room:8d7ff0a3-5d3c-8a52-9c3e-0f0f5b1c9a77"


def bearer(user: str, *, is_service: bool = False) -> dict[str, str]:
    """Return the header with a token of this user."""
    claims, expires_at = Claims(), time.time() + 3600
    token = minted(SECRET, user, expires_at=expires_at, is_service=is_service, claims=claims)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def options(tmp_path: Path) -> Sequence[str]:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    return ["--auth", "jwt", "--jwt-secret-file", str(file)]


class Client:
    """A user, or the backend, who asks one server."""

    def __init__(self, server: ServerProcess, user: str, *, is_service: bool = False) -> None:
        self.http = httpx.Client(
            base_url=server.url,
            headers=bearer(user, is_service=is_service),
            timeout=WAIT_SECONDS,
            trust_env=False,
        )

    def ask(self, method: str, path: str, *, to: Any = Accepted, **given: Any) -> Any:
        """Return the answer, which has to be of this type."""
        answer = self.http.request(method, path, **given)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=to)

    def refused(self, method: str, path: str, **given: Any) -> tuple[int, str]:
        """Return status and code of a refusal."""
        answer = self.http.request(method, path, **given)
        error = msgspec.json.decode(answer.content, type=Error)
        if answer.status_code in (429, 503):
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status_code, error.code

    def members(self, room: str, **query: str) -> dict[str, str]:
        """Return the roles in a room."""
        listed = self.ask("GET", f"/v1/rooms/{room}/members", to=MemberList, params=query)
        assert listed.conversation == room
        return {each.user: each.role for each in listed.items}

    def page(self, conversation: str, **query: Any) -> Any:
        path = f"/v1/conversations/{quote(conversation, safe='')}/messages"
        return self.ask("GET", path, to=TimelinePage, params=query)

    def listed(self, **query: Any) -> Any:
        return self.ask("GET", "/v1/conversations", to=ConversationList, params=query)


class People:
    """Who takes part: alice and the backend here, bob and the fox there."""

    def __init__(self, servers: Servers, stack: ExitStack) -> None:
        def client(server: ServerProcess, user: str, *, is_service: bool = False) -> Client:
            made = Client(server, user, is_service=is_service)
            stack.enter_context(made.http)
            return made

        self.alice, self.bob = client(servers.here, "alice"), client(servers.there, "bob")
        self.fox, self.stranger = client(servers.there, FOX), client(servers.here, "eve")
        self.backend = client(servers.here, "backend", is_service=True)


@pytest.fixture
def people(servers: Servers) -> Iterator[People]:
    with ExitStack() as stack:
        yield People(servers, stack)


def made(by: Client, *members: str, **fields: Any) -> str:
    """Make a room. Returns its name."""
    room = {"ref": str(uuid.uuid4()), "title": "Lunch", "members": members, **fields}
    accepted = by.ask("POST", "/v1/rooms", json=room)
    assert accepted.ref == room["ref"]
    return str(accepted.conversation)


def message(to: str, **fields: Any) -> dict[str, Any]:
    return {"conversation": to, "content": "hello", "ref": str(uuid.uuid4()), **fields}


def test_people_make_a_room_talk_read_and_leave(people: People) -> None:
    alice, bob, fox = people.alice, people.bob, people.fox
    room = made(alice, "bob")
    assert alice.members(room) == {"alice": "admin", "bob": "member"}
    member = f"/v1/rooms/{room}/members/{quote(FOX)}"
    added = alice.ask("PUT", member)
    assert added.conversation == room
    assert fox.members(room) == {"alice": "admin", "bob": "member", FOX: "member"}
    sent = bob.ask("POST", "/v1/messages", json=message(room, data={"reply_to": "x"}))
    titled = alice.ask("PATCH", f"/v1/rooms/{room}", json={"title": "Dinner", "ref": "t"})
    assert titled.ref == "t"

    page = fox.page(room)
    assert [each.type for each in page.messages] == ["room", "member", "message", "room"]
    assert (page.conversation, page.complete, page.first) == (room, True, 0)
    said = page.messages[2]
    assert (said.id, said.content, said.data) == (sent.id, "hello", {"reply_to": "x"})
    assert [each.id for each in fox.page(room, before=said.offset, limit=1).messages] == [added.id]
    assert [each.id for each in fox.page(room, after=said.offset).messages] == [titled.id]

    [item] = alice.listed().items
    assert (item.conversation, item.title, item.role, item.unread) == (room, "Dinner", "admin", 1)
    mark = f"/v1/conversations/{room}/read"
    marked = alice.ask("PUT", mark, to=MarkAccepted, json={"offset": said.offset})
    assert (marked.conversation, marked.user, marked.offset) == (room, "alice", said.offset)
    [item] = alice.listed().items
    assert (item.unread, item.read_offset) == (0, said.offset)

    alice.ask("PUT", member, json={"role": "admin"})
    assert alice.members(room)[FOX] == "admin"
    fox.ask("DELETE", f"/v1/rooms/{room}/members/bob")
    assert fox.members(room) == {"alice": "admin", FOX: "admin"}
    assert bob.listed().items == []
    alice.ask("DELETE", f"/v1/rooms/{room}/members/alice")
    assert fox.members(room) == {FOX: "admin"}


def test_what_is_not_ours_is_not_there(people: People) -> None:
    room = made(people.alice, "bob")
    eve = people.stranger
    for where in (room, NOWHERE):
        for method, path, body in (
            ("GET", f"/v1/conversations/{where}/messages", None),
            ("GET", f"/v1/conversations/{where}/members", None),
            ("GET", f"/v1/rooms/{where}/members", None),
            ("PUT", f"/v1/conversations/{where}/read", {"offset": 1}),
            ("PATCH", f"/v1/rooms/{where}", {"title": "mine"}),
            ("PUT", f"/v1/rooms/{where}/members/eve", {}),
            ("PUT", f"/v1/rooms/{where}/members/bob", {"role": "admin"}),
            ("DELETE", f"/v1/rooms/{where}/members/bob", None),
            ("POST", "/v1/messages", message(where)),
        ):
            assert eve.refused(method, path, json=body) == (404, "no_such_conversation"), path
    assert eve.refused("GET", "/v1/conversations/dm:alice:bob/messages")[0] == 404
    bob = people.bob
    assert bob.refused("PATCH", f"/v1/rooms/{room}", json={"title": "x"}) == (403, "forbidden")
    assert bob.refused("PUT", f"/v1/rooms/{room}/members/eve") == (403, "forbidden")
    assert people.alice.refused("DELETE", f"/v1/rooms/{room}/members/eve") == (
        400, "bad_recipient",
    )  # fmt: skip
    for client, query in ((bob, {"user": "alice"}), (eve, {"user": "bob"})):
        assert client.refused("GET", "/v1/conversations", params=query) == (403, "forbidden")
    put = {"json": {"offset": 1, "user": "alice"}}
    assert bob.refused("PUT", f"/v1/conversations/{room}/read", **put) == (403, "forbidden")
    other = {"json": {"ref": "1", "sender": "alice"}}
    assert bob.refused("POST", "/v1/rooms", **other) == (403, "forbidden")


def test_the_backend_acts_for_users_and_manages_every_room(people: People) -> None:
    backend, bob = people.backend, people.bob
    room = made(backend, "bob", sender="alice")
    assert backend.members(room) == {"alice": "admin", "bob": "member"}
    assert backend.members(room, user="bob") == backend.members(room)
    sent = backend.ask("POST", "/v1/messages", json=message(room, sender="alice"))
    [item] = backend.listed(user="bob").items
    assert (item.conversation, item.unread) == (room, 2), "that it was made, and a message"
    assert backend.page(room, user="bob").messages[-1].id == sent.id
    read = {"offset": sent.offset, "user": "bob"}
    path = f"/v1/conversations/{room}/read"
    assert backend.ask("PUT", path, to=MarkAccepted, json=read).user == "bob"
    assert backend.listed(user="bob").items[0].unread == 0

    # In bob's name it may what bob may, and in its own what an admin may.
    title = {"title": "Dinner", "sender": "bob"}
    assert backend.refused("PATCH", f"/v1/rooms/{room}", json=title) == (403, "forbidden")
    backend.ask("PATCH", f"/v1/rooms/{room}", json={"title": None})
    backend.ask("PUT", f"/v1/rooms/{room}/members/bob", json={"role": "admin"})
    backend.ask("DELETE", f"/v1/rooms/{room}/members/alice")
    assert bob.members(room) == {"bob": "admin"}
    event = bob.page(room).messages[-1]
    assert (event.sender, event.user, event.change) == ("backend", "alice", "remove")
    # But it is no member: it neither writes there nor reads.
    for method, asked, body in (
        ("POST", "/v1/messages", message(room)),
        ("GET", f"/v1/conversations/{room}/messages", None),
        ("PUT", path, {"offset": 1}),
        ("PATCH", f"/v1/rooms/{NOWHERE}", {"title": "x"}),
        ("GET", f"/v1/rooms/{NOWHERE}/members", None),
    ):
        assert backend.refused(method, asked, json=body) == (404, "no_such_conversation")


def test_a_repeat_is_the_same_change(servers: Servers, people: People) -> None:
    """Also where it was made in the meantime, or undone."""
    alice, bob = people.alice, people.bob
    room = {"ref": "the room", "title": "Lunch", "members": ["bob"]}
    first = alice.ask("POST", "/v1/rooms", json=room)
    assert alice.ask("POST", "/v1/rooms", json={**room, "retry": True}) == first
    another = {**room, "title": "Dinner"}
    assert alice.refused("POST", "/v1/rooms", json=another) == (400, "bad_ref")
    # Of a repeat nobody knows, with other servers, that none of them takes it.
    status = 503 if servers.is_cluster else 400
    again = {**another, "retry": True}
    assert alice.refused("POST", "/v1/rooms", json=again) == (status, "bad_ref")

    members = f"/v1/rooms/{first.conversation}/members"
    add = {"role": "member", "ref": "carol"}
    added = alice.ask("PUT", f"{members}/carol", json=add)
    promoted = alice.ask("PUT", f"{members}/carol", json={"role": "admin", "ref": "up"})
    removed = alice.ask("DELETE", f"{members}/carol?ref=out")
    for method, path, body, known in (
        ("PUT", f"{members}/carol", {**add, "retry": True}, added),
        ("PUT", f"{members}/carol", {"role": "admin", "ref": "up", "retry": True}, promoted),
        ("DELETE", f"{members}/carol?ref=out&retry=true", None, removed),
    ):
        assert alice.ask(method, path, json=body) == known
    assert alice.members(first.conversation) == {"alice": "admin", "bob": "member"}
    back = alice.ask("PUT", f"{members}/carol", json={"role": "admin"})
    assert back.ref
    assert alice.ask("PUT", f"{members}/carol", json={**add, "retry": True}) == added
    assert bob.members(first.conversation)["carol"] == "admin"
    events = [each.change for each in bob.page(first.conversation).messages if each.user]
    assert events == ["add", "role", "remove", "add"]


def test_direct_conversations_are_listed_and_read(people: People) -> None:
    alice, fox = people.alice, people.fox
    conversation = f"dm:alice:{FOX}"
    first = alice.ask("POST", "/v1/messages", json={**message(conversation), "content": "one"})
    to = {"to": FOX, "content": "two", "ref": "2", "data": {"a": 1}}
    second = alice.ask("POST", "/v1/messages", json=to)
    assert (first.conversation, second.conversation) == (conversation, conversation)
    both = {**to, "conversation": conversation}
    assert alice.refused("POST", "/v1/messages", json=both) == (400, "bad_frame")
    page = fox.page(conversation)
    assert [(each.content, each.to) for each in page.messages] == [("one", FOX), ("two", FOX)]
    path = f"/v1/conversations/{quote(conversation, safe='')}"
    fox.ask("PUT", f"{path}/read", to=MarkAccepted, json={"offset": first.offset})
    [item] = fox.listed().items
    assert (item.kind, item.preview, item.unread) == ("direct", "two", 1)
    fox.ask("PUT", f"{path}/read", to=MarkAccepted, json={"offset": second.offset})
    members = alice.ask("GET", f"{path}/members", to=MemberList)
    marks = {each.user: each.read_offset for each in members.items}
    assert marks == {"alice": -1, FOX: second.offset}


def test_the_list_comes_in_pages(people: People) -> None:
    rooms = [made(people.alice) for _ in range(5)]
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = people.alice.listed(limit=2, **after)
        found += [each.conversation for each in page.items]
        if page.next is msgspec.UNSET:
            break
        after = {"after": page.next}
    assert sorted(found) == sorted(rooms)


async def test_sessions_hear_of_what_is_asked_for(servers: Servers, people: People) -> None:
    """A mark that was answered has been told, and a change is pushed like any other."""
    async with connect(servers.there.ws_url, additional_headers=bearer("bob")) as bob:
        await hear(bob, "welcome")
        room = await asyncio.to_thread(made, people.alice, "bob")
        event = await hear(bob, "room")
        assert event["conversation"] == room
        path = f"/v1/conversations/{room}/read"
        body = {"offset": event["offset"], "user": "bob"}
        await asyncio.to_thread(people.backend.ask, "PUT", path, to=MarkAccepted, json=body)
        assert (await hear(bob, "read"))["entries"] == [["bob", event["offset"]]]


async def test_a_user_ends_with_sessions_rooms_devices_and_name(
    servers: Servers, people: People
) -> None:
    alice, backend = people.alice, people.backend
    said = await asyncio.to_thread(
        people.bob.ask, "POST", "/v1/messages", json=message("dm:alice:bob")
    )
    rooms = [await asyncio.to_thread(made, alice, "bob") for _ in range(3)]
    sent = await asyncio.to_thread(alice.ask, "POST", "/v1/messages", json=message("dm:alice:bob"))
    url = f"{servers.there.ws_url}?device=phone"
    async with connect(url, additional_headers=bearer("bob")) as bob:
        assert (await hear(bob, "welcome"))["is_new"]
        await hear(bob, "caught_up")
        ended = await asyncio.to_thread(backend.ask, "DELETE", "/v1/users/bob", to=UserEnded)
        assert (ended.user, ended.rooms, ended.devices) == ("bob", 3, 1)
        assert ended.name.startswith("deleted-")
        async with asyncio.timeout(WAIT_SECONDS):
            await bob.wait_closed()
        assert bob.close_code == 4403
    again = await asyncio.to_thread(backend.ask, "DELETE", "/v1/users/bob", to=UserEnded)
    assert (again.rooms, again.devices) == (0, 0)
    for room in rooms:
        assert alice.members(room) == {"alice": "admin"}
        event = alice.page(room).messages[-1]
        assert (event.sender, event.user, event.change) == ("backend", "bob", "remove")
    shown = [(each.id, each.sender) for each in alice.page("dm:alice:bob").messages]
    assert shown == [(said.id, ended.name), (sent.id, "alice")]
    async with connect(servers.here.ws_url, additional_headers=bearer("alice")) as waiting:
        assert (await hear(waiting, "message"))["sender"] == ended.name
    async with connect(url, additional_headers=bearer("bob")) as bob:
        assert (await hear(bob, "welcome"))["is_new"], "who comes back begins anew"
        assert (await hear(bob, "caught_up"))["replayed"] == 0, "and is owed nothing of before"
    body = message("dm:alice:bob")
    await asyncio.to_thread(people.bob.ask, "POST", "/v1/messages", json=body)
    path = "/v1/users/bob?name=somebody"
    renamed = await asyncio.to_thread(backend.ask, "DELETE", path, to=UserEnded)
    assert renamed.name == "somebody"
    senders = [each.sender for each in alice.page("dm:alice:bob").messages]
    assert senders == ["somebody", "alice", "somebody"]


def test_only_the_backend_ends_users_and_only_as_it_says(people: People) -> None:
    room = made(people.alice, "bob")
    for client in (people.alice, people.bob):
        assert client.refused("DELETE", "/v1/users/bob") == (403, "forbidden")
    backend = people.backend
    for query in (
        "?name=some%20body",
        "?name=a&name=b",
        "?untill=x",
        "?until=soon",
        "?until=&until=",
    ):
        assert backend.refused("DELETE", f"/v1/users/bob{query}") == (400, "bad_frame"), query
    asked = backend.http.request("DELETE", "/v1/users/bob", json={"until": "x"})
    assert asked.status_code == 400
    assert backend.refused("DELETE", "/v1/users/a%3Ab") == (400, "bad_frame")
    assert people.alice.members(room)["bob"] == "member"
    until = "2999-01-01T00:00:00.000Z"
    ended = backend.ask("DELETE", f"/v1/users/bob?until={until}", to=UserEnded)
    assert (ended.until, ended.rooms) == (until, 1)
    assert backend.http.put("/v1/users/bob", json={}).headers["Allow"] == "DELETE"


BAD: list[tuple[str, str, Any]] = [
    ("GET", "/v1/conversations?limit=0", None),
    ("GET", "/v1/conversations?limit=101", None),
    ("GET", "/v1/conversations?limit=ten", None),
    ("GET", "/v1/conversations?limit=1&limit=2", None),
    ("GET", "/v1/conversations?after=nowhere", None),
    ("GET", "/v1/conversations?after=%FF", None),
    ("GET", f"/v1/conversations/{NOWHERE}/messages?before=1&after=2", None),
    ("GET", f"/v1/conversations/{NOWHERE}/messages?before=-2", None),
    ("GET", "/v1/conversations/room:1/messages", None),
    ("GET", "/v1/conversations/dm:bob:alice/messages", None),
    ("GET", "/v1/conversations/alice/members", None),
    ("PUT", f"/v1/conversations/{NOWHERE}/read", {}),
    ("PUT", f"/v1/conversations/{NOWHERE}/read", {"offset": "1"}),
    ("PUT", f"/v1/conversations/{NOWHERE}/read", {"offset": -1}),
    ("PUT", f"/v1/conversations/{NOWHERE}/read", {"offset": 1, "user": 7}),
    ("PUT", f"/v1/conversations/{NOWHERE}/read?offset=1", {"offset": 1}),
    ("POST", "/v1/rooms", {"ref": "1", "members": "bob"}),
    ("POST", "/v1/rooms", {"ref": "1", "history": "some"}),
    ("POST", "/v1/rooms", {"ref": "1", "title": ""}),
    ("POST", "/v1/rooms?title=x", {"ref": "1"}),
    ("PATCH", f"/v1/rooms/{NOWHERE}", {}),
    ("PATCH", "/v1/rooms/dm:alice:bob", {"title": "x"}),
    ("PUT", f"/v1/rooms/{NOWHERE}/members/bob", {"role": "owner"}),
    ("PUT", f"/v1/rooms/{NOWHERE}/members/bob", {"role": None}),
    ("PUT", f"/v1/rooms/{NOWHERE}/members/bob", {"retry": "yes"}),
    ("PUT", f"/v1/rooms/{NOWHERE}/members/bob?role=admin", {}),
    ("PUT", "/v1/rooms/dm:alice:bob/members/bob", {}),
    ("DELETE", f"/v1/rooms/{NOWHERE}/members/bob?reff=1", None),
    ("DELETE", f"/v1/rooms/{NOWHERE}/members/bob?retry=1", None),
    ("DELETE", f"/v1/rooms/{NOWHERE}/members/bob", {"ref": "1"}),
]


def test_what_is_not_sound_is_refused_and_changes_nothing(people: People) -> None:
    for method, path, body in BAD:
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        refused = people.alice.refused(method, path, content=content, headers=headers)
        assert refused == (400, "bad_frame"), (method, path, body)
    for path in (f"/v1/rooms/{NOWHERE}/members/a%3Ab", f"/v1/rooms/{NOWHERE}/members/a%20b"):
        assert people.alice.refused("PUT", path) == (400, "bad_recipient")
    assert people.alice.refused("POST", "/v1/rooms", json={}) == (400, "bad_ref")
    nameless = {"title": "x", "ref": ""}
    refused = people.alice.refused("PATCH", f"/v1/rooms/{NOWHERE}", json=nameless)
    assert refused == (400, "bad_ref")
    assert people.alice.listed().items == []
    crowd = {"ref": "1", "members": [f"user{number}" for number in range(256)]}
    assert people.alice.refused("POST", "/v1/rooms", json=crowd) == (409, "room_full")


def test_each_address_has_its_methods(people: People) -> None:
    room = made(people.alice)
    http = people.alice.http
    for path, allowed in {
        "/v1/conversations": "GET, HEAD",
        f"/v1/conversations/{room}/messages": "GET, HEAD",
        f"/v1/conversations/{room}/members": "GET, HEAD",
        f"/v1/conversations/{room}/read": "PUT",
        "/v1/rooms": "POST",
        f"/v1/rooms/{room}": "PATCH",
        f"/v1/rooms/{room}/members": "GET, HEAD",
        f"/v1/rooms/{room}/members/bob": "PUT, DELETE",
    }.items():
        answer = http.request("OPTIONS", path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
        if "HEAD" in allowed:
            assert (http.head(path).status_code, http.head(path).content) == (200, b"")
    assert http.get(f"/v1/rooms/{room}/nothing").status_code == 404
    form = http.put(f"/v1/rooms/{room}/members/bob", data={"role": "admin"})
    assert form.status_code == 415
    del http.headers["Authorization"]
    for method, path, _ in BAD:
        assert http.request(method, path).status_code in (401, 415)


def test_only_the_product_makes_rooms_where_it_says_so(tmp_path: Path, options: list[str]) -> None:
    args = [*options, "--rooms", "service"]
    with ServerProcess(tmp_path / "data", args=args) as server, ExitStack() as stack:
        people = People(Servers([server]), stack)
        room = {"ref": "1", "members": ["bob"]}
        assert people.alice.refused("POST", "/v1/rooms", json=room) == (403, "forbidden")
        assert people.backend.members(made(people.backend, sender="alice")) == {"alice": "admin"}
