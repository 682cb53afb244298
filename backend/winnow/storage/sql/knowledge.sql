-- What an extraction found: topics, atoms, the words they rest on, and links.
--
-- Atoms have one writer at a time: who commits an extraction, merges, or reviews holds them (`hold_atoms`) before it looks
-- what is known, so nobody makes a twin of what another is about to store, and no two lock atoms in different orders. It
-- comes after the knowledge lock, which they share, after topics and messages, and before runs and the queue; nobody who
-- holds it waits for a message. Who edits or removes messages holds the knowledge alone, and needs no other. Who writes
-- vectors passes over rows that are locked.

-- name: hold_atoms
SELECT pg_advisory_xact_lock(x'77696e61746f6d'::bigint)

-- Topics by name, made where missing, in name order so that two runs never wait for each other. $1 names.
-- name: upsert_topics
INSERT INTO topics (name) SELECT DISTINCT given.name FROM unnest($1::text[]) AS given (name) ORDER BY given.name
ON CONFLICT (name) DO NOTHING RETURNING id

-- $1 names.
-- name: topics_by_name
SELECT id, name FROM topics WHERE name = ANY($1::text[])

-- Topics that share a term, those that share most of them first, then the latest. $1 terms, $2 how many.
-- name: topics_by_terms
SELECT p.name, p.terms::text AS terms FROM topics p WHERE p.terms ?| $1::text[]
ORDER BY (SELECT count(*) FROM unnest($1::text[]) AS g (term) WHERE p.terms ? g.term) DESC, p.id DESC LIMIT $2::int

-- Of the latest topics, how many there are, and how many have each term. $1 terms, $2 how many topics are counted.
-- name: spread_of_terms
WITH latest AS MATERIALIZED (SELECT p.terms FROM topics p ORDER BY p.id DESC LIMIT $2::int)
SELECT g.term, (SELECT count(*) FROM latest) AS topics, (SELECT count(*) FROM latest WHERE latest.terms ? g.term) AS having
FROM unnest($1::text[]) AS g (term)

-- $1 names.
-- name: terms_of_topics
SELECT p.id, p.name, p.terms::text AS terms FROM topics p WHERE p.name = ANY($1::text[])

-- $1 ids, $2 terms.
-- name: write_terms
WITH locked AS (SELECT id FROM topics WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE topics p SET terms = g.terms
FROM unnest($1::bigint[], $2::jsonb[]) AS g (id, terms), locked WHERE p.id = g.id AND p.id = locked.id

-- Of each quote when its message was said (NULL: it is no more), and whether it is not in it: the message was changed
-- since it was read. $1 messages, $2 starts, $3 ends, $4 quotes.
-- name: check_quotes
SELECT m.sent_at, substr(m.text, given.start_char + 1, given.end_char - given.start_char) IS DISTINCT FROM given.quote
           AS misquoted
FROM unnest($1::bigint[], $2::int[], $3::int[], $4::text[]) WITH ORDINALITY
         AS given (message_id, start_char, end_char, quote, place)
LEFT JOIN messages m ON m.id = given.message_id
ORDER BY given.place

-- When messages were said. $1 ids.
-- name: moments_of_messages
SELECT id, sent_at FROM messages WHERE id = ANY($1::bigint[])

-- What may be known already of each statement: atoms of its type with its words (now or once: `known`), and some with two
-- of its telling words. Its type is looked at only then: PostgreSQL would else read all atoms of the type, and make
-- words of each. $1 types, $2 contents, $3 telling words of each.
-- name: recall
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS g (type, content, telling, place)
), word AS (
    SELECT g.place, row_number() OVER (PARTITION BY g.place) AS number,
           '''' || replace(replace(entry.lexeme, '\', '\\'), '''', '''''') || '''' AS word
    FROM given g, unnest(public.winnow_words(g.telling)) AS entry
), looked AS MATERIALIZED (
    SELECT g.place, g.type,
           coalesce((SELECT string_agg(one.word || ' & ' || other.word, ' | ') FROM word one
                     JOIN word other ON other.place = one.place AND other.number > one.number
                     WHERE one.place = g.place),
                    (SELECT max(word) FROM word WHERE word.place = g.place))::tsquery AS query
    FROM given g
), found AS (
    SELECT g.place, a.id, true AS known FROM given g JOIN atoms a ON a.type = g.type AND md5(lower(a.content)) = md5(lower(g.content))
    UNION ALL
    SELECT g.place, v.atom_id, true FROM given g JOIN atom_versions v ON v.type = g.type AND md5(lower(v.content)) = md5(lower(g.content))
    UNION ALL
    SELECT l.place, near.id, false FROM looked l CROSS JOIN LATERAL (
        SELECT worded.id FROM (
            SELECT a.id, a.type FROM atoms a
            WHERE public.winnow_words((a.title || E'\n' || a.content)) @@ l.query LIMIT 200) AS worded
        WHERE worded.type = l.type LIMIT 20) AS near
)
SELECT f.place, a.id, bool_or(f.known) AS known, a.content, a.title, a.type, a.status, a.merged_into, a.topic_id,
       a.confidence, a.version, a.reviewed_by IS NOT NULL AS reviewed
