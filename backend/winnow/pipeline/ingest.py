"""Messages in: each stored once, and promised to the workers in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob
from winnow.storage.messages import insert_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.messages import IncomingMessage
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What became of messages handed in: the ids of the new ones, and how many were known already."""

    ids: tuple[int, ...]
    known: int


async def ingest(units: UnitsOfWork, messages: Sequence[IncomingMessage], *, lane: Lane) -> Ingested:
    """Stores what is new, in one transaction, and has it scored and embedded once that is committed.

    Extraction needs no promise: the new messages are queued for it, and the sweeper starts it when there are enough. It
    also scores what a lost scoring job left unscored.
    """
    async with units.begin() as work:
        ids = tuple(await insert_messages(work, messages))
        work.promise(ScoreJob(ids), lane)
        work.promise(EmbedJob(Kind.MESSAGES, ids), lane)
    known = len(messages) - len(ids)
    log.info("ingest.finished", stored=len(ids), known=known, lane=lane.value)
    return Ingested(ids=ids, known=known)
