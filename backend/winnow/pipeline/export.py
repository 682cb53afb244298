"""All that is known, as a file: JSON Lines for programs, Markdown for people. Written as it is read, page by page."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

from winnow.pipeline.export_markdown import Sections, as_markdown
from winnow.storage.atom_filter import AtomFilter
from winnow.storage.reading import walk_atoms
from winnow.storage.reading_in_full import versions_of
from winnow.storage.reading_topics import topics_by_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.storage.engine import Database
    from winnow.storage.reading import AtomRecord

SCHEMA = 1
PAGE = 200
# Signs that would steer a terminal or turn a line around, which JSON may write as numbers.
STEERING = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


class Format(StrEnum):
    """What is written."""

    JSONL = "jsonl"
    MARKDOWN = "markdown"

    @property
    def media_type(self) -> str:
        """As HTTP names it."""
        return {Format.JSONL: "application/jsonl", Format.MARKDOWN: "text/markdown; charset=utf-8"}[self]

    @property
    def ending(self) -> str:
        """Of a file's name."""
        return {Format.JSONL: "jsonl", Format.MARKDOWN: "md"}[self]


@dataclass(slots=True, kw_only=True)
class Export:
    """What is to be written, and how much of it has been: `atoms`."""

    format: Format = Format.JSONL
    by: Sections = Sections.TYPE
    chosen: AtomFilter = field(default_factory=AtomFilter)
    atoms: int = 0


async def export(database: Database, wanted: Export) -> AsyncIterator[bytes]:
    """The file, piece by piece, at least one. What changes while it is read may be in it or not."""
    if wanted.format is Format.JSONL:
        async for piece in _lines(database, wanted):
            yield piece
        return
    async for text, atoms in as_markdown(database, wanted.chosen, by=wanted.by):
        wanted.atoms += atoms
        yield text.encode()


async def _lines(database: Database, wanted: Export) -> AsyncIterator[bytes]:
    """First a line that says what this is, last one that says that it is whole; a topic before its first atom."""
    yield _line("winnow.export", schema=SCHEMA, made_at=datetime.now(UTC))
    topics: set[int] = set()
    async for atoms in walk_atoms(database, wanted.chosen, page=PAGE):
        new = {atom.topic_id for atom in atoms if atom.topic_id is not None} - topics
        found = await topics_by_id(database, sorted(new))
        versions = await versions_of(database, [atom.id for atom in atoms])
        lines = [_line("topic", id=one.id, name=one.name, description=one.description) for one in found.values()]
        lines += [_line("atom", **_values(atom), versions=versions.get(atom.id, [])) for atom in atoms]
        topics |= new
        wanted.atoms += len(atoms)
        yield b"".join(lines)
    yield _line("end", topics=len(topics), atoms=wanted.atoms)


def _values(atom: AtomRecord) -> dict[str, object]:
    """Its fields; what is inside of them orjson writes as it is, without copies."""
    return {one.name: getattr(atom, one.name) for one in fields(atom) if not one.name.endswith("_title")}


def _line(record: str, **values: object) -> bytes:
    written = orjson.dumps({"record": record, **values}).decode()
    return f"{written.translate(STEERING)}\n".encode()
