"""The backfill: every NULL embedding of some kinds, sent over the bulk lane and followed to its end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from winnow.domain.jobs import EmbedJob, Lane
from winnow.errors import QueueUnavailable
from winnow.pipeline import sent
from winnow.pipeline.backfill_progress import Progress, Tally
from winnow.pipeline.budget import Purse, tokens_in
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.estimate import Asked
from winnow.pipeline.indexing import loading
from winnow.pipeline.sent import SentBatch
from winnow.storage.backfill import BatchStanding, locked_rows, standing_of_batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from winnow.domain.jobs import Dispatcher, Kind
    from winnow.pipeline.backfill_plan import Plan
    from winnow.pipeline.embed import Embedding
    from winnow.storage.embedding_records import KindCounts, Pause
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

BATCHES_AHEAD = 20
LOOK_SECONDS = 0.1
# Without progress for so long, the model server may not be asked just now.
QUIET_SECONDS = 1.0
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

    database: Database
    store: EmbeddingStore
    dispatcher: Dispatcher
    workforce: Workforce
    embedding: Embedding

    async def asked(self) -> Asked:
        """Who will be asked for vectors, and at what price."""
        spaces = self.embedding.spaces
        space = await spaces.current()
        return Asked(
            embedder=await spaces.embedder_of(space) if space else spaces.embedder,
            tariff=self.embedding.tariff,
            worker=self.embedding.worker,
            provider_id=space.provider_id if space else None,
            provider_name=space.provider_name if space else None,
            remote=await spaces.is_remote(space),
        )


async def backfill(
    tools: Backfilling, plan: Plan, *, report: Callable[[Progress], None], say: Callable[[str], None]
) -> Progress:
    """Embeds all rows without a vector; tells `report` how far it is, and `say` what a person should know.

    What failed before is tried again. Where it is quicker, an index is taken away for the load and built at its end.
    Interrupted at any point it loses nothing: what was sent is done by the workers, what was not is still NULL, and an
    index that is not there the sweeper builds.

    Raises:
        SpaceMismatch: the stored vectors are another embedder's.
        Transient, SetupFault: nothing was ever embedded, and the model cannot be asked.
        InvalidInput: a budget in money for a model whose price is not known.
        DatabaseUnavailable: the database went away.
    """
    await tools.embedding.spaces.check()
    purse = await _purse(tools, plan)
    for kind in plan.kinds:
        await tools.store.forget_failures(kind, role=plan.role)
    await tools.store.look_now(plan.role)
    ends = {kind: await tools.store.last_id(kind) for kind in plan.kinds}
    rows = await purse.rows_within(plan.kinds) if purse else None
    loads = plan.loads(await _counts(tools, plan), most=rows)
    total = sum(load.backlog for load in loads.values())
    if total:
        await tools.embedding.spaces.ours()  # a model that is not there is told at once, not waited for
    tally = Tally(report, say, Progress(total=total, inline=plan.inline))
    backfiller = _Backfiller(tools, plan, tally, purse)
    if plan.space is not None:  # its index is built when it is full (`pipeline.remodel`)
        await backfiller.run(ends)
        return tally.progress
    async with loading(tools.database, loads, say=say, tell=tally.tell_build):
        await backfiller.run(ends)
    return tally.progress


async def _counts(tools: Backfilling, plan: Plan) -> dict[Kind, KindCounts]:
    return await tools.store.counts() if plan.space is None else await tools.store.counts_in(plan.space)


async def _purse(tools: Backfilling, plan: Plan) -> Purse | None:
    """What holds the budget; None: there is none, or nobody is paid."""
    if plan.budget is None:
        return None
    asked = await tools.asked()
    tokens = tokens_in(plan.budget, asked)
    return (
        None
        if tokens is None
        else Purse(tools.database, plan.run, tokens, asked.identity.document_prefix, remote=asked.remote)
    )


@dataclass(slots=True)
class _Backfiller:
    tools: Backfilling
    plan: Plan
    tally: Tally
    purse: Purse | None = None
    outstanding: list[SentBatch] = field(default_factory=list)
    asked_at: float = 0.0
    look_sent_at: float = 0.0
    reached: float = 0.0
    given_up: bool = False

    async def run(self, ends: dict[Kind, int]) -> None:
        if self.tally.progress.total and not self.tally.inline and not await self._somebody_works():
            self.tally.go_inline("no worker serves the bulk lane; embedding in this process instead")
        self.tally.tell()
        async for batch in self._affordable(ends):
            if not self.tally.inline:
                await self._send(batch)
            if self.tally.inline and await self._embed_here(batch):
                continue
            self.outstanding.append(batch)
            while len(self.outstanding) >= BATCHES_AHEAD and not self.given_up:
                self.outstanding = await self._follow(self.outstanding)
            if self.given_up:
                break
        while self.outstanding and not self.given_up:
            self.outstanding = await self._follow(self.outstanding)
        if self.given_up:
            await self._count_the_rest()
        self.tally.finish()

    async def _affordable(self, ends: dict[Kind, int]) -> AsyncIterator[SentBatch]:
        """The batches, or what the budget allows of them: no more than it is sure of while some are on their way."""
        async for batch in self._batches(ends):
            left = batch.ids
            while left and self.purse and not self.given_up:
                ids, tokens = await self.purse.first_of(batch.kind, left)
                left = left[len(ids) :]
                if ids:
                    yield SentBatch(batch.kind, ids, tokens)
                elif self.purse.may_change:
                    self.outstanding = await self._follow(self.outstanding)
                else:
                    self.tally.budget_spent()
                    return
            if not self.purse:
                yield batch

    async def _batches(self, ends: dict[Kind, int]) -> AsyncIterator[SentBatch]:
        left = self.plan.limit if self.plan.limit is not None else sum(ends.values()) + 1
        for kind, end in ends.items():
            after = 0
            while left > 0:
                ids = await self.tools.store.without_vector(
                    kind, after=after, up_to=end, limit=min(self.plan.batch_size, left), space=self.plan.space
                )
                if not ids:
                    break
                after, left = ids[-1], left - len(ids)
                yield SentBatch(kind, ids)

    # -- sending and following

    async def _send(self, batch: SentBatch) -> None:
        try:
            job = EmbedJob(batch.kind, tuple(batch.ids), self.plan.space_id, self.plan.run)
            await self.tools.dispatcher.dispatch([job], Lane.BULK)
        except QueueUnavailable as error:
            self.tally.go_inline(f"{error} Embedding in this process instead.")

    async def _follow(self, outstanding: Sequence[SentBatch]) -> list[SentBatch]:
        """Looks at what was sent; returns what is still on its way."""
        await asyncio.sleep(LOOK_SECONDS)
        rest = await self._unsettled(outstanding)
        if not rest or len(rest) < len(outstanding):
            return rest
        quiet = min(self.tally.quiet_seconds, time.monotonic() - self.asked_at)
        if quiet > QUIET_SECONDS and await self._wait_out_pause(rest[0]):
            for batch in rest:  # their tasks may have been settled without work
                batch.again_seconds = 0.0
        elif self.tally.quiet_seconds > STALL_SECONDS:
            self.tally.moved_at = time.monotonic()
            rest = await self._unstall(rest)
        await self._send_again(rest)
        return rest

    async def _unsettled(self, batches: Sequence[SentBatch]) -> list[SentBatch]:
        """Counts what is over, and returns the others."""
        for kind in {batch.kind for batch in batches}:
            ids = {number: batch.ids for number, batch in enumerate(batches) if batch.kind == kind}
            for number, standing in (await self._standing(kind, ids)).items():
                batches[number].seen(standing)
        rest = []
        for batch in batches:
            over = batch.over
            if over or batch.standing.in_hand:
                self.reached = max(self.reached, batch.sent_at)
            if over:
                success = self.tally.count(batch)
                if self.purse:
                    self.purse.over(batch.tokens, rows=success)
            else:
                rest.append(batch)
        return rest

    async def _send_again(self, batches: Sequence[SentBatch]) -> None:
        """What is free although its turn is over: nobody works on anything of ours, or on something sent later."""
        idle = not any(batch.standing.in_hand for batch in batches)
        for batch in batches:
            passed = idle or batch.sent_at < self.reached
            waited = time.monotonic() - batch.sent_at
            if self.given_up or not batch.standing.free or not passed or waited < batch.again_seconds:
                continue
            if batch.again_seconds > sent.RESEND_SECONDS:
                await self._look_for_locks(batch)
            batch.again_seconds = min(max(batch.again_seconds * 2, sent.RESEND_SECONDS), sent.PATIENCE_SECONDS)
            batch.sent_at = time.monotonic()
            if self.tally.inline:
                await self._embed_rows(batch)
            else:
                await self._send(batch)

    async def _look_for_locks(self, batch: SentBatch) -> None:
        """What was to be had again and again, and nobody takes, may be locked: that is not waited for."""
        if batch.standing.free and not batch.standing.in_hand:
            batch.locked = await locked_rows(self.tools.database, batch.kind, batch.standing.free)

    async def _standing(self, kind: Kind, ids: Mapping[int, Sequence[int]]) -> dict[int, BatchStanding]:
        return await standing_of_batches(self.tools.database, kind, ids, space=self.plan.space)

    async def _embed_rows(self, batch: SentBatch) -> None:
        await embed_rows(self.tools.embedding, batch.kind, batch.ids, space_id=self.plan.space_id, run=self.plan.run)

    # -- when nothing moves

    async def _wait_out_pause(self, batch: SentBatch) -> bool:
        """Waits while nobody asks the model server; False: it is asked. `given_up` says that it took too long."""
        self.asked_at = time.monotonic()
        pause = await self.tools.store.pause(self.plan.role)
        if pause is None:
            return False
        self.tally.say(f"waiting for the model server: {pause.because}")
        while pause is not None:
            if self._too_long(pause):
                self.given_up = True
                self.tally.say(f"it has been so for {pause.seconds_since:,.0f} s; the rest is left to the workers")
                return True
            if not pause.seconds_left:
                await self._let_somebody_look(batch)
            await asyncio.sleep(LOOK_SECONDS)
            pause = await self.tools.store.pause(self.plan.role)
        self.tally.moved_at = time.monotonic()
        self.tally.say("the model server answers again")
        return True

    def _too_long(self, pause: Pause) -> bool:
        """One that is older than this backfill is waited for until a look was due: a person has asked for it."""
        return min(pause.seconds_since, self.tally.seconds) > sent.PATIENCE_SECONDS

    async def _let_somebody_look(self, batch: SentBatch) -> None:
        """Whoever is given a row looks whether the server is well again; there may be no sweeper to give one."""
        if not self.tally.inline:
            if time.monotonic() - self.look_sent_at < sent.RESEND_SECONDS:
                return
            self.look_sent_at = time.monotonic()
            if await self._somebody_works():
                await self._send(batch)
                return
            self.tally.go_inline("the workers are gone; embedding the rest in this process")
        await self._embed_rows(batch)

    async def _unstall(self, stalled: Sequence[SentBatch]) -> list[SentBatch]:
        """Nothing moved for a while: without a worker we do it ourselves."""
        if self.tally.inline or await self._somebody_works():
            return list(stalled)
        if not self.tally.inline:  # asking may have found NATS away
            self.tally.go_inline("the workers are gone; embedding the rest in this process")
        return [batch for batch in stalled if not await self._embed_here(batch)]

    async def _somebody_works(self) -> bool:
        try:
            return await self.tools.workforce.present(Lane.BULK)
        except QueueUnavailable as error:
            self.tally.say(str(error))
            return False

    async def _embed_here(self, batch: SentBatch) -> bool:
        """Embeds a batch in this process; False while another process has some of its rows in hand."""
        until = time.monotonic() + self.tools.embedding.lease_seconds
        while not self.given_up:
            await self._embed_rows(batch)
            if not await self._unsettled([batch]):
                return True
            if await self._wait_out_pause(batch):
                until = time.monotonic() + self.tools.embedding.lease_seconds
            elif time.monotonic() > until:
                return False
            else:
                await self._look_for_locks(batch)
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _count_the_rest(self) -> None:
        counts = await _counts(self.tools, self.plan)
        left = sum(counts[kind].pending + counts[kind].in_hand + counts[kind].waiting for kind in self.plan.kinds)
        self.tally.count_the_rest(left)
