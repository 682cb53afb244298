"""Runs, people, comparisons and edits at once: nobody waits in a circle, and what is the same is one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from plugins.pipeline import SteeredExtractor, add_messages, incoming
from plugins.remembering import Find, Memory
from winnow.domain.jobs import Kind, Lane
from winnow.domain.knowledge import ExtractedLink, Extraction, LinkType
from winnow.errors import InvalidInput
from winnow.pipeline.compare import Comparing, compare_atoms
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.extract import always, extract_knowledge
from winnow.pipeline.forget import by_ids, forget
from winnow.pipeline.ingest import ingest
from winnow.pipeline.review import Wording, accept, edit, merge, reject, supersede

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    import asyncpg
    import pytest

    from plugins.pipeline import SteeredEmbedder
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.review import Reviewing
    from winnow.storage.engine import Database

DAY = datetime(2025, 6, 1, tzinfo=UTC)
CIRCLES = """
SELECT count(*) FROM atoms a LEFT JOIN atoms b ON b.id = a.merged_into
WHERE a.status = 'merged' AND (b.id IS NULL OR b.status = 'merged')
   OR a.status <> 'merged' AND a.merged_into IS NOT NULL
"""
BASELESS = """
SELECT count(*) FROM atoms a WHERE a.status <> 'merged'
AND NOT EXISTS (SELECT FROM atom_evidence e WHERE e.atom_id = a.id)
"""


def own(memory: Memory) -> Memory:
    """The same memory, with an extractor of its own."""
    extractor = SteeredExtractor()
    return replace(memory, extractor=extractor, extracting=replace(memory.extracting, extractor_for=always(extractor)))


async def test_runs_that_find_the_same_at_once_store_it_once(memory: Memory, sql: asyncpg.Connection) -> None:
    said = [f"We will use store {number} for part {number}" for number in range(5)]
    prepared = []
    for order in range(8):
        texts = [text.upper() if order % 2 else f"{text}!" for text in (said if order % 3 else said[::-1])]
        ids = await add_messages(sql, texts, channel=f"#{order}")
        atoms = tuple(Find(content=text).said_in(row, text) for row, text in zip(ids, texts, strict=True))
        one = own(memory)
        one.extractor.answer = lambda _window, atoms=atoms: Extraction(atoms=atoms)  # type: ignore[misc]
        prepared.append((one, ids))
    done = await asyncio.gather(*(extract_knowledge(one.extracting, ids, lane=Lane.LIVE) for one, ids in prepared))
    assert sum(one.done for one in done) == 8
    assert await sql.fetchval("SELECT count(*) FROM atoms") == 5
    assert await sql.fetchval("SELECT count(*) FROM atom_evidence") == 40


async def test_all_who_change_what_is_known_get_on(
    memory: Memory,
    reviewing: Reviewing,
    database: Database,
    *,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedder, "vector", lambda _text: np.ones(8, dtype=np.float32))
    units, sql, chance = memory.extracting.units, memory.sql, random.Random(7)
    texts = [f"the part {number} is kept in stores of server {number}" for number in range(10)]
    stored = await ingest(units, [incoming(number, text) for number, text in enumerate(texts)], lane=Lane.LIVE)

    def found(window: Any) -> Extraction:
        atoms = tuple(Find(content=message.text).said_in(message.id, message.text) for message in window.messages)
        links = tuple(
            ExtractedLink(source=place, target=0, type=LinkType.SUPERSEDES, confidence=0.5)
            for place in range(1, len(atoms))
        )
        return Extraction(atoms=atoms, links=links)

    async def read() -> None:
        one = own(memory)
        one.extractor.answer = found
        await extract_knowledge(one.extracting, stored.ids, lane=Lane.LIVE)

    async def change(step: int) -> None:
        numbers = chance.sample(range(10), 3)
        edits = [
            incoming(number, f"{texts[(number + step) % 10]}!", edited_at=DAY + timedelta(hours=step))
            for number in numbers
        ]
        await ingest(units, edits, lane=Lane.LIVE)

    async def people() -> None:
        ids = [row["id"] for row in await database_ids(database)]
        if len(ids) < 3:
            return
        one, other, third = chance.sample(ids, 3)
        acts: list[Coroutine[Any, Any, Any]] = [
            accept(reviewing, [one, other]),
            reject(reviewing, [other]),
            merge(reviewing, one, third),
            supersede(reviewing, third, other),
            edit(reviewing, one, Wording(title=f"title {one}")),
        ]
        for act in acts:
            try:
                await act
            except InvalidInput:  # it is gone, merged or replaced by now: told, and nothing is changed
                continue

    async def compare() -> None:
        ids = [row["id"] for row in await database_ids(database)]
        await embed_rows(embedding, Kind.ATOMS, ids)
        await compare_atoms(Comparing(database=database, units=units), ids)

    for step in range(6):
        work = [read(), read(), change(2 * step), change(2 * step + 1), people(), people(), compare(), read()]
        chance.shuffle(work)
        ended = await asyncio.gather(*work, return_exceptions=True)
        assert [one for one in ended if isinstance(one, BaseException)] == []
    await read()
    errors = {row["error"] for row in await sql.fetch("SELECT error FROM extraction_runs WHERE state = 'failed'")}
    assert errors == set(), "no run met a lock that it could not get"
    assert await sql.fetchval(CIRCLES) == 0
    assert await sql.fetchval(BASELESS) == 0
    await forget(units, database, by_ids(stored.ids))
    assert await sql.fetchval("SELECT count(*) FROM atoms") == 0, "nothing outlives the messages"


async def database_ids(database: Database) -> Any:
    async with database.autocommit() as connection:
        rows = await connection.exec_driver_sql("SELECT id FROM atoms ORDER BY id")
        return rows.mappings().all()
