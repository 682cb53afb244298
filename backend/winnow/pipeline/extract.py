"""Messages become knowledge: window → extractor (no transaction open) → one commit → the hook promises embeddings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.knowledge import Window, WindowMessage
from winnow.domain.scoring import score
from winnow.domain.windows import split_windows
from winnow.errors import WinnowError
from winnow.pipeline.heartbeat import heartbeat
from winnow.storage.extraction import RunLost, save_extraction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from winnow.domain.knowledge import Extraction, Extractor
    from winnow.storage.extraction import ExtractionStore, SavedExtraction, StoredMessage
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracting:
    """What extraction needs. `window_messages` and `window_context` count messages."""

    units: UnitsOfWork
    store: ExtractionStore
    extractor: Extractor
    lease_seconds: float
    window_messages: int
    window_context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What one call did: runs by their end, and the messages they read."""

    done: int = 0
    failed: int = 0
    messages: int = 0
    atoms: int = 0


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
        windows = await _windows(tools, list(group), channel)
        outcomes += [await _run(tools, source, window, lane) for window in windows]
    return Extracted(
        done=sum(outcome.state == "done" for outcome in outcomes),
        failed=sum(outcome.state == "failed" for outcome in outcomes),
        messages=sum(outcome.messages for outcome in outcomes),
        atoms=sum(outcome.atoms for outcome in outcomes),
    )


async def _windows(tools: Extracting, messages: Sequence[StoredMessage], channel: str) -> list[Window]:
    """The messages cut into windows, the first of them with what was said before."""
    earlier = await tools.store.earlier(messages[0], limit=max(tools.window_context, 1))
    windows = split_windows(
        [_as_seen(message) for message in messages],
        channel=channel,
        size=tools.window_messages,
        context=tools.window_context,
        topic=earlier[-1].topic if earlier else None,
    )
    first = windows[0]
    context = tuple(item.message for item in earlier[-tools.window_context :]) if tools.window_context else ()
    windows[0] = Window(channel=first.channel, messages=first.messages, context=context, topic=first.topic)
    return windows


def _as_seen(message: StoredMessage) -> WindowMessage:
    importance = message.importance
    if importance is None:  # the scoring task has not come by yet; the rule is the same
        importance = score(message.text, message.author).importance
    return WindowMessage(
        id=message.id, author=message.author, text=message.text, sent_at=message.sent_at, importance=importance
    )


async def _run(tools: Extracting, source: str, window: Window, lane: Lane) -> _Outcome:
    """One run, from the claim to the commit."""
    started = time.perf_counter()
    run = await tools.store.start_run(
        source=source,
        channel=window.channel,
        extractor=tools.extractor.name,
        ids=[message.id for message in window.messages],
        lease_seconds=tools.lease_seconds,
    )
    if run is None:
        return _Outcome("nothing")
    run_id, claimed = run
    with structlog.contextvars.bound_contextvars(run_id=run_id):
        try:
            window = _only(window, claimed)
            async with heartbeat(
                lambda: tools.store.renew_run(run_id, tools.lease_seconds), every_seconds=tools.lease_seconds / 3
            ):
                extraction = await tools.extractor.extract(window)
                saved = await _commit(tools.units, run_id, window, extraction, lane)
        except RunLost:
            log.warning("extract.lost", reason="the run took longer than its lease and was given up")
            return _Outcome("failed")
        except WinnowError as error:
            log.warning("extract.failed", reason=str(error))
            await tools.store.fail_run(run_id, str(error))
            return _Outcome("failed")
        except BaseException as error:
            await tools.store.fail_run(run_id, f"{type(error).__name__}: {error}")
            raise
        log.info(
            "extract.finished",
            channel=window.channel,
            messages=len(window.messages),
            atoms=len(saved.atom_ids),
            topics=len(saved.topic_ids),
            links=saved.links,
            seconds=round(time.perf_counter() - started, 4),
        )
        return _Outcome("done", messages=len(window.messages), atoms=len(saved.atom_ids))


def _only(window: Window, claimed: Iterable[int]) -> Window:
    """The window without the messages that another run took first."""
    mine = set(claimed)
    messages = tuple(message for message in window.messages if message.id in mine)
    return Window(channel=window.channel, messages=messages, context=window.context, topic=window.topic)


async def _commit(
    units: UnitsOfWork, run_id: int, window: Window, extraction: Extraction, lane: Lane
) -> SavedExtraction:
    """Everything or nothing; new and grown atoms, topics and the run's messages are promised to the embedders."""
    async with units.begin() as work:
        saved = await save_extraction(work, run_id, extraction)
        work.promise(EmbedJob(Kind.ATOMS, saved.atom_ids), lane)
        work.promise(EmbedJob(Kind.TOPICS, saved.topic_ids), lane)
        work.promise(EmbedJob(Kind.MESSAGES, tuple(message.id for message in window.messages)), lane)
    return saved
