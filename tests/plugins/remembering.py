"""Finds that a test puts together: each from a message of its own, saved as an extraction saves them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from plugins.pipeline import add_messages
from winnow.domain.jobs import Lane
from winnow.domain.knowledge import AtomType, Claim, Evidence, ExtractedAtom, Extraction
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.review import Reviewing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from plugins.pipeline import SteeredExtractor
    from winnow.domain.memory import MemoryRules
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork


@dataclass(frozen=True, kw_only=True)
class Find:
    """One atom to be found; `quoted` false: it is unproven. `message` is what was said, the content if None."""

    content: str
    type: AtomType = AtomType.DECISION
    confidence: float = 0.8
    topic: str | None = "storage"
    quoted: bool = True
    title: str = ""
    message: str | None = None

    def said_in(self, message_id: int, text: str) -> ExtractedAtom:
        whole = Evidence(message_id=message_id, start=0, end=len(text), quote=text)
        return ExtractedAtom(
            type=self.type,
            title=self.title or self.content[:40],
            content=self.content,
            confidence=self.confidence,
            evidence=(whole,) if self.quoted else (),
            claims=() if self.quoted else (Claim(message_id=message_id, quote=f"not {text}"),),
            topic=self.topic,
        )


@dataclass
class Memory:
    """Saves finds, and tells what is stored."""

    extracting: Extracting
    extractor: SteeredExtractor
    sql: asyncpg.Connection

    async def save(self, *finds: Find, channel: str = "#team", **links: Any) -> list[int]:
        """Says, finds and saves them in one run; returns the ids of their messages. `links`: as an Extraction has."""
        texts = [find.content if find.message is None else find.message for find in finds]
        ids = await add_messages(self.sql, texts, channel=channel)
        atoms = tuple(find.said_in(row, text) for find, row, text in zip(finds, ids, texts, strict=True))
        self.extractor.answer = lambda _window: Extraction(atoms=atoms, **links)
        done = await extract_knowledge(self.extracting, ids, lane=Lane.LIVE)
        assert done.done == 1, "the finds were saved by one run"
        return ids

    def by(self, rules: MemoryRules) -> Memory:
        """The same by other rules."""
        return replace(self, extracting=replace(self.extracting, memory=rules))

    async def atoms(self) -> list[dict[str, Any]]:
        """All atoms, by id."""
        return [dict(row) for row in await self.sql.fetch("SELECT * FROM atoms ORDER BY id")]

    async def atom(self, content: str) -> dict[str, Any]:
        """The atom that says this."""
        return dict(await self.sql.fetchrow("SELECT * FROM atoms WHERE content = $1", content))

    async def evidence(self, atom_id: int) -> list[int]:
        """The messages that an atom rests on."""
        rows = await self.sql.fetch(
            "SELECT message_id FROM atom_evidence WHERE atom_id = $1 ORDER BY message_id", atom_id
        )
        return [row["message_id"] for row in rows]

    async def versions(self, atom_id: int) -> list[tuple[int, str, str]]:
        """The wordings of an atom: number, state, content."""
        rows = await self.sql.fetch(
            "SELECT version, state, content FROM atom_versions WHERE atom_id = $1 ORDER BY version", atom_id
        )
        return [tuple(row) for row in rows]

    async def links(self) -> set[tuple[int, str, int]]:
        """All links."""
        rows = await self.sql.fetch("SELECT source_id, type, target_id FROM atom_links")
        return {tuple(row) for row in rows}


@pytest.fixture
def memory(extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection) -> Memory:
    """What is known, over the test's own database."""
    return Memory(replace(extracting, limits=replace(extracting.limits, messages=50)), extractor, sql)


@pytest.fixture
def reviewing(units: UnitsOfWork, database: Database) -> Reviewing:
    """What reviewing needs; Rita reviews."""
    return Reviewing(units=units, database=database, by="Rita")


async def ids_of(memory: Memory, contents: Sequence[str]) -> list[int]:
    """The ids of the atoms that say this."""
    return [(await memory.atom(content))["id"] for content in contents]
