-- Conversations: which message answers which.

-- Those of the messages that are in no conversation yet, in the order they were said. $1 ids.
-- name: unlinked_messages
SELECT m.id, m.source, m.channel, m.sent_at
FROM messages m LEFT JOIN message_threads t ON t.message_id = m.id
WHERE m.id = ANY($1::bigint[]) AND t.message_id IS NULL
ORDER BY m.source, m.channel, m.sent_at, m.id

-- A stretch of a channel: what was said before a message, and what from it on up to another, oldest first.
-- $1 source, $2 channel, $3 moment and $4 id of the one, $5 moment and $6 id of the other, $7 most before, $8 most from it
-- on, $9 seconds before, $10 characters of each text.
-- name: stretch_of_channel
WITH places AS (
    (SELECT id FROM messages
     WHERE source = $1 AND channel = $2 AND (sent_at, id) < ($3::timestamptz, $4::bigint)
       AND sent_at > $3::timestamptz - make_interval(secs => $9::float8)
     ORDER BY sent_at DESC, id DESC LIMIT $7::int)
    UNION ALL
    (SELECT id FROM messages
     WHERE source = $1 AND channel = $2 AND (sent_at, id) >= ($3::timestamptz, $4::bigint)
       AND (sent_at, id) <= ($5::timestamptz, $6::bigint)
     ORDER BY sent_at, id LIMIT $8::int)
)
SELECT m.id, m.external_id, m.author, m.author_id, left(m.text, $10::int) AS text, m.sent_at, m.reply_to, m.thread,
       m.details::text AS details, t.conversation_id
FROM places JOIN messages m ON m.id = places.id LEFT JOIN message_threads t ON t.message_id = m.id
ORDER BY m.sent_at, m.id

-- What messages of a channel name as answered, or as what their thread hangs on. $1 source, $2 channel, $3 external ids.
-- name: named_messages
SELECT m.id, m.external_id, m.author, m.author_id, m.details::text AS details, t.conversation_id
FROM messages m LEFT JOIN message_threads t ON t.message_id = m.id
WHERE m.source = $1 AND m.channel = $2 AND m.external_id = ANY($3::text[])

-- Joins messages to their conversations; one that is in one stays, and one that is gone is left out.
-- $1 messages, $2 conversations, $3 parents, $4 reasons, $5 votes.
-- name: insert_links_of_messages
WITH there AS (
    SELECT id FROM messages WHERE id = ANY($1::bigint[] || $3::bigint[]) ORDER BY id FOR KEY SHARE
)
INSERT INTO message_threads (message_id, conversation_id, parent_id, reason, vote)
SELECT given.message_id, given.conversation_id, parent.id, given.reason, CASE WHEN parent.id IS NULL THEN 0 ELSE given.vote END
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::smallint[])
         AS given (message_id, conversation_id, parent_id, reason, vote)
JOIN there ON there.id = given.message_id LEFT JOIN there parent ON parent.id = given.parent_id
ORDER BY given.message_id
ON CONFLICT (message_id) DO NOTHING

-- What was joined to a message before that message itself was joined to an earlier conversation goes along.
-- $1 messages, $2 their conversations.
-- name: merge_conversations
UPDATE message_threads t SET conversation_id = given.conversation_id
FROM unnest($1::bigint[], $2::bigint[]) AS given (message_id, conversation_id)
WHERE t.conversation_id = given.message_id AND given.conversation_id <> given.message_id

-- Of each person the latest vote, added up. $1 what they voted on.
-- name: votes_on
SELECT latest.parent_id, sum(latest.vote)::int AS votes
FROM (SELECT DISTINCT ON (t.parent_id, coalesce(v.author_id, v.author)) t.parent_id, t.vote
      FROM message_threads t JOIN messages v ON v.id = t.message_id
      WHERE t.parent_id = ANY($1::bigint[]) AND t.vote <> 0
      ORDER BY t.parent_id, coalesce(v.author_id, v.author), v.sent_at DESC, v.id DESC) AS latest
GROUP BY latest.parent_id

-- What those are scored that somebody votes on, or has voted on, held for writing in id order. $1 ids, $2 those of them that
-- somebody votes on.
-- name: lock_scores
SELECT id, importance, signal, factors::text AS factors FROM messages
WHERE id = ANY($1::bigint[]) AND importance IS NOT NULL AND (id = ANY($2::bigint[]) OR factors ? 'votes')
ORDER BY id FOR NO KEY UPDATE

-- $1 ids, $2 importances, $3 signals, $4 factors; of rows that are held. What is noise no more is extracted, too.
-- name: replace_scores
WITH written AS (
    UPDATE messages m SET importance = given.importance, signal = given.signal, factors = given.factors
    FROM unnest($1::bigint[], $2::real[], $3::text[], $4::jsonb[]) AS given (id, importance, signal, factors)
    WHERE m.id = given.id
), risen AS (
    SELECT m.id, EXISTS (SELECT FROM channels c
                         WHERE c.source = m.source AND c.channel = m.channel AND c.mode <> 'on') AS parked
    FROM messages m JOIN unnest($1::bigint[], $3::text[]) AS given (id, signal) ON m.id = given.id
    WHERE m.signal = 'noise' AND given.signal <> 'noise'
)
INSERT INTO extraction_queue (message_id, parked) SELECT id, parked FROM risen ORDER BY id ON CONFLICT DO NOTHING

-- Messages that wait for extraction and have no score or no conversation, though they were stored some time ago.
-- $1 seconds ago, $2 how many.
-- name: unjudged_messages
SELECT q.message_id AS id
FROM extraction_queue q JOIN messages m ON m.id = q.message_id LEFT JOIN message_threads t ON t.message_id = q.message_id
WHERE q.run_id IS NULL AND (t.message_id IS NULL OR m.importance IS NULL)
  AND m.received_at < now() - make_interval(secs => $1::float8)
ORDER BY q.message_id LIMIT $2::int
