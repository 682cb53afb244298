"""Who calls: an API key is asked for before anything else of a request is read."""

from __future__ import annotations

import asyncio
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

from winnow.api.limits import TokenBuckets, busy, discard
from winnow.api.problems import NOTHING, problem, problem_of
from winnow.api.requests import WEBHOOKS, header
from winnow.domain.keys import Scope, WrittenKey
from winnow.errors import WinnowError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

    from winnow.domain.keys import Caller
    from winnow.storage.keys import KeyStore, StoredKey

log = structlog.get_logger(__name__)

# How old the keys in memory may be: how long a revoked one is still good. One that is not among them may be new.
KNOWN_SECONDS = 5.0
NEW_SECONDS = 0.5
OPEN_PATHS = frozenset({"/", "/page.css", "/page.js", "/openapi.json", "/health/live", "/health/ready"})
# Who may do what: every route that is not open is here.
NEEDED = {
    ("GET", "/api/v1/search"): Scope.READ,
    ("GET", "/api/v1/atoms"): Scope.READ,
    ("GET", "/api/v1/topics"): Scope.READ,
    ("GET", "/api/v1/messages"): Scope.READ,
    ("GET", "/api/v1/status"): Scope.READ,
    ("GET", "/api/v1/usage"): Scope.READ,
    ("POST", "/api/v1/messages"): Scope.WRITE,
    ("PATCH", "/api/v1/messages/{id}"): Scope.WRITE,
    ("DELETE", "/api/v1/messages/{id}"): Scope.WRITE,
    ("POST", "/api/v1/forget"): Scope.ADMIN,
    ("GET", "/api/v1/channels"): Scope.READ,
    ("PATCH", "/api/v1/channels"): Scope.ADMIN,
    ("POST", "/api/v1/knowledge/extract"): Scope.WRITE,
    ("GET", "/api/v1/runs"): Scope.READ,
    ("GET", "/api/v1/runs/{id}"): Scope.READ,
    ("POST", "/api/v1/runs/{id}/cancel"): Scope.ADMIN,
    ("POST", "/api/v1/runs/{id}/retry"): Scope.WRITE,
    ("GET", "/api/v1/embeddings/status"): Scope.READ,
    ("GET", "/api/v1/embeddings/failed"): Scope.READ,
    ("GET", "/api/v1/embeddings/failed/{kind}/{id}"): Scope.READ,
    ("POST", "/api/v1/embeddings/failed/retry"): Scope.ADMIN,
    ("POST", "/api/v1/embeddings/failed/forget"): Scope.ADMIN,
    ("POST", "/api/v1/embeddings/backfill"): Scope.ADMIN,
    ("GET", "/api/v1/models"): Scope.READ,
    ("POST", "/api/v1/models/use"): Scope.ADMIN,
    ("POST", "/api/v1/models/back"): Scope.ADMIN,
    ("POST", "/api/v1/models/cancel"): Scope.ADMIN,
    ("POST", "/api/v1/models/forget"): Scope.ADMIN,
    ("GET", "/api/v1/providers"): Scope.READ,
    ("POST", "/api/v1/providers"): Scope.ADMIN,
    ("GET", "/api/v1/providers/{id}"): Scope.READ,
    ("PATCH", "/api/v1/providers/{id}"): Scope.ADMIN,
    ("DELETE", "/api/v1/providers/{id}"): Scope.ADMIN,
    ("POST", "/api/v1/providers/{id}/check"): Scope.ADMIN,
}
# Paths with names in them, and what may stand for these: nothing that holds a slash, or a line's end.
PATTERNS = {path: re.compile(re.sub(r"\\{\w+\\}", r"[^/\\s]+", re.escape(path))) for _, path in NEEDED if "{" in path}
ASKS = {"WWW-Authenticate": 'Bearer realm="winnow"'}
SCHEME = "API key"
SCHEME_DESCRIPTION = {
    "type": "http",
    "scheme": "bearer",
    "description": "Asked for when the API listens beyond loopback; `winnow keys create NAME` makes one.",
}
WEBHOOK_SCHEME = "Telegram"
WEBHOOK_SCHEME_DESCRIPTION = {
    "type": "apiKey",
    "in": "header",
    "name": "X-Telegram-Bot-Api-Secret-Token",
    "description": "What `winnow telegram set-webhook` has told Telegram to send.",
}


