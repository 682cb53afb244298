"""Rows without a vector get one: claim → read → model (no transaction open) → one fenced write."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import structlog

from winnow.domain.backoff import LONGEST_SECONDS, backoff_seconds
from winnow.domain.events import Announcer, Silent
from winnow.errors import DatabaseUnavailable, SetupFault, SpaceMismatch, Transient
from winnow.pipeline.asking import PATIENCE_SECONDS, Inquiry
from winnow.pipeline.heartbeat import heartbeat
from winnow.storage.embeddings import Lease, Outcome, Spent, Tries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from winnow.domain.jobs import Kind
    from winnow.domain.spaces import Space
    from winnow.pipeline.asking import Found
    from winnow.pipeline.spaces import Spaces
    from winnow.providers.base import Embedder
    from winnow.storage.embeddings import EmbeddableText, EmbeddingStore

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

# Before each try to write rows that somebody has locked: mostly the scoring of the same message, over in a moment.
WRITE_PAUSES_SECONDS = (0.0, 0.005, 0.02, 0.1, 0.3)
# A row that stays locked is looked at so often; its vector is kept, so that costs nothing.
LONGEST_LOCK_SECONDS = 5.0
OUTAGE_PAUSE_SECONDS = 0.5
# While a server is away one word is asked of it, ever more seldom: it costs nothing, so nobody need wait for long.
LONGEST_PAUSE_SECONDS = 60.0
# A row whose worker died with it in hand: from the second time on nobody else's row goes down with it, and in the end
# it is left to a person. Workers die of other things, too, so it takes more than a few.
ALONE_AFTER_DEATHS = 2
MOST_DEATHS = 6
BLANK = Outcome(state="skipped", error_kind="blank", error="the text is blank")
LOCKED = Outcome(state="waiting", error_kind="locked", error="somebody else has the row locked")
SUSPECT = Outcome(state="waiting", error_kind="worker_died", error="its workers died; it is run alone in its turn")
DEADLY = Outcome(
    state="failed",
    error_kind="worker_died",
    error=f"{MOST_DEATHS} workers died with this row in hand, the last of them with no other",
    fault=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What embedding needs: where the rows are, who makes the vectors, and for how long rows are held."""

    store: EmbeddingStore
    spaces: Spaces
    embedder: Embedder
    worker: str
    lease_seconds: float
    max_attempts: int
    patience_seconds: float = PATIENCE_SECONDS
    announcer: Announcer = field(default_factory=Silent)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is known of the rows of a batch once the model has been asked: `known` have a twin with a vector."""

    speaking: Sequence[EmbeddableText]
    known: Sequence[int]
    blank: Sequence[int]
    found: Found
    spent: Spent


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


async def embed_rows(tools: Embedding, kind: Kind, ids: Sequence[int]) -> Embedded:
    """Embeds those of the rows that are free and have no vector. Safe to repeat, and to run beside itself.

    Every row that was taken is accounted for when this returns: written, skipped, failed, waiting, or given back. None
    is taken while the model server is not asked (`EmbeddingStore.pause`): they stay pending.

    Raises:
        SpaceMismatch, Transient, SetupFault: before any row is taken, when there is no space to write into.
        DatabaseUnavailable: rows in hand come free when their lease runs out.
    """
    space = await tools.spaces.ours()
    lease = Lease(kind=kind, space=space, token=uuid4(), worker=tools.worker, seconds=tools.lease_seconds)
    started = time.perf_counter()
    try:
        done = await _claim_and_work(tools, lease, ids)
    except asyncio.CancelledError:
        with suppress(Transient):  # the shutdown's grace is over: back at once
            await asyncio.shield(tools.store.release(lease, ids))
        raise
    if not done.taken:
        tools.spaces.forget()  # in a space that was retired, nothing can be claimed
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


async def _claim_and_work(tools: Embedding, lease: Lease, ids: Sequence[int]) -> Embedded:
    deaths = await tools.store.claim(lease, ids)
    if not deaths and await _look_if_due(tools, lease.space):
        deaths = await tools.store.claim(lease, ids)
    if not deaths:
        return Embedded()
    async with heartbeat(lambda: tools.store.renew(lease, list(deaths)), every_seconds=tools.lease_seconds / 3):
        return await _work(tools, lease, deaths)


async def _look_if_due(tools: Embedding, space: Space) -> bool:
    """Whether the server is well again after a pause: one worker finds out for all, and only when it is time."""
    pauses = await tools.store.begin_look(space, seconds=tools.lease_seconds)
    if pauses is None:
        return False
    inquiry = Inquiry(tools.embedder, space, patience_seconds=0)
    try:
        await inquiry.look()
    except asyncio.CancelledError:
        with suppress(Transient):
            await asyncio.shield(tools.store.end_look(space))
        raise
    if inquiry.found.stopped:
        await _pause(tools, space, inquiry.found.stopped, pauses)
        return False
    await tools.store.resume(space)
    log.info("embed.resumed", embedder=str(space.identity))
    return True


async def _work(tools: Embedding, lease: Lease, deaths: dict[int, int]) -> Embedded:
    """The rows that are harmless together, then one of the others: what kills us then has nobody else's row in hand."""
    deadly = [row_id for row_id, number in deaths.items() if number >= MOST_DEATHS]
    suspects = sorted(
        (row_id for row_id, number in deaths.items() if ALONE_AFTER_DEATHS <= number < MOST_DEATHS),
        key=lambda row_id: (deaths[row_id], row_id),
    )
    harmless = sorted(row_id for row_id, number in deaths.items() if number < ALONE_AFTER_DEATHS)
    if deadly:
        await tools.store.record(lease, deadly, DEADLY)
    if suspects[1:]:
        await tools.store.record(lease, suspects[1:], SUSPECT)
    done = Embedded(failed=len(deadly), waiting=len(suspects[1:]))
    for group in (harmless, suspects[:1]):
        if group:
            done += await _work_together(tools, lease, group)
    return done


