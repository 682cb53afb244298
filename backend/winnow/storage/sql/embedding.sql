-- How NULL is worked: claim, read, (the model), write. Placeholders in braces are filled in by embeddables.py.

-- Takes what is free of the given ids: NULL and in nobody's hand, its wait over, or its holder's lease run out.
-- $1 ids, $2 space, $3 token, $4 worker, $5 lease seconds. Runs in autocommit, so it never holds a lock for long.
-- Nor does it wait for one: somebody who edits a text in an open transaction holds the row's job as well.
-- For a space that is no more the active one nothing is claimed: its vectors would be refused after they were paid for.
-- name: claim
WITH free AS (
    SELECT j.entity_id
    FROM embedding_jobs j JOIN {table} t ON t.id = j.entity_id
    JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
    WHERE j.kind = '{kind}' AND j.space_id = $2::smallint AND j.entity_id = ANY($1::bigint[]) AND t.embedding IS NULL
      AND (j.state = 'leased' AND j.lease_until < now() OR j.state = 'waiting' AND j.not_before <= now())
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED
), taken_over AS (
    UPDATE embedding_jobs j
    SET state = 'leased', token = $3::uuid, worker = $4::text, lease_until = now() + make_interval(secs => $5::float8)
    FROM free
    WHERE j.kind = '{kind}' AND j.space_id = $2::smallint AND j.entity_id = free.entity_id
    RETURNING j.entity_id
), taken AS (
    INSERT INTO embedding_jobs (kind, entity_id, space_id, state, token, worker, lease_until)
    SELECT '{kind}', t.id, $2::smallint, 'leased', $3::uuid, $4::text, now() + make_interval(secs => $5::float8)
    FROM {table} t JOIN embedding_spaces s ON s.id = $2::smallint AND s.status = 'active'
    WHERE t.id = ANY($1::bigint[]) AND t.embedding IS NULL
      AND NOT EXISTS (
          SELECT FROM embedding_jobs j
          WHERE j.kind = '{kind}' AND j.space_id = $2::smallint AND j.entity_id = t.id)
    ORDER BY t.id
    ON CONFLICT DO NOTHING
    RETURNING entity_id
)
SELECT entity_id FROM taken_over UNION ALL SELECT entity_id FROM taken

-- Keeps what is in hand. $1 token, $2 ids, $3 lease seconds. Like all that follow, it passes over jobs that an open
-- edit of the text has locked: the edit takes them away, or, rolled back, leaves them to the end of their lease.
-- name: renew_leases
WITH mine AS (
    SELECT entity_id, space_id FROM embedding_jobs
    WHERE kind = '{kind}' AND entity_id = ANY($2::bigint[]) AND token = $1::uuid AND state = 'leased'
    ORDER BY entity_id FOR UPDATE SKIP LOCKED)
UPDATE embedding_jobs j
SET lease_until = now() + make_interval(secs => $3::float8)
FROM mine WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id

-- Reads what was claimed; a second statement, for the claim's snapshot may be older than an edit. $1 ids.
-- name: read_texts
SELECT t.id, {text} AS text, sha256(convert_to({text}, 'UTF8')) AS hash
FROM {table} t
WHERE t.id = ANY($1::bigint[]) AND t.embedding IS NULL
ORDER BY t.id

-- Locks in id order what nobody else has locked, so that two writers never wait for each other. $1 ids.
-- name: lock_rows
SELECT t.id FROM {table} t WHERE t.id = ANY($1::bigint[]) ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED

-- The fenced write: only where the text is still the one that was embedded and the space still the column's.
-- $1 ids, $2 vectors, $3 hashes, $4 space.
-- name: write_vectors
UPDATE {table} t
SET embedding = given.vector
FROM unnest($1::bigint[], $2::vector[], $3::bytea[]) AS given (id, vector, hash)
WHERE t.id = given.id
  AND t.embedding IS NULL
  AND sha256(convert_to({text}, 'UTF8')) = given.hash
  AND EXISTS (SELECT FROM embedding_spaces s WHERE s.id = $4::smallint AND s.status = 'active')
RETURNING t.id

-- Work done leaves nothing behind, whoever's lease it was. $1 space, $2 ids.
-- name: delete_jobs
DELETE FROM embedding_jobs WHERE kind = '{kind}' AND space_id = $1::smallint AND entity_id = ANY($2::bigint[])

-- Gives rows back that are still ours: they are plainly pending again. $1 token, $2 ids.
-- name: release_jobs
WITH mine AS (
    SELECT entity_id, space_id FROM embedding_jobs
    WHERE kind = '{kind}' AND entity_id = ANY($2::bigint[]) AND token = $1::uuid AND state = 'leased'
    ORDER BY entity_id FOR UPDATE SKIP LOCKED)
