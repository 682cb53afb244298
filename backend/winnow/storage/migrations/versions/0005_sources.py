"""Sources: who said it and when it was changed, which conversation it is in, which channels are watched, what is gone.

Revision ID: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# `factors` is why a message has its importance, `details` what else its source said of it (domain/messages.py). Scores
# are written with the row: the index of noise would otherwise end cheap (HOT) updates.
MESSAGES = """
ALTER TABLE messages
    ADD COLUMN author_id text, ADD COLUMN edited_at timestamptz, ADD COLUMN details jsonb, ADD COLUMN factors jsonb
"""
NOISE = "CREATE INDEX messages_noise ON messages (id) WHERE signal = 'noise'"
UNSCORED = "CREATE INDEX messages_unscored ON messages (id) WHERE importance IS NULL"
# Which messages are filed under a topic that goes. An index of ranges of pages, for it ends no cheap (HOT) updates,
# but for PostgreSQL 15, which knows no difference.
TOPICS = "CREATE INDEX messages_topic ON messages USING brin (topic_id) WITH (pages_per_range = 32, autosummarize = on)"

# A channel has a row here when its source names it otherwise than by its identity, or somebody has chosen something.
CHANNELS = """
CREATE TABLE channels (
    source text NOT NULL,
    channel text NOT NULL,
    title text NOT NULL DEFAULT '',
    mode text NOT NULL DEFAULT 'on',
    local_only boolean NOT NULL DEFAULT false,
    keep_days integer,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, channel),
    CONSTRAINT channels_mode CHECK (mode IN ('on', 'search', 'off')),
    CONSTRAINT channels_keep_days CHECK (keep_days BETWEEN 1 AND 36500)
)
"""

# Beside the messages, for a row of theirs that is updated twice is dear: docs/adr/0023. `vote`: 1 for, -1 against what
# the parent says.
THREADS = """
CREATE TABLE message_threads (
    message_id bigint PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    conversation_id bigint NOT NULL,
    parent_id bigint REFERENCES messages (id) ON DELETE SET NULL,
    reason text,
    vote smallint NOT NULL DEFAULT 0
);
CREATE INDEX message_threads_conversation ON message_threads (conversation_id);
CREATE INDEX message_threads_parent ON message_threads (parent_id) WHERE parent_id IS NOT NULL;
"""

# What was forgotten on purpose does not come back with the next import. Of its identity only a hash is kept.
FORGOTTEN = """
CREATE TABLE forgotten_messages (
    identity bytea PRIMARY KEY,
    forgotten_at timestamptz NOT NULL DEFAULT now()
)
"""
IDENTITY = """
CREATE FUNCTION public.winnow_identity(source text, channel text, external_id text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.sha256(pg_catalog.convert_to(
    pg_catalog.length(source) || ' ' || pg_catalog.length(channel) || ' ' || source || channel || external_id, 'UTF8'))
"""

IDEMPOTENCY = """
CREATE TABLE idempotency_keys (
    caller text,
    key text,
    request_hash bytea NOT NULL,
    status smallint NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
"""

# How far a file was read when its import was interrupted: that many items of it are stored.
IMPORTS = """
CREATE TABLE import_progress (
    fingerprint bytea PRIMARY KEY,
    items bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
)
"""

# Every message has exactly one state. 3: MOST_FAILURES of storage/extraction.py.
STATES = """
CREATE VIEW public.message_states AS
    SELECT m.id, m.source, m.channel,
           CASE WHEN q.run_id IS NOT NULL THEN 'extracting'
                WHEN q.failures >= 3 THEN 'failed'
                WHEN m.importance IS NULL THEN 'received'
                WHEN m.signal = 'noise' THEN 'noise'
                WHEN q.message_id IS NULL THEN 'extracted'
                WHEN c.mode <> 'on' OR t.message_id IS NULL THEN 'scored'
                ELSE 'waiting' END AS state
    FROM public.messages m
    LEFT JOIN public.extraction_queue q ON q.message_id = m.id
    LEFT JOIN public.message_threads t ON t.message_id = m.id
    LEFT JOIN public.channels c ON c.source = m.source AND c.channel = m.channel
"""


# Models score messages, too, where somebody wants it.
PURPOSES = """
ALTER TABLE llm_usage
    DROP CONSTRAINT llm_usage_purpose,
    ADD CONSTRAINT llm_usage_purpose CHECK (purpose IN ('embed', 'search', 'extract', {more}'check'))
"""


def upgrade() -> None:
    op.execute(PURPOSES.format(more="'score', "))
    op.execute(MESSAGES)
    op.execute(NOISE)
    op.execute(UNSCORED)
    op.execute(TOPICS)
    op.execute(CHANNELS)
    _run(THREADS)
    op.execute(FORGOTTEN)
    op.execute(IDENTITY)
    _run(IDEMPOTENCY)
    op.execute(IMPORTS)
    op.execute(STATES)


def _run(statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("UPDATE llm_usage SET purpose = 'extract' WHERE purpose = 'score'")
    op.execute(PURPOSES.format(more=""))
    op.execute("DROP VIEW public.message_states")
    op.execute("DROP TABLE import_progress, idempotency_keys, forgotten_messages, message_threads, channels")
    op.execute("DROP FUNCTION public.winnow_identity")
    op.execute("DROP INDEX messages_noise, messages_unscored, messages_topic")
    for column in ("author_id", "edited_at", "details", "factors"):
        op.execute(f"ALTER TABLE messages DROP COLUMN {column}")
