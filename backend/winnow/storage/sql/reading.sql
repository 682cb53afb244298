-- Reading what is known: atoms, topics, and what each rests on. `true /* chosen */` stands where the conditions of a
-- filter come in (reading_conditions.sql); their parameters follow the statement's own.

-- Topics as a hit of a search shows them. $1 ids.
-- name: topics_found
SELECT p.id, p.name, p.description,
       (SELECT count(*) FROM atoms a WHERE a.topic_id = p.id AND a.status = 'active') AS atoms
FROM topics p WHERE p.id = ANY($1::bigint[])

-- Atoms with their words: evidence and claims as lists of objects, in the order they were said. $1 ids.
-- name: atoms_found
SELECT a.id, a.type, a.title, a.content, a.confidence, a.raw_confidence, a.status, a.topic_id, p.name AS topic,
       a.extractor, a.said_at, a.version, a.valid_until, a.superseded_by, s.title AS superseded_by_title,
       a.superseded_because, a.closed_at, a.closed_because, a.merged_into, g.title AS merged_into_title,
       a.reviewed_at, a.reviewed_by, a.created_at, words.evidence::text AS evidence, claimed.claims::text AS claims,
       (SELECT count(*) FROM atom_versions v WHERE v.atom_id = a.id AND v.state = 'proposed') AS proposals
FROM atoms a
LEFT JOIN topics p ON p.id = a.topic_id
LEFT JOIN atoms s ON s.id = a.superseded_by
LEFT JOIN atoms g ON g.id = a.merged_into
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'message_id', e.message_id, 'start', e.start_char, 'end', e.end_char, 'quote', e.quote, 'author', m.author,
        'source', m.source, 'channel', m.channel, 'channel_title', coalesce(c.title, ''), 'sent_at', m.sent_at)
        ORDER BY m.sent_at, m.id, e.start_char), '[]') AS evidence
    FROM atom_evidence e JOIN messages m ON m.id = e.message_id
    LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
    WHERE e.atom_id = a.id
) AS words
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'message_id', l.message_id, 'quote', l.quote, 'author', m.author, 'source', m.source, 'channel', m.channel,
        'channel_title', coalesce(c.title, ''), 'sent_at', m.sent_at) ORDER BY m.sent_at, m.id, l.place), '[]') AS claims
    FROM atom_claims l JOIN messages m ON m.id = l.message_id
    LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
    WHERE l.atom_id = a.id
) AS claimed
WHERE a.id = ANY($1::bigint[])

-- Links of these atoms, both ways, with the other end, which has to be active: as seen from each. $1 ids.
-- name: links_of_atoms
SELECT l.source_id AS id, true AS outgoing, l.type, l.confidence, o.id AS other_id, o.title AS other_title,
       o.type AS other_type, o.valid_until AS other_valid_until, o.said_at AS other_said_at
FROM atom_links l JOIN atoms o ON o.id = l.target_id AND o.status = 'active' WHERE l.source_id = ANY($1::bigint[])
UNION ALL
SELECT l.target_id, false, l.type, l.confidence, o.id, o.title, o.type, o.valid_until, o.said_at
FROM atom_links l JOIN atoms o ON o.id = l.source_id AND o.status = 'active' WHERE l.target_id = ANY($1::bigint[])
ORDER BY id, outgoing DESC, type, other_id

-- Which of a filter's atoms were said last; what nobody knows the time of comes first. $1 how many.
-- name: atoms_newest
SELECT a.id, a.said_at, a.confidence FROM atoms a WHERE true /* chosen */
ORDER BY a.said_at DESC, a.id DESC LIMIT $1::int

-- Which of them were said first. $1 how many.
-- name: atoms_oldest
SELECT a.id, a.said_at, a.confidence FROM atoms a WHERE true /* chosen */
ORDER BY a.said_at, a.id LIMIT $1::int

-- Which of them are the surest. $1 how many.
-- name: atoms_surest
SELECT a.id, a.said_at, a.confidence FROM atoms a WHERE true /* chosen */
ORDER BY a.confidence DESC, a.id DESC LIMIT $1::int

-- Which of them come next by id, for whoever reads them all. $1 after this id, $2 how many.
-- name: atoms_by_id_after
SELECT a.id FROM atoms a WHERE a.id > $1::bigint AND true /* chosen */ ORDER BY a.id LIMIT $2::int

-- How many atoms of a filter there are, by type and status.
-- name: count_chosen_atoms
SELECT a.type, a.status, count(*) AS number FROM atoms a WHERE true /* chosen */ GROUP BY a.type, a.status

-- Which channels a name stands for, by identity or title. The sources are hopped over in the index, for there are few.
-- $1 identity or title, $2 source or NULL.
-- name: channel_places
WITH RECURSIVE origin AS (
    SELECT min(m.source) AS source FROM messages m
    UNION ALL
    SELECT (SELECT min(m.source) FROM messages m WHERE m.source > o.source) FROM origin o WHERE o.source IS NOT NULL
), place AS (
    SELECT o.source, $1::text AS channel FROM origin o
    WHERE EXISTS (SELECT FROM messages m WHERE m.source = o.source AND m.channel = $1::text)
    UNION SELECT c.source, c.channel FROM channels c WHERE c.title = $1::text
)
SELECT source, channel FROM place WHERE $2::text IS NULL OR source = $2::text ORDER BY source, channel

