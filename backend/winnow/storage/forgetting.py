"""Messages go, with everything that rests on them or names them: a batch in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from winnow.storage.leftovers import delete_leftovers, weigh_leftovers
from winnow.storage.named import fetch
from winnow.storage.threads import voted_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork

REMOVED = "a message of it was removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which messages: the statement that finds them, page by page, and what it is given."""

    statement: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How much was removed.

    Attributes:
        messages: with their texts.
        evidence: quotes from them, and those of atoms that went.
        atoms: that rested on nothing else, or had words that only these messages said.
        atoms_kept: that rest on other messages as well, and have no words that only these said.
        links: of the atoms that went.
        topics: that nothing is filed under any more.
        vectors: of messages, atoms and topics, in all three columns.
        ledger_rows: in embedding_jobs, extraction_queue and message_threads.
        run_errors: of extraction runs that had read one of them, overwritten.
    """

    messages: int = 0
    evidence: int = 0
    atoms: int = 0
    atoms_kept: int = 0
    links: int = 0
    topics: int = 0
    vectors: int = 0
    ledger_rows: int = 0
    run_errors: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who said so many of the messages: the name as shown, and the source's id if it tells."""

    author: str
    author_id: str | None
    messages: int


async def authors_of(database: Database, ids: Sequence[int], *, most: int) -> tuple[Author, ...]:
    """Who said these messages, the busiest first."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "authors_of", list(ids), most)
    return tuple(Author(**row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name


async def choose(database: Database, selection: Selection, *, after: int, limit: int) -> list[int]:
    """The first of the selected messages behind an id, by id."""
    async with database.autocommit() as connection:
        return [row.id for row in await fetch(connection, selection.statement, *selection.values, after, limit)]


async def weigh(database: Database, ids: Sequence[int]) -> Removed:
    """What would be removed with these messages."""
    leftovers = await weigh_leftovers(database, ids)
    async with database.autocommit() as connection:
        row = (await fetch(connection, "weigh_chosen", list(ids), REMOVED, leftovers.atoms))[0]
    return Removed(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


async def remember(database: Database, ids: Sequence[int]) -> None:
    """No message of these identities is stored again: of each a hash is kept."""
    async with database.transaction() as connection:
        await fetch(connection, "wait_for_writers")
        await fetch(connection, "remember_forgotten", list(ids))


async def remember_identities(database: Database, source: str, channel: str, external_ids: Sequence[str]) -> None:
    """The same of messages that may not be stored, or not yet."""
    async with database.transaction() as connection:
        await fetch(connection, "wait_for_writers")
        await fetch(connection, "remember_forgotten_identities", source, channel, list(external_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What went with a batch, and what that touches.

    Attributes:
        removed: `atoms_kept` is not counted: more batches may come.
        topic_ids: topics that may be empty now.
        kept_ids: atoms that rest on other messages as well.
        gone_ids: atoms that went.
        voted_on: messages that a vote is gone of.
        queued: messages that stay, and are read again, for an atom went that rests on them, too.
    """

    removed: Removed
    topic_ids: AbstractSet[int] = frozenset()
    kept_ids: AbstractSet[int] = frozenset()
    gone_ids: AbstractSet[int] = frozenset()
    voted_on: Sequence[int] = ()
    queued: AbstractSet[int] = frozenset()


async def delete_messages(work: UnitOfWork, ids: Sequence[int], *, queued: AbstractSet[int] = frozenset()) -> Deleted:
    """Removes messages with all that rests on them, but for topics.

    `queued` are those that batches before have queued: they were not there when it began, and are not counted.
    """
    await work.fetch("lock_channels_of", list(ids))
    await work.fetch("hold_knowledge", True)
    locked = {row.id for row in await work.fetch("lock_messages", list(ids))}
    here = [row for row in ids if row in locked]
    if not here:
        return Deleted(removed=Removed())
    topics = {row.topic_id for row in await work.fetch("topics_of_messages", here)}
    voted_on = await voted_by(work, here)
    await work.fetch("abandon_runs", here, REMOVED)
    leftovers, again = await delete_leftovers(work, here)
    knowledge = (await work.fetch("delete_knowledge", here, leftovers.atoms))[0]
    gone = (await work.fetch("delete_messages", here, REMOVED))[0]
    removed = Removed(
        messages=gone.messages,
        evidence=knowledge.evidence,
        atoms=knowledge.atoms,
        links=knowledge.links,
        vectors=gone.vectors + knowledge.vectors,
        ledger_rows=gone.ledger_rows + knowledge.jobs - len(queued & set(here)),
        run_errors=gone.run_errors,
    )
    return Deleted(
        removed=removed,
        topic_ids=topics | set(knowledge.topic_ids),
        kept_ids=set(knowledge.kept_ids),
        gone_ids=set(knowledge.gone_ids),
        voted_on=voted_on,
        queued=again,
    )


async def delete_empty_topics(work: UnitOfWork, ids: Sequence[int]) -> Removed:
    """Removes those of the topics that nothing is filed under any more."""
    await work.fetch("hold_knowledge", True)
    gone = (await work.fetch("delete_empty_topics", list(ids)))[0]
    return Removed(topics=gone.topics, vectors=gone.vectors, ledger_rows=gone.jobs)
