"""A use case's transaction, and the jobs it promises: they leave after the commit, never before, or vanish with it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from winnow.domain.jobs import Lane, in_batches, merged
from winnow.domain.scoring import RULES
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.jobs import Dispatcher, Job, Kind
    from winnow.domain.scoring import ScoreRules
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

HOOK_FAILED = "hook.failed"
MOST_KEPT_AT_ONCE = 100
TOGETHER_SECONDS = 0.02


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


@dataclass(frozen=True, slots=True)
class _Promises:
    """What one commit promised, and the ids that were bound when it did."""

    jobs: Sequence[tuple[Job, Lane]]
    context: Context


class UnitsOfWork:
    """Opens units of work and keeps their promises: the post-commit hook.

    Args:
        database: where.
        dispatcher: sends the promised jobs.
        batch_size: most ids in one job.
        rules: by which the messages that are stored are scored; None: they are not.
        thresholds: of those whose votes are counted again; None: as in `rules`.
    """

    def __init__(
        self,
        database: Database,
        dispatcher: Dispatcher,
        *,
        batch_size: int,
        rules: ScoreRules | None = RULES,
        thresholds: ScoreRules | None = None,
    ) -> None:
        self.rules = rules
        self.thresholds = thresholds or rules or RULES
        self._database = database
        self._dispatcher = dispatcher
        self._batch_size = batch_size
        self._promises: list[_Promises] = []
        self._room = asyncio.Condition()
        self._hook: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def begin(self, *, one_statement: bool = False) -> AsyncIterator[UnitOfWork]:
        """A transaction, committed when the block ends; nothing else commits.

        With `one_statement` the block runs a single statement, which commits by itself: two round trips less.

        A promise that cannot be kept never fails what is committed: it is logged and counted, and the sweeper or a
        backfill finds the rows, for NULL is the queue.
        """
        async with self._database.autocommit() if one_statement else self._database.transaction() as connection:
            work = UnitOfWork(connection)
            yield work
        if work.promised:
            await self._hand_over(work.promised)

    async def refresh_statistics(self) -> None:
        """Tells PostgreSQL's planner what is in the messages by now; for after very many were stored."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "analyze_messages")

    async def drain(self) -> None:
        """Returns once every promise made so far is kept, or has failed and is counted; before NATS is left."""
        while self._hook is not None and not self._hook.done():
            await asyncio.wait({self._hook})

    async def _hand_over(self, promised: Sequence[tuple[Job, Lane]]) -> None:
        """Nobody waits for NATS to store the tasks, but for room when very many commits are ahead of it."""
        if len(self._promises) >= MOST_KEPT_AT_ONCE:
            async with self._room:
                await self._room.wait_for(lambda: len(self._promises) < MOST_KEPT_AT_ONCE)
        self._promises.append(_Promises(promised, copy_context()))
        if self._hook is None or self._hook.done():
            self._hook = asyncio.create_task(self._keep_all(), name="post-commit hook")

    async def _keep_all(self) -> None:
        """After a quiet moment a promise is kept at once; those made in the next 20 ms leave together."""
        while self._promises:
            started = time.perf_counter()
            taken, self._promises = self._promises, []
            async with self._room:
                self._room.notify_all()
            promised = [promise for one in taken for promise in one.jobs]
            keeping = self._keep(promised, commits=len(taken))
            await asyncio.create_task(keeping, name="keep promises", context=taken[0].context)
            await asyncio.sleep(max(0.0, TOGETHER_SECONDS - (time.perf_counter() - started)))

    async def _keep(self, promised: Sequence[tuple[Job, Lane]], *, commits: int) -> None:
        started = time.perf_counter()
        try:
            for lane in Lane:
                jobs = list(in_batches(merged(job for job, wanted in promised if wanted == lane), self._batch_size))
                if jobs:
                    await self._dispatcher.dispatch(jobs, lane)
        except Exception as error:  # noqa: BLE001 - the commit stands, whatever befalls its promises
            log.warning("hook.failed", reason=str(error), jobs=len(promised), commits=commits)
            await self._count_failures(commits)
        else:
            seconds = round(time.perf_counter() - started, 6)
            log.debug("hook.finished", jobs=len(promised), commits=commits, seconds=seconds)

    async def _count_failures(self, commits: int) -> None:
        try:
            await self._database.count(HOOK_FAILED, commits)
        except Exception as error:  # noqa: BLE001 - nor does a failure that cannot be counted change the commit
            log.warning("hook.failure_not_counted", reason=str(error))