FROM found f JOIN atoms a ON a.id = f.id
GROUP BY f.place, a.id
ORDER BY f.place, a.id

-- New atoms, but for those that are there with these very words. $1 types, $2 titles, $3 contents, $4 confidences,
-- $5 the extractor's own confidences, $6 statuses, $7 topics, $8 when their first words were said, $9 run.
-- name: insert_atoms
INSERT INTO atoms (type, title, content, confidence, raw_confidence, status, topic_id, said_at, run_id, extractor)
SELECT g.type, g.title, g.content, g.confidence, g.raw, g.status, g.topic_id, g.said_at, r.id, r.extractor
FROM unnest($1::text[], $2::text[], $3::text[], $4::real[], $5::real[], $6::text[], $7::bigint[], $8::timestamptz[])
         WITH ORDINALITY AS g (type, title, content, confidence, raw, status, topic_id, said_at, place)
JOIN extraction_runs r ON r.id = $9::bigint
ORDER BY g.place
ON CONFLICT (type, md5(lower(content))) DO NOTHING
RETURNING id, type, content

-- The atom of each content. $1 types, $2 contents.
-- name: atoms_by_content
SELECT g.place, coalesce(a.merged_into, a.id) AS id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS g (type, content, place)
JOIN atoms a ON a.type = g.type AND md5(lower(a.content)) = md5(lower(g.content))

-- Atoms that were found again: surer, said earlier, and out of hiding when they are proven and sure enough. What a person
-- rejected stays so. Gives those that came out of hiding. $1 ids, $2 confidences, $3 when they were said, $4 whether there are words for them, $5 the cut.
-- name: grow_atoms
WITH given AS (
    SELECT g.id, max(g.confidence) AS confidence, min(g.said_at) AS said_at, bool_or(g.proven) AS proven
    FROM unnest($1::bigint[], $2::real[], $3::timestamptz[], $4::boolean[]) AS g (id, confidence, said_at, proven)
    GROUP BY g.id
), grown AS (
    SELECT a.id, a.status AS before, greatest(a.confidence, g.confidence) AS confidence, least(a.said_at, g.said_at) AS said_at,
           CASE WHEN a.status = 'candidate' AND g.proven OR a.status = 'unproven' AND g.proven
                THEN CASE WHEN greatest(a.confidence, g.confidence) >= $5::real THEN 'active' ELSE 'candidate' END
                ELSE a.status END AS status
    FROM atoms a JOIN given g USING (id) WHERE a.status NOT IN ('rejected', 'merged')
), written AS (
    UPDATE atoms a SET confidence = g.confidence, said_at = g.said_at, status = g.status
    FROM grown g
    WHERE a.id = g.id AND (a.confidence, a.said_at, a.status) IS DISTINCT FROM (g.confidence, g.said_at, g.status)
    RETURNING a.id, a.status, g.before
), unclaimed AS (
    DELETE FROM atom_claims c USING given g WHERE c.atom_id = g.id AND g.proven
)
SELECT id FROM written WHERE status = 'active' AND before <> 'active' ORDER BY id

