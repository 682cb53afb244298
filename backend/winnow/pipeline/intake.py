"""Many requests, one transaction: what arrives while one is committed goes into the next, together.

A message by itself costs a commit and two tasks; a hundred that arrive at once cost hardly more.
"""

from __future__ import annotations

import asyncio
from collections import deque
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


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    messages: Sequence[IncomingMessage]
    answer: asyncio.Future[Ingested]


class Intake:
    """Stores what concurrent callers bring; each returns once its own messages are committed.

    Whoever finds no transaction open opens one for everybody who waits; its log lines and the tasks carry that
    caller's request id.
    """

    def __init__(self, units: UnitsOfWork, lane: Lane) -> None:
        self._units = units
        self._lane = lane
        self._waiting: deque[_Request] = deque()
        self._one_at_a_time = asyncio.Lock()

    async def store(self, messages: Sequence[IncomingMessage]) -> Ingested:
        """Stores the messages, perhaps together with others'. Raises as `ingest` does."""
        request = _Request(messages, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        try:
            async with self._one_at_a_time:
                while not request.answer.done():
                    # Shielded: a caller that is cancelled must not take the others' messages along.
                    await asyncio.shield(asyncio.create_task(self._write(self._next()), name="intake"))
        finally:
            if request in self._waiting:  # cancelled before its turn
                self._waiting.remove(request)
        return request.answer.result()

    def _next(self) -> list[_Request]:
        """The first in the queue, and those behind it while there is room."""
        requests = [self._waiting.popleft()]
        room = MOST_MESSAGES - len(requests[0].messages)
        while self._waiting and len(self._waiting[0].messages) <= room:
            requests.append(self._waiting.popleft())
            room -= len(requests[-1].messages)
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
                return
            for request in requests:  # one caller's message is at fault, and no other caller shall pay for it
                await self._write([request])
            return
        begin = 0
        for request in requests:
            request.answer.set_result(done.part(begin, begin + len(request.messages)))
            begin += len(request.messages)
