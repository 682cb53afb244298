"""A database as use leaves it: knowledge with its evidence, runs, vectors and their index, jobs in every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from pgvector.asyncpg import register_vector

from plugins.pipeline import SteeredEmbedder, add_atom, add_messages, add_topic
from winnow.domain.jobs import Kind
from winnow.errors import ProviderUnavailable, TextRefused
from winnow.pipeline.embed import Embedding, embed_rows
from winnow.pipeline.spaces import Spaces
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIMENSIONS = 256
TEXTS = ("We decided to ship HNSW.", "Who writes the Quokka runbook?", "Анна починит сборку.", "said in passing")

COLUMNS = """
SELECT c.relname AS table, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version' GROUP BY 1
"""
# Whatever makes up the schema, in PostgreSQL's own words; only what the extension brings is left out.
SCHEMA = """
SELECT format('column %s.%s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
              a.attidentity, pg_get_expr(d.adbin, d.adrelid)) AS made
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT format('table %s %s', relname, reloptions) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
UNION ALL SELECT format('%s %s', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index
    WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT format('%s %s', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL SELECT format('view %s %s', c.relname, pg_get_viewdef(c.oid)) FROM pg_class c
    WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT format('configuration %s %s %s %s', c.cfgname, m.maptokentype, m.mapseqno, m.mapdict::regdictionary)
    FROM pg_ts_config c JOIN pg_ts_config_map m ON m.mapcfg = c.oid
    WHERE c.cfgnamespace = 'public'::regnamespace
ORDER BY made
"""


async def fill(url: str) -> None:
    """Fills a migrated database; nothing in it moves by itself."""
    sql = await asyncpg.connect(url)
    await register_vector(sql)
    database = Database(url, pool_size=2)
    try:
        ids = await add_messages(sql, [*TEXTS, "refused by the model", " ", "for better weather", "in hand", "to do"])
        embedder = SteeredEmbedder(dimensions=DIMENSIONS, refusals={"refused": TextRefused()})
        tools = _tools(database, embedder)
        await _add_knowledge(sql, ids)
        for kind, rows in ((Kind.MESSAGES, ids[:6]), (Kind.TOPICS, [1]), (Kind.ATOMS, [1, 2])):
            await embed_rows(tools, kind, rows)
        embedder.errors = [ProviderUnavailable("away")]
        await embed_rows(tools, Kind.MESSAGES, ids[6:7])
        await sql.execute(
            "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, lease_until, token, worker) SELECT "
            "'messages', $1, id, 'leased', now() + interval '1 day', gen_random_uuid(), 'one' FROM embedding_spaces",
            ids[7],
        )
        await database.count("hook_failed")
        assert await states(sql) == {"failed": 1, "skipped": 1, "waiting": 1, "leased": 1}
    finally:
        await database.close()
        await sql.close()


def _tools(database: Database, embedder: SteeredEmbedder) -> Embedding:
    return Embedding(
        store=EmbeddingStore(database),
        spaces=Spaces(database, embedder),
        worker="one",
        lease_seconds=30,
        max_attempts=1,
        patience_seconds=0,
    )


async def _add_knowledge(sql: asyncpg.Connection, ids: Sequence[int]) -> None:
    topic = await add_topic(sql, "Search", "how rows are found")
    decision = await add_atom(sql, "Ship HNSW", "We ship HNSW.", type="decision", topic_id=topic)
    question = await add_atom(sql, "Runbook", "Who writes the Quokka runbook?", type="question", topic_id=topic)
    await add_atom(sql, "Ёж", "Анна починит сборку.", type="action", status="unproven")  # stays without a vector
    await sql.execute("INSERT INTO atom_links VALUES ($1, $2, 'answers', 0.5)", decision, question)
    evidence = "INSERT INTO atom_evidence VALUES ($1, $2, 0, 10, left($3, 10))"
    await sql.execute(evidence, decision, ids[0], TEXTS[0])
    await sql.execute(evidence, question, ids[1], TEXTS[1])
    for state, error in (("done", None), ("failed", "it broke"), ("running", None)):
        await sql.execute(
            "INSERT INTO extraction_runs (source, channel, extractor, state, message_ids, error) "
            "VALUES ('test', '#team', 'rules', $1, $2, $3)",
            state,
            ids[:2],
            error,
        )
    await sql.execute("UPDATE extraction_queue SET run_id = 3 WHERE message_id = $1", ids[2])
    await sql.execute("UPDATE extraction_queue SET failures = 3 WHERE message_id = $1", ids[4])
    await sql.execute("UPDATE atoms SET run_id = 1")
    await sql.execute("UPDATE messages SET topic_id = $1, importance = 0.5, signal = 'signal'", topic)


async def states(sql: asyncpg.Connection) -> dict[str, int]:
    """How many jobs are in each state."""
    return dict(await sql.fetch("SELECT state, count(*) FROM embedding_jobs GROUP BY state"))


async def columns_of(sql: asyncpg.Connection) -> dict[str, list[str]]:
    """The columns of every table."""
    return {row["table"]: row["columns"] for row in await sql.fetch(COLUMNS)}


async def rows_of(sql: asyncpg.Connection, columns: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Every row of these tables, as far as these columns go, vectors included."""
    return {
        table: [row[0] for row in await sql.fetch(f"SELECT ({', '.join(names)})::text FROM public.{table} ORDER BY 1")]
        for table, names in columns.items()
    }


async def schema_of(sql: asyncpg.Connection) -> list[str]:
    """All that was made, in PostgreSQL's own words."""
    return [row["made"] for row in await sql.fetch(SCHEMA)]
