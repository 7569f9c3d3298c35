"""Between the network and Gradio: what this app does not need is closed, and what is too much is not let in."""

import json
import re
from asyncio import Lock
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import fairness, limits, refusals, uploads

# What the page, its clients and gradio_client ask for. Gradio has more, which writes, fetches or tells of the machine.
_API = "/gradio_api"
_SHOWN = re.compile(
    r"|/|/config/?|/(static|assets|svelte)/.+|/favicon\.ico|/theme\.css|/robots\.txt|/manifest\.json|"
    rf"{_API}/(info/?|openapi\.json|theme\.css|startup-events|app_id/?|heartbeat/[^/]+|queue/(data|status)|"
    r"upload_progress|file=.*|call/(v2/)?[^/]+/[^/]+)",
    re.DOTALL,
)
_TAKEN = re.compile(rf"{_API}/(upload|cancel|reset/?|queue/join|run/[^/]+/?|call/(v2/)?[^/]+/?)")
_ELSEWHERE = re.compile(rf"{_API}/file=https?:", re.IGNORECASE)
_CALLED = re.compile(rf"{_API}/(queue/join|(?P<at_once>run)/(?P<page>[^/]+)/?|call/(v2/)?(?P<name>[^/]+)/?)")


class Gate:
    """A middleware around Gradio's routes. Whatever they raise ends as a message with a number.

    Args:
        app: The rest of the app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._joining = Lock()
        self._room = uploads.Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._pass(scope, receive, answer)
        except ClientDisconnect:
            pass
        except Exception as error:
            if begun:
                raise
            if isinstance(error, HTTPException):
                status, words = error.status_code, error.detail
            else:
                status, words = 500, refusals.bug(error)
            plain = _path(scope) == f"{_API}/upload"  # of which the page shows the whole answer
            response = PlainTextResponse(words, status) if plain else JSONResponse({"detail": words}, status)
            await response(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = _path(scope), scope["method"]
        if not (_SHOWN if method in ("GET", "HEAD") else _TAKEN).fullmatch(path):
            raise HTTPException(404, "This app has nothing there.")
        if _ELSEWHERE.match(path):
            raise HTTPException(403, "This app fetches nothing from elsewhere.")
        if method in ("GET", "HEAD"):
            await self.app(scope, receive, send)
        elif path == f"{_API}/upload":
            await uploads.take(self.app, self._room, scope, receive, send)
        else:
            sent = await _whole(scope, receive)
            body = _understood(sent)
            uploads.refuse_other_files(body)
            await self._call(path, body, scope, _again(sent, receive), send)

    async def _call(self, path: str, body: Any, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in whose body is ``body``, where there is such a function and a place in the queue."""
        fields = body if isinstance(body, dict) else {}
        blocks = scope["app"].get_blocks()
        called = _CALLED.fullmatch(path)
        if called is None:
            await self.app(scope, receive, send)
            return
        number = fields.get("fn_index")
        name = called["name"] or (called["page"] if number is None else None)
        function = _function(blocks, name, number)
        if function is None or function.fn is None:
            raise HTTPException(404, "This app has no such function; the tab Code lists those that it has.")
        if called["at_once"]:  # which Gradio allows to functions that have no queue
            await self.app(scope, receive, send)
            return
        async with self._joining:  # until it is counted, so that no two take the last place
            words = fairness.refusal(blocks, function, _text(fields.get("session_hash")), scope)
            if words:
                raise HTTPException(429, words)
            await self.app(scope, receive, send)


def _path(scope: Scope) -> str:
    """What the routes see of the path: that below the app's own."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


async def _whole(scope: Scope, receive: Receive) -> bytes:
    """A request's body.

    Raises:
        HTTPException: It is too large.
        ClientDisconnect: It breaks off.
    """
    most = limits.REQUEST_MEGABYTES * 2**20
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise HTTPException(413, limits.REQUESTS_SIZE)
    return bytes(body)


def _understood(body: bytes) -> Any:
    """What a body says, whatever its headers call it.

    Raises:
        HTTPException: It is not JSON, which is all that the routes read.
    """
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The request is not JSON.") from None


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that has been read once more."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


def _function(blocks: Any, name: str | None, number: Any) -> Any:
    """What Gradio would call, by the name of an endpoint or else the page's number; None where there is none such."""
    if name is None:
        return blocks.fns.get(number) if isinstance(number, int) else None
    return next((function for function in blocks.fns.values() if function.api_name == name), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
