"""Messages become knowledge: window → extractor (no transaction open) → one commit → the hook promises embeddings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob
from winnow.domain.knowledge import Window, WindowMessage
from winnow.domain.memory import MemoryRules
from winnow.domain.scoring import RULES, MessageKind, ScoreRules
from winnow.domain.windows import cut_windows
from winnow.errors import SetupFault, Transient, WinnowError
from winnow.pipeline.heartbeat import heartbeat
from winnow.pipeline.score import scored
from winnow.storage.knowledge import save_extraction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from winnow.domain.knowledge import Extraction, Extractor
    from winnow.pipeline.teach import Bench
    from winnow.storage.extraction import ExtractionStore, StoredMessage
    from winnow.storage.knowledge import SavedExtraction
    from winnow.storage.messages import StoredScore
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracting:
    """What extraction needs. `window_messages` and `window_context` count messages.

    `memory` are the rules by which finds are kept, `bench` has the judge who says how sure they are (None: nobody).
    """

    units: UnitsOfWork
    store: ExtractionStore
    extractor: Extractor
    lease_seconds: float
    window_messages: int
    window_context: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What one run is to read.

    `scores` are of those messages, and `unlinked` are those, that the scoring task has not come by yet. `edited` were
    changed since they were scored, and are scored anew.
    """

    source: str
    window: Window
    scores: Mapping[int, StoredScore]
    unlinked: AbstractSet[int]
    lane: Lane
    edited: AbstractSet[int] = frozenset()

    def only(self, claimed: Mapping[int, str]) -> _Reading:
        """Without the messages that another run took first, and with what the others say by now."""
        mine = [message for message in self.window.messages if message.id in claimed]
        messages = tuple(replace(message, text=claimed[message.id]) for message in mine)
        edited = {row for row, score in self.scores.items() if claimed.get(row, score.text) != score.text}
        scores = {row: score for row, score in self.scores.items() if row not in edited}
        window = replace(self.window, messages=messages)
        return replace(self, window=window, scores=scores, edited=edited)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How one run ended; `nothing`: other runs had taken all its messages."""

    state: Literal["done", "failed", "nothing"]
    messages: int = 0
    atoms: int = 0


async def extract_knowledge(tools: Extracting, ids: Sequence[int], *, lane: Lane) -> Extracted:
    """Extracts from those of the messages that no run has taken, one run a window. Safe to repeat.

    A run is committed whole or not at all; one that fails gives its messages back and does not stop the next.
    """
    outcomes: list[_Outcome] = []
    unclaimed = await tools.store.unclaimed(ids)
    for (source, channel), group in groupby(unclaimed, key=lambda message: (message.source, message.channel)):
        messages = list(group)
        scores = {message.id: scored(message, tools.rules) for message in messages if message.importance is None}
        noise = [one for one in scores.values() if one.score.kind is MessageKind.NOISE]
        if noise:
            await tools.store.set_aside(noise)
            aside = {one.id for one in noise}
            messages = [message for message in messages if message.id not in aside]
        if not messages:
            continue
        windows = await _windows(tools, messages, channel, scores)
        unlinked = {message.id for message in messages if not message.linked}
        readings = [
            _Reading(source=source, window=window, scores=scores, unlinked=unlinked, lane=lane) for window in windows
        ]
        outcomes += [await _run(tools, reading) for reading in readings]
    return Extracted(
        done=sum(outcome.state == "done" for outcome in outcomes),
        failed=sum(outcome.state == "failed" for outcome in outcomes),
        messages=sum(outcome.messages for outcome in outcomes),
        atoms=sum(outcome.atoms for outcome in outcomes),
    )


async def _windows(
    tools: Extracting, messages: Sequence[StoredMessage], channel: str, scores: Mapping[int, StoredScore]
) -> list[Window]:
    """The messages cut into windows, the first of them with what was said before."""
    earlier = await tools.store.earlier(messages[0], limit=max(tools.window_context, 1))
    return cut_windows(
        [_as_seen(message, scores) for message in messages],
        channel=channel,
        size=tools.window_messages,
        context=tools.window_context,
        topic=earlier[-1].topic if earlier else None,
        earlier=[item.message for item in earlier],
    )


def _as_seen(message: StoredMessage, scores: Mapping[int, StoredScore]) -> WindowMessage:
    importance = message.importance
    return WindowMessage(
        id=message.id,
        author=message.author,
        text=message.text,
        sent_at=message.sent_at,
        importance=scores[message.id].score.importance if importance is None else importance,
    )


async def _run(tools: Extracting, reading: _Reading) -> _Outcome:
    """One run, from the claim to the commit."""
    started = time.perf_counter()
    run = await tools.store.start_run(
        source=reading.source,
        channel=reading.window.channel,
        extractor=tools.extractor.name,
        ids=[message.id for message in reading.window.messages],
        lease_seconds=tools.lease_seconds,
    )
    if run is None:
        return _Outcome("nothing")
    run_id, claimed = run
    reading = reading.only(claimed)
    with structlog.contextvars.bound_contextvars(run_id=run_id):
        try:
            async with _in_hand(tools, run_id):
                extraction = await tools.extractor.extract(reading.window)
                saved = await _commit(tools, run_id, reading, extraction)
        except WinnowError as error:
            log.warning("extract.failed", reason=str(error))
            return _Outcome("failed")
        _log_finished(reading.window, saved, time.perf_counter() - started)
    return _Outcome("done", messages=len(reading.window.messages), atoms=len(saved.atom_ids))


@asynccontextmanager
async def _in_hand(tools: Extracting, run_id: int) -> AsyncIterator[None]:
    """Keeps a run's lease, and gives its messages back however it fails; every error passes on.

    A failure counts against the messages unless it was the weather's or the set-up's. A shutdown is none at all.
    """
    try:
        async with heartbeat(
            lambda: tools.store.renew_run(run_id, tools.lease_seconds), every_seconds=tools.lease_seconds / 3
        ):
            yield
    except asyncio.CancelledError:
        with contextlib.suppress(WinnowError):  # else the run is ended when its lease runs out
            await asyncio.shield(tools.store.forget_run(run_id))
        raise
    except WinnowError as error:
        await tools.store.fail_run(run_id, str(error), fault=not isinstance(error, (Transient, SetupFault)))
        raise
    except Exception as error:
        await tools.store.fail_run(run_id, f"{type(error).__name__}: {error}", fault=True)
        raise


async def _commit(tools: Extracting, run_id: int, reading: _Reading, extraction: Extraction) -> SavedExtraction:
    """Everything or nothing; new and grown atoms, topics and the run's messages are promised to the embedders.

    The scores it had to make for itself are stored, too, and what is in no conversation yet is promised to be linked:
    each ingested message that is no noise comes by here, so none stays without for good, whatever becomes of the
    scoring tasks (only one whose runs keep failing does, until it is extracted).
    """
    ids = tuple(message.id for message in reading.window.messages)
    scores = [reading.scores[row] for row in ids if row in reading.scores]
    judged = await tools.bench.confidences(tools.extractor.name, extraction.atoms) if tools.bench else None
    async with tools.units.begin() as work:
        saved = await save_extraction(work, run_id, extraction, scores, rules=tools.memory, confidences=judged)
        work.promise(EmbedJob(Kind.ATOMS, saved.atom_ids), reading.lane)
        work.promise(EmbedJob(Kind.TOPICS, saved.topic_ids), reading.lane)
        work.promise(EmbedJob(Kind.MESSAGES, ids), reading.lane)
        work.promise(ScoreJob(tuple(row for row in ids if row in reading.unlinked | reading.edited)), reading.lane)
    return saved


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
