"""What people judge, as stored: each of these runs in a transaction that holds the atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.memory import MOST_PROPOSED
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAtom:
    """An atom as somebody who judges it must know it; `verdict` is the latest on it, if any."""

    id: int
    type: str
    title: str
    content: str
    status: str
    confidence: float
    raw_confidence: float
    extractor: str
    version: int
    topic_id: int | None
    topic: str | None
    merged_into: int | None
    superseded_by: int | None
    valid_until: datetime | None
    said_at: datetime | None
    closed_at: datetime | None
    reviewed_by: str | None
    verdict: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A quote of a message, or what was given as one (`proven` is false), with the whole text."""

    atom_id: int
    quote: str
    author: str
    channel: str
    sent_at: datetime
    text: str
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How much waits for a person."""

    candidates: int
    unproven: int
    versions: int


async def hold_atoms(work: UnitOfWork) -> None:
    """Until the transaction ends, nobody else writes atoms, and no message is edited or removed."""
    await work.fetch("hold_knowledge", False)
    await work.fetch("hold_atoms")


async def atoms_to_judge(work: UnitOfWork, ids: Sequence[int]) -> dict[int, JudgedAtom]:
    """Those of the atoms that are there."""
    rows = await work.fetch("atoms_to_judge", list(ids))
    return {row.id: JudgedAtom(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name


async def write_verdict(work: UnitOfWork, ids: Sequence[int], verdict: str, status: str, by: str) -> None:
    """Notes what was judged, of the words as they are, and gives the atoms their status."""
    await work.fetch("insert_reviews", list(ids), verdict, by)
    await work.fetch("judge_atoms", list(ids), status, by)


async def free_superseded(work: UnitOfWork, ids: Sequence[int]) -> None:
    """What these atoms had superseded holds again."""
    await work.fetch("free_superseded", list(ids))


async def supersede(work: UnitOfWork, older: int, newer: int, reason: str, at: datetime) -> bool:
    """One atom takes the place of another from a moment on; whether it does."""
    await work.fetch("insert_links", [newer], [older], ["supersedes"], [1.0])
    return bool(await work.fetch("supersede", [newer], [older], [reason], [at], [True]))


async def twin_of(work: UnitOfWork, atom_id: int, type_: str, content: str) -> int | None:
    """Another atom of this type with these words."""
    rows = await work.fetch("same_words", atom_id, type_, content)
    return int(rows[0].id) if rows else None


async def write_words(
    work: UnitOfWork, atom: JudgedAtom, *, type_: str, title: str, content: str, by: str, reason: str
) -> int:
    """Gives an atom another wording at once; the number of it."""
    values = (atom.id, title, content, atom.confidence, by, None, reason, MOST_PROPOSED + 1_000, type_)
    version = int((await work.fetch("propose_version", *values))[0].version)
    await work.fetch("approve_version", atom.id, version, by)
    return version


async def file_under(work: UnitOfWork, atom_id: int, topic: str) -> int:
    """Files an atom under a topic, made where missing; the topic's id."""
    await work.fetch("upsert_topics", [topic])
    topic_id = int((await work.fetch("topics_by_name", [topic]))[0].id)
    await work.fetch("file_atom", atom_id, topic_id)
    return topic_id


async def waiting_atoms(
    database: Database, *, types: Sequence[str] | None, limit: int, but: Sequence[int] = ()
) -> list[int]:
    """Atoms that wait for a person, the surest first."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "waiting_atoms", list(types) if types else None, limit, list(but))
    return [row.id for row in rows]


async def shown_to_judge(database: Database, atom_id: int) -> tuple[JudgedAtom, tuple[Words, ...]] | None:
    """An atom with the words it rests on, or is said to."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "atoms_to_judge", [atom_id])
        words = await fetch(connection, "quotes_to_judge", [atom_id])
    if not rows:
        return None
    return JudgedAtom(**rows[0]._mapping), tuple(Words(**row._mapping) for row in words)  # noqa: SLF001 - public name


async def count_waiting(database: Database) -> Waiting:
    """How much waits for a person."""
    async with database.autocommit() as connection:
        return Waiting(**(await fetch(connection, "count_waiting"))[0]._mapping)  # noqa: SLF001 - public name


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionState:
    """A wording that may be decided on."""

    state: str
    type: str
    content: str


async def version_of(work: UnitOfWork, atom_id: int, version: int) -> VersionState | None:
    """One wording of an atom; None: it has no such."""
    rows = await work.fetch("versions_of_atom", atom_id)
    found = next((row for row in rows if row.version == version), None)
    return found and VersionState(state=found.state, type=found.type, content=found.content)
