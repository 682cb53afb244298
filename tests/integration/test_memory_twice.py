"""The same chat that comes twice, through two sources, adds no atom: evidence grows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from winnow.domain.jobs import Lane
from winnow.pipeline.extract import always, extract_knowledge
from winnow.pipeline.import_files import How, import_files
from winnow.pipeline.score import Scoring, score_messages
from winnow.providers.rules import RuleExtractor

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "json-ld-minutes").glob("*.log"))
COPY = """
WITH copied AS (
    INSERT INTO messages (source, channel, external_id, author, text, sent_at)
    SELECT 'another', channel, external_id, author, text, sent_at FROM messages ORDER BY id RETURNING id
)
INSERT INTO extraction_queue (message_id) SELECT id FROM copied
"""
OUGHT = """
SELECT a.id FROM atoms a JOIN atom_evidence e ON e.atom_id = a.id JOIN messages m ON m.id = e.message_id
GROUP BY a.id HAVING count(*) FILTER (WHERE m.source = 'another') <> count(*) FILTER (WHERE m.source <> 'another')
"""


async def read_all(tools: Extracting, database: Database, sql: asyncpg.Connection) -> None:
    ids = [row["message_id"] for row in await sql.fetch("SELECT message_id FROM extraction_queue ORDER BY 1")]
    await score_messages(Scoring(database=database, units=tools.units), ids)
    await extract_knowledge(tools, ids, lane=Lane.BULK)


async def stored(sql: asyncpg.Connection) -> list[tuple[int, str, str, str, int]]:
    rows = await sql.fetch("SELECT id, type, content, status, version FROM atoms ORDER BY id")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("path", EXAMPLES[:4], ids=lambda path: path.stem)
async def test_a_meeting_imported_through_two_sources(
    path: Path, extracting: Extracting, database: Database, sql: asyncpg.Connection
) -> None:
    tools = replace(extracting, extractor_for=always(RuleExtractor()))
    await import_files(extracting.units, [path], How(timezone=UTC), tick=lambda _: None)
    await read_all(tools, database, sql)
    before = await stored(sql)
    versions = await sql.fetchval("SELECT count(*) FROM atom_versions")
    topics = await sql.fetchval("SELECT count(*) FROM topics")
    assert len(before) > 5
    await sql.execute(COPY)
    await read_all(tools, database, sql)
    assert await stored(sql) == before
    assert await sql.fetchval("SELECT count(*) FROM atom_versions") == versions
    assert await sql.fetchval("SELECT count(*) FROM topics") == topics
    assert await sql.fetch(OUGHT) == [], "each atom rests on both sources alike"
