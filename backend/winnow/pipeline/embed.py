"""Rows without a vector get one: claim → read → model (no transaction open) → one fenced write."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import structlog

from winnow.domain.events import Announcer, Silent
from winnow.domain.jobs import CompareJob, Kind, Lane
from winnow.domain.spaces import Role
from winnow.domain.usage import NOTHING, Purpose, Tariff, Use
from winnow.errors import DatabaseBusy, DatabaseUnavailable, SpaceMismatch, WinnowError
from winnow.pipeline.asking import PATIENCE_SECONDS, Inquiry
from winnow.pipeline.heartbeat import Hold, heartbeat
from winnow.pipeline.pausing import look_if_due
from winnow.pipeline.settling import Settlement
from winnow.storage.embedding_records import Lease, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from winnow.domain.jobs import Dispatcher
    from winnow.domain.spaces import Space
    from winnow.pipeline.asking import Found
    from winnow.pipeline.spaces import Spaces
    from winnow.providers.base import Embedder
    from winnow.storage.embedding_records import Claimed, EmbeddableText
    from winnow.storage.embeddings import EmbeddingStore

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

OUTAGE_PAUSE_SECONDS = 0.5
# Rows that have met bad weather so often are halved in it: one of them may be the reason.
SUSPICIOUS_WAITS = 2
# A row whose worker died with it in hand: from the second time on nobody else's row goes down with it, and in the end
# it is left to a person. Workers die of other things, too, so it takes more than a few.
ALONE_AFTER_DEATHS = 2
MOST_DEATHS = 6
SUSPECT = Outcome(state="waiting", error_kind="worker_died", error="its workers died; it is run alone in its turn")
DEADLY = Outcome(
    state="failed",
    error_kind="worker_died",
    error=f"{MOST_DEATHS} workers died with this row in hand, the last of them with no other",
    fault=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What embedding needs: where the rows are, their spaces with who makes the vectors, and how long rows are held.

    `dispatcher` sends atoms that have a vector now to be compared; None: they are not.
    """

    store: EmbeddingStore
    spaces: Spaces
    worker: str
    lease_seconds: float
    max_attempts: int
    patience_seconds: float = PATIENCE_SECONDS
    announcer: Announcer = field(default_factory=Silent)
    tariff: Tariff = field(default_factory=Tariff)
    dispatcher: Dispatcher | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of the rows of one call; rows that were not free to take are in none of the counts.

    `saved` of the embedded ones have the vector of another row of the same text.
    """

    embedded: int = 0
    saved: int = 0
    skipped: int = 0
    failed: int = 0
    waiting: int = 0
    given_back: int = 0

    @property
    def taken(self) -> int:
        """Rows that were ours for the time of the call."""
        return self.embedded + self.skipped + self.failed + self.waiting + self.given_back

    def __add__(self, other: Embedded) -> Embedded:
        return Embedded(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


async def embed_rows(
    tools: Embedding,
    kind: Kind,
    ids: Sequence[int],
    *,
    provider_id: str | None = None,
    space_id: int | None = None,
    run: str | None = None,
) -> Embedded:
    """Embeds those of the rows that are free and have no vector. Safe to repeat, and to run beside itself.

    Every row that was taken is accounted for when this returns: written, skipped, failed, waiting, or given back. None
    is taken while the model server is not asked (`EmbeddingStore.pause`): they stay pending.

    Args:
        tools: what it needs.
        kind: of the rows.
        ids: theirs.
        provider_id: embed into the space that this provider embeds for; None: into the active one.
        space_id: embed into this space.
        run: what the use of the model is noted under.

    Raises:
        SpaceMismatch, Transient, SetupFault: before any row is taken, when there is no space to write into.
        DatabaseUnavailable: before any row is taken; with rows in hand the database is waited for.
    """
    space = await tools.spaces.of_task(provider_id, space_id)
    done = await _embed_into(tools, space, kind, ids, run)
    if not done.taken:
        tools.spaces.forget()  # in a space that was swapped or retired, nothing can be claimed
        now = await tools.spaces.of_task(provider_id, space_id)
        if now != space:
            done = await _embed_into(tools, now, kind, ids, run)
    return done


async def _embed_into(tools: Embedding, space: Space, kind: Kind, ids: Sequence[int], run: str | None) -> Embedded:
    embedder = await tools.spaces.embedder_of(space)
    lease = Lease(
        kind=kind,
        space=space,
        token=uuid4(),
        worker=tools.worker,
        seconds=tools.lease_seconds,
        run=run,
        remote=await tools.spaces.is_remote(space),
    )
    started = time.perf_counter()
    try:
        done = await _claim_and_work(tools, embedder, lease, ids)
    except (asyncio.CancelledError, WinnowError):
        with suppress(WinnowError):  # back at once: the shutdown's grace is over, or the database has refused us
            await asyncio.shield(tools.store.release(lease, ids))
        raise
    if not done.taken:
        return done
    log.info(
        "embed.finished",
        kind=kind.value,
        embedded=done.embedded,
        saved=done.saved,
        skipped=done.skipped,
        failed=done.failed,
        waiting=done.waiting,
        given_back=done.given_back,
        seconds=round(time.perf_counter() - started, 4),
    )
    return done


@dataclass(frozen=True, slots=True)
class _Model:
    """Who is asked for vectors, for as long as the hold on the rows lasts."""

    embedder: Embedder
    hold: Hold


async def _claim_and_work(tools: Embedding, embedder: Embedder, lease: Lease, ids: Sequence[int]) -> Embedded:
    hold = Hold(lease.seconds)
    claimed = await tools.store.claim(lease, ids)
    if not claimed and await look_if_due(tools.store, embedder, lease.space, looker_seconds=tools.lease_seconds):
        hold = Hold(lease.seconds)
        claimed = await tools.store.claim(lease, ids)
    if not claimed:
        return Embedded()
    suspects = sorted(
        (row_id for row_id, row in claimed.items() if ALONE_AFTER_DEATHS <= row.deaths < MOST_DEATHS),
        key=lambda row_id: (claimed[row_id].deaths, row_id),
    )

    async def renew() -> None:
        await tools.store.renew(lease, list(claimed))
        hold.renewed()

    async with heartbeat(renew, every_seconds=tools.lease_seconds / 3):
        done = await _work(tools, lease, _Model(embedder, hold), claimed, suspects)
    for row_id in suspects[1:]:
        alone = await _claim_and_work(tools, embedder, lease, [row_id])
        done += alone if alone.taken else Embedded(waiting=1)
    return done


async def _work(
    tools: Embedding, lease: Lease, model: _Model, claimed: Mapping[int, Claimed], suspects: Sequence[int]
) -> Embedded:
    """The rows that are harmless together, then the first suspect; the others are let go of before.

    What kills us has nobody else's row in hand.
    """
    deadly = {row_id for row_id, row in claimed.items() if row.deaths >= MOST_DEATHS}
    done = Embedded()
    if suspects[1:]:
        await tools.store.record(lease, suspects[1:], SUSPECT)
    if deadly:
        done += await _leave_to_a_person(tools, lease, deadly)
    for group in (claimed.keys() - deadly - set(suspects), set(suspects[:1])):
        if group:
            done += await _work_together(tools, lease, model, {row_id: claimed[row_id] for row_id in sorted(group)})
    return done


async def _leave_to_a_person(tools: Embedding, lease: Lease, deadly: set[int]) -> Embedded:
    failed = await tools.store.judge(lease, await tools.store.read(lease, sorted(deadly)), DEADLY)
    await tools.store.release(lease, deadly - failed)
    facts = {"ids": sorted(failed), "failed": len(failed), "waiting": 0, "error_kinds": [DEADLY.error_kind]}
    await _announce(tools, lease, "embed_failed", facts)
    return Embedded(failed=len(failed), given_back=len(deadly - failed))


async def _work_together(tools: Embedding, lease: Lease, model: _Model, claimed: Mapping[int, Claimed]) -> Embedded:
    started = time.perf_counter()
    rows = await _through_outages(lambda: tools.store.read(lease, list(claimed)))
    inquiry = Inquiry(
        model.embedder,
        lease.space,
        patience_seconds=tools.patience_seconds,
        suspicious=any(row.waits >= SUSPICIOUS_WAITS for row in claimed.values()),
        hold=model.hold,
        screen=partial(_private, tools, lease) if lease.remote else None,
    )
    inquiry.remember(rows)
    speaking = [row for row in rows if row.text.strip() and not row.known and not row.private]
    await inquiry.ask(_one_of_each_text(row for row in speaking if row.id not in inquiry.found.vectors))
    found = _spread(inquiry.found, speaking)
    if isinstance(found.stopped, SpaceMismatch):
        tools.spaces.forget()
    batch = Settlement(tools.store, lease, claimed, rows, found, tools.max_attempts)
    await _through_outages(batch.settle)
    if batch.given_back:
        tools.spaces.forget()
    await _tell(tools, lease, batch, seconds=time.perf_counter() - started)
    return Embedded(
        embedded=len(batch.written) + len(batch.copied),
        saved=batch.saved,
        skipped=len(batch.skipped),
        failed=len(batch.failed),
        waiting=len(batch.waiting),
        given_back=len(batch.given_back),
    )


async def _through_outages(work: Callable[[], Awaitable[Result]]) -> Result:
    """Does it again for as long as the database is away: without it we can do nothing else, and vectors are in hand.

    All that is done with rows in hand may be done twice. Leases that run out meanwhile are no harm: whoever takes the
    rows over needs the database, too, and the writing is fenced.
    """
    while True:
        try:
            return await work()
        except (DatabaseUnavailable, DatabaseBusy) as error:
            log.warning("embed.database_away", reason=str(error))
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)


async def _private(tools: Embedding, lease: Lease, ids: Sequence[int]) -> set[int]:
    return await _through_outages(lambda: tools.store.private(lease, ids))


def _one_of_each_text(rows: Iterable[EmbeddableText]) -> list[EmbeddableText]:
    first: dict[str, EmbeddableText] = {}
    for row in rows:
        first.setdefault(row.text, row)
    return list(first.values())


def _spread(found: Found, rows: Sequence[EmbeddableText]) -> Found:
    """What was said of a text holds for every row of it."""
    same: dict[str, list[int]] = {}
    for row in rows:
        same.setdefault(row.text, []).append(row.id)
    twins = {row.id: same[row.text] for row in rows}
    every: tuple[dict[int, Any], ...] = (found.vectors, found.characters, found.refused)
    for answers in every:
        for row_id in list(answers):
            answers.update(dict.fromkeys(twins.get(row_id, ()), answers[row_id]))
    return found


async def _tell(tools: Embedding, lease: Lease, batch: Settlement, *, seconds: float) -> None:
    """Notes the batch for those who watch, and tells whoever listens: ids and counts, nothing that people wrote."""
    found, embedded = batch.found, batch.written | batch.copied
    if embedded or found.requests:
        use = _use(tools, lease, batch, seconds=seconds)
        with suppress(WinnowError):  # but for an outage: what was paid for is noted
            await _through_outages(lambda: tools.store.note(use))
    if lease.kind is Kind.ATOMS and lease.space.role is Role.ACTIVE:
        await _have_compared(tools, sorted(batch.written))
    if embedded or batch.skipped:
        facts = {"ids": sorted(embedded), "embedded": len(embedded), "saved": batch.saved}
        await _announce(tools, lease, "embed_complete", facts | {"skipped": len(batch.skipped)})
    if bad := batch.failed | batch.waiting | batch.given_back:
        reasons = {type(error).__name__ for error in [*found.refused.values(), found.stopped] if error}
        facts = {"ids": sorted(bad), "failed": len(batch.failed), "waiting": len(batch.waiting)}
        facts |= {"given_back": len(batch.given_back), "error_kinds": sorted(reasons)}
        await _announce(tools, lease, "embed_failed", facts)


async def _have_compared(tools: Embedding, ids: Sequence[int]) -> None:
    """Has new vectors compared with those nearest to them; what does not reach the queue is not, and is no harm."""
    if tools.dispatcher is None or not ids:
        return
    try:
        await tools.dispatcher.dispatch([CompareJob(tuple(ids))], Lane.BULK)
    except WinnowError as error:
        log.warning("embed.not_compared", reason=str(error), atoms=len(ids))


def _use(tools: Embedding, lease: Lease, batch: Settlement, *, seconds: float) -> Use:
    found, space = batch.found, lease.space
    return Use(
        purpose=Purpose.EMBED,
        worker=lease.worker,
        provider=space.identity.provider,
        model=space.identity.model,
        provider_id=space.provider_id,
        space_id=space.id,
        kind=lease.kind,
        run=lease.run,
        embedded=len(batch.written) + len(batch.copied),
        saved=batch.saved,
        requests=found.requests,
        texts=found.texts,
        tokens=found.tokens,
        estimated=found.estimated,
        seconds=seconds,
        price_usd=tools.tariff.price_usd(space.identity, space.provider_id, found.tokens)
        if found.requests
        else NOTHING,
    )


async def _announce(tools: Embedding, lease: Lease, event: str, facts: Mapping[str, object]) -> None:
    common = {"kind": lease.kind.value, "space_id": lease.space.id, "worker": lease.worker}
    await tools.announcer.announce(event, common | dict(facts))
