-- Messages in.

-- One writer at a time a channel: two that bring the same new messages in different orders would wait for each other.
-- (Sorting them instead would take the order they were said in from the ids.) $1 sources, $2 channels.
-- name: lock_channels
SELECT pg_advisory_xact_lock(hashtextextended(place.source || ' ' || place.channel, 0))
FROM (SELECT DISTINCT source, channel FROM unnest($1::text[], $2::text[]) AS given (source, channel)
      ORDER BY source, channel) AS place

-- Stores what is new and queues it for extraction; what is known already is left as it is. One row for each message
-- given, in that order: its id (NULL when another transaction has just stored it: ask again), whether it was stored now,
-- and whether another text stands under its identity.
-- $1 sources, $2 channels, $3 external ids, $4 authors, $5 texts, $6 moments, $7 replies, $8 threads.
-- name: insert_messages
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
        WITH ORDINALITY AS g (source, channel, external_id, author, text, sent_at, reply_to, thread, place)
), stored AS (
    INSERT INTO messages (source, channel, external_id, author, text, sent_at, reply_to, thread)
    SELECT source, channel, external_id, author, text, sent_at, reply_to, thread FROM given ORDER BY place
    ON CONFLICT (source, channel, external_id) DO NOTHING
    RETURNING id, source, channel, external_id, text
), queued AS (
    INSERT INTO extraction_queue (message_id) SELECT id FROM stored
)
SELECT coalesce(s.id, m.id) AS id, s.id IS NOT NULL AS new, coalesce(s.text, m.text) <> g.text AS differs
FROM given g
LEFT JOIN stored s USING (source, channel, external_id)
LEFT JOIN LATERAL (  -- LIMIT keeps it a question of its own, which is not asked for what was stored now
    SELECT old.id, old.text FROM messages old
    WHERE s.id IS NULL AND old.source = g.source AND old.channel = g.channel AND old.external_id = g.external_id LIMIT 1
) m ON true
ORDER BY g.place

-- name: analyze_messages
ANALYZE messages

-- Texts to score. $1 ids.
-- name: unscored_messages
SELECT id, author, text FROM messages WHERE id = ANY($1::bigint[]) AND importance IS NULL ORDER BY id

-- $1 ids, $2 importances, $3 signals; a score that is there stays. Locked in id order, as the vectors' writers do.
-- name: write_scores
WITH locked AS (SELECT id FROM messages WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE messages m SET importance = given.importance, signal = given.signal
FROM unnest($1::bigint[], $2::real[], $3::text[]) AS given (id, importance, signal), locked
WHERE m.id = given.id AND m.id = locked.id AND m.importance IS NULL

-- Rare events, counted together. $1 name, $2 how many.
-- name: count_event
INSERT INTO counters AS c (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = c.value + excluded.value, changed_at = now()

-- name: read_counters
SELECT name, value FROM counters ORDER BY name
