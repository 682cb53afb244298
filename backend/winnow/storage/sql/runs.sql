-- Runs: their accounts, what people see of them, and what they do about them.

-- What a run's window is known by, and what is shown beside it; and whether such a window was read and committed already.
-- $1 run, $2 hash of the window, $3 messages shown.
-- name: note_window
WITH noted AS (UPDATE extraction_runs SET window_hash = $2::bytea, context_ids = $3::bigint[] WHERE id = $1)
SELECT EXISTS (SELECT FROM extraction_runs WHERE window_hash = $2::bytea AND state = 'done') AS is_read

-- What runs asked of models is paid, however they end. $1 run, $2 requests, $3 input tokens, $4 output tokens, $5 price,
-- $6 atoms without proof, $7 what the model said where nothing could be made of it.
-- name: note_account
UPDATE extraction_runs
SET requests = $2::int, input_tokens = $3::bigint, output_tokens = $4::bigint, cost_usd = $5::numeric, unproven = $6::int,
    answer = left($7::text, 100000)
WHERE id = $1

-- What of its window a run could not read, though it is done. $1 run, $2 in words.
-- name: note_trouble
UPDATE extraction_runs SET error = left($2::text, 2000) WHERE id = $1

-- Windows with these messages are to be read again: what was known from them is gone, or somebody wants it. $1 ids.
-- name: forget_windows
UPDATE extraction_runs SET window_hash = NULL
WHERE id IN (SELECT r.id FROM unnest($1::bigint[]) AS given (id)
             JOIN extraction_runs r ON r.message_ids @> ARRAY[given.id] WHERE r.window_hash IS NOT NULL
             ORDER BY r.id FOR UPDATE OF r)

-- Runs, the latest first. $1 state or NULL, $2 channel by its identity or title, or NULL, $3 before this id, $4 how many.
-- name: list_runs
SELECT r.id, r.source, r.channel, coalesce(c.title, '') AS channel_title, r.extractor, r.extractor_version, r.asked, r.state,
       cardinality(r.message_ids) AS messages, r.atoms, r.topics, r.links, r.unproven, r.requests, r.input_tokens,
       r.output_tokens, r.cost_usd, r.error, r.started_at, r.finished_at,
       extract(epoch FROM coalesce(r.finished_at, now()) - r.started_at)::float8 AS seconds
FROM extraction_runs r LEFT JOIN channels c ON c.source = r.source AND c.channel = r.channel
WHERE ($1::text IS NULL OR r.state = $1::text)
  AND ($2::text IS NULL OR r.channel = $2::text OR c.title = $2::text) AND r.id < $3::bigint
ORDER BY r.id DESC LIMIT $4::bigint

-- One of them in full. $1 id.
-- name: read_run
SELECT r.id, r.source, r.channel, coalesce(c.title, '') AS channel_title, r.extractor, r.extractor_version, r.asked, r.state,
       cardinality(r.message_ids) AS messages, r.atoms, r.topics, r.links, r.unproven, r.requests, r.input_tokens,
       r.output_tokens, r.cost_usd, r.error, r.started_at, r.finished_at,
       extract(epoch FROM coalesce(r.finished_at, now()) - r.started_at)::float8 AS seconds,
       r.answer, r.message_ids
FROM extraction_runs r LEFT JOIN channels c ON c.source = r.source AND c.channel = r.channel
WHERE r.id = $1::bigint

-- What a run found first. $1 run, $2 how many.
-- name: atoms_of_run
SELECT id, type, title, status, confidence FROM atoms WHERE run_id = $1::bigint ORDER BY id LIMIT $2::bigint

-- Ends running runs. Their messages are given back and left aside, as those are that failed too often (3: MOST_FAILURES).
-- The run first, then its messages, as everybody locks them. $1 ids, NULL for all, $2 what they say.
-- name: cancel_runs
WITH hit AS (
    SELECT id FROM extraction_runs WHERE state = 'running' AND ($1::bigint[] IS NULL OR id = ANY($1::bigint[]))
    ORDER BY id FOR UPDATE
), cancelled AS (
    UPDATE extraction_runs r SET state = 'cancelled', error = $2::text, finished_at = now(), lease_until = NULL
    FROM hit WHERE r.id = hit.id RETURNING r.id
), given_back AS (
    SELECT q.message_id FROM extraction_queue q JOIN hit ON q.run_id = hit.id ORDER BY q.message_id FOR UPDATE OF q
), aside AS (
    UPDATE extraction_queue q SET run_id = NULL, failures = greatest(failures, 3)
    FROM given_back g WHERE q.message_id = g.message_id RETURNING 1
)
SELECT (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM cancelled) AS ids, (SELECT count(*) FROM aside) AS messages

