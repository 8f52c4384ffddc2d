r"""A small product: its users sign in, get a welcome message, and chat in its own page.

    openssl rand -base64 48 > chat.secret
    .venv/bin/landline serve --auth jwt --jwt-secret-file chat.secret \
        --public-url http://127.0.0.1:8081 --allowed-origins http://127.0.0.1:8000
    CHAT_SECRET_FILE=chat.secret .venv/bin/uvicorn --app-dir examples product:app
    http://127.0.0.1:8000

Landline knows nobody's password. The product says who somebody is, by tokens that it signs with the
secret that both have. The welcome message is stored once, however often its request is repeated:
the same sender, recipient, `ref` and content are the same message. A real product keeps it with its
own data until it has its answer (docs/http.md).
"""

import asyncio
import logging
import os
import re
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import jwt
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

CHAT_URL = os.environ.get("CHAT_URL", "http://127.0.0.1:8081")
SECRET = Path(os.environ.get("CHAT_SECRET_FILE", "chat.secret")).read_bytes().strip()
SHOP = "shop"
WAIT_SECONDS = (1, 2, 4, 8, 16, 0)  # after each try; behind the last one there is no welcome
USER = re.compile(rf"(?!{SHOP}$)[a-z0-9]{{1,32}}")  # nobody else writes as the shop

log = logging.getLogger("uvicorn.error")  # whose lines are shown
users: dict[str, str] = {}  # by session


def token_for(user: str, role: str = "user") -> str:
    """Return a token that Landline takes for ten minutes."""
    now = int(time.time())
    claims = {"sub": user, "role": role, "iat": now, "exp": now + 600}
    return jwt.encode(claims, SECRET, "HS256")


async def welcome(user: str) -> None:
    """Send the first message that a user gets, as the shop."""
    message = {"to": user, "content": f"Welcome, {user}!", "ref": "welcome", "retry": True}
    authorization = {"Authorization": f"Bearer {token_for(SHOP, role='service')}"}
    async with httpx.AsyncClient(base_url=CHAT_URL, headers=authorization, timeout=50) as chat:
        problem = ""
        for wait_seconds in WAIT_SECONDS:
            asked = ""
            try:
                answer = await chat.post("/v1/messages", json=message)
            except httpx.TransportError as error:  # nobody knows what became of it
                problem = repr(error)
            else:
                if answer.is_success:
                    return
                problem = f"{answer.status_code}: {answer.text}"
                if answer.is_client_error and answer.status_code not in (408, 429):
                    break
                asked = answer.headers.get("Retry-After", "")
            await asyncio.sleep(max(wait_seconds, float(asked) if asked.isdecimal() else 0.0))
    log.warning("perhaps %s gets no welcome: %s", user, problem)


async def sign_in(request: Request) -> Response:
    """Begin a session. A real product asks for more than a name."""
    form = parse_qs((await request.body()).decode(errors="replace"))
    user = form.get("name", [""])[0]
    if not USER.fullmatch(user):
        return HTMLResponse(FORM, 400)
    session = secrets.token_urlsafe()
    users[session] = user
    answer = RedirectResponse("/", 303, background=BackgroundTask(welcome, user))
    answer.set_cookie("session", session, httponly=True, samesite="strict")
    return answer


async def token(request: Request) -> Response:
    """Return a fresh token for whoever is signed in."""
    user = users.get(request.cookies.get("session", ""))
    return PlainTextResponse(token_for(user)) if user else Response(status_code=401)


async def page(request: Request) -> Response:
    """Show the chat, or the form where nobody is signed in."""
    return HTMLResponse(CHAT if request.cookies.get("session") in users else FORM)


FORM = f"""<!doctype html><html lang="en"><title>Shop</title>
<form method="post" action="/sign-in">
  <label>Your name <input name="name" required autofocus></label> <button>Sign in</button>
  <p>A name has small letters from a to z and digits. {SHOP} is taken.</p>
</form>"""

CHAT = f"""<!doctype html><html lang="en"><title>Shop</title>
<h1>Shop</h1>
<main style="height: 80vh"></main>
<script type="module">
  import {{ start }} from "{CHAT_URL}/embed.js";
  const token = async () => (await fetch("/token")).text();
  start(document.querySelector("main"), {{ token, to: "{SHOP}" }});
</script>"""

app = Starlette(
    routes=[Route("/", page), Route("/token", token), Route("/sign-in", sign_in, methods=["POST"])]
)
