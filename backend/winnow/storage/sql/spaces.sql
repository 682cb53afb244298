-- Vector spaces and the one that the column `embedding` belongs to.

-- The active space, if a model has ever been chosen.
-- name: active_space
SELECT id, provider, model, dimensions, document_prefix, query_prefix FROM embedding_spaces WHERE status = 'active'

-- Changing a space needs the tables for itself. It waits for them a moment only (less than the server takes to look for
-- deadlocks), for while it waits, everybody else waits behind it.
-- name: wait_briefly
SET LOCAL lock_timeout = '500ms'

-- One process at a time makes or changes a space.
-- name: lock_spaces
SELECT pg_advisory_xact_lock(x'77696e73'::bigint)

-- Nobody reads or writes vectors meanwhile: one written after we looked would end up in the next space.
-- name: lock_table
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE

-- Retires the active space; what was in hand, waiting, failed or skipped in it means nothing for the next.
-- name: retire_space
WITH retired AS (UPDATE embedding_spaces SET status = 'retired' WHERE status = 'active' RETURNING id)
DELETE FROM embedding_jobs j USING retired WHERE j.space_id = retired.id

-- $1 provider, $2 model, $3 dimensions, $4 document prefix, $5 query prefix.
-- name: create_space
INSERT INTO embedding_spaces (provider, model, dimensions, document_prefix, query_prefix)
VALUES ($1, $2, $3, $4, $5) RETURNING id

-- Why there is no space yet. $1 error kind, $2 reason.
-- name: note_unprobed
INSERT INTO unprobed AS u (error_kind, because) VALUES ($1, left($2, 500))
ON CONFLICT (single) DO UPDATE SET error_kind = excluded.error_kind, because = excluded.because

-- name: forget_unprobed
DELETE FROM unprobed

-- Is any vector stored at all?
-- name: any_vector
SELECT EXISTS (SELECT FROM {table} WHERE embedding IS NOT NULL) AS stored

-- The sweeper's lock, held by a connection until it ends.
-- name: try_to_lead
SELECT pg_try_advisory_lock(x'77696e737765'::bigint) AS leading

-- name: stop_leading
SELECT pg_advisory_unlock(x'77696e737765'::bigint)
