-- Vector spaces and the one that the column `embedding` belongs to.

-- The spaces that have a column: the active one, if a model has ever been chosen, the next and the last one.
-- name: read_spaces
SELECT id, provider, model, dimensions, document_prefix, query_prefix, status, provider_id, fingerprint,
       (SELECT p.name FROM llm_providers p WHERE p.id = provider_id) AS provider_name
FROM embedding_spaces WHERE status <> 'retired'

-- Changing a space needs the tables for itself. It waits for them a moment only (less than the server takes to look for
-- deadlocks), for while it waits, everybody else waits behind it.
-- name: wait_briefly
SET LOCAL lock_timeout = '500ms'

-- The same for longer than the server takes to look for deadlocks, for only then does it end an autovacuum that is in the
-- way.
-- name: wait_out_autovacuum
SELECT set_config('lock_timeout', (extract(epoch FROM current_setting('deadlock_timeout')::interval) * 1000 + 600)::bigint || 'ms', true)

-- One process at a time makes or changes a space.
-- name: lock_spaces
SELECT pg_advisory_xact_lock(x'77696e73'::bigint)

-- Nobody reads or writes vectors meanwhile: one written after we looked would end up in the next space.
-- name: lock_table
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE

-- Retires a space; what was in hand, waiting, failed or skipped in it means nothing for another one. $1 status.
-- name: retire_space
WITH retired AS (UPDATE embedding_spaces SET status = 'retired' WHERE status = $1::text RETURNING id)
DELETE FROM embedding_jobs j USING retired WHERE j.space_id = retired.id

-- What waits in a space that searches leave, or come to: whose turn it is, is decided anew. What failed or is skipped stays
-- so, for the day somebody goes back, and so does a vector that is paid for. $1 status.
-- name: release_space
DELETE FROM embedding_jobs j USING embedding_spaces s
WHERE s.id = j.space_id AND s.status = $1::text AND j.state = 'waiting' AND j.paid IS NULL

-- $1 new status, $2 old status.
-- name: change_status
UPDATE embedding_spaces SET status = $1::text WHERE status = $2::text RETURNING id

-- What a space is for now. $1 id.
-- name: read_role
SELECT status FROM embedding_spaces WHERE id = $1::smallint

-- Where the rows stand in a space, as `embedding_progress` says of the active one. $1 space.
-- name: standing_in_space
SELECT n.total, n.total - n.without AS embedded, n.without - j.in_hand - j.waiting - j.failed - j.skipped AS pending,
       j.in_hand, j.waiting, j.failed, j.skipped
FROM (SELECT (SELECT count(*) FROM {table}) AS total,
             (SELECT count(*) FROM {table} WHERE {embedding} IS NULL) AS without) n,
     (SELECT count(*) FILTER (WHERE j.state = 'leased') AS in_hand,
             count(*) FILTER (WHERE j.state = 'waiting') AS waiting,
             count(*) FILTER (WHERE j.state = 'failed') AS failed,
             count(*) FILTER (WHERE j.state = 'skipped') AS skipped
      FROM embedding_jobs j JOIN {table} t ON t.id = j.entity_id AND t.{embedding} IS NULL
      WHERE j.kind = '{kind}' AND j.space_id = $1::smallint) j

-- How many rows still want a vector in a space: of those that were there, or had this text, when it was begun, and of
-- those written since; at most $2 of each are counted. $1 space.
-- name: left_in_space
WITH wanting AS (
    SELECT t.text_changed_at <= s.created_at AS is_old
    FROM embedding_spaces s, {table} t
    WHERE s.id = $1::smallint AND t.{embedding} IS NULL AND NOT EXISTS (
        SELECT FROM embedding_jobs j WHERE j.kind = '{kind}' AND j.entity_id = t.id AND j.space_id = $1::smallint
          AND j.state IN ('failed', 'skipped')))
SELECT (SELECT count(*) FROM (SELECT FROM wanting WHERE is_old LIMIT $2::bigint) o) AS old,
       (SELECT count(*) FROM (SELECT FROM wanting WHERE NOT is_old LIMIT $2::bigint) n) AS new

-- Texts that a space's model has refused for good. $1 space.
-- name: failed_in_space
SELECT count(*) AS failed FROM embedding_jobs WHERE space_id = $1::smallint AND state = 'failed'

-- Views that people have made over columns of vectors, which keep these from being dropped. $1 tables.
-- name: views_over_vectors
SELECT DISTINCT v.oid::regclass::text AS name
FROM pg_depend d
JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refobjid = ANY(SELECT name::regclass FROM unnest($1::text[]) AS name)
  AND a.attname ~ '^(embedding|embedded_characters)(_next|_prev)?$'

-- Empties the column of a space that is retired, some rows at a time: to drop a column frees nothing. $1 after this id,
-- $2 up to this id.
-- name: clear_vectors
UPDATE {table} SET {embedding} = NULL, {characters} = NULL
WHERE id > $1::bigint AND id <= $2::bigint AND ({embedding} IS NOT NULL OR {characters} IS NOT NULL)
  AND NOT EXISTS (SELECT FROM embedding_spaces WHERE status = '{role}')

-- Which of these indexes there are; one that is not valid was left behind by a killed build, or is being built. $1 names.
-- name: indexes_named
SELECT c.relname AS name, i.indisvalid AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relname = ANY($1::text[])

-- Who embeds for a space from now on. $1 space, $2 provider.
-- name: change_provider
UPDATE embedding_spaces SET provider_id = $2::uuid WHERE id = $1::smallint

-- $1 provider, $2 model, $3 dimensions, $4 document prefix, $5 query prefix, $6 status, $7 provider's id, $8 fingerprint.
-- name: create_space
INSERT INTO embedding_spaces (provider, model, dimensions, document_prefix, query_prefix, status, provider_id, fingerprint)
VALUES ($1, $2, $3, $4, $5, $6, $7::uuid, $8::real[]) RETURNING id

-- The fingerprint of a space from before there were any, written down once: of two processes, the second one is told the
-- first one's. $1 space, $2 fingerprint.
-- name: keep_fingerprint
UPDATE embedding_spaces SET fingerprint = coalesce(fingerprint, $2::real[]) WHERE id = $1::smallint RETURNING fingerprint

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
