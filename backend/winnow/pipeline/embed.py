"""Rows without a vector get one: claim → read → model (no transaction open) → one fenced write."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from winnow.domain.backoff import LONGEST_SECONDS, backoff_seconds
from winnow.errors import AnswerInvalid, Permanent, SetupFault, SpaceMismatch, TextRefused, Transient
from winnow.pipeline.heartbeat import heartbeat
from winnow.storage.embeddings import Lease, Outcome, Tries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.jobs import Kind
    from winnow.pipeline.spaces import Spaces
    from winnow.providers.base import Embedder
    from winnow.storage.embeddings import EmbeddableText, EmbeddingStore

log = structlog.get_logger(__name__)

# Before each try to write rows that somebody has locked: mostly the scoring of the same message, over in a moment.
WRITE_PAUSES_SECONDS = (0.0, 0.005, 0.02, 0.1, 0.3)
# A wrong set-up is not mended within seconds; asking again costs a request each time, or a whole batch where only its
# vectors show the fault: then the pause doubles with each wait.
SETUP_PAUSE_SECONDS = 60.0
BLANK = Outcome(state="skipped", error_kind="blank", error="the text is blank")
LOCKED = Outcome(state="waiting", error_kind="locked", error="somebody else has the row locked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What embedding needs: where the rows are, who makes the vectors, and for how long rows are held."""

    store: EmbeddingStore
    spaces: Spaces
    embedder: Embedder
    worker: str
    lease_seconds: float
    max_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of the rows of one call; rows that were not free to take are in none of the counts."""

    embedded: int = 0
    skipped: int = 0
    failed: int = 0
    waiting: int = 0
    given_back: int = 0

    @property
    def taken(self) -> int:
        """Rows that were ours for the time of the call."""
        return self.embedded + self.skipped + self.failed + self.waiting + self.given_back


@dataclass(slots=True)
class _Found:
    """What the model has said so far, good and bad, by row id; `stopped` is why it was not asked further."""

    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    refused: dict[int, Permanent] = field(default_factory=dict)
    stopped: Transient | SetupFault | None = None


async def embed_rows(tools: Embedding, kind: Kind, ids: Sequence[int]) -> Embedded:
    """Embeds those of the rows that are free and have no vector. Safe to repeat, and to run beside itself.

    Every row that was taken is accounted for when this returns: written, skipped, failed, waiting, or given back.

    Raises:
        SpaceMismatch, Transient, SetupFault: before any row is taken, when there is no space to write into.
        DatabaseUnavailable: rows in hand come free when their lease runs out.
    """
    started = time.perf_counter()
    space = await tools.spaces.ours()
    lease = Lease(kind=kind, space=space, token=uuid4(), worker=tools.worker, seconds=tools.lease_seconds)
    claimed = await tools.store.claim(lease, ids)
    if not claimed:
        tools.spaces.forget()  # in a space that was retired, nothing can be claimed
        return Embedded()
    try:
        async with heartbeat(lambda: tools.store.renew(lease, claimed), every_seconds=tools.lease_seconds / 3):
            done = await _work(tools, lease, claimed)
    except asyncio.CancelledError:
        await asyncio.shield(tools.store.release(lease, claimed))  # the shutdown's grace is over: back at once
        raise
    log.info(
        "embed.finished",
        kind=kind.value,
        embedded=done.embedded,
        skipped=done.skipped,
        failed=done.failed,
        waiting=done.waiting,
        given_back=done.given_back,
        seconds=round(time.perf_counter() - started, 4),
    )
    return done


async def _work(tools: Embedding, lease: Lease, claimed: Sequence[int]) -> Embedded:
    rows = await tools.store.read(lease.kind, claimed)
    blank = [row.id for row in rows if not row.text.strip()]
    if blank:
        await tools.store.record(lease, blank, BLANK)
    speaking = [row for row in rows if row.text.strip()]
    found = _Found()
    await _ask(tools.embedder, speaking, found)
    if _not_of_the_space(found, lease):
        tools.spaces.forget()
    written = await _write(tools.store, lease, speaking, found)
    unsettled = set(claimed) - written - set(blank)
    tries = await tools.store.tries(lease) if unsettled else {}
    failed = await _record_refusals(tools, lease, found, tries)
    waiting = await _record_wait(tools, lease, speaking, found, tries)
    # What is left was changed or deleted under us: pending again, or gone. Or it stays locked, and waits for that.
    left = unsettled - set(found.refused) - waiting
    if left:
        await _give_back(tools.store, lease, left, tries)
        tools.spaces.forget()
    return Embedded(
        embedded=len(written),
        skipped=len(blank),
        failed=failed,
        waiting=len(waiting) + len(found.refused) - failed,
        given_back=len(left),
    )


async def _ask(embedder: Embedder, rows: Sequence[EmbeddableText], found: _Found) -> None:
    """Asks the model for the rows; a batch it refuses is halved until the culprit stands alone."""
    if not rows or found.stopped:
        return
    try:
        result = await embedder.embed([row.text for row in rows], input_type="document")
    except (TextRefused, AnswerInvalid) as error:
        if len(rows) == 1:
            found.refused[rows[0].id] = error
            return
        middle = len(rows) // 2
        await _ask(embedder, rows[:middle], found)
        await _ask(embedder, rows[middle:], found)
    except (Transient, SetupFault) as error:
        found.stopped = error
    else:
        found.vectors.update(zip((row.id for row in rows), result.vectors, strict=True))


def _not_of_the_space(found: _Found, lease: Lease) -> bool:
    """Whether the vectors have another length than the space's; then they are thrown away, and the batch stops."""
    strange = {len(vector) for vector in found.vectors.values()} - {lease.space.dimensions}
    if not strange:
        return False
    found.vectors.clear()
    found.stopped = SpaceMismatch(
        f"{lease.space.identity} now makes vectors of {strange.pop()} dimensions; the stored ones have "
        f"{lease.space.dimensions}: another model has taken its name on the server; pull the old one again under that "
        "name, or use another database or --data-dir"
    )
    return True


