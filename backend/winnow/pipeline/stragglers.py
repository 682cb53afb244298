"""Messages that came past Winnow's own doors, or before it had conversations, are scored and linked like others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Lane, ScoreJob, in_batches
from winnow.pipeline.housekeeping import again_and_again
from winnow.storage.stragglers import queue_strays, unlinked_page

if TYPE_CHECKING:
    from winnow.domain.jobs import Dispatcher
    from winnow.pipeline.sweep import Backlog
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 10.0
# A look reads so many rows; where more are unscored, the next one goes on behind them.
STRAYS_OF_A_LOOK = 2000
STRAY_SECONDS = 30.0
PAGE_ROWS = 5000
PAGES_OF_A_LOOK = 10
LANE_IS_FULL = 20


@dataclass(slots=True, kw_only=True)
class Stragglers:
    """Two walks over the messages, a stretch at each look.

    One, without end, is over those without a score: rows that somebody wrote with plain SQL are queued as if they had
    been handed in, and the sweeper has them scored and linked. The other is over all messages, once in the life of a
    sweeper: what is in no conversation and waits for nothing (it was read before there were conversations) is linked.
    """

    database: Database
    dispatcher: Dispatcher
    backlog: Backlog
    batch_size: int
    age_seconds: float = STRAY_SECONDS
    _unscored_after: int = 0
    _unlinked_after: int | None = 0

    async def look(self) -> int:
        """One look; says how many messages it queued or had linked."""
        return await self._queue_strays() + await self._link_some()

    async def _queue_strays(self) -> int:
        looked = await queue_strays(
            self.database, after=self._unscored_after, limit=STRAYS_OF_A_LOOK, age_seconds=self.age_seconds
        )
        self._unscored_after = looked.last or 0
        if looked.queued:
            log.info("stragglers.queued", messages=looked.queued)
        return looked.queued

    async def _link_some(self) -> int:
        for _ in range(PAGES_OF_A_LOOK):
            if self._unlinked_after is None or await self.backlog.depth(Lane.BULK) >= LANE_IS_FULL:
                return 0
            page = await unlinked_page(self.database, after=self._unlinked_after, limit=PAGE_ROWS)
            self._unlinked_after = page.last
            if page.ids:
                jobs = list(in_batches([ScoreJob(page.ids)], self.batch_size))
                await self.dispatcher.dispatch(jobs, Lane.BULK)
                log.info("stragglers.linking", messages=len(page.ids))
                return len(page.ids)
        return 0

    async def look_forever(self) -> None:
        """Looks again and again, until cancelled."""
        await again_and_again(self.look, chore="stragglers", every_seconds=LOOK_EVERY_SECONDS)
