-- Extraction: who reads which messages, and what was found.

-- A page of the queue by conversations: those with enough waiting messages, or some and a quiet time; not in channels whose
-- last run failed a moment ago. Messages whose runs failed too often (3: MOST_FAILURES) are left aside: what kills one run
-- would kill the next, without end. Noise is not counted; what has no score or no conversation yet is only once it has waited
-- as long as a conversation is quiet. What is parked is not even walked over; that it should be is asked, for a channel may
-- have been switched off in this moment.
-- $1 threshold, $2 quiet seconds, $3 seconds to leave a failed channel alone, $4 after this message, $5 messages of a page.
-- name: due_conversations
WITH page AS MATERIALIZED (
    SELECT message_id FROM extraction_queue
    WHERE run_id IS NULL AND NOT parked AND failures < 3 AND message_id > $4::bigint ORDER BY message_id LIMIT $5::int
), waiting AS (
    SELECT m.id, m.source, m.channel, m.sent_at, m.received_at, coalesce(t.conversation_id, m.id) AS conversation_id
    FROM page p JOIN messages m ON m.id = p.message_id LEFT JOIN message_threads t ON t.message_id = m.id
    WHERE m.signal IS DISTINCT FROM 'noise'
      AND (m.importance IS NOT NULL AND t.message_id IS NOT NULL
           OR m.received_at < now() - make_interval(secs => $2::float8))
)
SELECT w.source, w.channel, array_agg(w.id ORDER BY w.sent_at, w.id) AS ids, count(*) >= $1::int AS many
FROM waiting w
WHERE NOT EXISTS (SELECT FROM channels c WHERE c.source = w.source AND c.channel = w.channel AND c.mode <> 'on')
  AND NOT EXISTS (
      SELECT FROM extraction_runs r
      WHERE r.source = w.source AND r.channel = w.channel AND r.state = 'failed'
        AND r.finished_at > now() - make_interval(secs => $3::float8))
GROUP BY w.source, w.channel, w.conversation_id
HAVING count(*) >= $1::int OR max(w.received_at) < now() - make_interval(secs => $2::float8)
ORDER BY w.source, w.channel, min(w.sent_at), min(w.id)

-- Where the next page begins; NULL: this was the last one. $1 after this message, $2 messages of a page.
-- name: next_page
SELECT CASE WHEN count(*) = $2::int THEN max(message_id) END AS after FROM (
    SELECT message_id FROM extraction_queue
    WHERE run_id IS NULL AND NOT parked AND failures < 3 AND message_id > $1::bigint ORDER BY message_id LIMIT $2::int
) page

-- Behind which message so many are the latest. $1 how many.
-- name: latest_page
SELECT message_id AS after FROM extraction_queue WHERE run_id IS NULL AND NOT parked AND failures < 3
ORDER BY message_id DESC LIMIT 1 OFFSET $1::int

-- $1 ids.
-- name: still_waiting
SELECT message_id AS id FROM extraction_queue WHERE message_id = ANY($1::bigint[]) AND run_id IS NULL

-- Unclaimed messages of these ids, in the order they were said. Nobody gets noise, or those of a channel that is not
-- extracted from; only a person those that failed too often (3: MOST_FAILURES). $1 ids, $2 whether a person asks.
-- name: unclaimed_messages
SELECT m.id, m.source, m.channel, m.author, m.text, m.sent_at, m.importance, m.details::text AS details,
       t.message_id IS NOT NULL AS linked, coalesce(t.conversation_id, m.id) AS conversation, t.parent_id,
       coalesce((SELECT sum(latest.vote) FROM (
           SELECT DISTINCT ON (coalesce(v.author_id, v.author)) a.vote
           FROM message_threads a JOIN messages v ON v.id = a.message_id
           WHERE a.parent_id = m.id AND a.vote <> 0
           ORDER BY coalesce(v.author_id, v.author), v.sent_at DESC, v.id DESC) latest), 0)::int AS votes
