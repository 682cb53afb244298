"""Atoms as people read them: with the words they rest on, their neighbours, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - read at run time by pydantic users of the records
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from winnow.domain.knowledge import LinkType
from winnow.storage.atom_filter import Order, Place
from winnow.storage.conditions import channel_places, fetch_chosen
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Row

    from winnow.storage.atom_filter import AtomFilter
    from winnow.storage.engine import Database

REPLIES = frozenset({LinkType.ANSWERS, LinkType.SOLVES})


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
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRecord:
    """Words that an extractor said a message holds, and that it does not."""

    message_id: int
    quote: str
    author: str
    source: str
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
    other_type: str = ""
    other_said_at: datetime | None = None
    other_valid_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomRecord:
    """An atom with the words it rests on and its neighbours.

    Attributes:
        confidence, raw_confidence: 0 to 1; what became of the extractor's own, and that one.
        extractor: what made it: `rules`, `ollama:qwen3:8b`.
        said_at: when its first words were said; it holds from then until `valid_until`, when `superseded_by` took over.
        closed_at: when a person said that it came to an end, and `closed_because` why.
        merged_into: the atom that it says the same as, and lives on in.
        proposals: other wordings of it that wait for a person.
    """

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
    claims: tuple[ClaimRecord, ...] = ()
    topic_id: int | None = None
    raw_confidence: float | None = None
    extractor: str = "rules"
    said_at: datetime | None = None
    version: int = 1
    proposals: int = 0
    valid_until: datetime | None = None
    superseded_by: int | None = None
    superseded_by_title: str | None = None
    superseded_because: str | None = None
    closed_at: datetime | None = None
    closed_because: str | None = None
    merged_into: int | None = None
    merged_into_title: str | None = None
    reviewed_at: datetime | None = None
    reviewed_by: str | None = None

    @property
    def superseded(self) -> bool:
        """Whether it holds no more."""
        return self.valid_until is not None

    @property
    def replies(self) -> tuple[int, ...]:
        """The atoms that answer or solve it."""
        return tuple(link.other_id for link in self.links if not link.outgoing and link.type in REPLIES)

    @property
    def is_reply(self) -> bool:
        """Whether it answers or solves another one."""
        return any(link.outgoing and link.type in REPLIES for link in self.links)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomPage:
    """Some atoms of a list; `next` is where the page after begins, None at the end."""

    items: tuple[AtomRecord, ...]
    next: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomCounts:
    """How many atoms of a filter there are."""

    total: int
    types: Mapping[str, int]
    statuses: Mapping[str, int]


async def places_of(database: Database, channel: str, *, source: str | None = None) -> tuple[tuple[str, str], ...]:
    """The channels that a name stands for, by identity or title, as pairs of source and channel."""
    async with database.autocommit() as connection:
        return tuple(await channel_places(connection, channel, source=source))


async def list_atoms(
    database: Database,
    wanted: AtomFilter,
    *,
    order: Order = Order.NEWEST,
    after: Place | None = None,
    limit: int,
) -> AtomPage:
    """A page of the atoms of a filter, those after a place, in its order."""
    async with database.autocommit() as connection:
        where = await wanted.conditions(connection, 1)
        stretches = [where.and_also(name, *values) for name, values in after.stretches()] if after else [where]
        rows: list[Row[Any]] = []
        for stretch in stretches:
            if len(rows) <= limit:
                rows += await fetch_chosen(connection, f"atoms_{order.value}", limit + 1 - len(rows), where=stretch)
    found = await atoms_by_id(database, [row.id for row in rows[:limit]])
    last = rows[limit - 1] if len(rows) > limit else None
    return AtomPage(
        items=tuple(found[row.id] for row in rows[:limit] if row.id in found),
        next=Place(order=order, id=last.id, said_at=last.said_at, confidence=last.confidence) if last else None,
    )


async def count_atoms(database: Database, wanted: AtomFilter) -> AtomCounts:
    """How many there are, by type and by status, the most frequent first."""
    async with database.autocommit() as connection:
        where = await wanted.conditions(connection, 0)
        rows = await fetch_chosen(connection, "count_chosen_atoms", where=where)
    types: dict[str, int] = {}
    statuses: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (-row.number, row.type, row.status)):
        types[row.type] = types.get(row.type, 0) + row.number
        statuses[row.status] = statuses.get(row.status, 0) + row.number
    return AtomCounts(total=sum(types.values()), types=types, statuses=statuses)


async def walk_atoms(database: Database, wanted: AtomFilter, *, page: int) -> AsyncIterator[list[AtomRecord]]:
    """All atoms of a filter in the order of their ids, page by page.

    No connection is held and no snapshot kept while somebody works on a page, however long that takes.
    """
    async with database.autocommit() as connection:
        where = await wanted.conditions(connection, 2)
    last = 0
    while True:
        async with database.autocommit() as connection:
            rows = await fetch_chosen(connection, "atoms_by_id_after", last, page, where=where)
        if not rows:
            return
        ids = [row.id for row in rows]
        found = await atoms_by_id(database, ids)
        yield [found[identity] for identity in ids if identity in found]
        last = ids[-1]


async def atoms_by_id(database: Database, ids: Sequence[int]) -> dict[int, AtomRecord]:
    """The atoms of these ids that exist, with evidence and with links to active ones."""
    if not ids:
        return {}
    async with database.autocommit() as connection:
        rows = await fetch(connection, "atoms_found", list(ids))
        links: dict[int, list[LinkRecord]] = {}
        for link in await fetch(connection, "links_of_atoms", list(ids)):
            values = dict(link._mapping)  # noqa: SLF001 - SQLAlchemy's public name
            links.setdefault(values.pop("id"), []).append(LinkRecord(**values))
    return {row.id: _atom(row, links.get(row.id, ())) for row in rows}


def _atom(row: Row[Any], links: Sequence[LinkRecord]) -> AtomRecord:
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    for name in ("confidence", "raw_confidence"):
        values[name] = None if values[name] is None else round(values[name], 4)
    values["evidence"] = tuple(QuoteRecord(**_dated(quote)) for quote in orjson.loads(row.evidence))
    values["claims"] = tuple(ClaimRecord(**_dated(claim)) for claim in orjson.loads(row.claims))
    return AtomRecord(**values, links=tuple(links))


def _dated(quote: dict[str, Any]) -> dict[str, Any]:
    return quote | {"sent_at": datetime.fromisoformat(quote["sent_at"])}