async def _work_together(tools: Embedding, lease: Lease, claimed: Sequence[int]) -> Embedded:
    started = time.perf_counter()
    rows = await _through_outages(lambda: tools.store.read(lease, claimed))
    blank = [row.id for row in rows if not row.text.strip()]
    known = [row.id for row in rows if row.known and row.paid is None]
    speaking = [row for row in rows if row.text.strip() and row.id not in set(known)]
    inquiry = Inquiry(tools.embedder, lease.space, patience_seconds=tools.patience_seconds)
    inquiry.remember(speaking)
    await inquiry.ask(_one_of_each_text([row for row in speaking if row.id not in inquiry.found.vectors]))
    found = _spread(inquiry.found, speaking)
    if isinstance(found.stopped, SpaceMismatch):
        tools.spaces.forget()
    spent = Spent(tokens=found.tokens, seconds=time.perf_counter() - started)
    return await _through_outages(lambda: _settle(tools, lease, claimed, _Batch(speaking, known, blank, found, spent)))


async def _settle(tools: Embedding, lease: Lease, claimed: Sequence[int], batch: _Batch) -> Embedded:
    """Stores what came of a batch, and notes the rest; may be done again from the beginning."""
    found = batch.found
    if batch.blank:
        await tools.store.record(lease, batch.blank, BLANK)
    copied = await _copy(tools.store, lease, batch.known)
    written = await _write(tools.store, lease, batch)
    unsettled = set(claimed) - written - copied - set(batch.blank)
    tries = await tools.store.tries(lease) if unsettled else {}
    failed = await _record_refusals(tools, lease, found, tries)
    waiting = await _record_wait(tools, lease, batch, tries)
    # What is left was changed or deleted under us: pending again, or gone. Or it stays locked, and waits for that.
    left = unsettled - set(found.refused) - waiting
    if left:
        await _give_back(tools.store, lease, batch, left, tries)
        tools.spaces.forget()
    asked = {row.text for row in batch.speaking if row.id in written}
    done = Embedded(
        embedded=len(written) + len(copied),
        saved=len(copied) + len(written) - len(asked),
        skipped=len(batch.blank),
        failed=failed,
        waiting=len(waiting) + len(found.refused) - failed,
        given_back=len(left),
    )
    await _announce(tools, lease, done, ids=written | copied, found=found, waiting=waiting)
    return done


async def _through_outages(work: Callable[[], Awaitable[Result]]) -> Result:
    """Does it again for as long as the database is away: without it we can do nothing else, and vectors are in hand.

    All that is done with rows in hand may be done twice. Leases that run out meanwhile are no harm: whoever takes the
    rows over needs the database, too, and the writing is fenced.
    """
    while True:
        try:
            return await work()
        except DatabaseUnavailable as error:
            log.warning("embed.database_away", reason=str(error))
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)


async def _copy(store: EmbeddingStore, lease: Lease, known: Sequence[int]) -> set[int]:
    """The vectors of texts that have been embedded before, at no cost; rows somebody has locked are tried again."""
    copied: set[int] = set()
    for pause in WRITE_PAUSES_SECONDS:
        rest = [row_id for row_id in known if row_id not in copied]
        if not rest:
            break
        await asyncio.sleep(pause)
        copied |= await store.copy(lease, rest)
    return copied


def _one_of_each_text(rows: Sequence[EmbeddableText]) -> list[EmbeddableText]:
    return list({row.text: row for row in reversed(rows)}.values())[::-1]


def _spread(found: Found, rows: Sequence[EmbeddableText]) -> Found:
    """What was said of a text holds for every row of it."""
    same: dict[str, list[int]] = {}
    for row in rows:
        same.setdefault(row.text, []).append(row.id)
    twins = {row.id: same[row.text] for row in rows}
    every: tuple[dict[int, Any], ...] = (found.vectors, found.characters, found.refused)
    for answers in every:
        for row_id in list(answers):
            answers.update(dict.fromkeys(twins[row_id], answers[row_id]))
    return found


