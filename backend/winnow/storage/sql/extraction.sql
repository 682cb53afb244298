-- Extraction: who reads which messages, and what was found.

-- Channels with enough unclaimed messages, or some and a quiet time; not those whose last run failed a moment ago.
-- Messages whose runs failed too often are left aside: what kills one run would kill the next, without end. Noise is not
-- counted; what has no score or no conversation yet is only once it has waited as long as a channel is quiet.
-- $1 threshold, $2 quiet seconds, $3 most ids of one channel, $4 seconds to leave a failed channel alone, $5 failures.
-- name: due_channels
SELECT m.source, m.channel, (array_agg(m.id ORDER BY m.sent_at, m.id))[1:$3::int] AS ids
FROM extraction_queue q JOIN messages m ON m.id = q.message_id LEFT JOIN message_threads t ON t.message_id = m.id
WHERE q.run_id IS NULL AND q.failures < $5::smallint AND m.signal IS DISTINCT FROM 'noise'
  AND (m.importance IS NOT NULL AND t.message_id IS NOT NULL
       OR m.received_at < now() - make_interval(secs => $2::float8))
  AND NOT EXISTS (
      SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on')
GROUP BY m.source, m.channel
HAVING (count(*) >= $1::int OR max(m.received_at) < now() - make_interval(secs => $2::float8))
   AND NOT EXISTS (
       SELECT FROM extraction_runs r
       WHERE r.source = m.source AND r.channel = m.channel AND r.state = 'failed'
         AND r.finished_at > now() - make_interval(secs => $4::float8))

-- Unclaimed messages of these ids, in the order they were said. Who names a message gets it, however often it failed:
-- the sweeper no longer names those, so somebody wants them tried again. Nobody gets noise, or those of a channel that is
-- not extracted from. $1 ids.
-- name: unclaimed_messages
SELECT m.id, m.source, m.channel, m.author, m.text, m.sent_at, m.importance, m.details::text AS details,
       EXISTS (SELECT FROM message_threads t WHERE t.message_id = m.id) AS linked
FROM extraction_queue q JOIN messages m ON m.id = q.message_id
WHERE q.message_id = ANY($1::bigint[]) AND q.run_id IS NULL AND m.signal IS DISTINCT FROM 'noise' AND NOT EXISTS (
    SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on')
ORDER BY m.source, m.channel, m.sent_at, m.id

-- All unclaimed ids, for an extraction asked for by hand; those that failed too often among them.
-- $1 channel or NULL for all, $2 how many.
-- name: unclaimed_ids
SELECT m.id FROM extraction_queue q JOIN messages m ON m.id = q.message_id
WHERE q.run_id IS NULL AND ($1::text IS NULL OR m.channel = $1::text) AND m.signal IS DISTINCT FROM 'noise' AND NOT EXISTS (
    SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on')
ORDER BY m.source, m.channel, m.sent_at, m.id LIMIT $2::bigint

-- What was said in the channel just before. $1 source, $2 channel, $3 moment, $4 id, $5 how many.
-- name: earlier_messages
SELECT m.id, m.author, m.text, m.sent_at, m.importance, p.name AS topic
FROM messages m LEFT JOIN topics p ON p.id = m.topic_id
WHERE m.source = $1 AND m.channel = $2 AND (m.sent_at, m.id) < ($3::timestamptz, $4::bigint)
ORDER BY m.sent_at DESC, m.id DESC LIMIT $5::int

-- A run over those of the messages that no other run has; no run when there are none.
-- $1 source, $2 channel, $3 extractor, $4 message ids, $5 lease seconds.
-- name: start_run
WITH free AS (
    SELECT message_id FROM extraction_queue WHERE message_id = ANY($4::bigint[]) AND run_id IS NULL
    ORDER BY message_id FOR UPDATE SKIP LOCKED
), run AS (
    INSERT INTO extraction_runs (source, channel, extractor, message_ids, lease_until)
    SELECT $1, $2, $3, array_agg(message_id ORDER BY array_position($4::bigint[], message_id)),
           now() + make_interval(secs => $5::float8)
    FROM free HAVING count(*) > 0
    RETURNING id, message_ids
), claimed AS (
    UPDATE extraction_queue q SET run_id = run.id FROM free, run WHERE q.message_id = free.message_id
)
SELECT id, message_ids FROM run

-- $1 run, $2 lease seconds.
-- name: renew_run
UPDATE extraction_runs SET lease_until = now() + make_interval(secs => $2::float8) WHERE id = $1 AND state = 'running'

-- The end of a run, only while it is still its own: a run given up for dead commits nothing.
-- $1 run, $2 atoms, $3 topics, $4 links.
-- name: finish_run
UPDATE extraction_runs
SET state = 'done', atoms = $2::int, topics = $3::int, links = $4::int, finished_at = now(), lease_until = NULL
WHERE id = $1 AND state = 'running' RETURNING id

-- What a committed run has read is off the queue. $1 run.
-- name: dequeue_messages
DELETE FROM extraction_queue WHERE run_id = $1

-- $1 run, $2 error.
-- name: fail_run
UPDATE extraction_runs SET state = 'failed', error = left($2, 2000), finished_at = now(), lease_until = NULL
WHERE id = $1 AND state = 'running'

-- Gives a run's messages back. $1 run, $2 failures to add.
-- name: give_messages_back
UPDATE extraction_queue SET run_id = NULL, failures = least(failures + $2::smallint, 1000) WHERE run_id = $1

-- A run that was stopped for no fault of its own was never there; its messages come free by their foreign key. $1 run.
-- name: forget_run
DELETE FROM extraction_runs WHERE id = $1 AND state = 'running'

-- Runs whose worker is gone: failed, their messages free again, with one failure more, for they may have killed it.
-- name: fail_dead_runs
WITH found AS (
    SELECT id FROM extraction_runs WHERE state = 'running' AND lease_until < now() ORDER BY id FOR UPDATE SKIP LOCKED
), dead AS (
    UPDATE extraction_runs r SET state = 'failed', error = 'its worker stopped in the middle', finished_at = now(), lease_until = NULL
    FROM found WHERE r.id = found.id RETURNING r.id
), freed AS (
    UPDATE extraction_queue q SET run_id = NULL, failures = least(failures + 1, 1000) FROM dead WHERE q.run_id = dead.id
)
SELECT id FROM dead

-- What messages say now. $1 ids.
-- name: texts_of_messages
SELECT id, text FROM messages WHERE id = ANY($1::bigint[])

-- name: count_runs
SELECT state, count(*) AS number FROM extraction_runs GROUP BY state

-- $1 failures after which a message is left aside.
-- name: count_queue
SELECT count(*) FILTER (WHERE run_id IS NULL AND failures < $1::smallint) AS waiting,
       count(*) FILTER (WHERE run_id IS NOT NULL) AS in_hand,
       count(*) FILTER (WHERE run_id IS NULL AND failures >= $1::smallint) AS failed
FROM extraction_queue

-- name: count_atoms
SELECT type, count(*) AS number FROM atoms WHERE status = 'active' GROUP BY type ORDER BY number DESC, type
