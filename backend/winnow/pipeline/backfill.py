"""The backfill: every NULL embedding of some kinds, sent over the bulk lane and followed to its end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.spaces import Role
from winnow.domain.usage import new_run
from winnow.errors import QueueUnavailable
from winnow.pipeline import sent
from winnow.pipeline.budget import Purse, tokens_in
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.estimate import Asked
from winnow.pipeline.indexing import Load, loading
from winnow.pipeline.sent import SentBatch
from winnow.storage.backfill import BatchStanding, locked_rows, standing_of_batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from winnow.domain.budget import Budget
    from winnow.domain.jobs import Dispatcher
    from winnow.domain.spaces import Space
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.indexing import IndexBuild
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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to go over: kinds in order, rows in one task, most rows in all (None: no limit), in this process or not.

    `space` is the one to fill that is being built; None: the active one. It stops before it would exceed the budget;
    `run` is the name under which its uses of the model are noted.
    """

    kinds: tuple[Kind, ...] = tuple(Kind)
    batch_size: int = 100
    limit: int | None = None
    inline: bool = False
    space: Space | None = None
    budget: Budget | None = None
    run: str = field(default_factory=new_run)

    @property
    def role(self) -> Role:
        """Of the space to fill."""
        return self.space.role if self.space else Role.ACTIVE

    @property
    def space_id(self) -> int | None:
        """What tasks are told; the active space is what they take by themselves."""
        return self.space.id if self.space else None

    def loads(self, counts: Mapping[Kind, KindCounts], *, most: int | None = None) -> dict[Kind, Load]:
        """The rows it will go over, by kind; `most` in all, if that is less than its limit."""
        loads, left = {}, min((limit for limit in (self.limit, most) if limit is not None), default=None)
        for kind in self.kinds:
            backlog = counts[kind].without_vector - counts[kind].skipped
            if left is not None:
                backlog = min(backlog, left)
                left -= backlog
            loads[kind] = Load(embedded=counts[kind].embedded, backlog=backlog)
        return loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is. Rows deleted meanwhile count as done; `waiting` ones wait for a server, or for a lock to go.

    `index` is a build that goes on just now, `index_seconds` what those that are done took. `spent`: the budget is.
    """

    total: int = 0
    success: int = 0
    failed: int = 0
    skipped: int = 0
    waiting: int = 0
    inline: bool = False
    seconds: float = 0.0
    index_seconds: float = 0.0
    index: IndexBuild | None = None
    spent: bool = False

    @property
    def done(self) -> int:
        """Rows that nothing more will happen to in this backfill."""
        return self.success + self.failed + self.skipped + self.waiting


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
    backfiller = _Backfiller(tools, plan, report, say, Progress(total=total, inline=plan.inline), purse)
    if plan.space is not None:  # its index is built when it is full (`pipeline.remodel`)
        await backfiller.run(ends)
        return backfiller.progress
    async with loading(tools.database, loads, say=say, tell=backfiller.tell_build):
        await backfiller.run(ends)
    return backfiller.progress


async def _counts(tools: Backfilling, plan: Plan) -> dict[Kind, KindCounts]:
    return await tools.store.counts() if plan.space is None else await tools.store.counts_in(plan.space)


async def _purse(tools: Backfilling, plan: Plan) -> Purse | None:
    """What holds the budget; None: there is none, or nobody is paid."""
    if plan.budget is None:
        return None
    asked = await tools.asked()
    tokens = tokens_in(plan.budget, asked)
    return None if tokens is None else Purse(tools.database, plan.run, tokens, asked.identity.document_prefix)


@dataclass(slots=True)
class _Backfiller:
    tools: Backfilling
    plan: Plan
    report: Callable[[Progress], None]
    say: Callable[[str], None]
    progress: Progress
    purse: Purse | None = None
    outstanding: list[SentBatch] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    moved_at: float = field(default_factory=time.monotonic)
    asked_at: float = 0.0
    look_sent_at: float = 0.0
    reached: float = 0.0
    given_up: bool = False

    async def run(self, ends: dict[Kind, int]) -> None:
        if self.progress.total and not self.progress.inline and not await self._somebody_works():
            self._go_inline("no worker serves the bulk lane; embedding in this process instead")
        self.report(self.progress)
        async for batch in self._affordable(ends):
            if not self.progress.inline:
                await self._send(batch)
            if self.progress.inline and await self._embed_here(batch):
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
        # Rows that were counted at the start, and done by others before their turn came, are none of ours.
        self.progress = replace(self.progress, total=self.progress.done)
        self.report(self.progress)

    def tell_build(self, build: IndexBuild) -> None:
        """Reports a build of an index."""
        now = replace(self.progress, index=build)
        if build.finished:
            self.say(f"the index of {build.kind.value} was built in {build.seconds:,.1f} s")
            now = replace(now, index=None, index_seconds=now.index_seconds + build.seconds)
        self.progress = replace(now, seconds=time.monotonic() - self.started)
        self.report(self.progress)

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
                    self.progress = replace(self.progress, spent=True)
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
            self._go_inline(f"{error} Embedding in this process instead.")

    async def _follow(self, outstanding: Sequence[SentBatch]) -> list[SentBatch]:
        """Looks at what was sent; returns what is still on its way."""
        await asyncio.sleep(LOOK_SECONDS)
        rest = await self._unsettled(outstanding)
        if not rest or len(rest) < len(outstanding):
            return rest
        now = time.monotonic()
        if now - max(self.moved_at, self.asked_at) > QUIET_SECONDS and await self._wait_out_pause(rest[0]):
            for batch in rest:  # their tasks may have been settled without work
                batch.again_seconds = 0.0
        elif now - self.moved_at > STALL_SECONDS:
            self.moved_at = now
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
                self._count(batch)
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
            if self.progress.inline:
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
        self.say(f"waiting for the model server: {pause.because}")
        while pause is not None:
            if self._too_long(pause):
                self.given_up = True
                self.say(f"it has been so for {pause.seconds_since:,.0f} s; the rest is left to the workers")
                return True
            if not pause.seconds_left:
                await self._let_somebody_look(batch)
            await asyncio.sleep(LOOK_SECONDS)
            pause = await self.tools.store.pause(self.plan.role)
        self.moved_at = time.monotonic()
        self.say("the model server answers again")
        return True

    def _too_long(self, pause: Pause) -> bool:
        """One that is older than this backfill is waited for until a look was due: a person has asked for it."""
        return min(pause.seconds_since, time.monotonic() - self.started) > sent.PATIENCE_SECONDS

    async def _let_somebody_look(self, batch: SentBatch) -> None:
        """Whoever is given a row looks whether the server is well again; there may be no sweeper to give one."""
        if not self.progress.inline:
            if time.monotonic() - self.look_sent_at < sent.RESEND_SECONDS:
                return
            self.look_sent_at = time.monotonic()
            if await self._somebody_works():
                await self._send(batch)
                return
            self._go_inline("the workers are gone; embedding the rest in this process")
        await self._embed_rows(batch)

    async def _unstall(self, stalled: Sequence[SentBatch]) -> list[SentBatch]:
        """Nothing moved for a while: without a worker we do it ourselves."""
        if self.progress.inline or await self._somebody_works():
            return list(stalled)
        if not self.progress.inline:  # asking may have found NATS away
            self._go_inline("the workers are gone; embedding the rest in this process")
        return [batch for batch in stalled if not await self._embed_here(batch)]

    async def _somebody_works(self) -> bool:
        try:
            return await self.tools.workforce.present(Lane.BULK)
        except QueueUnavailable as error:
            self.say(str(error))
            return False

    def _go_inline(self, why: str) -> None:
        self.say(why)
        self.progress = replace(self.progress, inline=True)

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

    # -- counting

    def _count(self, batch: SentBatch) -> None:
        now, standing = self.progress, batch.standing
        self.moved_at = time.monotonic()
        success = len(batch.ids) - standing.failed - standing.skipped - batch.waiting
        if self.purse:
            self.purse.over(batch.tokens, rows=success)
        self.progress = replace(
            now,
            success=now.success + success,
            failed=now.failed + standing.failed,
            skipped=now.skipped + standing.skipped,
            waiting=now.waiting + batch.waiting,
            seconds=self.moved_at - self.started,
        )
        self.report(self.progress)

    async def _count_the_rest(self) -> None:
        """What is left when the server was waited for too long; some of it may have been done by others meanwhile."""
        counts = await _counts(self.tools, self.plan)
        left = sum(counts[kind].pending + counts[kind].in_hand + counts[kind].waiting for kind in self.plan.kinds)
        most = self.progress.total - self.progress.success - self.progress.failed - self.progress.skipped
        self.progress = replace(self.progress, waiting=max(0, min(left, most)), seconds=time.monotonic() - self.started)