-- Messages of runs that still wait, by conversation, in the order they were said. $1 ids of runs, NULL for all that failed.
-- name: waiting_of_runs
WITH named AS (
    SELECT DISTINCT unnest(r.message_ids) AS id FROM extraction_runs r
    WHERE CASE WHEN $1::bigint[] IS NULL THEN r.state = 'failed' ELSE r.id = ANY($1::bigint[]) END
)
SELECT m.source, m.channel, array_agg(m.id ORDER BY m.sent_at, m.id) AS ids
FROM named n JOIN extraction_queue q ON q.message_id = n.id JOIN messages m ON m.id = n.id
LEFT JOIN message_threads t ON t.message_id = m.id
WHERE q.run_id IS NULL AND NOT q.parked AND m.signal IS DISTINCT FROM 'noise'
GROUP BY m.source, m.channel, coalesce(t.conversation_id, m.id) ORDER BY 1, 2, min(m.sent_at), min(m.id)

-- How fast messages are read: of the last 200 runs those that were done in the last five minutes, over the time since the
-- first of them began. No row when there is none.
-- name: extraction_pace
SELECT sum(cardinality(r.message_ids)) / greatest(extract(epoch FROM now() - min(r.started_at)), 1)::float8
           AS messages_per_second
FROM (SELECT * FROM extraction_runs ORDER BY id DESC LIMIT 200) r
WHERE r.state = 'done' AND r.finished_at > now() - interval '5 minutes' HAVING count(*) > 0

-- What is to be extracted when a person asks: messages that wait and are nobody's, however often runs failed with them.
-- $1 ids or NULL, $2 channels by identity or title, or NULL, $3 since and $4 until (not then), or NULL, $5 how many.
-- name: waiting_messages
SELECT m.source, m.channel, array_agg(m.id ORDER BY m.sent_at, m.id) AS ids FROM (
    SELECT m.* FROM extraction_queue q JOIN messages m ON m.id = q.message_id
    WHERE q.run_id IS NULL AND m.signal IS DISTINCT FROM 'noise'
      AND ($1::bigint[] IS NULL OR q.message_id = ANY($1::bigint[]))
      AND ($2::text[] IS NULL OR m.channel = ANY($2::text[]) OR EXISTS (
          SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.title = ANY($2::text[])))
      AND m.sent_at >= coalesce($3::timestamptz, '-infinity') AND m.sent_at < coalesce($4::timestamptz, 'infinity')
      AND NOT EXISTS (SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on')
    ORDER BY m.source, m.channel, m.sent_at, m.id LIMIT $5::bigint
) m LEFT JOIN message_threads t ON t.message_id = m.id
GROUP BY m.source, m.channel, coalesce(t.conversation_id, m.id) ORDER BY 1, 2, min(m.sent_at), min(m.id)

-- What does not wait and is no noise: it was extracted already, or never queued. Parameters as above.
-- name: read_messages
SELECT m.id FROM messages m
WHERE m.signal IS DISTINCT FROM 'noise'
  AND NOT EXISTS (SELECT FROM extraction_queue q WHERE q.message_id = m.id)
  AND ($1::bigint[] IS NULL OR m.id = ANY($1::bigint[]))
  AND ($2::text[] IS NULL OR m.channel = ANY($2::text[]) OR EXISTS (
      SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.title = ANY($2::text[])))
  AND m.sent_at >= coalesce($3::timestamptz, '-infinity') AND m.sent_at < coalesce($4::timestamptz, 'infinity')
  AND NOT EXISTS (SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on')
ORDER BY m.source, m.channel, m.sent_at, m.id LIMIT $5::bigint

-- Queued again. $1 ids.
-- name: queue_again
INSERT INTO extraction_queue (message_id) SELECT id FROM messages WHERE id = ANY($1::bigint[]) ORDER BY id
ON CONFLICT DO NOTHING RETURNING message_id AS id

-- Atoms that a window may mean again: of its conversations, and of what was said last in its channel, the newest first.
-- $1 source, $2 channel, $3 conversations, $4 latest messages of the channel to look at, $5 how many.
-- name: atoms_around
WITH said AS (
    SELECT t.message_id AS id FROM message_threads t WHERE t.conversation_id = ANY($3::bigint[])
    UNION
    (SELECT m.id FROM messages m WHERE m.source = $1::text AND m.channel = $2::text
     ORDER BY m.sent_at DESC, m.id DESC LIMIT $4::int)
)
SELECT a.id, a.type, a.title, a.content FROM atoms a
WHERE a.status = 'active' AND a.valid_until IS NULL
  AND a.id IN (SELECT e.atom_id FROM atom_evidence e JOIN said ON said.id = e.message_id)
ORDER BY a.id DESC LIMIT $5::int

-- What a channel was on about last. $1 source, $2 channel, $3 latest messages of it to look at, $4 how many.
-- name: topics_around
SELECT p.name FROM (
    SELECT m.topic_id, m.sent_at FROM messages m WHERE m.source = $1::text AND m.channel = $2::text
    ORDER BY m.sent_at DESC, m.id DESC LIMIT $3::int
) said JOIN topics p ON p.id = said.topic_id GROUP BY p.id, p.name ORDER BY max(said.sent_at) DESC, p.name LIMIT $4::int
