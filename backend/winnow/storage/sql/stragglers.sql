-- Messages that nothing was ever promised for.

-- Rows that others wrote with plain SQL are queued like all others; those just being stored are their own transaction's
-- business. Held against whoever removes them. $1 behind this id, $2 how many to look at, $3 seconds since they were stored.
-- name: queue_strays
WITH looked AS (
    SELECT id, source, channel, received_at FROM messages
    WHERE importance IS NULL AND id > $1::bigint ORDER BY id LIMIT $2::int
), strays AS (
    SELECT m.id FROM messages m
    WHERE m.id IN (SELECT l.id FROM looked l
                   WHERE l.received_at < now() - make_interval(secs => $3::float8)
                     AND NOT EXISTS (SELECT FROM extraction_queue q WHERE q.message_id = l.id))
    ORDER BY m.id FOR KEY SHARE SKIP LOCKED
), queued AS (
    INSERT INTO extraction_queue (message_id, parked)
    SELECT s.id, EXISTS (SELECT FROM channels c
                         WHERE c.source = l.source AND c.channel = l.channel AND c.mode <> 'on')
    FROM strays s JOIN looked l USING (id) ORDER BY s.id
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM queued) AS queued, (SELECT count(*) FROM looked) AS looked,
       (SELECT max(id) FROM looked) AS last

-- What is in no conversation and in no queue: it was read before there were conversations, or others wrote it with a
-- score. $1 behind this id, $2 how many to look at.
-- name: unlinked_page
WITH looked AS (SELECT id FROM messages WHERE id > $1::bigint ORDER BY id LIMIT $2::int)
SELECT coalesce(array_agg(l.id ORDER BY l.id) FILTER (
           WHERE NOT EXISTS (SELECT FROM message_threads t WHERE t.message_id = l.id)
             AND NOT EXISTS (SELECT FROM extraction_queue q WHERE q.message_id = l.id)), '{}') AS ids,
       max(l.id) AS last
FROM looked l