-- $1 atoms, $2 messages, $3 starts, $4 ends, $5 quotes.
-- name: insert_evidence
INSERT INTO atom_evidence (atom_id, message_id, start_char, end_char, quote)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::text[])
ON CONFLICT DO NOTHING

-- Of atoms that have no evidence and are given none, where they were read, each place and words once.
-- $1 atoms, $2 messages, $3 what was given as quotes.
-- name: insert_claims
WITH given AS (
    SELECT DISTINCT ON (g.atom_id, g.message_id, g.quote) g.atom_id, g.message_id, g.quote, g.number
    FROM unnest($1::bigint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS g (atom_id, message_id, quote, number)
    JOIN atoms a ON a.id = g.atom_id
    WHERE NOT EXISTS (SELECT FROM atom_evidence e WHERE e.atom_id = g.atom_id)
      AND NOT EXISTS (SELECT FROM atom_claims c
                      WHERE c.atom_id = g.atom_id AND c.message_id = g.message_id AND c.quote = g.quote)
)
INSERT INTO atom_claims (atom_id, place, message_id, quote)
SELECT g.atom_id,
       coalesce((SELECT max(c.place) FROM atom_claims c WHERE c.atom_id = g.atom_id), 0)
           + row_number() OVER (PARTITION BY g.atom_id ORDER BY g.number),
       g.message_id, g.quote
FROM given g

-- $1 sources, $2 targets, $3 types, $4 confidences.
-- name: insert_links
INSERT INTO atom_links AS l (source_id, target_id, type, confidence)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::real[])
ON CONFLICT (source_id, target_id, type) DO UPDATE SET confidence = greatest(l.confidence, excluded.confidence)
WHERE l.confidence < excluded.confidence

-- Those of these atoms that are there; of a merged one what it lives on in. $1 ids.
-- name: atoms_meant
SELECT a.id AS given, coalesce(a.merged_into, a.id) AS id FROM atoms a WHERE a.id = ANY($1::bigint[])

-- Decisions and requirements that no longer hold: said before what takes their place, of its type, and of its topic if
-- nobody named the very atom. Each has one successor. One that was said anew holds again.
-- $1 what replaces, $2 what is replaced, $3 why, $4 when it was said, $5 whether this very atom was named.
-- name: supersede
WITH given AS (
    SELECT DISTINCT ON (g.older) g.*
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::boolean[])
             WITH ORDINALITY AS g (newer, older, reason, said_at, named, place)
    JOIN atoms n ON n.id = g.newer JOIN atoms o ON o.id = g.older
    WHERE n.id <> o.id AND n.type = o.type AND o.type IN ('decision', 'requirement')
      AND n.status = 'active' AND o.status = 'active' AND o.superseded_by IS NULL
      AND (g.named OR n.topic_id = o.topic_id) AND g.said_at >= coalesce(o.said_at, '-infinity')
    ORDER BY g.older, g.place
)
UPDATE atoms a
SET valid_until = old.said_at, superseded_by = old.newer, superseded_because = nullif(left(old.reason, 500), '')
FROM atoms row
LEFT JOIN given old ON old.older = row.id
WHERE a.id = row.id AND (old.older IS NOT NULL OR EXISTS (
    SELECT FROM given new WHERE new.newer = row.id AND row.valid_until <= new.said_at))
  AND row.id IN (SELECT older FROM given UNION ALL SELECT newer FROM given)
RETURNING a.id, a.superseded_by

-- What these atoms had superseded holds again, or is superseded by what had superseded them. $1 ids.
-- name: free_superseded
UPDATE atoms o
SET superseded_by = later.id, valid_until = later.valid_until,
    superseded_because = CASE WHEN later.id IS NOT NULL THEN o.superseded_because END
FROM atoms old
LEFT JOIN LATERAL (
    SELECT n.id, old.valid_until FROM atoms n
    WHERE n.id = old.superseded_by AND n.id <> ALL ($1::bigint[]) AND n.status = 'active') AS later ON true
WHERE o.superseded_by = old.id AND old.id = ANY($1::bigint[]) AND o.id <> ALL ($1::bigint[])
RETURNING o.id

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
