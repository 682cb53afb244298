"""Messages become knowledge: window → extractor (no transaction open) → one commit → the hook promises embeddings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import structlog

from winnow.domain.jobs import Asked, EmbedJob, Kind, Lane, ScoreJob
from winnow.domain.knowledge import ExtractionFailed, Extractor, ModelUse, Window
from winnow.domain.memory import MemoryRules
from winnow.domain.scoring import RULES, ScoreRules
from winnow.domain.window_hash import window_hash
from winnow.errors import RunLost, SetupFault, Transient, WinnowError
from winnow.pipeline.heartbeat import heartbeat
from winnow.pipeline.windowing import Limits, readings_of, with_offers
from winnow.storage.knowledge import save_extraction
from winnow.storage.runs import note_account, note_trouble, settle_read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from winnow.domain.knowledge import Extraction
    from winnow.pipeline.teach import Bench
    from winnow.pipeline.windowing import Reading
    from winnow.storage.engine import Database
    from winnow.storage.extraction import ExtractionStore
    from winnow.storage.knowledge import SavedExtraction
    from winnow.storage.unit_of_work import UnitOfWork, UnitsOfWork

log = structlog.get_logger(__name__)

# Who reads a channel, by its source and identity. Asked again right before each window leaves for a model: what is
# local-only by then must not be given to one that is elsewhere.
ExtractorFor = Callable[[str, str], Awaitable[Extractor]]


def always(extractor: Extractor) -> ExtractorFor:
    """This one for every channel."""

    async def choose(_source: str, _channel: str) -> Extractor:
        return extractor

    return choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracting:
    """What extraction needs.

    `memory` are the rules by which finds are kept, `bench` has the judge who says how sure they are (None: nobody).
    """

    database: Database
    units: UnitsOfWork
    store: ExtractionStore
    extractor_for: ExtractorFor
    lease_seconds: float
    limits: Limits
    rules: ScoreRules = RULES
    memory: MemoryRules = field(default_factory=MemoryRules)
    bench: Bench | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What one call did: runs by their end, and the messages they read."""

    done: int = 0
    failed: int = 0
    messages: int = 0
    atoms: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How one run ended; `nothing`: other runs had taken all its messages, or had read the same before."""

    state: Literal["done", "failed", "nothing"]
    messages: int = 0
    atoms: int = 0


@dataclass(slots=True)
class _Run:
    """A run in this worker's hand, who reads for it, and what that has asked of a model."""

    id: int
    extractor: Extractor
    use: ModelUse | None = None


async def extract_knowledge(
    tools: Extracting, ids: Sequence[int], *, lane: Lane, asked: Asked = Asked.HAND
) -> Extracted:
    """Extracts from those of the messages that no run has taken, one run a window. Safe to repeat.

    A run is committed whole or not at all; one that fails gives its messages back and does not stop the next. A window
    that was read before, by the same extractor with the same context, is not read again.
    """
    outcomes: list[_Outcome] = []
    unclaimed = await tools.store.unclaimed(ids, by_hand=asked.by_hand)
    for _, group in groupby(unclaimed, key=lambda message: (message.source, message.channel)):
        readings = await readings_of(tools.store, list(group), tools.limits, tools.rules, lane=lane, asked=asked)
        outcomes += [await _run(tools, reading) for reading in readings]
    return Extracted(
        done=sum(outcome.state == "done" for outcome in outcomes),
        failed=sum(outcome.state == "failed" for outcome in outcomes),
        messages=sum(outcome.messages for outcome in outcomes),
        atoms=sum(outcome.atoms for outcome in outcomes),
    )


async def _run(tools: Extracting, reading: Reading) -> _Outcome:
    """One run, from the claim to the commit."""
    started = time.perf_counter()
    extractor = await tools.extractor_for(reading.source, reading.window.channel)
    claim = await tools.store.start_run(
        source=reading.source,
        channel=reading.window.channel,
        extractor=extractor.name,
        version=extractor.version,
        asked=reading.asked,
        ids=reading.ids,
        lease_seconds=tools.lease_seconds,
    )
    if claim is None:
        return _Outcome("nothing")
    run, reading = _Run(claim[0], extractor), reading.only(claim[1])
    with structlog.contextvars.bound_contextvars(run_id=run.id):
        try:
            saved = await _read(tools, run, reading)
        except WinnowError as error:
            log.warning("extract.failed", reason=str(error))
            return _Outcome("failed")
        if saved is None:
            log.info("extract.read_before", channel=reading.window.channel, messages=len(reading.ids))
            return _Outcome("nothing")
        _log_finished(reading.window, saved, time.perf_counter() - started)
    return _Outcome("done", messages=len(reading.ids), atoms=len(saved.atom_ids))