async def _write(store: EmbeddingStore, lease: Lease, batch: _Batch) -> set[int]:
    """Writes all vectors; rows somebody has locked are tried again with the vectors in hand."""
    found, written = batch.found, set[int]()
    for pause in WRITE_PAUSES_SECONDS:
        rest = [row for row in batch.speaking if row.id in found.vectors and row.id not in written]
        if not rest:
            break
        if pause:
            await asyncio.sleep(pause)
        written |= await store.write(lease, rest, found.vectors, characters=found.characters, spent=batch.spent)
    return written


async def _give_back(
    store: EmbeddingStore, lease: Lease, batch: _Batch, left: set[int], tries: dict[int, Tries]
) -> None:
    """Lets go of rows that could not be written; one that is still as it was read keeps its vector until then."""
    locked = [row for row in batch.speaking if row.id in left and row.id in batch.found.vectors]
    if locked:
        await store.keep(lease, locked, batch.found.vectors, characters=batch.found.characters)
    waits = max((tries[row_id].waits for row_id in left if row_id in tries), default=0)
    pause = min(backoff_seconds(waits), LONGEST_LOCK_SECONDS)
    await store.record(lease, left, replace(LOCKED, wait_seconds=pause))
    await store.release(lease, left)


async def _record_refusals(tools: Embedding, lease: Lease, found: Found, tries: dict[int, Tries]) -> int:
    """Notes the culprits: another try later, or failed for good. Returns how many failed."""
    failed = 0
    for row_id, error in found.refused.items():
        attempts = tries.get(row_id, Tries(0, 0)).attempts
        final = attempts + 1 >= tools.max_attempts
        failed += final
        outcome = Outcome(
            state="failed" if final else "waiting",
            error_kind=type(error).__name__,
            error=str(error),
            wait_seconds=0 if final else backoff_seconds(attempts),
            fault=True,
        )
        log.warning("embed.refused", kind=lease.kind.value, id=row_id, reason=str(error), final=final)
        await tools.store.record(lease, [row_id], outcome)
    return failed


async def _record_wait(tools: Embedding, lease: Lease, batch: _Batch, tries: dict[int, Tries]) -> set[int]:
    """Notes that the rest of the batch waits for better weather or a mended set-up; costs no row an attempt.

    The server is not asked by anybody for as long as a first pause lasts. These rows may wait longer: what a server
    fails at again and again (a batch it takes too long for), it is not asked for as often as what it has not seen.
    """
    found = batch.found
    if found.stopped is None:
        return set()
    waiting = {row.id for row in batch.speaking if row.id not in found.vectors and row.id not in found.refused}
    await _pause(tools, lease.space, found.stopped, 0)
    waits = max((tries[row_id].waits for row_id in waiting if row_id in tries), default=0)
    outcome = Outcome(
        state="waiting",
        error_kind=type(found.stopped).__name__,
        error=str(found.stopped),
        wait_seconds=backoff_seconds(waits, at_least=_wish(found.stopped)),
    )
    await tools.store.record(lease, waiting, outcome)
    return waiting


async def _pause(tools: Embedding, space: Space, reason: Transient | SetupFault, pauses: int) -> None:
    """Nobody asks the server for a while: with full jitter after bad weather, without while a person is needed."""
    weather = isinstance(reason, Transient)
    seconds = backoff_seconds(pauses, at_least=_wish(reason), random_share=None if weather else 1.0)
    seconds = min(seconds, max(LONGEST_PAUSE_SECONDS, _wish(reason)))
    log.warning("embed.paused", embedder=str(space.identity), seconds=round(seconds, 1), reason=str(reason))
    await tools.store.begin_pause(
        space, seconds=seconds, error_kind=type(reason).__name__, because=str(reason), pauses=pauses
    )


def _wish(reason: Transient | SetupFault) -> float:
    """The server's own wish, in seconds; nobody is sent away for longer than ten minutes."""
    wish = reason.retry_after_seconds if isinstance(reason, Transient) else None
    return min(wish or 0.0, LONGEST_SECONDS)


async def _announce(
    tools: Embedding, lease: Lease, done: Embedded, *, ids: Iterable[int], found: Found, waiting: set[int]
) -> None:
    """Tells whoever listens how the batch ended: ids and counts, nothing that people wrote."""
    common = {"kind": lease.kind.value, "space_id": lease.space.id, "worker": lease.worker}
    if done.embedded:
        facts = {"ids": sorted(ids), "embedded": done.embedded, "saved": done.saved}
        await tools.announcer.announce("embed_complete", common | facts)
    if found.refused or waiting:
        reasons = {type(error).__name__ for error in [*found.refused.values(), found.stopped] if error}
        facts = {"ids": sorted({*found.refused, *waiting}), "failed": done.failed, "waiting": done.waiting}
        await tools.announcer.announce("embed_failed", common | facts | {"error_kinds": sorted(reasons)})
