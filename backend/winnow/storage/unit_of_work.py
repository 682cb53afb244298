"""A use case's transaction, and the jobs it promises: they leave after the commit, never before, or vanish with it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from winnow.domain.jobs import Lane, in_batches
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.jobs import Dispatcher, Job, Kind
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

HOOK_FAILED = "hook.failed"
MOST_KEPT_AT_ONCE = 100


class UnitOfWork:
    """One open transaction: `fetch` runs named SQL in it, `promise` says what shall happen after it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.promised: list[tuple[Job, Lane]] = []

    async def fetch(self, name: str, *values: Any, kind: Kind | None = None) -> Sequence[Row[Any]]:
        """Runs a named statement inside the transaction."""
        return await fetch(self._connection, name, *values, kind=kind)

    def promise(self, job: Job, lane: Lane) -> None:
        """Sends the job once this transaction is committed."""
        if job.ids:
            self.promised.append((job, lane))


class UnitsOfWork:
    """Opens units of work and keeps their promises: the post-commit hook.

    Args:
        database: where.
        dispatcher: sends the promised jobs.
        batch_size: most ids in one job.
    """

    def __init__(self, database: Database, dispatcher: Dispatcher, *, batch_size: int) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._batch_size = batch_size
        self._keeping: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """A transaction, committed when the block ends; nothing else commits.

        A promise that cannot be kept never fails what is committed: it is logged and counted, and the sweeper or a
        backfill finds the rows, for NULL is the queue.
        """
        async with self._database.transaction() as connection:
            work = UnitOfWork(connection)
            yield work
        if work.promised:
            await self._hand_over(work.promised)

    async def drain(self) -> None:
        """Returns once every promise made so far is kept, or has failed and is counted; before NATS is left."""
        while self._keeping:
            await asyncio.wait(self._keeping)

    async def _hand_over(self, promised: Sequence[tuple[Job, Lane]]) -> None:
        """Nobody waits for NATS to store the tasks, but for room when very many commits are ahead of it."""
        while len(self._keeping) >= MOST_KEPT_AT_ONCE:
            await asyncio.wait(self._keeping, return_when=asyncio.FIRST_COMPLETED)
        keeping = asyncio.create_task(self._keep(promised), name="post-commit hook")
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    async def _keep(self, promised: Sequence[tuple[Job, Lane]]) -> None:
        started = time.perf_counter()
        try:
            for lane in Lane:
                jobs = list(in_batches((job for job, wanted in promised if wanted == lane), self._batch_size))
                if jobs:
                    await self._dispatcher.dispatch(jobs, lane)
        except Exception as error:  # noqa: BLE001 - the commit stands, whatever befalls its promises
            log.warning("hook.failed", reason=str(error), jobs=len(promised))
            await self._count_failure()
        else:
            log.debug("hook.finished", jobs=len(promised), seconds=round(time.perf_counter() - started, 6))

    async def _count_failure(self) -> None:
        try:
            await self._database.count(HOOK_FAILED)
        except Exception as error:  # noqa: BLE001 - nor does a failure that cannot be counted change the commit
            log.warning("hook.failure_not_counted", reason=str(error))
