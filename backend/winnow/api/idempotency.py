"""A request that is sent again with its key does nothing again, and is answered as it was the first time."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import Header, Request, Response

from winnow.api.problems import problem
from winnow.errors import WinnowError
from winnow.storage.idempotency import AnswerStore, StoredAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

MOST_KEY_CHARACTERS = 255
ANOTHER_REQUEST = "this Idempotency-Key was sent with another body; a new request needs a new key"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MOST_KEY_CHARACTERS,
        pattern="^[\\x21-\\x7e]+$",
        description="Made up by you, new for each request. The same key with the same body does nothing again within "
        "24 hours, and is answered as it was the first time; with another body it is refused. What was refused is "
        "tried anew. Each API key has its own; where no API keys are asked for, all callers share them: make up "
        "long ones.",
    ),
]


class Idempotency:
    """Answers requests with a key once; the same one beside itself waits for the first.

    Two processes that get the same request in the same moment both do it, which the identities of messages make
    harmless, as they do what a process leaves that dies before the answer is noted.
    """

    def __init__(self, database: Database) -> None:
        self._store = AnswerStore(database)
        self._turns: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def answer(
        self, request: Request, key: str | None, work: Callable[[Callable[[int], str] | None], Awaitable[Response]]
    ) -> Response:
        """What `work` answers, or has answered to this key before.

        `work` is given what makes an id for the message at a place of the body that has none: the same each time.
        """
        if key is None:
            return await work(None)
        caller = str(getattr(request.state, "caller", ""))
        digest = hashlib.sha256(await request.body()).digest()
        async with self._turn(caller, key):
            known = await self._store.read(caller, key)
            if known is not None:
                return _again(known, digest)
            response = await work(lambda place: _made_up(caller, key, digest, place))
            if response.status_code >= HTTPStatus.BAD_REQUEST:  # which may be answered otherwise the next time
                return response
            return await self._noted(caller, key, digest, response)

    async def _noted(self, caller: str, key: str, digest: bytes, response: Response) -> Response:
        answer = StoredAnswer(
            request_hash=digest,
            status=response.status_code,
            body=bytes(response.body).decode(),
            media_type=response.media_type or "application/json",
        )
        try:
            await self._store.note(caller, key, answer)
            first = await self._store.read(caller, key)
        except WinnowError as error:  # what was asked for is done
            log.warning("idempotency.not_noted", reason=str(error))
            return response
        return response if first is None or first == answer else _again(first, digest)

    @asynccontextmanager
    async def _turn(self, caller: str, key: str) -> AsyncIterator[None]:
        lock, users = self._turns.get((caller, key), (asyncio.Lock(), 0))
        self._turns[caller, key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._turns.pop((caller, key))
            if users > 1:
                self._turns[caller, key] = lock, users - 1


def _again(known: StoredAnswer, digest: bytes) -> Response:
    if known.request_hash != digest:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, ANOTHER_REQUEST)
    return Response(known.body, known.status, {"Idempotent-Replayed": "true"}, media_type=known.media_type)


def _made_up(caller: str, key: str, digest: bytes, place: int) -> str:
    return hashlib.sha256(f"{caller}\n{key}\n{digest.hex()}\n{place}".encode()).hexdigest()[:32]
