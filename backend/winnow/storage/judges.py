"""Reviews as lessons, and the judges that were taught by them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.judge import AtomAsFound, Judge, Review, Verdict
from winnow.domain.knowledge import AtomType
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from winnow.storage.engine import Database

JUDGES_KEPT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudge:
    """The latest judge, what it was taught by, and when."""

    id: int
    reviews: int
    trained_at: datetime
    judge: Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCount:
    """How many atoms of a type, from an extractor, people accepted and rejected; an edited one was accepted."""

    type: str
    extractor: str
    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCounts:
    """How many atoms were judged, however often each, and by how many the latest judge was taught."""

    reviews: int
    taught: int


async def count_reviews(database: Database) -> ReviewCounts:
    """How many atoms were judged."""
    async with database.autocommit() as connection:
        return ReviewCounts(**(await fetch(connection, "count_reviews"))[0]._mapping)  # noqa: SLF001 - public name


async def reviews_to_learn(database: Database, *, most: int) -> list[Review]:
    """The latest verdict of each atom, oldest first."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "reviews_to_learn", most)
    return [
        Review(
            atom=AtomAsFound(
                type=AtomType(row.type),
                title=row.title,
                content=row.content,
                extractor=row.extractor,
                confidence=row.confidence,
            ),
            verdict=Verdict(row.verdict),
            corrected=AtomType(row.type_now) if row.verdict == Verdict.EDIT and row.type_now != row.type else None,
        )
        for row in rows
    ]


async def store_judge(database: Database, judge: Judge, *, reviews: int) -> int:
    """Makes it the one that judges; of the ones before some stay."""
    report = json.dumps(judge.report.as_data())
    async with database.transaction() as connection:
        rows = await fetch(connection, "insert_judge", reviews, judge.dumps(), report)
        await fetch(connection, "tidy_judges", JUDGES_KEPT)
    return int(rows[0].id)


async def latest_judge_id(database: Database) -> int | None:
    """Which judge judges."""
    async with database.autocommit() as connection:
        row = (await fetch(connection, "latest_judge_id"))[0]
    return None if row.id is None else int(row.id)


async def latest_judge(database: Database) -> StoredJudge | None:
    """The judge that judges; None: nobody was taught anything.

    Raises:
        ValueError: its bytes are no judge's.
    """
    async with database.autocommit() as connection:
        rows = await fetch(connection, "latest_judge")
    if not rows:
        return None
    row = rows[0]
    return StoredJudge(id=row.id, reviews=row.reviews, trained_at=row.trained_at, judge=Judge.loads(bytes(row.weights)))


async def accepted_and_rejected(database: Database) -> Sequence[AcceptedCount]:
    """What people found right, by type and extractor."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "accepted_and_rejected")
    return [AcceptedCount(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name
