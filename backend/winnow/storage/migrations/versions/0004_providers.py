"""Providers: who makes vectors and answers, what it costs, how fast it may go; and vectors of three spaces at once.

Revision ID: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# kind -> the SQL of its embedded text, as in storage/embeddables.py at this revision
TEXTS = {"messages": "text", "topics": "name || E'\\n' || description", "atoms": "title || E'\\n' || content"}

# `api_key` is encrypted, and `urls` are of servers that have the same models: the first is asked while it is well.
PROVIDERS = """
CREATE TABLE llm_providers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    kind text NOT NULL,
    urls text[] NOT NULL DEFAULT '{}',
    embedding_model text,
    chat_model text,
    api_key bytea,
    active boolean NOT NULL DEFAULT true,
    document_prefix text,
    query_prefix text,
    requests_per_minute integer,
    tokens_per_minute integer,
    at_once smallint,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    checked_at timestamptz,
    check_passed boolean,
    check_said text,
    CONSTRAINT llm_providers_name UNIQUE (name),
    CONSTRAINT llm_providers_kind CHECK (kind IN ('local', 'ollama', 'openai')),
    CONSTRAINT llm_providers_limits CHECK (requests_per_minute > 0 AND tokens_per_minute > 0 AND at_once > 0)
)
"""

# How fast a server may be asked, shared by all processes: docs/adr/0019. Nothing is lost with it in a crash.
RATES = """
CREATE UNLOGGED TABLE provider_rates (
    name text PRIMARY KEY,
    requests_per_minute double precision,
    tokens_per_minute double precision,
    requests_at timestamptz,
    tokens_at timestamptz,
    open_at timestamptz,
    spacing_seconds double precision NOT NULL DEFAULT 0,
    refused_at timestamptz,
    refused_since timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now()
)
"""

# What was a batch of vectors is now any use of a model: searches and extractions are paid for, too, and it is kept.
USAGE = """
ALTER TABLE embedding_batches RENAME TO llm_usage;
ALTER INDEX embedding_batches_pkey RENAME TO llm_usage_pkey;
ALTER INDEX embedding_batches_finished RENAME TO llm_usage_finished;
ALTER SEQUENCE embedding_batches_id_seq RENAME TO llm_usage_id_seq;
ALTER TABLE llm_usage RENAME CONSTRAINT embedding_batches_space_id_fkey TO llm_usage_space_id_fkey;
ALTER TABLE llm_usage
    ALTER COLUMN kind DROP NOT NULL, ALTER COLUMN space_id DROP NOT NULL,
    ADD COLUMN purpose text NOT NULL DEFAULT 'embed', ADD COLUMN run text,
    ADD COLUMN provider_id uuid,
    ADD COLUMN provider text NOT NULL DEFAULT '', ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN requests integer NOT NULL DEFAULT 0, ADD COLUMN texts integer NOT NULL DEFAULT 0,
    ADD COLUMN estimated boolean NOT NULL DEFAULT false, ADD COLUMN output_tokens bigint,
    ADD COLUMN price_usd numeric(18, 9),
    ADD CONSTRAINT llm_usage_purpose CHECK (purpose IN ('embed', 'search', 'extract', 'check'));
"""

# Embedding is a part of what is noted now. Not in its rate: what brought no vector, and tokens that no server counted.
RATE = """
CREATE OR REPLACE VIEW public.embedding_rate AS
    SELECT b.kind, date_trunc('minute', b.finished_at) AS minute, sum(b.embedded) AS embedded, sum(b.saved) AS saved,
           sum({tokens}) AS tokens, count(*) AS batches, count(DISTINCT b.worker) AS workers
    FROM public.llm_usage b WHERE {which}b.finished_at > now() - interval '1 hour' GROUP BY 1, 2
"""

# One space of each status but 'retired'. `fingerprint`: the vector of a fixed sentence, by which a server that says it
# has the same model is known to have it.
SPACES = """
ALTER TABLE embedding_spaces
    ADD COLUMN provider_id uuid REFERENCES llm_providers (id) ON DELETE SET NULL, ADD COLUMN fingerprint real[],
    DROP CONSTRAINT embedding_spaces_status,
    ADD CONSTRAINT embedding_spaces_status CHECK (status IN ('building', 'active', 'previous', 'retired'));
