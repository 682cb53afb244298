"""Many requests, one transaction: what arrives while one is committed goes into the next, together.

A message by itself costs a commit and two tasks; a hundred that arrive at once cost hardly more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.errors import Transient
from winnow.pipeline.ingest import Ingested, ingest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.jobs import Lane
    from winnow.domain.messages import IncomingMessage
    from winnow.storage.unit_of_work import UnitsOfWork

MOST_MESSAGES = 1000
WRITERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    messages: Sequence[IncomingMessage]
    answer: asyncio.Future[Ingested]
    context: Context


class Intake:
    """Stores what concurrent callers bring; each returns once its own messages are committed.

    At most two transactions are under way: one commits while the next is filled. Its log lines and the tasks carry the
    request id of the first caller in it.
    """

    def __init__(self, units: UnitsOfWork, lane: Lane) -> None:
        self._units = units
        self._lane = lane
        self._waiting: OrderedDict[_Request, None] = OrderedDict()  # who gives up leaves it at once
        self._writers: set[asyncio.Task[None]] = set()
        self._writing = 0

    async def store(self, messages: Sequence[IncomingMessage]) -> Ingested:
        """Stores the messages, perhaps together with others'. Raises as `ingest` does."""
        request = _Request(messages, asyncio.get_running_loop().create_future(), copy_context())
        self._waiting[request] = None
        if self._writing < WRITERS:
            self._writing += 1
            writer = asyncio.create_task(self._write_all(), name="intake")
            self._writers.add(writer)  # the loop itself holds tasks but weakly
            writer.add_done_callback(self._writers.discard)
        try:
            return await asyncio.shield(request.answer)
        finally:
            self._waiting.pop(request, None)  # cancelled before its turn

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                requests = self._next()
                await asyncio.create_task(self._write(requests), name="intake", context=requests[0].context)
        finally:
            self._writing -= 1  # in the same breath as nothing was found waiting: what comes next finds a writer

    def _next(self) -> list[_Request]:
        """The first in the queue, and those behind it while there is room."""
        requests: list[_Request] = []
        room = MOST_MESSAGES
        while self._waiting:
            request = next(iter(self._waiting))
            if requests and len(request.messages) > room:
                break
            del self._waiting[request]
            requests.append(request)
            room -= len(request.messages)
        return requests

    async def _write(self, requests: Sequence[_Request]) -> None:
        try:
            done = await ingest(
                self._units, [message for request in requests for message in request.messages], lane=self._lane
            )
        except Exception as error:  # noqa: BLE001 - each caller gets it, and deals with it
            if len(requests) == 1 or isinstance(error, Transient):
                for request in requests:
                    request.answer.set_exception(error)
                    request.answer.exception()  # a caller that has gone will not look at it
                return
            for request in requests:  # one caller's message is at fault, and no other caller shall pay for it
                await self._write([request])
            return
        begin = 0
        for request in requests:
            request.answer.set_result(done.part(begin, begin + len(request.messages)))
            begin += len(request.messages)
