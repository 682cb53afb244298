-- Messages in.

-- One writer at a time a channel: two that bring the same new messages in different orders would wait for each other.
-- (Sorting them instead would take the order they were said in from the ids.) $1 sources, $2 channels.
-- name: lock_channels
SELECT pg_advisory_xact_lock(hashtextextended(place.source || ' ' || place.channel, 0))
FROM (SELECT DISTINCT source, channel FROM unnest($1::text[], $2::text[]) AS given (source, channel)
      ORDER BY source, channel) AS place

-- Stores what is new, with its score, and queues it for extraction; what is known already is left as it is. One row for
-- each message given, in that order: its id, and what became of it. `off`: its channel is not watched, or keeps nothing so
-- old; `forgotten`: it was stored, and somebody wanted it gone; `known`; `older`: stored with a text that was edited later than this one; `edited`:
-- stored with another text, which was edited before this one; `differs`: stored with another text, and neither says that
-- it is an edit; `taken`: another transaction has just stored it, ask again.
-- $1 sources, $2 channels, $3 external ids, $4 authors, $5 texts, $6 moments, $7 replies, $8 threads, $9 authors' ids,
-- $10 titles of the channels, $11 moments of edits, $12 details, $13 importances, $14 signals, $15 factors.
-- name: insert_messages
WITH given AS (
    SELECT g.*, EXISTS (SELECT FROM channels c
                        WHERE c.source = g.source AND c.channel = g.channel AND (
                            c.mode = 'off' OR g.sent_at < now() - make_interval(days => c.keep_days))) AS off,
           EXISTS (SELECT FROM forgotten_messages f
                   WHERE f.identity = public.winnow_identity(g.source, g.channel, g.external_id)) AS forgotten
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::timestamptz[], $12::jsonb[], $13::real[], $14::text[], $15::jsonb[])
        WITH ORDINALITY AS g (source, channel, external_id, author, text, sent_at, reply_to, thread,
                              author_id, title, edited_at, details, importance, signal, factors, place)
), stored AS (
    INSERT INTO messages (source, channel, external_id, author, text, sent_at, reply_to, thread,
                          author_id, edited_at, details, importance, signal, factors)
    SELECT source, channel, external_id, author, text, sent_at, reply_to, thread,
           author_id, edited_at, details, importance, signal, factors
    FROM given WHERE NOT off AND NOT forgotten ORDER BY place
    ON CONFLICT (source, channel, external_id) DO NOTHING
    RETURNING id, source, channel, external_id, text, edited_at
), queued AS (
    INSERT INTO extraction_queue (message_id, parked)
    SELECT s.id, EXISTS (SELECT FROM channels c WHERE c.source = s.source AND c.channel = s.channel AND c.mode <> 'on')
    FROM stored s
), named AS (
    INSERT INTO channels AS old (source, channel, title)
    SELECT DISTINCT ON (g.source, g.channel) g.source, g.channel, g.title FROM given g
    WHERE g.title IS NOT NULL AND NOT EXISTS (
        SELECT FROM channels c WHERE c.source = g.source AND c.channel = g.channel AND c.title = g.title)
    ORDER BY g.source, g.channel, g.place DESC
    ON CONFLICT (source, channel) DO UPDATE SET title = excluded.title
)
SELECT coalesce(s.id, m.id) AS id,
       CASE WHEN g.off THEN 'off'
            WHEN g.forgotten THEN 'forgotten'
            WHEN coalesce(s.id, m.id) IS NULL THEN 'taken'
            WHEN coalesce(s.text, m.text) = g.text THEN CASE WHEN s.id IS NULL THEN 'known' ELSE 'new' END
            WHEN coalesce(s.edited_at, m.edited_at, '-infinity') < g.edited_at THEN 'edited'
            WHEN coalesce(s.edited_at, m.edited_at) > coalesce(g.edited_at, '-infinity') THEN 'older'
            ELSE 'differs' END AS fate
FROM given g
LEFT JOIN stored s USING (source, channel, external_id)
LEFT JOIN LATERAL (  -- LIMIT keeps it a question of its own, which is not asked for what was stored now
    SELECT old.id, old.text, old.edited_at FROM messages old
    WHERE s.id IS NULL AND old.source = g.source AND old.channel = g.channel AND old.external_id = g.external_id LIMIT 1
) m ON true
ORDER BY g.place

-- $1 id.
-- name: message_identity
SELECT source, channel, external_id, author, sent_at, edited_at FROM messages WHERE id = $1::bigint

-- name: analyze_messages
ANALYZE messages

-- Texts to score, and whether they may leave this machine. $1 ids.
-- name: unscored_messages
SELECT m.id, m.author, m.text, m.details::text AS details, coalesce(c.local_only, false) AS local_only
FROM messages m LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
WHERE m.id = ANY($1::bigint[]) AND m.importance IS NULL ORDER BY m.id

-- Those that may not leave this machine. $1 ids.
-- name: private_messages
SELECT m.id FROM messages m JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
WHERE m.id = ANY($1::bigint[])

-- $1 ids, $2 importances, $3 signals, $4 factors, $5 hashes of the texts that were scored, for a text may have been edited
-- since it was read; a score that is there stays. Locked in id order, as the vectors' writers do.
-- name: write_scores
WITH locked AS (SELECT id FROM messages WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE messages m SET importance = given.importance, signal = given.signal, factors = given.factors
FROM unnest($1::bigint[], $2::real[], $3::text[], $4::jsonb[], $5::bytea[])
         AS given (id, importance, signal, factors, hash), locked
WHERE m.id = given.id AND m.id = locked.id AND m.importance IS NULL AND sha256(convert_to(m.text, 'UTF8')) = given.hash

-- Nothing is extracted from noise. What is in no conversation yet stays, for the sweeper to find, though nobody reads it.
-- $1 ids.
-- name: dequeue_noise
WITH noise AS (
    SELECT q.message_id FROM extraction_queue q JOIN messages m ON m.id = q.message_id
    JOIN message_threads t ON t.message_id = q.message_id
    WHERE q.message_id = ANY($1::bigint[]) AND q.run_id IS NULL AND m.signal = 'noise'
    ORDER BY q.message_id FOR UPDATE OF q SKIP LOCKED
)
DELETE FROM extraction_queue q USING noise WHERE q.message_id = noise.message_id

-- Rare events, counted together. $1 name, $2 how many.
-- name: count_event
INSERT INTO counters AS c (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = c.value + excluded.value, changed_at = now()

-- name: read_counters
SELECT name, value FROM counters ORDER BY name
