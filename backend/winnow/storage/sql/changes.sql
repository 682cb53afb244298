-- Edits and deletions: what rested on the old words goes with them.
--
-- Who changes or removes messages holds the knowledge alone, who commits an extraction shares it with others of its kind.
-- So a quote that is written is in the text, and stays in it until this is known of; and nobody waits in a circle, for
-- the channels are locked before it (so nobody links by the old words, either), and rows inside of it: messages in id
-- order, then runs, then the queue.

-- $1 whether alone.
-- name: hold_knowledge
SELECT CASE WHEN $1::boolean THEN pg_advisory_xact_lock(x'77696e6b6e6f77'::bigint)
            ELSE pg_advisory_xact_lock_shared(x'77696e6b6e6f77'::bigint) END

-- With what they voted on, whose score is counted anew. $1 ids.
-- name: lock_with_voted_on
SELECT id FROM messages
WHERE id IN (SELECT unnest($1::bigint[])
             UNION SELECT parent_id FROM message_threads WHERE message_id = ANY($1::bigint[]) AND vote <> 0)
ORDER BY id FOR NO KEY UPDATE

-- What these messages vote on. $1 ids.
-- name: voted_by
SELECT DISTINCT parent_id FROM message_threads
WHERE message_id = ANY($1::bigint[]) AND vote <> 0 AND parent_id <> ALL ($1::bigint[])

-- Of these edits, those that are newer than what is stored by now, with its author. $1 ids, $2 moments of edits, $3 texts.
-- name: lock_outdated
SELECT m.id, m.text IS DISTINCT FROM given.text AS changes
FROM messages m JOIN unnest($1::bigint[], $2::timestamptz[], $3::text[]) AS given (id, edited_at, text) ON given.id = m.id
WHERE coalesce(m.edited_at, '-infinity') < given.edited_at
ORDER BY m.id FOR NO KEY UPDATE OF m

-- Whoever reads these messages just now reads something that is no more; its other messages are given back, and nothing
-- counts against them. $1 ids, $2 why.
-- name: abandon_runs
WITH hit AS (
    SELECT r.id FROM extraction_runs r
    WHERE r.state = 'running' AND r.id IN (SELECT q.run_id FROM extraction_queue q WHERE q.message_id = ANY($1::bigint[]))
    ORDER BY r.id FOR UPDATE OF r
), abandoned AS (
    UPDATE extraction_runs r SET state = 'abandoned', error = $2, finished_at = now(), lease_until = NULL
    FROM hit WHERE r.id = hit.id RETURNING r.id
), given_back AS (
    SELECT q.message_id FROM extraction_queue q JOIN hit ON q.run_id = hit.id ORDER BY q.message_id FOR UPDATE OF q
)
UPDATE extraction_queue q SET run_id = NULL FROM given_back g WHERE q.message_id = g.message_id

-- Atoms that rest on these messages and on others, too, with the quotes that go and those that stay. $1 ids.
-- name: atoms_in_part
SELECT a.id, a.title, a.content,
       array_agg(e.quote) FILTER (WHERE e.message_id = ANY($1::bigint[])) AS removed,
       array_agg(e.quote) FILTER (WHERE e.message_id <> ALL ($1::bigint[])) AS remaining
FROM atoms a JOIN atom_evidence e ON e.atom_id = a.id
WHERE a.id IN (SELECT w.atom_id FROM atom_evidence w WHERE w.message_id = ANY($1::bigint[]))
GROUP BY a.id HAVING bool_or(e.message_id <> ALL ($1::bigint[])) ORDER BY a.id

-- What else has words of these atoms: other wordings, what people judged, what was merged into them. $1 ids.
-- name: words_beside_atoms
SELECT 'version' AS kind, v.atom_id, v.version::bigint AS id, v.title || E'\n' || v.content || E'\n' || v.reason AS text
FROM atom_versions v WHERE v.atom_id = ANY($1::bigint[])
UNION ALL
SELECT 'review', r.atom_id, r.id, r.title || E'\n' || r.content FROM atom_reviews r WHERE r.atom_id = ANY($1::bigint[])
UNION ALL
SELECT 'merged', m.merged_into, m.id, m.title || E'\n' || m.content FROM atoms m WHERE m.merged_into = ANY($1::bigint[])

