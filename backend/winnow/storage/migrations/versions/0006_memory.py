"""Memory: runs with their accounts, atoms with their versions, what a person judged, and topics known again by terms.

Revision ID: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# `window_hash` is of all that the extractor saw, and of the extractor: a window that was read is not paid for again.
# `asked` is who wanted it: quiet and threshold are the sweeper's. An abandoned run is nobody's fault: a message of it
# was edited or removed meanwhile. `context_ids` are messages that were shown beside those that were read: an answer
# that is kept may hold their words, too.
RUNS = """
ALTER TABLE extraction_runs
    ADD COLUMN window_hash bytea, ADD COLUMN extractor_version text NOT NULL DEFAULT '',
    ADD COLUMN asked text NOT NULL DEFAULT 'hand', ADD COLUMN unproven integer NOT NULL DEFAULT 0,
    ADD COLUMN requests integer NOT NULL DEFAULT 0, ADD COLUMN input_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN output_tokens bigint NOT NULL DEFAULT 0, ADD COLUMN cost_usd numeric, ADD COLUMN answer text,
    ADD COLUMN context_ids bigint[] NOT NULL DEFAULT '{}',
    DROP CONSTRAINT extraction_runs_state,
    ADD CONSTRAINT extraction_runs_state CHECK (state IN ('running', 'done', 'failed', 'cancelled', 'abandoned')),
    ADD CONSTRAINT extraction_runs_asked CHECK (asked IN ('quiet', 'threshold', 'hand', 'retry'))
"""
RUNS_BY_WINDOW = "CREATE INDEX extraction_runs_window ON extraction_runs (window_hash) WHERE state = 'done'"
# For who edits or removes messages, and for who looks whether a channel's last run failed a moment ago.
RUNS_BY_MESSAGE = "CREATE INDEX extraction_runs_messages ON extraction_runs USING gin (message_ids)"
RUNS_BY_CONTEXT = """
CREATE INDEX extraction_runs_context ON extraction_runs USING gin (context_ids) WHERE answer IS NOT NULL
"""
RUNS_FAILED = "CREATE INDEX extraction_runs_failed ON extraction_runs (finished_at) WHERE state = 'failed'"

# Messages of channels that nothing is extracted from wait aside, so that who looks for work does not walk over them.
QUEUE = "ALTER TABLE extraction_queue ADD COLUMN parked boolean NOT NULL DEFAULT false"
PARKED = """
UPDATE extraction_queue q SET parked = true FROM messages m JOIN channels c USING (source, channel)
WHERE m.id = q.message_id AND c.mode <> 'on'
"""
DUE = """
CREATE INDEX extraction_queue_due ON extraction_queue (message_id) WHERE run_id IS NULL AND NOT parked AND failures < 3
"""

# `raw_confidence` is the extractor's own, `confidence` what became of it by calibration and by what people judged.
# `said_at` is when its first words were said; from then until `valid_until` it holds.
ATOMS = """
ALTER TABLE atoms
    ADD COLUMN extractor text NOT NULL DEFAULT 'rules', ADD COLUMN raw_confidence real,
    ADD COLUMN said_at timestamptz, ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN valid_until timestamptz,
    ADD COLUMN superseded_by bigint REFERENCES atoms (id) ON DELETE SET NULL, ADD COLUMN superseded_because text,
    ADD COLUMN closed_at timestamptz, ADD COLUMN closed_because text,
    ADD COLUMN merged_into bigint REFERENCES atoms (id) ON DELETE CASCADE,
    ADD COLUMN reviewed_at timestamptz, ADD COLUMN reviewed_by text,
    DROP CONSTRAINT atoms_status,
    ADD CONSTRAINT atoms_status CHECK (status IN ('active', 'candidate', 'unproven', 'rejected', 'merged'))
"""
SAID = """
UPDATE atoms a
SET said_at = coalesce((SELECT min(m.sent_at) FROM atom_evidence e JOIN messages m ON m.id = e.message_id
                        WHERE e.atom_id = a.id), a.created_at)