DELETE FROM embedding_jobs j USING mine
WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id

-- Records why rows in our hand were not embedded: waiting (weather, a lock, or a retry), failed or skipped.
-- $1 token, $2 ids, $3 state, $4 seconds to wait, $5 attempts to add, $6 error kind, $7 error, $8 waits to add.
-- name: record_outcome
WITH mine AS (
    SELECT j.entity_id, j.space_id FROM embedding_jobs j JOIN {table} t ON t.id = j.entity_id AND t.embedding IS NULL
    WHERE j.kind = '{kind}' AND j.entity_id = ANY($2::bigint[]) AND j.token = $1::uuid AND j.state = 'leased'
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED)
UPDATE embedding_jobs j
SET state = $3, not_before = now() + make_interval(secs => $4::float8), lease_until = NULL, token = NULL, worker = NULL,
    attempts = attempts + $5::smallint, waits = least(waits + $8::smallint, 1000), error_kind = $6, error = left($7, 500)
FROM mine WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id
RETURNING j.entity_id

-- How often each row in our hand has failed and waited before. $1 token.
-- name: read_attempts
SELECT entity_id, attempts, waits FROM embedding_jobs
WHERE kind = '{kind}' AND token = $1::uuid AND state = 'leased'

-- What the sweeper finds due: NULL for some time and promised to nobody, a wait that is over, a lease that ran out.
-- $1 after this id, $2 space, $3 least age in seconds, $4 how many.
-- name: due_rows
SELECT t.id
FROM {table} t
LEFT JOIN embedding_jobs j ON j.kind = '{kind}' AND j.entity_id = t.id AND j.space_id = $2::smallint
WHERE t.embedding IS NULL AND t.id > $1::bigint
  AND CASE j.state
        WHEN 'leased' THEN j.lease_until < now()
        WHEN 'waiting' THEN j.not_before <= now()
        WHEN 'failed' THEN false
        WHEN 'skipped' THEN false
        ELSE t.text_changed_at <= now() - make_interval(secs => $3::float8)
      END
ORDER BY t.id
LIMIT $4::bigint

-- What a backfill goes over: every row without a vector, but for what is skipped or has failed since the backfill
-- began (with `forget_failures`: what had failed before is tried again). $1 after this id, $2 up to this id, $3 how many.
-- name: null_rows
SELECT t.id
FROM {table} t
WHERE t.embedding IS NULL AND t.id > $1::bigint AND t.id <= $2::bigint
  AND NOT EXISTS (
      SELECT FROM embedding_jobs j JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
      WHERE j.kind = '{kind}' AND j.entity_id = t.id AND j.state IN ('skipped', 'failed'))
ORDER BY t.id
LIMIT $3::bigint

-- Lets a backfill try again what failed or waits: someone asked for it by hand.
-- name: forget_failures
DELETE FROM embedding_jobs WHERE kind = '{kind}' AND state IN ('failed', 'waiting')

-- Where a set of rows stands. $1 ids.
-- name: standing
SELECT count(*) FILTER (WHERE t.embedding IS NOT NULL) AS embedded,
       count(*) FILTER (WHERE j.state = 'failed') AS failed,
       count(*) FILTER (WHERE j.state = 'skipped') AS skipped,
       count(*) FILTER (WHERE t.embedding IS NULL AND j.state = 'waiting') AS waiting,
       count(*) AS existing
FROM {table} t
LEFT JOIN embedding_jobs j ON j.kind = '{kind}' AND j.entity_id = t.id AND t.embedding IS NULL
     AND j.space_id = (SELECT id FROM embedding_spaces WHERE status = 'active')
WHERE t.id = ANY($1::bigint[])

-- Rows of a kind, and how many have no vector: both from indexes alone.
-- name: count_rows
SELECT (SELECT count(*) FROM {table}) AS total,
       (SELECT count(*) FROM {table} WHERE embedding IS NULL) AS without_vector,
       (SELECT coalesce(max(id), 0) FROM {table}) AS last_id

-- Where the rows of every kind stand.
-- name: progress
SELECT kind, total, embedded, pending, in_hand, waiting, failed, skipped, oldest_pending FROM embedding_progress

-- Why the model server of the active space is not asked just now; no row while it is.
-- name: read_pause
SELECT pauses, extract(epoch FROM now() - paused_since)::float8 AS seconds_since,
       greatest(extract(epoch FROM paused_until - now())::float8, 0) AS seconds_left,
       paused_kind AS error_kind, paused_because AS because
FROM embedding_spaces WHERE status = 'active' AND pauses > 0

-- The latest trouble of any kind.
-- name: last_error
SELECT kind, entity_id, state, error_kind, error FROM embedding_jobs
WHERE error IS NOT NULL AND state <> 'skipped' ORDER BY not_before DESC NULLS LAST LIMIT 1