FROM extraction_queue q JOIN messages m ON m.id = q.message_id LEFT JOIN message_threads t ON t.message_id = m.id
WHERE q.message_id = ANY($1::bigint[]) AND q.run_id IS NULL AND (q.failures < 3 OR $2::boolean)
  AND m.signal IS DISTINCT FROM 'noise' AND NOT EXISTS (
    SELECT FROM channels c WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on')
ORDER BY m.source, m.channel, m.sent_at, m.id

-- What was said before, for the extractor to understand the rest: in each of these conversations, and in the channel.
-- $1 source, $2 channel, $3 conversations, $4 moments and $5 ids of what is new first in each, $6 most of each, $7 characters
-- of each text.
-- name: earlier_messages
WITH given AS (
    SELECT * FROM unnest($3::bigint[], $4::timestamptz[], $5::bigint[]) AS g (conversation_id, sent_at, id)
), found AS (
    SELECT before.id FROM given g CROSS JOIN LATERAL (
        SELECT m.id FROM message_threads t JOIN messages m ON m.id = t.message_id
        WHERE t.conversation_id = g.conversation_id AND (m.sent_at, m.id) < (g.sent_at, g.id)
        ORDER BY m.sent_at DESC, m.id DESC LIMIT $6::int) before
    UNION
    SELECT around.id FROM given g CROSS JOIN LATERAL (
        SELECT m.id FROM messages m
        WHERE m.source = $1::text AND m.channel = $2::text AND (m.sent_at, m.id) < (g.sent_at, g.id)
        ORDER BY m.sent_at DESC, m.id DESC LIMIT $6::int) around
)
SELECT m.id, m.author, left(m.text, $7::int) AS text, m.sent_at, coalesce(m.importance, 0) AS importance,
       coalesce(t.conversation_id, m.id) AS conversation, t.parent_id, coalesce((SELECT sum(latest.vote) FROM (
           SELECT DISTINCT ON (coalesce(v.author_id, v.author)) a.vote
           FROM message_threads a JOIN messages v ON v.id = a.message_id
           WHERE a.parent_id = m.id AND a.vote <> 0
           ORDER BY coalesce(v.author_id, v.author), v.sent_at DESC, v.id DESC) latest), 0)::int AS votes, p.name AS topic
FROM found f JOIN messages m ON m.id = f.id LEFT JOIN message_threads t ON t.message_id = m.id
LEFT JOIN topics p ON p.id = m.topic_id
ORDER BY m.sent_at, m.id

-- A run over those of the messages that no other run has; no run when there are none.
-- $1 source, $2 channel, $3 extractor, $4 message ids, $5 lease seconds, $6 the extractor's version, $7 who asked, $8 whether
-- a person did.
-- name: start_run
WITH free AS (
    SELECT message_id FROM extraction_queue
    WHERE message_id = ANY($4::bigint[]) AND run_id IS NULL AND (failures < 3 OR $8::boolean)
    ORDER BY message_id FOR UPDATE SKIP LOCKED
), run AS (
    INSERT INTO extraction_runs (source, channel, extractor, message_ids, lease_until, extractor_version, asked)
    SELECT $1, $2, $3, array_agg(message_id ORDER BY array_position($4::bigint[], message_id)),
           now() + make_interval(secs => $5::float8), $6::text, $7::text
    FROM free HAVING count(*) > 0
    RETURNING id, message_ids
), claimed AS (
    UPDATE extraction_queue q SET run_id = run.id FROM free, run WHERE q.message_id = free.message_id
)
SELECT id, message_ids FROM run

-- No row: somebody ended it. $1 run, $2 lease seconds.
-- name: renew_run
UPDATE extraction_runs SET lease_until = now() + make_interval(secs => $2::float8) WHERE id = $1 AND state = 'running'
RETURNING id

-- The end of a run, only while it is still its own: a run given up for dead commits nothing.
-- $1 run, $2 atoms, $3 topics, $4 links.
-- name: finish_run
UPDATE extraction_runs
SET state = 'done', atoms = $2::int, topics = $3::int, links = $4::int, finished_at = now(), lease_until = NULL
WHERE id = $1 AND state = 'running' RETURNING id

-- What a committed run has read is off the queue. $1 run.
-- name: dequeue_messages
DELETE FROM extraction_queue WHERE run_id = $1

-- $1 run, $2 error, $3 failed or abandoned.
-- name: fail_run
UPDATE extraction_runs SET state = $3::text, error = left($2, 2000), finished_at = now(), lease_until = NULL
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
SELECT count(*) FILTER (WHERE run_id IS NULL AND NOT parked AND failures < $1::smallint) AS waiting,
       count(*) FILTER (WHERE run_id IS NOT NULL) AS in_hand,
       count(*) FILTER (WHERE run_id IS NULL AND failures >= $1::smallint) AS failed
FROM extraction_queue

-- name: count_atoms
SELECT type, count(*) AS number FROM atoms WHERE status = 'active' GROUP BY type ORDER BY number DESC, type
