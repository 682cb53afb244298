"""The database's own record of every text's life, kept by triggers that only the chaos suite has.

Winnow knows nothing of them. They stand in the transaction that they tell of: what was rolled back was never told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import asyncpg

from winnow.domain.jobs import Kind
from winnow.storage.embeddables import EMBEDDABLES

What = Literal["born", "changed", "stored", "emptied", "gone", "taken over"]

# What names a row for its writer, before it knows the id and after anything else has been edited.
KEYS = {
    Kind.MESSAGES: "{row}external_id",
    Kind.TOPICS: "{row}name",
    Kind.ATOMS: "{row}type || ' ' || {row}title",
}

TABLE = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.record (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    entity bigint NOT NULL,
    what text NOT NULL,
    body text,
    vector real[],
    worker text,
    deaths integer
);
CREATE FUNCTION chaos.job_taken_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.record (kind, entity, what, worker, deaths)
    VALUES (old.kind, old.entity_id, 'taken over', old.worker, new.deaths);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_taken_over AFTER UPDATE ON embedding_jobs FOR EACH ROW
    WHEN (old.state = 'leased' AND new.state = 'leased' AND old.token IS DISTINCT FROM new.token)
    EXECUTE FUNCTION chaos.job_taken_over();
"""
# The body stays as it is when the column gets another dimension: plpgsql looks at it when it runs.
OF_A_KIND = """
CREATE FUNCTION chaos.{table}_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'DELETE' THEN
        INSERT INTO chaos.record (kind, entity, what, body) VALUES ('{table}', old.id, 'gone', {old});
        RETURN NULL;
    END IF;
    IF tg_op = 'INSERT' THEN
        INSERT INTO chaos.record (kind, entity, what, body) VALUES ('{table}', new.id, 'born', {new});
    ELSIF {old} IS DISTINCT FROM {new} THEN
        INSERT INTO chaos.record (kind, entity, what, body) VALUES ('{table}', new.id, 'changed', {new});
    ELSIF old.embedding IS NOT NULL AND new.embedding IS NULL THEN
        INSERT INTO chaos.record (kind, entity, what, body) VALUES ('{table}', new.id, 'emptied', {new});
    END IF;
    IF new.embedding IS NOT NULL AND (tg_op = 'INSERT' OR old.embedding IS DISTINCT FROM new.embedding) THEN
        INSERT INTO chaos.record (kind, entity, what, body, vector)
        VALUES ('{table}', new.id, 'stored', {new}, new.embedding::real[]);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_changed AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION chaos.{table}_changed();
"""

READ = """
SELECT *, extract(epoch FROM coalesce(pg_xact_commit_timestamp(xmin), at))::float8 AS moment
FROM chaos.record ORDER BY moment, id
"""


# Rows by their embedded text; for topics and atoms it is of two columns, joined by a line break.
INSERTS = {
    Kind.MESSAGES: """
        INSERT INTO messages (source, channel, external_id, text, sent_at)
        SELECT 'chaos', 'tests', gen_random_uuid()::text, text, now() FROM unnest($1::text[]) AS given (text)
        RETURNING id""",
    Kind.TOPICS: """
        INSERT INTO topics (name, description) SELECT split_part(text, E'\\n', 1), split_part(text, E'\\n', 2)
        FROM unnest($1::text[]) AS given (text) RETURNING id""",
    Kind.ATOMS: """
        INSERT INTO atoms (type, title, content)
        SELECT (ARRAY['problem', 'solution', 'decision', 'question'])[row_number() OVER (PARTITION BY text)],
               split_part(text, E'\\n', 1), split_part(text, E'\\n', 2)
        FROM unnest($1::text[]) AS given (text) RETURNING id""",
}


@dataclass(frozen=True)
class Event:
    """Something that happened to a row: when it was committed (`time.time`), what, its text then, the vector it got.

    `worker` is whose lease of the row somebody else has taken over.
    """

    at: float
    kind: Kind
    entity: int
    what: What
    body: str | None = None
    vector: tuple[float, ...] | None = None
    worker: str | None = None


@dataclass(frozen=True)
class Row:
    """A row as it stands: its writer's key, its text, its vector, and the state of its job."""

    kind: Kind
    entity: int
    key: str
    body: str
    vector: tuple[float, ...] | None
    state: str | None
    error: str | None


async def keep_record(database_url: str) -> None:
    """Starts the record in a database of the current schema."""
    sql = await asyncpg.connect(database_url)
    try:
        await sql.execute(TABLE)
        for kind, embeddable in EMBEDDABLES.items():
            texts = {"old": embeddable.text("old."), "new": embeddable.text("new.")}
            await sql.execute(OF_A_KIND.format(table=kind.value, **texts))
    finally:
        await sql.close()


async def read_record(sql: asyncpg.Connection) -> list[Event]:
    """Everything so far, in the order of the commits, before which nobody else could see it.

    A lease that was taken over is told with the text that the row then had.
    """
    events, bodies = [], dict[tuple[str, int], str | None]()
    for row in await sql.fetch(READ):
        key = row["kind"], row["entity"]
        if row["what"] != "taken over":
            bodies[key] = row["body"]
        vector = None if row["vector"] is None else tuple(row["vector"])
        events.append(
            Event(row["moment"], Kind(row["kind"]), row["entity"], row["what"], bodies.get(key), vector, row["worker"])
        )
    return events


async def read_rows(sql: asyncpg.Connection) -> list[Row]:
    """Every row of every kind as it stands."""
    rows = []
    for kind, embeddable in EMBEDDABLES.items():
        found = await sql.fetch(
            f"""
            SELECT t.id, {KEYS[kind].format(row="t.")} AS key, {embeddable.text()} AS body,
                   t.embedding::real[] AS vector, j.state, j.error
            FROM {kind.value} t LEFT JOIN embedding_jobs j ON j.kind = $1 AND j.entity_id = t.id
             AND j.space_id = (SELECT id FROM embedding_spaces WHERE status = 'active')
            ORDER BY t.id
            """,
            kind.value,
        )
        rows += [
            Row(
                kind,
                row["id"],
                row["key"],
                row["body"],
                None if row["vector"] is None else tuple(row["vector"]),
                row["state"],
                row["error"],
            )
            for row in found
        ]
    return rows
