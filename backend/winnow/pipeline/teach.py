"""What people accept and reject teaches a judge, which says how sure later finds are."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from winnow.domain.judge import MOST_REVIEWS, AtomAsFound, Judge, train
from winnow.errors import WinnowError
from winnow.storage.judges import (
    accepted_and_rejected,
    count_reviews,
    latest_judge,
    latest_judge_id,
    reviews_to_learn,
    store_judge,
)
from winnow.storage.reviews import count_waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.knowledge import ExtractedAtom
    from winnow.storage.engine import Database
    from winnow.storage.judges import AcceptedCount, StoredJudge
    from winnow.storage.reviews import Waiting

log = structlog.get_logger(__name__)

# After so many newly judged atoms the judge is taught again by itself.
TEACH_EVERY = 10
# How old the judge in memory may be.
LOOK_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """Where teaching stands.

    Attributes:
        reviews: atoms that were judged.
        taught: of these, those that the latest judge was taught by.
        waiting: what waits for a person.
        judge: the latest; None: nobody was taught.
        accepted: what people found right, by type and extractor.
    """

    reviews: int
    taught: int
    waiting: Waiting
    judge: StoredJudge | None
    accepted: Sequence[AcceptedCount]


async def teach(database: Database) -> Judge:
    """Teaches a new judge by the latest verdict of each atom (at most 5,000); it judges from now on if `Judge.used`."""
    started = time.perf_counter()
    counts = await count_reviews(database)
    lessons = await reviews_to_learn(database, most=MOST_REVIEWS)
    judge = await asyncio.to_thread(train, lessons)
    await store_judge(database, judge, reviews=counts.reviews)
    log.info("judge.taught", reviews=counts.reviews, seconds=round(time.perf_counter() - started, 3))
    return judge


async def teach_if_due(database: Database) -> bool:
    """Teaches when enough is new, and says whether; what was reviewed stands, whatever befalls this."""
    try:
        counts = await count_reviews(database)
        if abs(counts.reviews - counts.taught) < TEACH_EVERY:  # fewer: some were forgotten with their atoms
            return False
        await teach(database)
    except WinnowError as error:
        log.warning("judge.not_taught", reason=str(error))
        return False
    return True


async def standing(database: Database) -> Taught:
    """Where teaching stands."""
    counts = await count_reviews(database)
    return Taught(
        reviews=counts.reviews,
        taught=counts.taught,
        waiting=await count_waiting(database),
        judge=await latest_judge(database),
        accepted=await accepted_and_rejected(database),
    )


@dataclass(slots=True)
class Bench:
    """The latest judge, in memory: looked for again every few seconds."""

    database: Database
    _judge: Judge = field(default_factory=Judge)
    _id: int | None = None
    _looked_at: float = -LOOK_EVERY_SECONDS

    async def confidences(self, extractor: str, atoms: Sequence[ExtractedAtom]) -> list[float]:
        """How sure each is, by all that people have judged; without a better judge, as the extractor says."""
        judge = await self._latest()
        if not judge.used:
            return [atom.confidence for atom in atoms]
        return [
            judge.confidence(
                AtomAsFound(
                    type=atom.type,
                    title=atom.title,
                    content=atom.content,
                    extractor=extractor,
                    confidence=atom.confidence,
                )
            )
            for atom in atoms
        ]

    async def _latest(self) -> Judge:
        if time.monotonic() - self._looked_at >= LOOK_EVERY_SECONDS:
            newest = await latest_judge_id(self.database)
            if newest != self._id:
                found = await latest_judge(self.database)
                self._judge, self._id = (found.judge, found.id) if found else (Judge(), None)
            self._looked_at = time.monotonic()
        return self._judge
