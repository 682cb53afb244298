"""Who calls: an API key is asked for before anything else of a request is read."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from winnow.api.limits import TokenBuckets, busy, discard
from winnow.api.problems import problem, problem_of
from winnow.api.requests import header
from winnow.domain.keys import Caller, Scope, WrittenKey
from winnow.errors import WinnowError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

    from winnow.storage.keys import KeyStore

# Seconds for which a key that was recognised is not looked up again: how long a revoked one may still be good.
TRUSTED_SECONDS = 5.0
MOST_TRUSTED = 1000
# Wrong keys from one address: nobody guesses 256 bits, but nobody shall keep the database busy with trying either.
WRONG_PER_SECOND, WRONG_BURST = 1.0, 20.0
OPEN_PATHS = frozenset({"/", "/page.css", "/page.js", "/openapi.json", "/health/live", "/health/ready"})
# Who may do what. A route that is missing here takes an admin's key.
NEEDED = {
    ("GET", "/api/v1/search"): Scope.READ,
    ("GET", "/api/v1/atoms"): Scope.READ,
    ("GET", "/api/v1/topics"): Scope.READ,
    ("GET", "/api/v1/messages"): Scope.READ,
    ("GET", "/api/v1/status"): Scope.READ,
    ("POST", "/api/v1/messages"): Scope.WRITE,
    ("POST", "/api/v1/knowledge/extract"): Scope.WRITE,
    ("POST", "/api/v1/embeddings/backfill"): Scope.ADMIN,
}
ASKS = {"WWW-Authenticate": 'Bearer realm="winnow"'}
SCHEME = "API key"
SCHEME_DESCRIPTION = {
    "type": "http",
    "scheme": "bearer",
    "description": "Asked for when the API listens beyond loopback; `winnow keys create NAME` makes one.",
}


class Guard:
    """ASGI middleware: recognises the caller by `Authorization: Bearer KEY`, and keeps each to its share of requests.

    Args:
        app: what is guarded.
        keys: where keys are looked up.
        requests_per_second: of one key; twice as many may come at once.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyStore, requests_per_second: float) -> None:
        self._app = app
        self._keys = keys
        self._requests = TokenBuckets(requests_per_second, 2 * requests_per_second)
        self._wrong = TokenBuckets(WRONG_PER_SECOND, WRONG_BURST)
        self._trusted: dict[str, tuple[Caller, float]] = {}

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        answer: ASGIApp
        try:
            caller = await self._caller(scope)
        except _Refused as refused:
            answer = refused.answer
        except WinnowError as error:
            answer = problem_of(error)
        else:
            if (refusal := self._refusal(scope, caller)) is None:
                await self._app(scope, receive, send)
                return
            answer = refusal
        await discard(receive)
        await answer(scope, receive, send)

    def _refusal(self, scope: Connection, caller: Caller) -> ASGIApp | None:
        if wait := self._requests.wait_seconds(str(caller.id)):
            return busy(wait, f"the key {caller.name!r} has made too many requests")
        needed = NEEDED.get((scope["method"], scope["path"]), Scope.ADMIN)
        if caller.may(needed):
            return None
        has = ", ".join(sorted(caller.scopes))
        sentence = f"this needs a key with scope {needed.value}; {caller.name!r} has {has}"
        return problem(HTTPStatus.FORBIDDEN, sentence)

    async def _caller(self, scope: Connection) -> Caller:
        kind, _, given = header(scope, b"authorization").partition(" ")
        given = given.strip()
        trusted, until = self._trusted.get(given, (None, 0.0))
        if trusted is not None and time.monotonic() < until:
            return trusted
        address = scope["client"][0] if scope.get("client") else ""
        if wait := self._wrong.wait_seconds(address, take=0):
            raise _Refused(busy(wait, "too many wrong keys have come from your address"))
        key = WrittenKey.read(given) if kind.lower() == "bearer" else None
        caller = await self._keys.recognise(key) if key else None
        if caller is None:
            self._trusted.pop(given, None)
            if kind:
                self._wrong.wait_seconds(address)
            raise _Refused(problem(HTTPStatus.UNAUTHORIZED, _what_to_send(kind), ASKS))
        if len(self._trusted) >= MOST_TRUSTED:
            self._trusted.clear()
        self._trusted[given] = (caller, time.monotonic() + TRUSTED_SECONDS)
        return caller


class _Refused(Exception):
    def __init__(self, answer: ASGIApp) -> None:
        super().__init__()
        self.answer = answer


def _what_to_send(kind: str) -> str:
    if kind:
        return "this key is not known, or was revoked; make one with: winnow keys create NAME"
    return "this API asks for a key: send Authorization: Bearer KEY; make one with: winnow keys create NAME"


def describe(description: dict[str, Any]) -> dict[str, Any]:
    """Adds to an OpenAPI description that keys are asked for, and which scope each operation takes."""
    description.setdefault("components", {})["securitySchemes"] = {SCHEME: SCHEME_DESCRIPTION}
    for (method, path), scope in NEEDED.items():
        description["paths"][path][method.lower()]["security"] = [{SCHEME: [scope.value]}]
    return description