-- Topics of this id or name; a name as it is written comes before one that differs in case. $1 id or name.
-- name: topics_called
SELECT p.id, p.name FROM topics p WHERE p.id::text = $1::text OR lower(p.name) = lower($1::text)
ORDER BY p.id::text = $1::text DESC, p.name = $1::text DESC, p.id LIMIT 1

-- Topics that sound like a name. $1 name, $2 how many.
-- name: topics_like
SELECT p.name FROM topics p
WHERE p.name ILIKE '%' || replace(replace(replace($1::text, '\', '\\'), '%', '\%'), '_', '\_') || '%'
ORDER BY length(p.name), p.id LIMIT $2::int

-- Newest topics first. $1 before this id, $2 how many.
-- name: list_topics
SELECT p.id FROM topics p WHERE p.id < $1::bigint AND true /* chosen */ ORDER BY p.id DESC LIMIT $2::int

-- Topics with what is filed under them. $1 ids.
-- name: topics_in_full
WITH filed AS (
    SELECT m.topic_id, count(*) AS messages, min(m.sent_at) AS first_at, max(m.sent_at) AS last_at
    FROM messages m WHERE m.topic_id = ANY($1::bigint[]) GROUP BY m.topic_id
), typed AS (
    SELECT a.topic_id, a.type, count(*) AS number, min(a.said_at) AS first_at, max(a.said_at) AS last_at
    FROM atoms a WHERE a.topic_id = ANY($1::bigint[]) AND a.status = 'active' GROUP BY a.topic_id, a.type
), known AS (
    SELECT topic_id, jsonb_object_agg(type, number) AS atoms, min(first_at) AS first_at, max(last_at) AS last_at
    FROM typed GROUP BY topic_id
)
SELECT p.id, p.name, p.description, p.terms::text AS terms, p.created_at, coalesce(f.messages, 0) AS messages,
       coalesce(k.atoms, '{}')::text AS atoms, least(f.first_at, k.first_at) AS first_said_at,
       greatest(f.last_at, k.last_at) AS last_said_at
FROM topics p LEFT JOIN filed f ON f.topic_id = p.id LEFT JOIN known k ON k.topic_id = p.id
WHERE p.id = ANY($1::bigint[])

-- Gives a topic another name; a name that another topic has fails by its constraint. Says the topic's id, if it is there.
-- $1 topic, $2 name.
-- name: rename_topic
UPDATE topics SET name = $2::text WHERE id = $1::bigint RETURNING id

-- What was said around these messages in their conversations: so many before and after each. A message that was joined to
-- none stands alone. $1 ids, $2 how many.
-- name: conversations_around
WITH quoted AS (
    SELECT m.id, m.sent_at, t.conversation_id FROM messages m LEFT JOIN message_threads t ON t.message_id = m.id
    WHERE m.id = ANY($1::bigint[])
), near AS (
    SELECT DISTINCT found.id, q.conversation_id FROM quoted q CROSS JOIN LATERAL (
        (SELECT m.id FROM message_threads t JOIN messages m ON m.id = t.message_id
         WHERE t.conversation_id = q.conversation_id AND (m.sent_at, m.id) < (q.sent_at, q.id)
         ORDER BY m.sent_at DESC, m.id DESC LIMIT $2::int)
        UNION ALL SELECT q.id
        UNION ALL
        (SELECT m.id FROM message_threads t JOIN messages m ON m.id = t.message_id
         WHERE t.conversation_id = q.conversation_id AND (m.sent_at, m.id) > (q.sent_at, q.id)
         ORDER BY m.sent_at, m.id LIMIT $2::int)
    ) AS found
)
SELECT coalesce(n.conversation_id, m.id) AS conversation_id, m.id, m.source, m.channel,
       coalesce(c.title, '') AS channel_title, m.author, m.text, m.sent_at, m.id = ANY($1::bigint[]) AS quoted, t.parent_id
FROM near n JOIN messages m ON m.id = n.id LEFT JOIN message_threads t ON t.message_id = m.id
LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
ORDER BY min(m.sent_at) OVER (PARTITION BY coalesce(n.conversation_id, m.id)), 1, m.sent_at, m.id

-- Every wording of these atoms. $1 ids.
-- name: versions_of_atoms
SELECT v.atom_id, v.version, v.state, v.type, v.title, v.content, v.confidence, v.made_by, v.run_id, v.reason,
       v.created_at, v.decided_at, v.decided_by
FROM atom_versions v WHERE v.atom_id = ANY($1::bigint[]) ORDER BY v.atom_id, v.version

-- The run that found an atom. $1 atom.
-- name: run_of_atom
SELECT r.id, r.extractor, r.extractor_version AS version, r.state, r.source, r.channel, r.started_at, r.finished_at
FROM atoms a JOIN extraction_runs r ON r.id = a.run_id WHERE a.id = $1::bigint

-- What people judged of an atom. $1 atom.
-- name: reviews_of_atom
SELECT r.verdict, r.reviewer, r.created_at, r.title, r.confidence FROM atom_reviews r WHERE r.atom_id = $1::bigint
ORDER BY r.created_at, r.id

-- The atoms that quote a message. $1 message.
-- name: atoms_of_message
SELECT DISTINCT a.id, a.type, a.title FROM atom_evidence e JOIN atoms a ON a.id = e.atom_id
WHERE e.message_id = $1::bigint AND a.status = 'active' ORDER BY a.id
