"""The two arms of a search, and the rows they found as people read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgvector import Vector
from sqlalchemy.exc import DBAPIError

from winnow.errors import SpaceMismatch
from winnow.storage.engine import CANDIDATES
from winnow.storage.named import fetch, statement
from winnow.storage.refusals import sqlstate
from winnow.storage.spaces import active_space, distance_expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.jobs import Kind
    from winnow.domain.spaces import Space
    from winnow.storage.engine import Database


# "different vector dimensions 256 and 1024"
OTHER_DIMENSIONS = "22000"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRecord:
    """Exact words of a message: characters `start` to `end` of its text. `channel_title` may be empty."""

    message_id: int
    start: int
    end: int
    quote: str
    author: str
    channel: str
    channel_title: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRecord:
    """One end of a link as seen from an atom: `this TYPE other` when outgoing, else `other TYPE this`."""

    type: str
    outgoing: bool
    other_id: int
    other_title: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomRecord:
    """An atom with the words it rests on and its neighbours."""

    id: int
    type: str
    title: str
    content: str
    confidence: float
    status: str
    topic: str | None
    created_at: datetime
    evidence: tuple[QuoteRecord, ...]
    links: tuple[LinkRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """A topic and how many atoms it has."""

    id: int
    name: str
    description: str
    atoms: int


async def full_text(database: Database, kind: Kind, query: str) -> dict[int, float]:
    """Rows that hold any of the query's words, with their BM25 score (above 0, without an upper bound)."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "full_text", query, CANDIDATES, kind=kind)
    return {row.id: float(row.score) for row in rows}


async def nearest(database: Database, kind: Kind, vector: NDArray[np.float32], space: Space) -> dict[int, float]:
    """Rows nearest to the query's vector, with their cosine similarity (-1 to 1).

    Raises:
        SpaceMismatch: the vector's space is not the active one any more.
    """
    sql = statement("nearest", kind).replace("{distance}", distance_expression(space.dimensions))
    try:
        async with database.autocommit() as connection:
            result = await connection.exec_driver_sql(sql, (Vector(vector), space.id, CANDIDATES))
            found = {row.id: float(row.score) for row in result.all() if row.score == row.score}
    except DBAPIError as error:
        if sqlstate(error) != OTHER_DIMENSIONS:
            raise
        found = {}
    if not found:
        async with database.autocommit() as connection:
            active = await active_space(connection)
        if active is None or active.id != space.id:
            raise SpaceMismatch(f"the stored vectors are {space.identity}'s no more")
    return found


async def atoms_by_id(database: Database, ids: Sequence[int]) -> dict[int, AtomRecord]:
    """The atoms of these ids that exist, with evidence and links."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "atoms_found", list(ids))
        links = await fetch(connection, "links_of_atoms", list(ids))
    found = {}
    for row in rows:
        values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
        evidence = json.loads(values["evidence"]) if isinstance(values["evidence"], str) else values["evidence"]
        values["evidence"] = tuple(
            QuoteRecord(**{**quote, "sent_at": datetime.fromisoformat(quote["sent_at"])}) for quote in evidence
        )
        values["links"] = tuple(
            _as_seen_from(row.id, link) for link in links if row.id in {link.source_id, link.target_id}
        )
        found[row.id] = AtomRecord(**values)
    return found


def _as_seen_from(atom_id: int, link: Any) -> LinkRecord:
    outgoing = link.source_id == atom_id
    return LinkRecord(
        type=link.type,
        outgoing=outgoing,
        other_id=link.target_id if outgoing else link.source_id,
        other_title=link.target_title if outgoing else link.source_title,
        confidence=link.confidence,
    )


async def topics_by_id(database: Database, ids: Sequence[int]) -> dict[int, TopicRecord]:
    """The topics of these ids that exist."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "topics_found", list(ids))
    return {row.id: TopicRecord(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name


async def list_atoms(
    database: Database, *, type_: str | None, topic_id: int | None, before: int, limit: int
) -> list[AtomRecord]:
    """Newest first, those with an id below `before`."""
    async with database.autocommit() as connection:
        ids = [row.id for row in await fetch(connection, "list_atoms", type_, topic_id, before, limit)]
    found = await atoms_by_id(database, ids)
    return [found[identity] for identity in ids if identity in found]


async def list_topics(database: Database, *, before: int, limit: int) -> list[TopicRecord]:
    """Newest first, those with an id below `before`."""
    async with database.autocommit() as connection:
        ids = [row.id for row in await fetch(connection, "list_topics", before, limit)]
    found = await topics_by_id(database, ids)
    return [found[identity] for identity in ids if identity in found]
