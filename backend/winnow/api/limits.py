"""What one caller may ask of this process: so many requests a second, bodies so large, so many requests at once."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from winnow.api.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

BODY_SECONDS = 30.0
DISCARD_SECONDS = 10.0
MOST_DISCARDED_BYTES = 256 * 2**20
# Bodies being received, all together; many slow callers with little each are no matter.
BODIES_AT_ONCE = 8
SLOT_SECONDS = 10.0
# Answers that may be very long: sent while they are made, rather than kept until they are whole, few at once.
STREAMED = frozenset({"/api/v1/export"})
MOST_STREAMS = 2
# Who takes nothing of such an answer for so long does not want it.
STREAM_SECONDS = 60.0
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
CLOSE = {"Connection": "close"}


class TokenBuckets:
    """A bucket of `burst` tokens for each caller, filled at `per_second`; each request takes one."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[int, tuple[float, float]] = {}

    def wait_seconds(self, caller: int) -> float:
        """Takes a token and returns 0; or how long to wait until there is one."""
        now = time.monotonic()
        left, seen = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._per_second)
        wait = max(0.0, (1.0 - left) / self._per_second)
        self._buckets[caller] = (left if wait else left - 1.0, now)
        return wait


class Uploads:
    """ASGI middleware: receives a body whole, within its size and time, before anything of it is looked at.

    Then the request takes one of `most_at_once` slots; who gets none within ten seconds is told to come again.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, most_at_once: int) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._slots = asyncio.Semaphore(most_at_once)
        self._streams = asyncio.Semaphore(MOST_STREAMS)
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or scope["path"].startswith("/health/"):
            await self._app(scope, receive, send)
            return
        if scope["path"] in STREAMED:
            await self._streaming(scope, receive, send)
            return
        if scope["method"] not in WITH_BODY:
            await self._in_a_slot(scope, receive, send)
            return
        chunks: list[bytes] = []
        try:
            refusal = await self._fill(chunks, receive)
            if refusal is None:
                await self._in_a_slot(scope, _replay(b"".join(chunks), receive), send)
            else:
                await refusal(scope, receive, send)
        except ClientGone:
            log.info("request.gone", path=scope["path"])
        finally:
            self._let_go(chunks)

    async def _fill(self, chunks: list[bytes], receive: Receive) -> ASGIApp | None:
        """Reads to the end; what to answer when the body cannot be taken. Raises ClientGone."""
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    chunk, more = await _next_chunk(receive)
                    chunks.append(chunk)
                    size += len(chunk)
                    self._held_bytes += len(chunk)
                    if refusal := self._objection(size):
                        self._let_go(chunks)
                        if more:
                            await discard(receive)
                        return refusal
        except TimeoutError:
            sentence = f"the body was not here after {BODY_SECONDS:.0f} s; send it faster, or less of it"
            return problem(HTTPStatus.REQUEST_TIMEOUT, sentence, CLOSE)
        return None

    def _let_go(self, chunks: list[bytes]) -> None:
        self._held_bytes -= sum(map(len, chunks))
        chunks.clear()

    def _objection(self, size: int) -> ASGIApp | None:
        if size > self._most_bytes:
            sentence = f"the body has more than {self._most_bytes:,} bytes; send fewer messages at once"
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence, CLOSE)
        if self._held_bytes > self._most_bytes * BODIES_AT_ONCE:
            return busy(1, "other callers are sending very much just now")
        return None

    async def _streaming(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams.locked():
            await busy(10, f"{MOST_STREAMS} exports are being sent already")(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STREAM_SECONDS):
                await send(message)

        async with self._streams:
            try:
                await self._app(scope, receive, send_in_time)
            except TimeoutError:
                log.warning("request.not_taken", path=scope["path"], seconds=STREAM_SECONDS)
                raise

    async def _in_a_slot(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers once the slot is free again: who reads slowly holds up nobody. No answer here is a long one."""
        try:
            async with asyncio.timeout(SLOT_SECONDS if self._slots.locked() else None):
                await self._slots.acquire()
        except TimeoutError:
            await busy(1, "this process has all hands full")(scope, receive, send)
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            await self._app(scope, receive, keep)
        finally:
            self._slots.release()
        for message in answer:
            await send(message)


class ClientGone(Exception):
    """The caller went away while sending; there is nobody to answer."""


async def _next_chunk(receive: Receive) -> tuple[bytes, bool]:
    """A piece of the body, and whether there is more."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def discard(receive: Receive) -> None:
    """Reads a body nobody wants, for a while: who is cut off while sending never sees the answer."""
    with contextlib.suppress(TimeoutError, ClientGone):
        async with asyncio.timeout(DISCARD_SECONDS):
            size, more = 0, True
            while more and size <= MOST_DISCARDED_BYTES:
                chunk, more = await _next_chunk(receive)
                size += len(chunk)


def busy(wait_seconds: float, why: str) -> ASGIApp:
    """429: come again, and when."""
    wait = max(1, math.ceil(wait_seconds))
    return problem(HTTPStatus.TOO_MANY_REQUESTS, f"{why}; try again in {wait} s", {"Retry-After": str(wait)})


def _replay(body: bytes, receive: Receive) -> Receive:
    whole: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replayed() -> Message:
        nonlocal whole
        given, whole = whole, None
        return given or await receive()

    return replayed
