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
    from winnow.storage.messages import StoredMessage
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of messages handed in, each in the order given."""

    messages: tuple[StoredMessage, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the new ones."""
        return tuple(message.id for message in self.messages if message.new)

    @property
    def known(self) -> int:
        """How many were stored before, or earlier in the same batch, with the same text."""
        return sum(not message.new and not message.differs for message in self.messages)

    @property
    def differing(self) -> int:
        """How many came under the identity of a stored message with another text; the stored one stays."""
        return sum(message.differs for message in self.messages)

    def part(self, begin: int, end: int) -> Ingested:
        """Those at the places `begin` to `end`."""
        return Ingested(self.messages[begin:end])


async def ingest(units: UnitsOfWork, messages: Sequence[IncomingMessage], *, lane: Lane) -> Ingested:
    """Stores what is new, in one transaction, and has it scored and embedded once that is committed.

    Extraction needs no promise: the new messages are queued for it, and the sweeper starts it when there are enough. It
    also scores what a lost scoring job left unscored.
    """
    async with units.begin(one_statement=len(messages) == 1) as work:
        done = Ingested(tuple(await insert_messages(work, messages)))
        work.promise(ScoreJob(done.ids), lane)
        work.promise(EmbedJob(Kind.MESSAGES, done.ids), lane)
    log.debug("ingest.finished", stored=len(done.ids), known=done.known, differing=done.differing, lane=lane.value)
    return done
