-- Channels: which there are, and what is done with each.

-- Those with messages and those that somebody has chosen something for, the one with the latest message first. Counted from
-- an index alone; what waits is what would be extracted. $1 how many, $2 how many to leave out.
-- name: list_channels
WITH said AS (
    SELECT source, channel, count(*) AS messages, max(sent_at) AS last_at FROM messages GROUP BY source, channel
), listed AS (
    SELECT coalesce(s.source, c.source) AS source, coalesce(s.channel, c.channel) AS channel,
           coalesce(c.title, '') AS title, coalesce(c.mode, 'on') AS mode, coalesce(c.local_only, false) AS local_only,
           c.keep_days, coalesce(s.messages, 0) AS messages, s.last_at
    FROM said s FULL JOIN channels c ON c.source = s.source AND c.channel = s.channel
    ORDER BY s.last_at DESC NULLS LAST, 1, 2 LIMIT $1::bigint OFFSET $2::bigint
), queued AS (
    SELECT m.source, m.channel, count(*) AS number FROM extraction_queue q JOIN messages m ON m.id = q.message_id
    GROUP BY 1, 2
)
SELECT l.*, coalesce(q.number, 0) AS queued
FROM listed l LEFT JOIN queued q ON q.source = l.source AND q.channel = l.channel
ORDER BY l.last_at DESC NULLS LAST, l.source, l.channel

-- One of them. $1 source, $2 channel.
-- name: read_channel
SELECT $1::text AS source, $2::text AS channel, coalesce(c.title, '') AS title, coalesce(c.mode, 'on') AS mode,
       coalesce(c.local_only, false) AS local_only, c.keep_days,
       (SELECT count(*) FROM messages m WHERE m.source = $1::text AND m.channel = $2::text) AS messages,
       (SELECT max(m.sent_at) FROM messages m WHERE m.source = $1::text AND m.channel = $2::text) AS last_at,
       (SELECT count(*) FROM extraction_queue q JOIN messages m ON m.id = q.message_id
        WHERE m.source = $1::text AND m.channel = $2::text) AS queued
FROM (SELECT) one LEFT JOIN channels c ON c.source = $1::text AND c.channel = $2::text

-- Whether there is such a channel. Of a name: by its title or its identity. $1 source, $2 channel or title.
-- name: find_channels
SELECT channel FROM channels WHERE source = $1::text AND (title = $2::text OR channel = $2::text)
UNION SELECT $2::text WHERE EXISTS (SELECT FROM messages WHERE source = $1::text AND channel = $2::text)

-- A row if its text may not leave. $1 source, $2 channel.
-- name: is_local_only
SELECT true AS found FROM channels WHERE source = $1::text AND channel = $2::text AND local_only

-- Those of the atoms that quote what may not leave. $1 ids.
-- name: private_atoms
SELECT a.id FROM unnest($1::bigint[]) AS a (id)
WHERE (SELECT true FROM atom_evidence e JOIN messages m ON m.id = e.message_id
       JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
       WHERE e.atom_id = a.id LIMIT 1) IS NOT NULL

-- Those of the topics that something is filed under which may not leave. $1 names.
-- name: private_topics
SELECT t.name FROM topics t
WHERE t.name = ANY($1::text[]) AND (SELECT true FROM channels c WHERE c.local_only LIMIT 1) IS NOT NULL AND (
    (SELECT true FROM atoms a JOIN atom_evidence e ON e.atom_id = a.id JOIN messages m ON m.id = e.message_id
     JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
     WHERE a.topic_id = t.id LIMIT 1) IS NOT NULL
    OR (SELECT true FROM messages m JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
        WHERE m.topic_id = t.id LIMIT 1) IS NOT NULL)

-- $1 source, $2 channel, $3 mode, $4 local only; NULL leaves it as it is. $5 days to keep, if $6.
-- name: write_channel
INSERT INTO channels AS c (source, channel, mode, local_only, keep_days)
VALUES ($1::text, $2::text, coalesce($3::text, 'on'), coalesce($4::boolean, false), CASE WHEN $6::boolean THEN $5::int END)
ON CONFLICT (source, channel) DO UPDATE
SET mode = coalesce($3::text, c.mode), local_only = coalesce($4::boolean, c.local_only),
    keep_days = CASE WHEN $6::boolean THEN $5::int ELSE c.keep_days END, changed_at = now()

-- What is queued of a channel is parked while nothing is extracted from it. What somebody holds just now is left to the next
-- `park_queue`. $1 source, $2 channel.
-- name: park_channel
WITH wrong AS (
    SELECT q.message_id FROM extraction_queue q JOIN messages m ON m.id = q.message_id
    WHERE m.source = $1::text AND m.channel = $2::text AND q.run_id IS NULL
      AND q.parked = NOT EXISTS (SELECT FROM channels c WHERE c.source = $1::text AND c.channel = $2::text AND c.mode <> 'on')
    ORDER BY q.message_id FOR UPDATE OF q SKIP LOCKED
)
UPDATE extraction_queue q SET parked = NOT q.parked FROM wrong w WHERE q.message_id = w.message_id

-- The same of all channels: what was stored, or was in hand, while somebody changed what is done with its channel.
-- name: park_queue
WITH wrong AS (
    SELECT q.message_id FROM extraction_queue q JOIN messages m ON m.id = q.message_id
    LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
    WHERE q.run_id IS NULL AND q.parked <> (coalesce(c.mode, 'on') <> 'on')
    ORDER BY q.message_id FOR UPDATE OF q SKIP LOCKED
)
UPDATE extraction_queue q SET parked = NOT q.parked FROM wrong w WHERE q.message_id = w.message_id

-- Channels that hold something older than they are to keep.
-- name: overdue_channels
SELECT c.source, c.channel, c.keep_days AS days FROM channels c
WHERE c.keep_days IS NOT NULL AND (SELECT true FROM messages m
    WHERE m.source = c.source AND m.channel = c.channel
      AND (m.sent_at < now() - make_interval(days => c.keep_days)
           OR m.sent_at > now() AND m.received_at < now() - make_interval(days => c.keep_days)) LIMIT 1) IS NOT NULL
ORDER BY 1, 2

-- Answers to requests that nobody repeats any more.
-- name: tidy_idempotency_keys
DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'

-- What a request with this key was answered. $1 caller, $2 key.
-- name: read_answer
SELECT request_hash, status, answer FROM idempotency_keys
WHERE caller = $1::text AND key = $2::text AND created_at >= now() - interval '24 hours'

-- Notes an answer, unless another process was first. $1 caller, $2 key, $3 hash of the request, $4 status, $5 answer.
-- name: note_answer
INSERT INTO idempotency_keys AS k (caller, key, request_hash, status, answer)
VALUES ($1::text, $2::text, $3::bytea, $4::smallint, $5::jsonb)
ON CONFLICT (caller, key) DO UPDATE
SET request_hash = excluded.request_hash, status = excluded.status, answer = excluded.answer, created_at = now()
WHERE k.created_at < now() - interval '24 hours'
