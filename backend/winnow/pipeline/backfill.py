"""The backfill: every NULL embedding of some kinds, sent over the bulk lane and followed to its end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import QueueUnavailable
from winnow.pipeline.embed import embed_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from winnow.domain.jobs import Dispatcher
    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore

BATCHES_AHEAD = 20
LOOK_SECONDS = 0.1
# Without progress for so long, somebody should ask whether any worker is alive.
STALL_SECONDS = 5.0


class Workforce(Protocol):
    """Who would do what is put on a lane."""

    async def present(self, lane: Lane) -> bool:
        """Whether at least one worker serves the lane. Raises QueueUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfilling:
    """What the backfill needs. `embedding` is for doing the work in this process."""

    store: EmbeddingStore
    dispatcher: Dispatcher
    workforce: Workforce
    embedding: Embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to go over: kinds in order, rows in one task, most rows in all (None: no limit), in this process or not."""

    kinds: tuple[Kind, ...] = tuple(Kind)
    batch_size: int = 100
    limit: int | None = None
    inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is. Rows deleted meanwhile count as done; `waiting` ones wait for a server, or for a lock to go."""

    total: int = 0
    success: int = 0
    failed: int = 0
    skipped: int = 0
    waiting: int = 0
    inline: bool = False
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Rows that nothing more will happen to in this backfill."""
        return self.success + self.failed + self.skipped + self.waiting


@dataclass(slots=True)
class _Batch:
    kind: Kind
    ids: list[int]
    sent_at: float = field(default_factory=time.monotonic)


async def backfill(
    tools: Backfilling, plan: Plan, *, report: Callable[[Progress], None], say: Callable[[str], None]
) -> Progress:
    """Embeds all rows without a vector; tells `report` how far it is, and `say` what a person should know.

    What failed before is tried again. Interrupted at any point it loses nothing: what was sent is done by the
    workers, what was not is still NULL.

    Raises:
        SpaceMismatch: the stored vectors are another embedder's.
        Transient, SetupFault: nothing was ever embedded, and the model cannot be asked.
        DatabaseUnavailable: the database went away.
    """
    await tools.embedding.spaces.check()
    for kind in plan.kinds:
        await tools.store.forget_failures(kind)
    ends = {kind: await tools.store.last_id(kind) for kind in plan.kinds}
    counts = await tools.store.counts()
    waiting_rows = sum(counts[kind].without_vector - counts[kind].skipped for kind in plan.kinds)
    total = min(waiting_rows, plan.limit) if plan.limit is not None else waiting_rows
    if total:
        await tools.embedding.spaces.ours()  # a model that is not there is told at once, not waited for
    backfiller = _Backfiller(tools, plan, report, say, Progress(total=total, inline=plan.inline))
    await backfiller.run(ends)
    return backfiller.progress


@dataclass(slots=True)
class _Backfiller:
    tools: Backfilling
    plan: Plan
    report: Callable[[Progress], None]
    say: Callable[[str], None]
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    moved_at: float = field(default_factory=time.monotonic)

    async def run(self, ends: dict[Kind, int]) -> None:
        if self.progress.total and not self.progress.inline and not await self._somebody_works():
            self._go_inline("no worker serves the bulk lane; embedding in this process instead")
        self.report(self.progress)
        outstanding: list[_Batch] = []
        async for batch in self._batches(ends):
            if not self.progress.inline:
                await self._send(batch)
            if self.progress.inline and await self._embed_here(batch):
                continue
            outstanding.append(batch)
            while len(outstanding) >= BATCHES_AHEAD:
                outstanding = await self._follow(outstanding)
        while outstanding:
            outstanding = await self._follow(outstanding)
        # Rows that were counted at the start, and done by others before their turn came, are none of ours.
        self.progress = replace(self.progress, total=self.progress.done)
        self.report(self.progress)

    async def _batches(self, ends: dict[Kind, int]) -> AsyncIterator[_Batch]:
        left = self.plan.limit if self.plan.limit is not None else sum(ends.values()) + 1
        for kind, end in ends.items():
            after = 0
            while left > 0:
                ids = await self.tools.store.without_vector(
                    kind, after=after, up_to=end, limit=min(self.plan.batch_size, left)
                )
                if not ids:
                    break
                after, left = ids[-1], left - len(ids)
                yield _Batch(kind, ids)

    async def _somebody_works(self) -> bool:
        try:
            return await self.tools.workforce.present(Lane.BULK)
        except QueueUnavailable as error:
            self.say(str(error))
            return False

    def _go_inline(self, why: str) -> None:
        self.say(why)
        self.progress = replace(self.progress, inline=True)

    async def _send(self, batch: _Batch) -> None:
        try:
            await self.tools.dispatcher.dispatch([EmbedJob(batch.kind, tuple(batch.ids))], Lane.BULK)
        except QueueUnavailable as error:
            self._go_inline(f"{error} Embedding in this process instead.")

    async def _follow(self, outstanding: Sequence[_Batch]) -> list[_Batch]:
        """Looks at what was sent; returns what is still on its way."""
        await asyncio.sleep(LOOK_SECONDS)
        rest = [batch for batch in outstanding if not await self._settled(batch)]
        if len(rest) < len(outstanding):
            self.moved_at = time.monotonic()
        elif time.monotonic() - self.moved_at > STALL_SECONDS:
            self.moved_at = time.monotonic()
            rest = await self._unstall(rest)
        return rest

    async def _settled(self, batch: _Batch) -> bool:
        standing = await self.tools.store.standing(batch.kind, batch.ids)
        if standing.settled:
            self._count(
                success=len(batch.ids) - standing.failed - standing.skipped - standing.waiting,
                failed=standing.failed,
                skipped=standing.skipped,
                waiting=standing.waiting,
            )
        return standing.settled

    async def _unstall(self, stalled: Sequence[_Batch]) -> list[_Batch]:
        """Nothing moved for a while: without a worker we do it ourselves; with one, what it dropped is sent again."""
        if not await self._somebody_works():
            if not self.progress.inline:
                self._go_inline("the workers are gone; embedding the rest in this process")
            return [batch for batch in stalled if not await self._embed_here(batch)]
        oldest = min(stalled, key=lambda batch: batch.sent_at)
        if time.monotonic() - oldest.sent_at > self.tools.embedding.lease_seconds:
            oldest.sent_at = time.monotonic()
            await self._send(oldest)
        return list(stalled)

    async def _embed_here(self, batch: _Batch) -> bool:
        """Embeds a batch in this process; False while another process has some of its rows in hand."""
        await self._embed_free_rows(batch)
        for _ in range(int(self.tools.embedding.lease_seconds / LOOK_SECONDS)):
            if await self._settled(batch):
                self.moved_at = time.monotonic()
                return True
            await asyncio.sleep(LOOK_SECONDS)
            await self._embed_free_rows(batch)
        return False

    async def _embed_free_rows(self, batch: _Batch) -> None:
        await embed_rows(self.tools.embedding, batch.kind, batch.ids)

    def _count(self, *, success: int, failed: int, skipped: int, waiting: int) -> None:
        now = self.progress
        self.progress = replace(
            now,
            success=now.success + success,
            failed=now.failed + failed,
            skipped=now.skipped + skipped,
            waiting=now.waiting + waiting,
            seconds=time.monotonic() - self.started,
        )
        self.report(self.progress)