async def _write(store: EmbeddingStore, lease: Lease, rows: Sequence[EmbeddableText], found: _Found) -> set[int]:
    """Writes all vectors; rows somebody has locked are tried again with the vectors in hand."""
    written: set[int] = set()
    for pause in WRITE_PAUSES_SECONDS:
        rest = [row for row in rows if row.id in found.vectors and row.id not in written]
        if not rest:
            break
        if pause:
            await asyncio.sleep(pause)
        written |= await store.write(lease, rest, found.vectors)
    return written


async def _give_back(store: EmbeddingStore, lease: Lease, left: set[int], tries: dict[int, Tries]) -> None:
    """Lets go of rows that could not be written; one that is still as it was read is not paid for again at once."""
    waits = max((tries[row_id].waits for row_id in left if row_id in tries), default=0)
    await store.record(lease, left, replace(LOCKED, wait_seconds=backoff_seconds(waits)))
    await store.release(lease, left)


async def _record_refusals(tools: Embedding, lease: Lease, found: _Found, tries: dict[int, Tries]) -> int:
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
            wait_seconds=backoff_seconds(attempts),
            fault=True,
        )
        log.warning("embed.refused", kind=lease.kind.value, id=row_id, reason=str(error), final=final)
        await tools.store.record(lease, [row_id], outcome)
    return failed


async def _record_wait(
    tools: Embedding, lease: Lease, rows: Sequence[EmbeddableText], found: _Found, tries: dict[int, Tries]
) -> set[int]:
    """Notes that the rest of the batch waits for better weather or a mended set-up; costs no row an attempt."""
    if found.stopped is None:
        return set()
    waiting = {row.id for row in rows if row.id not in found.vectors and row.id not in found.refused}
    waits = max((tries[row_id].waits for row_id in waiting if row_id in tries), default=0)
    pause = _pause_seconds(found.stopped, waits)
    log.warning(
        "embed.waiting", kind=lease.kind.value, rows=len(waiting), seconds=round(pause, 1), reason=str(found.stopped)
    )
    outcome = Outcome(
        state="waiting", error_kind=type(found.stopped).__name__, error=str(found.stopped), wait_seconds=pause
    )
    await tools.store.record(lease, waiting, outcome)
    return waiting


def _pause_seconds(reason: Transient | SetupFault, waits: int) -> float:
    """How long rows wait that have waited so often; weather as ever, a set-up longer when the answer was paid for."""
    if isinstance(reason, Transient):
        return backoff_seconds(waits, at_least=reason.retry_after_seconds)
    paid = isinstance(reason, SpaceMismatch)
    return min(LONGEST_SECONDS, SETUP_PAUSE_SECONDS * 2.0 ** min(waits, 10)) if paid else SETUP_PAUSE_SECONDS