-- Takes words away that are beside atoms that stay. $1 atoms of wordings, $2 their versions, $3 reviews.
-- name: delete_words_beside
WITH wordings AS (
    DELETE FROM atom_versions v USING unnest($1::bigint[], $2::int[]) AS g (atom_id, version)
    WHERE v.atom_id = g.atom_id AND v.version = g.version
)
DELETE FROM atom_reviews WHERE id = ANY($3::bigint[])

-- What else these atoms rest on is read again, so that it is found anew without the words that go; also where its window
-- was read before. $1 atoms, $2 messages that go.
-- name: queue_rest
WITH rest AS (
    SELECT DISTINCT e.message_id FROM atom_evidence e
    WHERE e.atom_id = ANY($1::bigint[]) AND e.message_id <> ALL ($2::bigint[])
), unread AS (
    UPDATE extraction_runs SET window_hash = NULL
    WHERE state = 'done' AND window_hash IS NOT NULL AND message_ids && (SELECT array_agg(message_id) FROM rest)
)
INSERT INTO extraction_queue (message_id, parked)
SELECT r.message_id, EXISTS (
    SELECT FROM messages m JOIN channels c USING (source, channel) WHERE m.id = r.message_id AND c.mode <> 'on')
FROM rest r ORDER BY r.message_id
ON CONFLICT DO NOTHING
RETURNING message_id

-- Evidence in these messages, and the atoms that rest on nothing else, that were only said to be in them, or that are
-- named; with what was merged into them, their links and jobs. What they had superseded holds again. $1 ids, $2 atoms.
-- name: delete_knowledge
WITH words AS (
    DELETE FROM atom_evidence WHERE message_id = ANY($1::bigint[]) RETURNING atom_id
), baseless AS (
    SELECT atom_id FROM (
        SELECT atom_id FROM words UNION SELECT c.atom_id FROM atom_claims c WHERE c.message_id = ANY($1::bigint[])
    ) AS touched
    WHERE NOT EXISTS (
        SELECT FROM atom_evidence e WHERE e.atom_id = touched.atom_id AND e.message_id <> ALL ($1::bigint[]))
    UNION SELECT unnest($2::bigint[])
), doomed AS (
    SELECT atom_id FROM baseless UNION SELECT m.id FROM atoms m WHERE m.merged_into IN (SELECT atom_id FROM baseless)
), gone AS (
    SELECT a.id, a.topic_id, num_nonnulls(a.embedding, a.embedding_next, a.embedding_prev) AS vectors,
           (SELECT count(*) FROM embedding_jobs j WHERE j.kind = 'atoms' AND j.entity_id = a.id) AS jobs,
           (SELECT count(*) FROM atom_evidence e WHERE e.atom_id = a.id AND e.message_id <> ALL ($1::bigint[])) AS others
    FROM atoms a WHERE a.id IN (SELECT atom_id FROM doomed)
    ORDER BY a.id FOR UPDATE OF a
), links AS (
    DELETE FROM atom_links l USING gone WHERE l.source_id = gone.id OR l.target_id = gone.id RETURNING 1
), freed AS (
    UPDATE atoms o
    SET superseded_by = later.id, valid_until = later.until,
        superseded_because = CASE WHEN later.id IS NOT NULL THEN o.superseded_because END
    FROM atoms old JOIN gone ON gone.id = old.id
    LEFT JOIN LATERAL (
        SELECT n.id, old.valid_until AS until FROM atoms n
        WHERE n.id = old.superseded_by AND n.id NOT IN (SELECT id FROM gone)) AS later ON true
    WHERE o.superseded_by = old.id AND o.id NOT IN (SELECT id FROM gone)
), atoms AS (
    DELETE FROM atoms a USING gone WHERE a.id = gone.id RETURNING a.id
)
SELECT (SELECT count(*) FROM words) + (SELECT coalesce(sum(others), 0) FROM gone)::bigint AS evidence,
       (SELECT count(*) FROM atoms) AS atoms,
       (SELECT count(*) FROM links) AS links, (SELECT coalesce(sum(vectors), 0) FROM gone)::bigint AS vectors,
       (SELECT coalesce(sum(jobs), 0) FROM gone)::bigint AS jobs,
       (SELECT coalesce(array_agg(id), '{}') FROM gone) AS gone_ids,
       (SELECT coalesce(array_agg(DISTINCT atom_id), '{}') FROM words
        WHERE NOT EXISTS (SELECT FROM gone WHERE gone.id = words.atom_id)) AS kept_ids,
       (SELECT coalesce(array_agg(DISTINCT topic_id) FILTER (WHERE topic_id IS NOT NULL), '{}') FROM gone) AS topic_ids

