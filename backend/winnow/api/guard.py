"""Who calls: an API key is asked for before anything else of a request is read."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.exceptions import HTTPException

from winnow.api.limits import TokenBuckets, busy, discard
from winnow.api.problems import problem, problem_of
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
ASKS = {"WWW-Authenticate": 'Bearer realm="winnow"'}

bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`winnow keys create NAME` makes one.")


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
            if not (wait := self._requests.wait_seconds(str(caller.id))):
                scope.setdefault("state", {})["caller"] = caller
                await self._app(scope, receive, send)
                return
            answer = busy(wait, f"the key {caller.name!r} has made too many requests")
        await discard(receive)
        await answer(scope, receive, send)

    async def _caller(self, scope: Connection) -> Caller:
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
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


async def permitted(
    needed: SecurityScopes, request: Request, _key: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> None:
    """Raises 403 when the caller's key is not good for what a route declares; without a guard nobody has a key."""
    caller: Caller | None = getattr(request.state, "caller", None)
    for scope in needed.scopes:
        if caller is not None and not caller.may(Scope(scope)):
            has = ", ".join(sorted(caller.scopes))
            raise HTTPException(HTTPStatus.FORBIDDEN, f"this needs a key with scope {scope}; {caller.name!r} has {has}")


def needs(scope: Scope) -> list[Any]:
    """The dependencies of a route that takes this scope."""
    return [Security(permitted, scopes=[scope.value])]
