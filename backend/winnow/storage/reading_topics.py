"""Topics as people read them, and the names they are called by."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - read at run time by pydantic users of the records
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the same
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.exc import IntegrityError

from winnow.errors import TopicNotFound
from winnow.storage.conditions import Conditions, Said, fetch_chosen
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork

MOST_SUGGESTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """A topic and how many atoms it has."""

    id: int
    name: str
    description: str
    atoms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicInFull:
    """A topic with what is filed under it.

    Attributes:
        atoms: how many active ones, by type.
        messages: how many.
        terms: salient words, by which it is known again, with their weights.
        first_said_at, last_said_at: of its messages and atoms.
    """

    id: int
    name: str
    description: str
    atoms: Mapping[str, int]
    messages: int
    terms: Mapping[str, float]
    first_said_at: datetime | None
    last_said_at: datetime | None
    created_at: datetime


async def topics_by_id(database: Database, ids: Sequence[int]) -> dict[int, TopicRecord]:
    """The topics of these ids that exist."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "topics_found", list(ids))
    return {row.id: TopicRecord(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name


async def topics_in_full(database: Database, ids: Sequence[int]) -> dict[int, TopicInFull]:
    """The same with all that is filed under them."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "topics_in_full", list(ids))
    return {row.id: _in_full(row) for row in rows}


def _in_full(row: Row[Any]) -> TopicInFull:
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    atoms = sorted(orjson.loads(row.atoms).items(), key=lambda item: (-item[1], item[0]))
    terms = sorted(orjson.loads(row.terms).items(), key=lambda item: (-item[1], item[0]))
    return TopicInFull(**values | {"atoms": dict(atoms), "terms": dict(terms)})


async def list_topics(
    database: Database,
    *,
    text: str | None = None,
    places: Sequence[tuple[str, str]] | None = None,
    before: int,
    limit: int,
) -> list[TopicInFull]:
    """Newest first, those with an id below `before`, that hold all words of a text or were talked about somewhere."""
    where = Conditions(2)
    if text is not None:
        where.add("topic_has_words", text)
    if places is not None:
        where.add_said("topic_of_messages", Said(places=tuple(places)))
    async with database.autocommit() as connection:
        ids = [row.id for row in await fetch_chosen(connection, "list_topics", before, limit, where=where)]
    found = await topics_in_full(database, ids)
    return [found[identity] for identity in ids if identity in found]


async def topic_called(database: Database, name: str) -> int:
    """The id of the topic with this id or name, upper and lower case alike.

    Raises:
        TopicNotFound: there is none; it says which names are like it.
    """
    async with database.autocommit() as connection:
        rows = await fetch(connection, "topics_called", name.strip())
        if rows:
            return int(rows[0].id)
        like = [row.name for row in await fetch(connection, "topics_like", name.strip(), MOST_SUGGESTED)]
    hint = f"; there is {' · '.join(like)}" if like and name.strip() else ""
    raise TopicNotFound(f"there is no topic {name}{hint}")


async def rename_topic(work: UnitOfWork, topic_id: int, name: str) -> bool | None:
    """Gives a topic another name, which empties its vector: whether that was done; None: there is no such topic.

    It is not when another topic has the name.
    """
    try:
        rows = await work.fetch("rename_topic", topic_id, name)
    except IntegrityError:
        return False
    return True if rows else None
