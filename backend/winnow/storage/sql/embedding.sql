-- How NULL is worked: claim, read, (the model), write. Placeholders in braces are filled in by embeddables.py.

-- Statistics of a queue are always wrong, and PostgreSQL would read all of it once rather than look 100 rows up. So the
-- ids stand beside each use of it, and what is looked up for each row is `(SELECT … LIMIT 1)`, which it cannot turn round.
-- A twin is looked up by the index of the active space's vectors, whatever space it is looked up for: another column of
-- the same row has no index of its own while it is filled. A twin is looked up by its hash alone, and compared when it is found: with both in one condition PostgreSQL expects one
-- row, and reads all the thousands of "+1" that there are. Two texts of one hash are then asked for, each by itself.

-- Takes what is free of the given ids: NULL and in nobody's hand, its wait over, or its holder's lease run out.
-- $1 ids, $2 space, $3 token, $4 worker, $5 lease seconds. Runs in autocommit, so it never holds a lock for long.
-- Nor does it wait for one: somebody who edits a text in an open transaction holds the row's job as well.
-- For a space that is no more the active one nothing is claimed: its vectors would be refused after they were paid for;
-- nor for one whose model server is not asked just now.
-- Of the rows of one text, one leads and holds the text's hash, so that no second worker pays for the text: rows whose
-- text another one holds stay pending; to insert them would be to wait for whoever edits the holder in an open
-- transaction. Whoever is second by a hair is refused by the index, and tries again.
-- name: claim
WITH given AS (
    SELECT t.id, hashtextextended({text}, 0) AS text_hash
    FROM {table} t JOIN embedding_spaces s ON s.id = $2::smallint AND s.status = '{role}' AND s.pauses = 0
    WHERE t.id = ANY($1::bigint[]) AND t.{embedding} IS NULL
    FOR KEY SHARE OF t SKIP LOCKED  -- a row that somebody deletes just now would leave its job behind
), free AS (
    SELECT j.entity_id, j.text_hash AS held, (j.state = 'leased')::int AS died
    FROM embedding_jobs j JOIN given g ON g.id = j.entity_id
    WHERE j.kind = '{kind}' AND j.space_id = $2::smallint AND j.entity_id = ANY($1::bigint[])
      AND (j.state = 'leased' AND j.lease_until < now() OR j.state = 'waiting' AND j.not_before <= now())
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED
), takeable AS (
    SELECT g.id, g.text_hash, f.entity_id IS NOT NULL AS known, f.died,
           row_number() OVER (
               PARTITION BY g.text_hash ORDER BY (f.held = g.text_hash) DESC NULLS LAST, g.id) = 1 AS leads
    FROM given g LEFT JOIN free f ON f.entity_id = g.id
    WHERE (f.entity_id IS NOT NULL OR (
              SELECT true FROM embedding_jobs j
              WHERE j.kind = '{kind}' AND j.space_id = $2::smallint AND j.entity_id = g.id LIMIT 1) IS NULL)
      AND (SELECT true FROM embedding_jobs o
           WHERE o.kind = '{kind}' AND o.space_id = $2::smallint AND o.text_hash = g.text_hash
             AND o.entity_id <> ALL (SELECT mine.entity_id FROM free mine) LIMIT 1) IS NULL
), taken_over AS (
    UPDATE embedding_jobs j
    SET state = 'leased', token = $3::uuid, worker = $4::text, lease_until = now() + make_interval(secs => $5::float8),
        text_hash = CASE WHEN takeable.leads THEN takeable.text_hash END,
        deaths = least(j.deaths + takeable.died, 1000)
    FROM takeable
    WHERE j.kind = '{kind}' AND j.space_id = $2::smallint AND j.entity_id = takeable.id AND takeable.known
      AND j.entity_id = ANY($1::bigint[])
    RETURNING j.entity_id, j.attempts, j.waits, j.deaths
), taken AS (
    INSERT INTO embedding_jobs (kind, entity_id, space_id, state, token, worker, lease_until, text_hash)
    SELECT '{kind}', id, $2::smallint, 'leased', $3::uuid, $4::text, now() + make_interval(secs => $5::float8),
           CASE WHEN leads THEN text_hash END
    FROM takeable WHERE NOT known
    ORDER BY text_hash, id
    ON CONFLICT (kind, entity_id, space_id) DO NOTHING
    RETURNING entity_id, attempts, waits, deaths
)
SELECT * FROM taken_over UNION ALL SELECT * FROM taken

