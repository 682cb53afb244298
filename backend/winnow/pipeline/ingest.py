"""Messages in: each stored once, and promised to the workers in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob
from winnow.domain.scoring import score
from winnow.pipeline.edit import edits_among, make_edits
from winnow.storage.messages import Fate, insert_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.messages import IncomingMessage
    from winnow.domain.scoring import Score, ScoreRules
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
        return tuple(message.id for message in self.messages if message.fate is Fate.NEW and message.id is not None)

    @property
    def known(self) -> int:
        """How many were stored before, or earlier in the same batch, with the same text or one edited later."""
        return self.of(Fate.KNOWN) + self.of(Fate.OLDER)

    @property
    def differing(self) -> int:
        """How many came under the identity of a stored message with another text; the stored one stays."""
        return self.of(Fate.DIFFERS)

    @property
    def edited(self) -> int:
        """How many gave a stored message another text."""
        return self.of(Fate.EDITED)

    def of(self, fate: Fate) -> int:
        """How many this became of."""
        return sum(message.fate is fate for message in self.messages)

    def part(self, begin: int, end: int) -> Ingested:
        """Those at the places `begin` to `end`."""
        return Ingested(self.messages[begin:end])


async def ingest(units: UnitsOfWork, messages: Sequence[IncomingMessage], *, lane: Lane) -> Ingested:
    """Stores what is new, with its score, and what was edited; has it linked and embedded once that is committed.

    That is one transaction, but for the edit of a message that is handed in alone, which takes a second one: new ones
    need only a statement.

    What comes over the bulk lane is not promised to the embedders: the sweeper finds it, and keeps the lane so full
    that nobody waits for work, and no fuller, so that extraction has its turn. (Where a model scores, its slow tasks
    would keep the sweeper from it; there it is promised.)

    Where `units.rules` are None it is stored without a score: a model gives it one later. Extraction needs no promise:
    the new messages are queued for it, and the sweeper starts it when there are enough. It also finds what a lost
    scoring job left without a score or a conversation.
    """
    alone = len(messages) == 1
    async with units.begin(one_statement=alone) as work:
        scores = [_scored(message, units.rules) for message in messages]
        stored = await insert_messages(work, messages, scores)
        edits = edits_among(messages, stored)
        if edits and not alone:
            stored = await make_edits(work, edits, stored, lane=lane, rules=units.thresholds)
        done = Ingested(tuple(stored))
        work.promise(ScoreJob(done.ids), lane)
        if lane is Lane.LIVE or units.rules is None:
            work.promise(EmbedJob(Kind.MESSAGES, done.ids), lane)
    if edits and alone:
        async with units.begin() as work:
            done = Ingested(tuple(await make_edits(work, edits, stored, lane=lane, rules=units.thresholds)))
    log.debug("ingest.finished", stored=len(done.ids), known=done.known, differing=done.differing, lane=lane.value)
    return done


def _scored(message: IncomingMessage, rules: ScoreRules | None) -> Score | None:
    return score(message.text, message.author, message.details, rules) if rules is not None else None