"""
ATOM_INDEXES = """
CREATE INDEX atoms_superseded_by ON atoms (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX atoms_merged_into ON atoms (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX atoms_said ON atoms (said_at, id);
CREATE INDEX atoms_waiting ON atoms (status, id) WHERE status IN ('candidate', 'unproven');
"""

# Every wording an atom had or may get. The atom itself has the current one.
VERSIONS = """
CREATE TABLE atom_versions (
    atom_id bigint REFERENCES atoms (id) ON DELETE CASCADE,
    version integer,
    state text NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    confidence real NOT NULL,
    made_by text NOT NULL,
    run_id bigint REFERENCES extraction_runs (id) ON DELETE SET NULL,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    decided_at timestamptz,
    decided_by text,
    PRIMARY KEY (atom_id, version),
    CONSTRAINT atom_versions_state CHECK (state IN ('current', 'past', 'proposed', 'rejected'))
);
CREATE INDEX atom_versions_proposed ON atom_versions (atom_id) WHERE state = 'proposed';
CREATE INDEX atom_versions_run ON atom_versions (run_id);
"""

# Which messages an atom without evidence was read in, so that it goes when they go.
CLAIMS = """
CREATE TABLE atom_claims (
    atom_id bigint REFERENCES atoms (id) ON DELETE CASCADE,
    place smallint,
    message_id bigint NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    quote text NOT NULL,
    PRIMARY KEY (atom_id, place)
);
CREATE INDEX atom_claims_message ON atom_claims (message_id);
"""

# What people judged, each with the words they judged by: what the judge is taught by. They go with their atom.
REVIEWS = """
CREATE TABLE atom_reviews (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    atom_id bigint NOT NULL REFERENCES atoms (id) ON DELETE CASCADE,
    verdict text NOT NULL,
    extractor text NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    confidence real NOT NULL,
    reviewer text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT atom_reviews_verdict CHECK (verdict IN ('accept', 'reject', 'edit', 'merge'))
);
CREATE INDEX atom_reviews_atom ON atom_reviews (atom_id);
"""
JUDGES = """
CREATE TABLE judges (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    reviews integer NOT NULL,
    weights bytea NOT NULL,
    report jsonb NOT NULL,
    trained_at timestamptz NOT NULL DEFAULT now()
)
"""

TOPICS = "ALTER TABLE topics ADD COLUMN terms jsonb NOT NULL DEFAULT '{}'"


def upgrade() -> None:
    for statements in (RUNS, RUNS_BY_WINDOW, RUNS_BY_MESSAGE, RUNS_BY_CONTEXT, RUNS_FAILED):
        _run(statements)
    for statements in (QUEUE, PARKED, DUE, ATOMS, SAID, ATOM_INDEXES, VERSIONS, CLAIMS, REVIEWS):
        _run(statements)
    _run(JUDGES)
    _run(TOPICS)


def _run(statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE topics DROP COLUMN terms")
    op.execute("DROP TABLE judges, atom_reviews, atom_claims, atom_versions")
    op.execute("DELETE FROM atoms WHERE status = 'merged'")
    op.execute("UPDATE atoms SET status = 'unproven' WHERE status = 'candidate'")
    op.execute("DROP INDEX atoms_said, atoms_waiting, extraction_queue_due, extraction_runs_window")
    op.execute("DROP INDEX extraction_runs_messages, extraction_runs_context, extraction_runs_failed")
    for column in (
        "extractor",
        "raw_confidence",
        "said_at",
        "version",
        "valid_until",
        "superseded_by",
        "superseded_because",
        "closed_at",
        "closed_because",
        "merged_into",
        "reviewed_at",
        "reviewed_by",
    ):
        op.execute(f"ALTER TABLE atoms DROP COLUMN {column}")
    op.execute(
        "ALTER TABLE atoms DROP CONSTRAINT atoms_status, "
        "ADD CONSTRAINT atoms_status CHECK (status IN ('active', 'unproven', 'rejected'))"
    )
    op.execute("ALTER TABLE extraction_queue DROP COLUMN parked")
    op.execute("UPDATE extraction_runs SET state = 'failed' WHERE state IN ('cancelled', 'abandoned')")
    op.execute("""
        ALTER TABLE extraction_runs
            DROP COLUMN window_hash, DROP COLUMN extractor_version, DROP COLUMN asked, DROP COLUMN unproven,
            DROP COLUMN requests, DROP COLUMN input_tokens, DROP COLUMN output_tokens, DROP COLUMN cost_usd,
            DROP COLUMN answer, DROP COLUMN context_ids,
            DROP CONSTRAINT extraction_runs_state,
            ADD CONSTRAINT extraction_runs_state CHECK (state IN ('running', 'done', 'failed'))
    """)