class KeyRing:
    """The keys in force, in memory: a wrong key, or a thousand of them, asks the database nothing."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._keys: dict[int, StoredKey] = {}
        self._read_at = -KNOWN_SECONDS
        self._failed: WinnowError | None = None
        self._failed_at = 0.0
        self._used: set[int] = set()
        self._noting: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()

    async def recognise(self, key: WrittenKey) -> Caller | None:
        """Whose key it is; None when it is nobody's, or revoked. Raises as `Database.transaction` does."""
        await self._read_again(KNOWN_SECONDS if key.id in self._keys else NEW_SECONDS)
        stored = self._keys.get(key.id)
        if stored is None or not key.proves(stored.secret_hash):
            return None
        if key.id not in self._used:
            self._used.add(key.id)
            noting = asyncio.create_task(self._note(key.id), name="note the use of a key")
            self._noting.add(noting)
            noting.add_done_callback(self._noting.discard)
        return stored.caller

    async def _read_again(self, after_seconds: float) -> None:
        async with self._reading:
            if time.monotonic() - self._read_at < after_seconds:
                return
            if self._failed is not None and time.monotonic() - self._failed_at < NEW_SECONDS:
                raise self._failed  # else all who wait here would wait for a dead server, one after the other
            try:
                self._keys = await self._store.in_force()
            except WinnowError as error:
                self._failed, self._failed_at = error, time.monotonic()
                raise
            self._read_at = time.monotonic()
            self._used.clear()

    async def _note(self, key_id: int) -> None:
        try:
            await self._store.mark_used(key_id)
        except Exception as error:  # noqa: BLE001 - a disk that is full, or a server that may only be read, refuses nobody
            log.warning("keys.use_not_noted", reason=str(error))


class Guard:
    """ASGI middleware: recognises the caller by `Authorization: Bearer KEY`, and keeps each to its share of requests.

    Args:
        app: what is guarded.
        keys: where keys are looked up.
        requests_per_second: of one key; twice as many may come at once.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyStore, requests_per_second: float) -> None:
        self._app = app
        self._keys = KeyRing(keys)
        self._requests = TokenBuckets(requests_per_second, 2 * requests_per_second)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS | WEBHOOKS:
            await self._app(scope, receive, send)
            return
        kind, _, given = header(scope, b"authorization").partition(" ")
        key = WrittenKey.read(given.strip()) if kind.lower() == "bearer" else None
        refusal: ASGIApp | None
        try:
            caller = await self._keys.recognise(key) if key else None
        except WinnowError as error:
            caller, refusal = None, problem_of(error)
        else:
            refusal = self._refusal(scope, caller) if caller else _unknown(kind)
        if refusal is None:
            scope.setdefault("state", {})["caller"] = caller.id if caller else ""
            await self._app(scope, receive, send)
            return
        await discard(receive)
        await refusal(scope, receive, send)

    def _refusal(self, scope: Connection, caller: Caller) -> ASGIApp | None:
        if wait := self._requests.wait_seconds(caller.id):
            return busy(wait, f"the key {caller.name!r} has made too many requests")
        needed = NEEDED.get((scope["method"], _route(scope["path"])))
        if needed is None:  # never left to the application: `/path%0A` is a route to it, and no path of ours
            return _nothing_there(scope["path"])
        if caller.may(needed):
            return None
        has = ", ".join(sorted(caller.scopes))
        sentence = f"this needs a key with scope {needed.value}; {caller.name!r} has {has}"
        return problem(HTTPStatus.FORBIDDEN, sentence)


def _route(path: str) -> str:
    """The path as `NEEDED` writes it; as it is, when no such route has names in it."""
    return next((route for route, pattern in PATTERNS.items() if pattern.fullmatch(path)), path)


def _nothing_there(path: str) -> ASGIApp:
    methods = ", ".join(sorted(method for method, known in NEEDED if known == _route(path)))
    if methods:
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {methods}", {"Allow": methods})
    return problem(HTTPStatus.NOT_FOUND, NOTHING)


def _unknown(kind: str) -> ASGIApp:
    """What to send instead of an `Authorization` that begins with `kind`."""
    if kind.lower() == "bearer":
        sentence = "this key is not known, or was revoked; make one with: winnow keys create NAME"
    elif kind:
        sentence = "this is not how a key is sent; send it as Authorization: Bearer KEY"
    else:
        sentence = "this API asks for a key: send Authorization: Bearer KEY; make one with: winnow keys create NAME"
    return problem(HTTPStatus.UNAUTHORIZED, sentence, ASKS)


def describe(description: dict[str, Any]) -> None:
    """Adds to an OpenAPI description that keys are asked for, and which scope each operation takes.

    Raises:
        KeyError: a route is not in `NEEDED`; the application does not start with such a one.
    """
    schemes = {SCHEME: SCHEME_DESCRIPTION, WEBHOOK_SCHEME: WEBHOOK_SCHEME_DESCRIPTION}
    description.setdefault("components", {})["securitySchemes"] = schemes
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if path in WEBHOOKS:
                operation["security"] = [{WEBHOOK_SCHEME: []}]
            elif path not in OPEN_PATHS:
                operation["security"] = [{SCHEME: [NEEDED[method.upper(), path].value]}]