async def _read(tools: Extracting, run: _Run, reading: Reading) -> SavedExtraction | None:
    """Has the window read, and commits what was found; None: the same was read before."""
    async with _in_hand(tools, run) as ended:
        context = [message.id for message in reading.window.context]
        if await tools.store.note_window(run.id, window_hash(reading.window, run.extractor), context):
            await _settle(tools.units, run.id, reading)
            return None
        extraction = await _unless(ended, _ask(tools, run, reading))
        run.use = extraction.use
        return await _commit(tools, run, reading, extraction)


async def _ask(tools: Extracting, run: _Run, reading: Reading) -> Extraction:
    window = reading.window
    if run.extractor.wants_known:
        window = await with_offers(tools.database, reading.source, window)
    now = await tools.extractor_for(reading.source, window.channel)
    if (now.name, now.version) != (run.extractor.name, run.extractor.version):
        raise RunLost(f"{now.name} is to read this channel by now, not {run.extractor.name}")
    return await now.extract(window)


async def _unless(ended: asyncio.Event, work: Awaitable[Extraction]) -> Extraction:
    """What comes of the work. Stops it as soon as the event is set, and raises RunLost then."""
    asking, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise RunLost("somebody ended the run")
        return asking.result()
    finally:
        asking.cancel()
        ending.cancel()
        await asyncio.gather(asking, ending, return_exceptions=True)


@asynccontextmanager
async def _in_hand(tools: Extracting, run: _Run) -> AsyncIterator[asyncio.Event]:
    """Keeps a run's lease, and gives its messages back however it fails; every error passes on.

    The event is set when a heartbeat finds that somebody has ended the run. A failure counts against the messages
    unless it was the weather's or the set-up's. A shutdown is none at all.
    """
    ended = asyncio.Event()

    async def renew() -> None:
        if not await tools.store.renew_run(run.id, tools.lease_seconds):
            ended.set()

    try:
        async with heartbeat(renew, every_seconds=tools.lease_seconds / 3):
            yield ended
    except asyncio.CancelledError:
        with contextlib.suppress(WinnowError):  # else the run is ended when its lease runs out
            await asyncio.shield(tools.store.forget_run(run.id))
        raise
    except WinnowError as error:
        await _note_failure(tools.store, run, error)
        raise
    except Exception as error:
        await tools.store.fail_run(run.id, f"{type(error).__name__}: {error}", fault=True)
        raise


async def _note_failure(store: ExtractionStore, run: _Run, error: WinnowError) -> None:
    failed = error if isinstance(error, ExtractionFailed) else None
    use = failed.use if failed else run.use
    if use is not None:  # it was asked for, whatever became of it
        await store.note_account(run.id, use, answer=failed.answer if failed else None)
    fault = not isinstance(error, (Transient, SetupFault))
    await store.fail_run(run.id, str(error), fault=fault, abandoned=isinstance(error, RunLost))


async def _commit(tools: Extracting, run: _Run, reading: Reading, extraction: Extraction) -> SavedExtraction:
    """Everything or nothing; new and grown atoms, topics and the run's messages are promised to the embedders.

    The scores it had to make for itself are stored, too, and what is in no conversation yet is promised to be linked:
    each ingested message that is no noise comes by here, so none stays without for good, whatever becomes of the
    scoring tasks (only one whose runs keep failing does, until it is extracted).
    """
    judged = await tools.bench.confidences(run.extractor.name, extraction.atoms) if tools.bench else None
    async with tools.units.begin() as work:
        saved = await save_extraction(
            work, run.id, extraction, reading.own_scores, rules=tools.memory, confidences=judged
        )
        await note_account(work, run.id, extraction.use, unproven=saved.unproven)
        if extraction.trouble:
            await note_trouble(work, run.id, extraction.trouble)
        work.promise(EmbedJob(Kind.ATOMS, saved.atom_ids), reading.lane)
        work.promise(EmbedJob(Kind.TOPICS, saved.topic_ids), reading.lane)
        _promise_messages(work, reading)
    return saved


async def _settle(units: UnitsOfWork, run_id: int, reading: Reading) -> None:
    """What was read before is off the queue."""
    async with units.begin() as work:
        await settle_read(work, run_id, reading.own_scores)
        _promise_messages(work, reading)


def _promise_messages(work: UnitOfWork, reading: Reading) -> None:
    unjudged = tuple(row for row in reading.ids if row in reading.unlinked | reading.edited)
    work.promise(EmbedJob(Kind.MESSAGES, reading.ids), reading.lane)
    work.promise(ScoreJob(unjudged), reading.lane)


def _log_finished(window: Window, saved: SavedExtraction, seconds: float) -> None:
    log.info(
        "extract.finished",
        channel=window.channel,
        messages=len(window.messages),
        atoms=len(saved.atom_ids),
        topics=len(saved.topic_ids),
        links=saved.links,
        seconds=round(seconds, 4),
    )
