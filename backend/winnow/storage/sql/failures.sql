-- Rows that got no vector, and what a person decides about them. Only those of the active space, and only while the
-- row has no vector: whatever else is noted is of no consequence.

-- Rows of one state, the latest first, from a place on. When a row's time is not known, its text's is taken.
-- $1 state, $2 to $4 the place after which to go on (time, kind, id), $5 how many, $6 characters of the text.
-- name: list_troubles
WITH found AS (
    SELECT j.entity_id, j.state, j.attempts, j.waits, j.deaths, j.error_kind, j.error,
           coalesce(j.not_before, t.text_changed_at) AS at
    FROM embedding_jobs j
    JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
    JOIN {table} t ON t.id = j.entity_id AND t.embedding IS NULL
    WHERE j.kind = '{kind}' AND j.state = $1::text
      AND (coalesce(j.not_before, t.text_changed_at), '{kind}'::text, j.entity_id)
          < ($2::timestamptz, $3::text, $4::bigint)
    ORDER BY at DESC, j.entity_id DESC
    LIMIT $5::bigint
)
SELECT '{kind}' AS kind, f.entity_id AS id, f.state, f.at, f.attempts, f.waits, f.deaths, f.error_kind, f.error,
       left({text}, $6::integer) AS text, length({text}) AS characters
FROM found f JOIN {table} t ON t.id = f.entity_id
ORDER BY f.at DESC, f.entity_id DESC

-- Why one row has no vector, with its whole text; no row when nothing is noted of it. $1 id.
-- name: read_trouble
SELECT '{kind}' AS kind, t.id, j.state, coalesce(j.not_before, t.text_changed_at) AS at, j.attempts, j.waits, j.deaths,
       j.error_kind, j.error, {text} AS text, length({text}) AS characters
FROM embedding_jobs j
JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
JOIN {table} t ON t.id = j.entity_id AND t.embedding IS NULL
WHERE j.kind = '{kind}' AND j.entity_id = $1::bigint AND j.state <> 'leased'

-- Makes rows plainly pending again: all that failed, or those of the ids that failed, wait, or were forgotten.
-- What waits keeps its job, which may have a vector beside it, and is due now. A job that an open edit of the text has
-- locked is passed over: the edit takes it away. $1 ids, or NULL.
-- name: retry_troubles
WITH chosen AS (
    SELECT j.entity_id, j.space_id, j.state
    FROM embedding_jobs j
    JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
    JOIN {table} t ON t.id = j.entity_id AND t.embedding IS NULL
    WHERE j.kind = '{kind}'
      AND CASE WHEN $1::bigint[] IS NULL THEN j.state = 'failed'
               ELSE j.entity_id = ANY($1::bigint[])
                    AND (j.state IN ('failed', 'waiting') OR j.state = 'skipped' AND j.error_kind = 'forgotten') END
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED
), due AS (
    UPDATE embedding_jobs j SET not_before = now(), attempts = 0 FROM chosen c
    WHERE j.kind = '{kind}' AND j.entity_id = c.entity_id AND j.space_id = c.space_id AND c.state = 'waiting'
    RETURNING j.entity_id
), pending AS (
    DELETE FROM embedding_jobs j USING chosen c
    WHERE j.kind = '{kind}' AND j.entity_id = c.entity_id AND j.space_id = c.space_id AND c.state <> 'waiting'
    RETURNING j.entity_id
)
SELECT entity_id AS id FROM due UNION ALL SELECT entity_id AS id FROM pending

-- Notes that a person wants no vector of these rows: all that failed, or those of the ids that failed or wait.
-- $1 ids, or NULL.
-- name: forget_troubles
WITH chosen AS (
    SELECT j.entity_id, j.space_id
    FROM embedding_jobs j
    JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
    JOIN {table} t ON t.id = j.entity_id AND t.embedding IS NULL
    WHERE j.kind = '{kind}'
      AND CASE WHEN $1::bigint[] IS NULL THEN j.state = 'failed'
               ELSE j.entity_id = ANY($1::bigint[]) AND j.state IN ('failed', 'waiting') END
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED)
UPDATE embedding_jobs j
SET state = 'skipped', error_kind = 'forgotten', error = 'forgotten by a person', not_before = now(), text_hash = NULL
FROM chosen c
WHERE j.kind = '{kind}' AND j.entity_id = c.entity_id AND j.space_id = c.space_id
RETURNING j.entity_id AS id
