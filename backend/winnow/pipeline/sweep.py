"""The sweeper: what nobody promised, what was lost on the way, and what has come due."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane, in_batches
from winnow.errors import SetupFault, Transient
from winnow.pipeline.request_extraction import request_extraction
from winnow.storage.leadership import leadership

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.domain.jobs import Dispatcher, Job
    from winnow.domain.spaces import Space
    from winnow.errors import WinnowError
    from winnow.pipeline.spaces import Spaces
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database
    from winnow.storage.extraction import ExtractionStore

log = structlog.get_logger(__name__)

# As much as the bulk lane is given at a time: enough to keep workers busy, little enough to stay in step with the rows.
BATCHES_AHEAD = 20
EXTRACTION_EVERY_SECONDS = 2.0
MOST_IDS_OF_A_CHANNEL = 2000
PROMISED_SECONDS = 120.0
FAILED_PAUSE_SECONDS = 60.0
TROUBLE_PAUSE_SECONDS = 5.0


class Backlog(Protocol):
    """How much the queue holds of a lane."""

    async def depth(self, lane: Lane) -> int:
        """Tasks not yet settled. Raises QueueUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """What the sweeper needs, and its timers."""

    database: Database
    embeddings: EmbeddingStore
    extractions: ExtractionStore
    spaces: Spaces
    dispatcher: Dispatcher
    backlog: Backlog
    every_seconds: float
    age_seconds: float
    batch_size: int
    extraction_threshold: int
    extraction_quiet_seconds: float


@dataclass(slots=True)
class _Pass:
    """One way through the rows of a kind, by id: since when, behind which row, and whether the last one was reached."""

    began: float
    after: int = 0
    ended: bool = False


@dataclass(slots=True)
class Sweeper:
    """Looks at regular times for work that is due. Of any number of copies only one, the leader, sweeps."""

    tools: Sweeping
    _passes: dict[Kind, _Pass] = field(default_factory=dict)
    _promised: dict[int, float] = field(default_factory=dict)
    _extraction_at: float = 0.0
    _trouble: str = ""

    async def sweep_forever(self, stop: asyncio.Event) -> None:
        """Sweeps while it leads, and waits its turn while another copy does, until told to stop.

        A server that is away is waited for, and said once.
        """
        while not stop.is_set():
            try:
                async with leadership(self.tools.database) as still_leading:
                    if still_leading is not None:
                        log.info("sweep.leading")
                        await self._lead(still_leading, stop)
            except (Transient, SetupFault) as error:
                self._say(error)
            await _pause(stop, TROUBLE_PAUSE_SECONDS)

    async def _lead(self, still_leading: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            pause = self.tools.every_seconds
            await still_leading()
            try:
                await self.sweep()
                self._trouble = ""
            except (Transient, SetupFault) as error:
                self._say(error)
                pause = TROUBLE_PAUSE_SECONDS
            await _pause(stop, pause)

    def _say(self, error: WinnowError) -> None:
        if str(error) != self._trouble:
            log.warning("sweep.waiting", reason=str(error))
        self._trouble = str(error)

    async def sweep(self) -> int:
        """One look at everything; returns how many jobs were sent.

        Raises:
            Transient: a server is away, or the model cannot be probed yet.
            SetupFault: the stored vectors are another embedder's.
        """
        sent = 0
        if time.monotonic() >= self._extraction_at:
            self._extraction_at = time.monotonic() + EXTRACTION_EVERY_SECONDS
            sent += await self._sweep_extraction()
        return sent + await self._sweep_embeddings()

    async def _sweep_extraction(self) -> int:
        dead = await self.tools.extractions.fail_dead_runs()
        if dead:
            log.warning("sweep.dead_runs", runs=dead)
        now = time.monotonic()
        self._promised = {row: until for row, until in self._promised.items() if until > now}
        sent = 0
        for due in await self.tools.extractions.due(
            threshold=self.tools.extraction_threshold,
            quiet_seconds=self.tools.extraction_quiet_seconds,
            most=MOST_IDS_OF_A_CHANNEL,
            failed_pause_seconds=FAILED_PAUSE_SECONDS,
        ):
            fresh = tuple(row for row in due.ids if row not in self._promised)
            few_more = len(fresh) < min(len(due.ids), self.tools.extraction_threshold)
            if not fresh or few_more:  # a few more than were promised: they wait for company, as any few do
                continue
            sent += await request_extraction(self.tools.dispatcher, fresh)
            self._promised |= dict.fromkeys(fresh, now + PROMISED_SECONDS)
            log.info("sweep.extraction", channel=due.channel, messages=len(fresh))
        return sent

    async def _sweep_embeddings(self) -> int:
        # Without a space to write into, a worker could do nothing but fail; with another's, neither.
        space = await self.tools.spaces.ours()
        room = BATCHES_AHEAD - await self.tools.backlog.depth(Lane.BULK)
        sent = 0
        for kind in Kind:
            if sent < room:
                sent += await self._sweep_kind(kind, space, room - sent, nothing_queued=room == BATCHES_AHEAD)
        return sent

    async def _sweep_kind(self, kind: Kind, space: Space, room: int, *, nothing_queued: bool) -> int:
        """Sends rows by id, and begins again at the first one when the lane is empty: then none is sent twice.

        Some lanes never are (a steady import, a task that waits for its next try), so after a whole pass a new one may
        begin every `age_seconds`. What it repeats finds its rows in hand or done, and is never more than there is room.
        """
        now, limit = time.monotonic(), room * self.tools.batch_size
        this = self._passes.get(kind)
        if this is None or nothing_queued or (this.ended and now - this.began >= self.tools.age_seconds):
            this = self._passes[kind] = _Pass(began=now)
        ids = await self.tools.embeddings.due(
            kind, space=space, after=this.after, age_seconds=self.tools.age_seconds, limit=limit
        )
        jobs: list[Job] = list(in_batches([EmbedJob(kind, tuple(ids))], self.tools.batch_size))
        if jobs:
            await self.tools.dispatcher.dispatch(jobs, Lane.BULK)
            this.after = ids[-1]
        this.ended = len(ids) < limit
        if not jobs:
            return 0
        log.info("sweep.embedding", kind=kind.value, rows=len(ids))
        return len(jobs)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
