"""One atom with all that is known of it: the talk around its words, every wording, its run, what people judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read at run time by pydantic users of the records
from typing import TYPE_CHECKING

from winnow.errors import AtomNotFound
from winnow.storage.named import fetch
from winnow.storage.reading import atoms_by_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.engine import Database
    from winnow.storage.reading import AtomRecord

# Of an atom that very many messages prove, the talk around the first ones is shown.
MOST_TALKS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenRecord:
    """A message of a conversation; `quoted` says that the atom rests on it, `parent_id` which message it answers."""

    id: int
    author: str
    text: str
    sent_at: datetime
    quoted: bool
    parent_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecord:
    """A conversation, as far as it was said around the words of an atom; `id` is its first message's."""

    id: int
    source: str
    channel: str
    channel_title: str
    messages: tuple[SpokenRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A wording that an atom has (`current`), had (`past`), may get (`proposed`) or shall not (`rejected`)."""

    atom_id: int
    version: int
    state: str
    type: str
    title: str
    content: str
    confidence: float
    made_by: str
    run_id: int | None
    reason: str
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The run that found an atom: by which extractor, in which version of it."""

    id: int
    extractor: str
    version: str
    state: str
    source: str
    channel: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRecord:
    """What a person judged of an atom, and the title and confidence it had then."""

    verdict: str
    reviewer: str
    created_at: datetime
    title: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomInFull:
    """An atom with all that is known of it."""

    atom: AtomRecord
    conversations: tuple[ConversationRecord, ...]
    versions: tuple[VersionRecord, ...]
    run: RunRecord | None
    reviews: tuple[ReviewRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAtom:
    """An atom by its name."""

    id: int
    type: str
    title: str


async def atom_in_full(database: Database, atom_id: int, *, around: int) -> AtomInFull:
    """One atom; of its conversations `around` messages before and after each that it rests on.

    Raises:
        AtomNotFound: there is none of this id.
    """
    atom = (await atoms_by_id(database, [atom_id])).get(atom_id)
    if atom is None:
        raise AtomNotFound(f"there is no atom {atom_id}")
    said = [quote.message_id for quote in atom.evidence] + [claim.message_id for claim in atom.claims]
    async with database.autocommit() as connection:
        runs = await fetch(connection, "run_of_atom", atom_id)
        reviews = await fetch(connection, "reviews_of_atom", atom_id)
    return AtomInFull(
        atom=atom,
        conversations=await conversations_around(database, list(dict.fromkeys(said))[:MOST_TALKS], around=around),
        versions=tuple((await versions_of(database, [atom_id])).get(atom_id, ())),
        run=RunRecord(**runs[0]._mapping) if runs else None,  # noqa: SLF001 - SQLAlchemy's public name
        reviews=tuple(ReviewRecord(**row._mapping) for row in reviews),  # noqa: SLF001 - the same
    )


async def conversations_around(
    database: Database, message_ids: Sequence[int], *, around: int
) -> tuple[ConversationRecord, ...]:
    """What was said around these messages, conversation by conversation, in the order it was said."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "conversations_around", list(message_ids), around)
    talks: dict[int, list[SpokenRecord]] = {}
    for row in rows:
        spoken = SpokenRecord(
            id=row.id, author=row.author, text=row.text, sent_at=row.sent_at, quoted=row.quoted, parent_id=row.parent_id
        )
        talks.setdefault(row.conversation_id, []).append(spoken)
    places = {row.conversation_id: row for row in rows}
    return tuple(
        ConversationRecord(
            id=identity,
            source=places[identity].source,
            channel=places[identity].channel,
            channel_title=places[identity].channel_title,
            messages=tuple(messages),
        )
        for identity, messages in talks.items()
    )


async def versions_of(database: Database, ids: Sequence[int]) -> dict[int, list[VersionRecord]]:
    """Every wording of these atoms that was written down, the oldest first; none of one that never had another."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "versions_of_atoms", list(ids))
    found: dict[int, list[VersionRecord]] = {}
    for row in rows:
        found.setdefault(row.atom_id, []).append(VersionRecord(**row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
    return found


async def atoms_of_message(database: Database, message_id: int) -> list[NamedAtom]:
    """The active atoms that quote a message."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "atoms_of_message", message_id)
    return [NamedAtom(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name
