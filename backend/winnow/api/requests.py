"""Every request has an id, which its log lines and the tasks it causes carry, safe headers, and one closing line."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from winnow.api.problems import problem
from winnow.sources.telegram import WEBHOOK_PATH

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

# What a caller may choose as an id: short, and nothing that could forge a log line or a header.
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PORT = re.compile(r":\d+$")
# Called by services of others, by whatever name they know this machine; each asks for its own secret (api/webhooks.py).
WEBHOOKS = frozenset({WEBHOOK_PATH})
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# The page takes nothing from elsewhere, is shown in no other page, and what people wrote stays in no cache.
# https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html
SAFE_HEADERS = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)


class RequestLog:
    """ASGI middleware: takes or makes `X-Request-ID`, binds it, answers with it, and logs how the request ended.

    Every answer also tells browsers to be careful with it. No other site may read any (no CORS).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = _request_id(scope)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *SAFE_HEADERS]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                log.exception("request.bug", path=scope["path"], error=type(error).__name__)
                if status:
                    raise  # half an answer is out; the server closes the connection
                sorry = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something is broken here; the log has the details")
                await sorry(scope, receive, send_with_id)
            finally:
                level = log.debug if scope["path"].startswith("/health/") else log.info
                seconds = round(time.perf_counter() - started, 4)
                level("request.finished", method=scope["method"], path=scope["path"], status=status, seconds=seconds)


def _request_id(scope: Scope) -> str:
    given = header(scope, b"x-request-id")
    return given if PLAIN_ID.fullmatch(given) else uuid4().hex


def header(scope: Scope, name: bytes) -> str:
    """A request's header, empty when there is none."""
    for given, value in scope["headers"]:
        if given == name:
            return str(value, "latin-1")
    return ""


class LoopbackNames:
    """ASGI middleware: answers only requests that call this machine by a loopback name, and webhooks.

    Else a page on the web could point its own host name at 127.0.0.1 and read a private chat through the browser.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or scope["path"] in WEBHOOKS or _called(scope) in LOOPBACK_NAMES:
            await self._app(scope, receive, send)
            return
        sentence = f"this API answers to {', '.join(LOOPBACK_NAMES)} only; call it by one of these names"
        await problem(HTTPStatus.MISDIRECTED_REQUEST, sentence)(scope, receive, send)


def _called(scope: Scope) -> str:
    return PORT.sub("", header(scope, b"host"))
