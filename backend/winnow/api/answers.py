"""What the pipeline found, in the shapes that the API and `--json` show; needs no web framework."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from winnow.api import schemas
from winnow.storage.messages import MessageRecord
from winnow.storage.search import AtomRecord, TopicRecord

if TYPE_CHECKING:
    from winnow.pipeline.overview import Overview
    from winnow.pipeline.search import Hit


def status_out(state: Overview) -> schemas.StatusOut:
    """An overview."""
    return schemas.StatusOut(
        idle=state.idle,
        embedder=state.embedder,
        space=state.space,
        dimensions=state.dimensions,
        embeddings={kind: asdict(counts) for kind, counts in state.embeddings.items()},
        knowledge=asdict(state.knowledge),
        queue=asdict(state.queue) if state.queue else None,
        queue_error=state.queue_error,
        hook_failures=state.hook_failures,
        last_error=state.last_error,
    )


def search_hit_out(hit: Hit) -> schemas.HitOut:
    """A hit."""
    record, score = hit.record, round(hit.score, 4)
    match record:
        case AtomRecord():
            return schemas.HitOut(kind=hit.kind, score=score, atom=atom_out(record))
        case TopicRecord():
            return schemas.HitOut(kind=hit.kind, score=score, topic=schemas.TopicOut(**asdict(record)))
        case MessageRecord():
            return schemas.HitOut(kind=hit.kind, score=score, message=schemas.MessageOut(**asdict(record)))


def atom_out(record: AtomRecord) -> schemas.AtomOut:
    """An atom with its words and links."""
    return schemas.AtomOut.model_validate(asdict(record))