DROP INDEX embedding_spaces_active;
CREATE UNIQUE INDEX embedding_spaces_roles ON embedding_spaces (status) WHERE status <> 'retired';
"""

# Vectors of the space that is being built, and of the one before: docs/adr/0018.
COLUMNS = """
ALTER TABLE {table}
    ADD COLUMN embedding_next vector, ADD COLUMN embedded_characters_next integer,
    ADD COLUMN embedding_prev vector, ADD COLUMN embedded_characters_prev integer
"""

TEXT_CHANGED = """
CREATE OR REPLACE FUNCTION public.winnow_text_changed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    new.embedding := NULL;
    new.embedded_characters := NULL;
{more}    new.text_changed_at := pg_catalog.now();
    DELETE FROM public.embedding_jobs WHERE kind = tg_argv[0] AND entity_id = new.id;
    PERFORM public.winnow_wake(tg_argv[0]);
    RETURN new;
END $$
"""
MORE = """    new.embedding_next := NULL;
    new.embedded_characters_next := NULL;
    new.embedding_prev := NULL;
    new.embedded_characters_prev := NULL;
"""


def upgrade() -> None:
    op.execute(PROVIDERS)
    op.execute(RATES)
    _run(USAGE)
    told = "CASE WHEN NOT b.estimated THEN nullif(b.tokens, 0) END"
    op.execute(RATE.format(tokens=told, which="b.purpose = 'embed' AND b.embedded > 0 AND "))
    _run(SPACES)
    for table in TEXTS:
        op.execute(COLUMNS.format(table=table))
    op.execute(TEXT_CHANGED.format(more=MORE))


def _run(statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            op.execute(statement)


# A space that is not finished, or was left, is nothing to the older Winnow.
DOWN = """
DELETE FROM embedding_jobs j USING embedding_spaces s WHERE s.id = j.space_id AND s.status <> 'active';
UPDATE embedding_spaces SET status = 'retired' WHERE status <> 'active';
DROP INDEX embedding_spaces_roles;
CREATE UNIQUE INDEX embedding_spaces_active ON embedding_spaces (status) WHERE status = 'active';
ALTER TABLE embedding_spaces
    DROP COLUMN provider_id, DROP COLUMN fingerprint,
    DROP CONSTRAINT embedding_spaces_status,
    ADD CONSTRAINT embedding_spaces_status CHECK (status IN ('building', 'active', 'retired'));
DELETE FROM llm_usage WHERE purpose <> 'embed' OR embedded = 0 OR kind IS NULL OR space_id IS NULL;
ALTER TABLE llm_usage
    DROP CONSTRAINT llm_usage_purpose,
    DROP COLUMN purpose, DROP COLUMN run, DROP COLUMN provider_id, DROP COLUMN provider, DROP COLUMN model,
    DROP COLUMN requests, DROP COLUMN texts, DROP COLUMN estimated, DROP COLUMN output_tokens, DROP COLUMN price_usd,
    ALTER COLUMN kind SET NOT NULL, ALTER COLUMN space_id SET NOT NULL;
ALTER TABLE llm_usage RENAME CONSTRAINT llm_usage_space_id_fkey TO embedding_batches_space_id_fkey;
ALTER SEQUENCE llm_usage_id_seq RENAME TO embedding_batches_id_seq;
ALTER INDEX llm_usage_finished RENAME TO embedding_batches_finished;
ALTER INDEX llm_usage_pkey RENAME TO embedding_batches_pkey;
ALTER TABLE llm_usage RENAME TO embedding_batches;
DROP TABLE provider_rates;
DROP TABLE llm_providers;
"""


def downgrade() -> None:
    op.execute(TEXT_CHANGED.format(more=""))
    for table in TEXTS:
        for end in ("next", "prev"):
            op.execute(f"ALTER TABLE {table} DROP COLUMN embedding_{end}, DROP COLUMN embedded_characters_{end}")
    op.execute(RATE.format(tokens="b.tokens", which=""))
    _run(DOWN)
