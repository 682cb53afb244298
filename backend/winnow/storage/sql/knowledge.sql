-- What an extraction found: topics, atoms, the words they rest on, and links.

-- Topics by name, made where missing, in name order so that two runs never wait for each other. $1 names.
-- name: upsert_topics
INSERT INTO topics (name) SELECT DISTINCT given.name FROM unnest($1::text[]) AS given (name) ORDER BY given.name
ON CONFLICT (name) DO NOTHING RETURNING id

-- $1 names.
-- name: topics_by_name
SELECT id, name FROM topics WHERE name = ANY($1::text[])

-- One atom; the same content of the same type is the same atom, whose confidence can only grow.
-- $1 type, $2 title, $3 content, $4 confidence, $5 topic, $6 run.
-- name: upsert_atom
INSERT INTO atoms AS a (type, title, content, confidence, topic_id, run_id)
VALUES ($1, $2, $3, $4::real, $5::bigint, $6::bigint)
ON CONFLICT (type, md5(lower(content))) DO UPDATE SET confidence = greatest(a.confidence, excluded.confidence)
RETURNING id

-- How many of these quotes are not in their messages: these were changed, or removed, since they were read.
-- $1 messages, $2 starts, $3 ends, $4 quotes.
-- name: count_misquoted
SELECT count(*) AS number
FROM unnest($1::bigint[], $2::int[], $3::int[], $4::text[]) AS given (message_id, start_char, end_char, quote)
LEFT JOIN messages m ON m.id = given.message_id
WHERE substr(m.text, given.start_char + 1, given.end_char - given.start_char) IS DISTINCT FROM given.quote

-- $1 atoms, $2 messages, $3 starts, $4 ends, $5 quotes.
-- name: insert_evidence
INSERT INTO atom_evidence (atom_id, message_id, start_char, end_char, quote)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::text[])
ON CONFLICT DO NOTHING

-- $1 sources, $2 targets, $3 types, $4 confidences.
-- name: insert_links
INSERT INTO atom_links AS l (source_id, target_id, type, confidence)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::real[])
ON CONFLICT (source_id, target_id, type) DO UPDATE SET confidence = greatest(l.confidence, excluded.confidence)

-- What a run learned of its messages: the topic each is filed under, and the score of those that had none. One statement,
-- so that a row is written once, and locked once, in id order as every writer of messages does.
-- $1 messages, $2 topics, $3 importances, $4 signals, $5 factors; NULL for what was not learned.
-- name: write_what_was_learned
WITH locked AS (SELECT id FROM messages WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE messages m
SET topic_id = coalesce(given.topic_id, m.topic_id),
    importance = coalesce(m.importance, given.importance),
    signal = CASE WHEN m.importance IS NULL THEN coalesce(given.signal, m.signal) ELSE m.signal END,
    factors = CASE WHEN m.importance IS NULL THEN coalesce(given.factors, m.factors) ELSE m.factors END
FROM unnest($1::bigint[], $2::bigint[], $3::real[], $4::text[], $5::jsonb[])
         AS given (id, topic_id, importance, signal, factors), locked
WHERE m.id = given.id AND m.id = locked.id
  AND (m.topic_id IS DISTINCT FROM coalesce(given.topic_id, m.topic_id)
       OR m.importance IS NULL AND given.importance IS NOT NULL)
