"""The backfill that somebody asked for over HTTP: one at a time, in the background of the API process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from winnow.errors import WinnowError
from winnow.pipeline.backfill import backfill
from winnow.pipeline.backfill_plan import Plan

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow
    from winnow.domain.jobs import Kind
    from winnow.pipeline.backfill_progress import Progress

log = structlog.get_logger(__name__)


class Backfills:
    """Starts a backfill and lets it run; interrupted with the process it loses nothing, for NULL is the queue.

    An index that was away for it is built by the sweeper then.
    """

    def __init__(self, winnow: Winnow) -> None:
        self._winnow = winnow
        self._task: asyncio.Task[None] | None = None
        self._wanted: dict[Kind, int] = {}

    async def start(self, kinds: tuple[Kind, ...], batch_size: int) -> None:
        """Returns once it is on its way: at once, or after the one that runs.

        Raises:
            SpaceMismatch: the stored vectors are another embedder's.
        """
        await self._winnow.spaces.check()
        self._wanted |= dict.fromkeys(kinds, batch_size)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="backfill")

    async def stop(self) -> None:
        """Ends a running one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._wanted:
            plan = Plan(kinds=tuple(self._wanted), batch_size=min(self._wanted.values()))
            self._wanted.clear()
            try:
                done = await backfill(self._winnow.backfilling(), plan, report=_ignore, say=_say)
            except WinnowError as error:
                log.warning("backfill.stopped", reason=str(error))
            except Exception:  # nobody awaits this task: a bug must not end unseen
                log.exception("backfill.broken")
            else:
                log.info(
                    "backfill.finished",
                    run=plan.run,
                    success=done.success,
                    failed=done.failed,
                    skipped=done.skipped,
                    waiting=done.waiting,
                    seconds=round(done.seconds, 1),
                    index_seconds=round(done.index_seconds, 1),
                )


def _ignore(_progress: Progress) -> None:
    """The status shows it."""


def _say(sentence: str) -> None:
    log.warning("backfill.remark", remark=sentence)