-- The new words. Triggers take the vectors and their jobs away; the message is scored, filed and threaded anew.
-- $1 ids, $2 texts, $3 moments of the edits, $4 details (NULL: as they are).
-- name: write_edits
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::jsonb[]) AS g (id, text, edited_at, details)
), written AS (
    UPDATE messages m
    SET text = g.text, edited_at = g.edited_at, importance = NULL, signal = NULL, factors = NULL,
        details = coalesce(g.details, m.details), topic_id = NULL
    FROM given g WHERE m.id = g.id
), threaded AS (
    DELETE FROM message_threads t USING given g WHERE t.message_id = g.id
)
INSERT INTO extraction_queue (message_id, parked)
SELECT g.id, EXISTS (SELECT FROM messages m JOIN channels c ON c.source = m.source AND c.channel = m.channel
                     WHERE m.id = g.id AND c.mode <> 'on')
FROM given g ORDER BY g.id
ON CONFLICT (message_id) DO UPDATE SET run_id = NULL, failures = 0

-- The text is the same, and was edited to it later than we knew. $1 ids, $2 moments.
-- name: write_edit_moments
WITH locked AS (SELECT id FROM messages WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE messages m SET edited_at = given.edited_at
FROM unnest($1::bigint[], $2::timestamptz[]) AS given (id, edited_at), locked
WHERE m.id = given.id AND m.id = locked.id AND coalesce(m.edited_at, '-infinity') < given.edited_at

-- Topics that these messages are filed under. $1 ids.
-- name: topics_of_messages
SELECT DISTINCT topic_id FROM messages WHERE id = ANY($1::bigint[]) AND topic_id IS NOT NULL

-- Topics that nothing is filed under any more. $1 ids.
-- name: delete_empty_topics
WITH empty AS (
    SELECT p.id, num_nonnulls(p.embedding, p.embedding_next, p.embedding_prev) AS vectors,
           (SELECT count(*) FROM embedding_jobs j WHERE j.kind = 'topics' AND j.entity_id = p.id) AS jobs
    FROM topics p
    WHERE p.id = ANY($1::bigint[]) AND (SELECT true FROM atoms a WHERE a.topic_id = p.id LIMIT 1) IS NULL
      AND (SELECT true FROM messages m WHERE m.topic_id = p.id LIMIT 1) IS NULL
    ORDER BY p.id FOR UPDATE OF p
), gone AS (DELETE FROM topics p USING empty WHERE p.id = empty.id)
SELECT count(*) AS topics, coalesce(sum(vectors), 0)::bigint AS vectors, coalesce(sum(jobs), 0)::bigint AS jobs FROM empty

-- What these messages are called for ever, to be told again when they come again. $1 ids.
-- name: remember_forgotten
INSERT INTO forgotten_messages (identity)
SELECT public.winnow_identity(m.source, m.channel, m.external_id) FROM messages m WHERE m.id = ANY($1::bigint[])
ON CONFLICT DO NOTHING

-- The same of identities, whether they are stored or not. $1 source, $2 channel, $3 external ids.
-- name: remember_forgotten_identities
INSERT INTO forgotten_messages (identity)
SELECT DISTINCT public.winnow_identity($1::text, $2::text, given.id) FROM unnest($3::text[]) AS given (id)
ON CONFLICT DO NOTHING

-- One writer at a time a channel, as for those who store. $1 ids.
-- name: lock_channels_of
SELECT pg_advisory_xact_lock(hashtextextended(place.source || ' ' || place.channel, 0))
FROM (SELECT DISTINCT source, channel FROM messages WHERE id = ANY($1::bigint[]) ORDER BY source, channel) AS place

-- With the answers to them, which may quote them, and what they voted on, whose score is counted anew. $1 ids.
-- name: lock_messages
SELECT id FROM messages
WHERE id IN (SELECT unnest($1::bigint[])
             UNION SELECT message_id FROM message_threads WHERE parent_id = ANY($1::bigint[])
             UNION SELECT parent_id FROM message_threads WHERE message_id = ANY($1::bigint[]) AND vote <> 0)
ORDER BY id FOR UPDATE

-- Messages with their place in the queue and in conversations; what they were quoted with goes from the answers to them.
-- What runs said of them is no more to be read. $1 ids, $2 what their runs say instead.
-- name: delete_messages
WITH quoting AS (
    UPDATE messages m SET details = m.details - 'quote'
    FROM message_threads t
    WHERE t.parent_id = ANY($1::bigint[]) AND m.id = t.message_id AND m.id <> ALL ($1::bigint[]) AND m.details ? 'quote'
), seen AS (  -- message by message: the index that answers this is not taken for many at once
    SELECT r.id FROM unnest($1::bigint[]) AS given (id) JOIN extraction_runs r ON r.message_ids @> ARRAY[given.id]
    UNION
    SELECT r.id FROM unnest($1::bigint[]) AS given (id)
    JOIN extraction_runs r ON r.answer IS NOT NULL AND r.context_ids @> ARRAY[given.id]
), told AS (
    SELECT r.id FROM seen JOIN extraction_runs r ON r.id = seen.id WHERE r.error <> $2 OR r.answer IS NOT NULL
), runs AS (
    UPDATE extraction_runs r SET error = CASE WHEN r.error IS NOT NULL THEN $2 END, answer = NULL, window_hash = NULL
    FROM seen
    WHERE r.id = seen.id AND (r.error <> $2 OR r.answer IS NOT NULL OR r.window_hash IS NOT NULL)
), queued AS (
    DELETE FROM extraction_queue WHERE message_id = ANY($1::bigint[]) RETURNING 1
), threaded AS (
    DELETE FROM message_threads WHERE message_id = ANY($1::bigint[]) RETURNING 1
), jobs AS (
    SELECT count(*) AS number FROM embedding_jobs WHERE kind = 'messages' AND entity_id = ANY($1::bigint[])
), gone AS (
    DELETE FROM messages WHERE id = ANY($1::bigint[])
    RETURNING num_nonnulls(embedding, embedding_next, embedding_prev) AS vectors
)
SELECT (SELECT count(*) FROM gone) AS messages, (SELECT coalesce(sum(vectors), 0) FROM gone)::bigint AS vectors,
       (SELECT count(*) FROM queued) + (SELECT count(*) FROM threaded) + (SELECT number FROM jobs) AS ledger_rows,
       (SELECT count(*) FROM told) AS run_errors

-- Which messages are meant, in id order, a page at a time.

-- $1 ids, $2 after this id, $3 how many.
-- name: chosen_by_ids
SELECT m.id FROM messages m WHERE m.id = ANY($1::bigint[]) AND m.id > $2::bigint ORDER BY m.id LIMIT $3::bigint

-- $1 author, by name or by the source's id, $2 channel or NULL, $3 source or NULL, $4 after this id, $5 how many.
-- name: chosen_by_author
SELECT m.id FROM messages m
WHERE (m.author = $1::text OR m.author_id = $1::text) AND ($2::text IS NULL OR m.channel = $2::text)
  AND ($3::text IS NULL OR m.source = $3::text) AND m.id > $4::bigint ORDER BY m.id LIMIT $5::bigint

-- $1 source, $2 channel, $3 after this id, $4 how many.
-- name: chosen_by_channel
SELECT m.id FROM messages m
WHERE m.source = $1::text AND m.channel = $2::text AND m.id > $3::bigint ORDER BY m.id LIMIT $4::bigint

-- $1 source, $2 channel, $3 external ids, $4 after this id, $5 how many.
-- name: chosen_by_identities
SELECT m.id FROM messages m
WHERE m.source = $1::text AND m.channel = $2::text AND m.external_id = ANY($3::text[]) AND m.id > $4::bigint
ORDER BY m.id LIMIT $5::bigint

-- What is older than its channel keeps it; by when it came, where it says that it is of the future. $1 source, $2 channel,
-- $3 days, $4 after this id, $5 how many.
-- name: chosen_by_age
SELECT m.id FROM messages m
WHERE m.source = $1::text AND m.channel = $2::text
  AND (m.sent_at < now() - make_interval(days => $3::int)
       OR m.sent_at > now() AND m.received_at < now() - make_interval(days => $3::int))
  AND m.id > $4::bigint ORDER BY m.id LIMIT $5::bigint

-- Who said these messages, by name and the source's id, the busiest first. $1 ids, $2 most.
-- name: authors_of
SELECT author, author_id, count(*) AS messages FROM messages WHERE id = ANY($1::bigint[])
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT $2::int

-- What would go with all of these messages. $1 ids, $2 what their runs would say, $3 atoms that go for words of theirs.
-- name: weigh_chosen
WITH chosen AS MATERIALIZED (
    SELECT m.id FROM messages m JOIN unnest($1::bigint[]) AS given (id) ON given.id = m.id
), words AS (
    SELECT e.atom_id FROM atom_evidence e WHERE e.message_id IN (SELECT id FROM chosen)
), baseless AS MATERIALIZED (
    SELECT atom_id FROM (
        SELECT atom_id FROM words UNION SELECT c.atom_id FROM atom_claims c WHERE c.message_id IN (SELECT id FROM chosen)
    ) AS touched
    WHERE NOT EXISTS (
        SELECT FROM atom_evidence e WHERE e.atom_id = touched.atom_id AND e.message_id NOT IN (SELECT id FROM chosen))
    UNION SELECT unnest($3::bigint[])
), gone_atoms AS MATERIALIZED (
    SELECT a.id, a.topic_id, num_nonnulls(a.embedding, a.embedding_next, a.embedding_prev) AS vectors FROM atoms a
    WHERE a.id IN (SELECT atom_id FROM baseless
                   UNION SELECT m.id FROM atoms m WHERE m.merged_into IN (SELECT atom_id FROM baseless))
), topics_touched AS (
    SELECT m.topic_id FROM messages m WHERE m.id IN (SELECT id FROM chosen)
    UNION SELECT topic_id FROM gone_atoms
), gone_topics AS MATERIALIZED (
    SELECT p.id, num_nonnulls(p.embedding, p.embedding_next, p.embedding_prev) AS vectors FROM topics p
    WHERE p.id IN (SELECT topic_id FROM topics_touched)
      AND NOT EXISTS (SELECT FROM atoms a WHERE a.topic_id = p.id AND a.id NOT IN (SELECT id FROM gone_atoms))
      AND NOT EXISTS (SELECT FROM messages m WHERE m.topic_id = p.id AND m.id NOT IN (SELECT id FROM chosen))
), seen AS (
    SELECT r.id FROM chosen JOIN extraction_runs r ON r.message_ids @> ARRAY[chosen.id]
    UNION
    SELECT r.id FROM chosen JOIN extraction_runs r ON r.answer IS NOT NULL AND r.context_ids @> ARRAY[chosen.id]
), gone AS (
    SELECT 'messages' AS kind, id FROM chosen UNION ALL SELECT 'atoms', id FROM gone_atoms
    UNION ALL SELECT 'topics', id FROM gone_topics
)
SELECT (SELECT count(*) FROM chosen) AS messages,
       (SELECT count(*) FROM words)
       + (SELECT count(*) FROM atom_evidence e WHERE e.atom_id IN (SELECT id FROM gone_atoms)
              AND e.message_id NOT IN (SELECT id FROM chosen)) AS evidence,
       (SELECT count(*) FROM gone_atoms) AS atoms,
       (SELECT count(DISTINCT atom_id) FROM words WHERE atom_id NOT IN (SELECT id FROM gone_atoms)) AS atoms_kept,
       (SELECT count(*) FROM atom_links l
        WHERE l.source_id IN (SELECT id FROM gone_atoms) OR l.target_id IN (SELECT id FROM gone_atoms)) AS links,
       (SELECT count(*) FROM gone_topics) AS topics,
       (SELECT coalesce(sum(num_nonnulls(m.embedding, m.embedding_next, m.embedding_prev)), 0)
        FROM messages m WHERE m.id IN (SELECT id FROM chosen))::bigint
       + (SELECT coalesce(sum(vectors), 0) FROM gone_atoms)::bigint
       + (SELECT coalesce(sum(vectors), 0) FROM gone_topics)::bigint AS vectors,
       (SELECT count(*) FROM embedding_jobs j JOIN gone ON gone.kind = j.kind AND gone.id = j.entity_id)
       + (SELECT count(*) FROM extraction_queue q WHERE q.message_id IN (SELECT id FROM chosen))
       + (SELECT count(*) FROM message_threads t WHERE t.message_id IN (SELECT id FROM chosen)) AS ledger_rows,
       (SELECT count(*) FROM seen JOIN extraction_runs r ON r.id = seen.id
        WHERE r.error <> $2::text OR r.answer IS NOT NULL) AS run_errors
