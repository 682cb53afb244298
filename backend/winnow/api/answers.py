"""What the pipeline found, in the shapes that the API and `--json` show; needs no web framework."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from winnow.api import embedding_schemas, knowledge_schemas, schemas
from winnow.storage.messages import MessageRecord
from winnow.storage.reading import AtomRecord
from winnow.storage.reading_topics import TopicRecord

if TYPE_CHECKING:
    from winnow.pipeline.failures import Decided, Retried, TroubleInFull
    from winnow.pipeline.overview import Building, Overview
    from winnow.pipeline.search import Hit
    from winnow.storage.embedding_records import KindCounts, Pause
    from winnow.storage.failures import Trouble


def status_out(state: Overview) -> embedding_schemas.StatusOut:
    """An overview."""
    return embedding_schemas.StatusOut(
        **dict(_pace_out(state)),
        idle=state.idle,
        embedder=state.embedder,
        extractor=state.extractor,
        space=state.space,
        dimensions=state.dimensions,
        embeddings={kind: embedding_schemas.KindOut(**asdict(counts)) for kind, counts in state.embeddings.items()},
        building=_building_out(state.building) if state.building else None,
        messages=dict(state.messages),
        knowledge=asdict(state.knowledge) | {"eta_seconds": _rounded(state.knowledge.eta_seconds)},
        queue=asdict(state.queue) if state.queue else None,
        queue_error=state.queue_error,
        hook_failures=state.hook_failures,
        last_error=state.last_error,
    )


def _building_out(building: Building) -> embedding_schemas.BuildingOut:
    kinds = {kind: embedding_schemas.KindOut(**asdict(counts)) for kind, counts in building.embeddings.items()}
    return embedding_schemas.BuildingOut(space=building.space, embeddings=kinds)


def embedding_status_out(state: Overview) -> embedding_schemas.EmbeddingStatusOut:
    """An overview, as far as it is of embedding."""
    return embedding_schemas.EmbeddingStatusOut(
        **dict(_pace_out(state)),
        space=state.space,
        kinds={kind: _counts_out(counts) for kind, counts in state.embeddings.items()},
        lanes=state.queue.lanes if state.queue else None,
        last_error=state.last_error,
    )


def _counts_out(counts: KindCounts) -> embedding_schemas.CountsOut:
    return embedding_schemas.CountsOut(
        total=counts.total,
        embedded=counts.embedded,
        pending=counts.pending,
        processing=counts.in_hand,
        waiting=counts.waiting,
        failed=counts.failed,
        skipped=counts.skipped,
        oldest_pending=counts.oldest_pending,
    )


def _pace_out(state: Overview) -> embedding_schemas.PaceOut:
    pace = state.pace
    return embedding_schemas.PaceOut(
        rate_per_second=round(pace.rows_per_second, 2),
        saved_per_second=round(pace.saved_per_second, 2),
        tokens_per_second=_rounded(pace.tokens_per_second),
        elapsed_seconds=_rounded(pace.elapsed_seconds),
        eta_seconds=_rounded(state.eta_seconds),
        saved=state.saved,
        truncated=state.truncated,
        paused=_paused_out(state.pause) if state.pause else None,
    )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def _paused_out(pause: Pause) -> embedding_schemas.PausedOut:
    return embedding_schemas.PausedOut(
        since=(datetime.now(UTC) - timedelta(seconds=pause.seconds_since)).replace(microsecond=0),
        error_kind=pause.error_kind,
        reason=pause.because,
        next_look_seconds=round(pause.seconds_left, 1),
    )


def failed_out(trouble: Trouble) -> embedding_schemas.FailedOut:
    """A row of the list."""
    return embedding_schemas.FailedOut(**asdict(trouble))


def failed_in_full_out(found: TroubleInFull) -> embedding_schemas.FailedInFullOut:
    """A row with its whole text."""
    message = schemas.MessageOut(**asdict(found.message)) if found.message else None
    return embedding_schemas.FailedInFullOut(**asdict(found.trouble), message=message)


def retried_out(done: Retried) -> embedding_schemas.RetriedOut:
    """What a retry did."""
    return embedding_schemas.RetriedOut(
        rows=done.rows, tasks=done.tasks, left_out=list(done.left_out), queue_error=done.queue_error
    )


def forgotten_out(done: Decided) -> embedding_schemas.ForgottenOut:
    """What forgetting did."""
    return embedding_schemas.ForgottenOut(rows=done.rows, left_out=list(done.left_out))


def search_hit_out(hit: Hit) -> knowledge_schemas.HitOut:
    """A hit."""
    record, score = hit.record, round(hit.score, 4)
    match record:
        case AtomRecord():
            return knowledge_schemas.HitOut(kind=hit.kind, score=score, atom=atom_out(record))
        case TopicRecord():
            return knowledge_schemas.HitOut(
                kind=hit.kind, score=score, topic=knowledge_schemas.TopicOut(**asdict(record))
            )
        case MessageRecord():
            return knowledge_schemas.HitOut(kind=hit.kind, score=score, message=schemas.MessageOut(**asdict(record)))


def atom_out(record: AtomRecord) -> knowledge_schemas.AtomOut:
    """An atom with its words and links."""
    return knowledge_schemas.AtomOut(**asdict(record), superseded=record.superseded)