-- A text is held no longer than its holder's lease, even by a row that is no more. Of all kinds, by the sweeper.
-- name: free_texts
WITH over AS (
    SELECT kind, entity_id, space_id FROM embedding_jobs
    WHERE text_hash IS NOT NULL AND lease_until < now() ORDER BY kind, entity_id FOR UPDATE SKIP LOCKED)
UPDATE embedding_jobs j SET text_hash = NULL
FROM over o WHERE j.kind = o.kind AND j.entity_id = o.entity_id AND j.space_id = o.space_id

-- What a verdict was about, and is no more: a row that is gone, or whose text has changed in a way that the triggers
-- could not see (they were switched off, or the writer's snapshot was older than the verdict).
-- name: tidy_jobs
WITH stale AS (
    SELECT j.entity_id, j.space_id FROM embedding_jobs j LEFT JOIN {table} t ON t.id = j.entity_id
    WHERE j.kind = '{kind}' AND (t.id IS NULL OR
          j.state IN ('failed', 'skipped') AND j.about_hash <> sha256(convert_to({text}, 'UTF8')))
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED)
DELETE FROM embedding_jobs j USING stale
WHERE j.kind = '{kind}' AND j.entity_id = stale.entity_id AND j.space_id = stale.space_id

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
  AND j.entity_id = ANY($2::bigint[])

-- Reads what was claimed; a second statement, for the claim's snapshot may be older than an edit. `known`: another row
-- of the same text has a vector already. `paid`: its own, which could not be stored before. `private`: the text may not be
-- sent to the space's model, whose server is elsewhere. $1 ids, $2 space, $3 whether it is.
-- name: read_texts
SELECT t.id, {text} AS text, sha256(convert_to({text}, 'UTF8')) AS hash,
       coalesce((SELECT twin.text = {text} FROM (
           SELECT {text_of_o} AS text FROM {table} o
           WHERE o.embedding IS NOT NULL AND o.{embedding} IS NOT NULL AND hashtextextended({text_of_o}, 0) = hashtextextended({text}, 0) LIMIT 1
       ) twin), false) AS known,
       ($3::boolean AND {private}) AS private, j.paid, j.paid_characters
FROM {table} t
LEFT JOIN embedding_jobs j ON j.kind = '{kind}' AND j.entity_id = t.id AND j.space_id = $2::smallint
     AND j.entity_id = ANY($1::bigint[]) AND j.about_hash = sha256(convert_to({text}, 'UTF8'))
WHERE t.id = ANY($1::bigint[]) AND t.{embedding} IS NULL
ORDER BY t.id

-- Those of the rows whose text may not leave: somebody may have said so since it was read. $1 ids.
-- name: private_rows
SELECT t.id FROM {table} t WHERE t.id = ANY($1::bigint[]) AND {private}

-- Rows that were left without a vector because their text may not leave, and may by now, or need not any more, for the
-- model's server is our own. $1 space, $2 whether its server is elsewhere.
-- name: release_private
WITH free AS (
    SELECT j.entity_id FROM embedding_jobs j JOIN {table} t ON t.id = j.entity_id
    WHERE j.kind = '{kind}' AND j.space_id = $1::smallint AND j.state = 'skipped' AND j.error_kind = 'local_only'
      AND NOT ($2::boolean AND {private})
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED)
DELETE FROM embedding_jobs j USING free
WHERE j.kind = '{kind}' AND j.space_id = $1::smallint AND j.entity_id = free.entity_id

-- How many texts of what is private are in a worker's hand: one that was read before may be on its way. $1 space.
-- name: private_in_hand
SELECT count(*) AS number FROM embedding_jobs j JOIN {table} t ON t.id = j.entity_id
WHERE j.kind = '{kind}' AND j.space_id = $1::smallint AND j.state = 'leased' AND {private}

-- Gives rows the vector of another row of the same text. The other row is read in one piece, text and vector, so what
-- is copied belongs to that text; fenced for the rest as `write_vectors` is. $1 ids (locked), $2 space.
-- name: copy_vectors
WITH mine AS (
    SELECT t.id, {text} AS text FROM {table} t WHERE t.id = ANY($1::bigint[]) AND t.{embedding} IS NULL
)
UPDATE {table} t
SET {embedding} = twin.{embedding}, {characters} = twin.{characters}
FROM mine, LATERAL (
    SELECT o.{embedding}, o.{characters}, {text_of_o} AS text FROM {table} o
    WHERE o.embedding IS NOT NULL AND o.{embedding} IS NOT NULL AND hashtextextended({text_of_o}, 0) = hashtextextended(mine.text, 0)
    LIMIT 1) twin
WHERE t.id = mine.id AND t.{embedding} IS NULL AND {text} = mine.text AND twin.text = mine.text
  AND EXISTS (SELECT FROM embedding_spaces s WHERE s.id = $2::smallint AND s.status = '{role}')
RETURNING t.id

-- Locks in id order what nobody else has locked, so that two writers never wait for each other. $1 ids.
-- name: lock_rows
SELECT t.id FROM {table} t WHERE t.id = ANY($1::bigint[]) ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED

-- The fenced write: only where the text is still the one that was embedded and the space still the column's.
-- $1 ids, $2 vectors, $3 hashes, $4 space, $5 how many characters of each text were embedded (NULL: all).
-- name: write_vectors
UPDATE {table} t
SET {embedding} = given.vector, {characters} = given.characters
FROM unnest($1::bigint[], $2::vector[], $3::bytea[], $5::integer[]) AS given (id, vector, hash, characters)
WHERE t.id = given.id
  AND t.{embedding} IS NULL
  AND sha256(convert_to({text}, 'UTF8')) = given.hash
  AND EXISTS (SELECT FROM embedding_spaces s WHERE s.id = $4::smallint AND s.status = '{role}')
RETURNING t.id

-- Work done leaves nothing behind, whoever's lease it was. $1 space, $2 ids.
-- name: delete_jobs
DELETE FROM embedding_jobs WHERE kind = '{kind}' AND space_id = $1::smallint AND entity_id = ANY($2::bigint[])

-- Keeps vectors that have been paid for beside the jobs of rows that somebody has locked.
-- $1 token, $2 ids, $3 vectors, $4 hashes, $5 how many characters of each text were embedded (NULL: all).
-- name: keep_paid
WITH mine AS (
    SELECT entity_id, space_id FROM embedding_jobs
    WHERE kind = '{kind}' AND entity_id = ANY($2::bigint[]) AND token = $1::uuid AND state = 'leased'
    ORDER BY entity_id FOR UPDATE SKIP LOCKED)
UPDATE embedding_jobs j
SET paid = given.vector::real[], about_hash = given.hash, paid_characters = given.characters
FROM mine JOIN unnest($2::bigint[], $3::vector[], $4::bytea[], $5::integer[]) AS given (id, vector, hash, characters)
     ON given.id = mine.entity_id
WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id
  AND j.entity_id = ANY($2::bigint[])

-- Gives rows back that are still ours: they are plainly pending again. $1 token, $2 ids.
-- name: release_jobs
WITH mine AS (
    SELECT entity_id, space_id FROM embedding_jobs
    WHERE kind = '{kind}' AND entity_id = ANY($2::bigint[]) AND token = $1::uuid AND state = 'leased'
    ORDER BY entity_id FOR UPDATE SKIP LOCKED)
DELETE FROM embedding_jobs j USING mine
WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id
  AND j.entity_id = ANY($2::bigint[])

-- Records why rows in our hand were not embedded: waiting (weather, a lock, or a retry), failed or skipped.
-- $1 token, $2 ids, $3 state, $4 seconds to wait, $5 attempts to add, $6 error kind, $7 error, $8 waits to add.
-- name: record_outcome
WITH mine AS (
    SELECT j.entity_id, j.space_id FROM embedding_jobs j JOIN {table} t ON t.id = j.entity_id AND t.{embedding} IS NULL
    WHERE j.kind = '{kind}' AND j.entity_id = ANY($2::bigint[]) AND j.token = $1::uuid AND j.state = 'leased'
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED)
UPDATE embedding_jobs j
SET state = $3, not_before = now() + make_interval(secs => $4::float8), lease_until = NULL, token = NULL, worker = NULL,
    text_hash = NULL, attempts = attempts + $5::smallint, waits = least(waits + $8::smallint, 1000), error_kind = $6, error = left($7, 500)
FROM mine WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id
  AND j.entity_id = ANY($2::bigint[])
RETURNING j.entity_id

-- The same of a text: only while the text is the one that was judged, and nobody is about to change it. A claim may have
-- read a row that was being edited; what it then says of the old text must not stand beside the new one.
-- $1 token, $2 ids, $3 state, $4 seconds to wait, $5 attempts to add, $6 error kind, $7 error, $8 hashes.
-- name: record_verdict
WITH mine AS (
    SELECT j.entity_id, j.space_id, given.hash
    FROM unnest($2::bigint[], $8::bytea[]) AS given (id, hash)
    JOIN embedding_jobs j ON j.kind = '{kind}' AND j.entity_id = given.id AND j.token = $1::uuid AND j.state = 'leased'
    JOIN {table} t ON t.id = given.id AND t.{embedding} IS NULL AND sha256(convert_to({text}, 'UTF8')) = given.hash
    ORDER BY j.entity_id FOR UPDATE OF j SKIP LOCKED FOR SHARE OF t SKIP LOCKED)
UPDATE embedding_jobs j
SET state = $3, not_before = now() + make_interval(secs => $4::float8), lease_until = NULL, token = NULL, worker = NULL,
    text_hash = NULL, paid = NULL, about_hash = mine.hash, attempts = attempts + $5::smallint, error_kind = $6,
    error = left($7, 500)
FROM mine WHERE j.kind = '{kind}' AND j.entity_id = mine.entity_id AND j.space_id = mine.space_id
  AND j.entity_id = ANY($2::bigint[])
RETURNING j.entity_id

-- How long some of these rows are still in somebody's hand, in seconds; NULL when none is. $1 ids.
-- name: lease_left
SELECT extract(epoch FROM max(lease_until) - now())::float8 AS seconds FROM embedding_jobs
WHERE kind = '{kind}' AND entity_id = ANY($1::bigint[]) AND state = 'leased' AND lease_until >= now()

-- Stops everybody from asking a model server that is away or wrongly set up. Of several workers that find it so at
-- once only the first is heard. $1 space, $2 seconds, $3 error kind, $4 reason, $5 pauses when the work began.
-- name: pause_space
UPDATE embedding_spaces
SET pauses = least(pauses + 1, 1000), paused_since = coalesce(paused_since, now()),
    paused_until = now() + make_interval(secs => $2::float8), paused_kind = $3, paused_because = left($4, 500)
WHERE id = $1::smallint AND pauses = $5::smallint
RETURNING pauses

-- Whoever gets a row back looks whether the server is well again, for everybody; a looker that dies is replaced after
-- $2 seconds. $1 space.
-- name: begin_look
UPDATE embedding_spaces SET paused_until = now() + make_interval(secs => $2::float8)
WHERE id = $1::smallint AND pauses > 0 AND paused_until <= now() RETURNING pauses

-- name: end_look
UPDATE embedding_spaces SET paused_until = now() WHERE id = $1::smallint AND pauses > 0

-- name: resume_space
UPDATE embedding_spaces
SET pauses = 0, paused_until = NULL, paused_since = NULL, paused_kind = NULL, paused_because = NULL
WHERE id = $1::smallint AND pauses > 0

-- What the sweeper finds due: NULL for some time and promised to nobody, a wait that is over, a lease that ran out.
-- A moment in the future (a clock that was wrong, a dump from elsewhere) is no reason to wait for it.
-- $1 space, $2 least age in seconds, $3 how many.
-- name: due_rows
SELECT t.id
FROM {table} t
LEFT JOIN embedding_jobs j ON j.kind = '{kind}' AND j.entity_id = t.id AND j.space_id = $1::smallint
WHERE t.{embedding} IS NULL
  AND CASE j.state
        WHEN 'leased' THEN j.lease_until < now()
        WHEN 'waiting' THEN j.not_before <= now()
        WHEN 'failed' THEN false
        WHEN 'skipped' THEN false
        ELSE t.text_changed_at <= now() - make_interval(secs => $2::float8) OR t.text_changed_at > now()
      END
ORDER BY t.id
LIMIT $3::bigint

-- The latest of these, where a person may be waiting: what was just written by somebody else, or while the model server
-- was not asked. $1 space, $2 how many.
-- name: newest_due_rows
SELECT t.id
FROM {table} t
WHERE t.{embedding} IS NULL
  AND (SELECT true FROM embedding_jobs j
       WHERE j.kind = '{kind}' AND j.entity_id = t.id AND j.space_id = $1::smallint
         AND (j.state IN ('failed', 'skipped') OR j.state = 'leased' AND j.lease_until >= now()
              OR j.state = 'waiting' AND j.not_before > now()) LIMIT 1) IS NULL
ORDER BY t.id DESC
LIMIT $2::bigint

-- What a backfill goes over: every row without a vector, but for what is skipped or has failed since the backfill
-- began (with `forget_failures`: what had failed before is tried again). $1 after this id, $2 up to this id, $3 how many,
-- $4 space (NULL: the active one).
-- name: null_rows
SELECT t.id
FROM {table} t
WHERE t.{embedding} IS NULL AND t.id > $1::bigint AND t.id <= $2::bigint
  AND ($4::smallint IS NULL OR EXISTS (SELECT FROM embedding_spaces s WHERE s.id = $4::smallint AND s.status = '{role}'))
  AND NOT EXISTS (
      SELECT FROM embedding_jobs j JOIN embedding_spaces s ON s.id = j.space_id AND s.status = '{role}'
      WHERE j.kind = '{kind}' AND j.entity_id = t.id AND j.state IN ('skipped', 'failed'))
ORDER BY t.id
LIMIT $3::bigint

-- Lets a backfill try again what failed or waits: someone asked for it by hand. What waits keeps its job, for there may be
-- a vector beside it. Jobs that an open edit has locked are passed over.
-- name: forget_failures
WITH chosen AS (
    SELECT entity_id, space_id, state FROM embedding_jobs WHERE kind = '{kind}' AND state IN ('failed', 'waiting')
      AND space_id = (SELECT id FROM embedding_spaces WHERE status = '{role}')
    ORDER BY entity_id FOR UPDATE SKIP LOCKED
), due AS (
    UPDATE embedding_jobs j SET not_before = now(), attempts = 0, waits = 0 FROM chosen c
    WHERE j.kind = '{kind}' AND j.entity_id = c.entity_id AND j.space_id = c.space_id AND c.state = 'waiting'
)
DELETE FROM embedding_jobs j USING chosen c
WHERE j.kind = '{kind}' AND j.entity_id = c.entity_id AND j.space_id = c.space_id AND c.state = 'failed'

-- Rows of a kind, and how many have no vector: both from indexes alone.
-- name: count_rows
SELECT (SELECT count(*) FROM {table}) AS total,
       (SELECT count(*) FROM {table} WHERE {embedding} IS NULL) AS without_vector,
       (SELECT coalesce(max(id), 0) FROM {table}) AS last_id

-- Where the rows of every kind stand.
-- name: progress
SELECT kind, total, embedded, pending, in_hand, waiting, failed, skipped, oldest_pending FROM embedding_progress

-- Why the model server of the space of a status, or of the first one to be, is not asked just now; no row while it is.
-- $1 status.
-- name: read_pause
SELECT pauses, extract(epoch FROM now() - paused_since)::float8 AS seconds_since,
       greatest(extract(epoch FROM paused_until - now())::float8, 0) AS seconds_left,
       paused_kind AS error_kind, paused_because AS because
FROM embedding_spaces WHERE status = $1::text AND pauses > 0
UNION ALL
SELECT 1, extract(epoch FROM now() - since)::float8, 0, error_kind, because
FROM unprobed WHERE $1::text = 'active' AND NOT EXISTS (SELECT FROM embedding_spaces WHERE status = 'active')

-- Somebody asked for it by hand: the next worker looks at once. $1 status.
-- name: look_now
UPDATE embedding_spaces SET paused_until = least(paused_until, now())
WHERE status = $1::text AND pauses > 0

-- The latest trouble of any kind.
-- name: last_error
SELECT kind, entity_id, state, error_kind, error FROM embedding_jobs
WHERE error IS NOT NULL AND state <> 'skipped' ORDER BY not_before DESC NULLS LAST LIMIT 1
