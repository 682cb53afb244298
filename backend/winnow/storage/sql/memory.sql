-- What becomes of atoms later: wordings, merges, what people judge, and what the judge is taught by.

-- A wording that may replace the current one, which is noted beside it, too. None where enough wait.
-- $1 atom, $2 title, $3 content, $4 confidence, $5 who made it, $6 run or NULL, $7 why, $8 most that may wait, $9 type.
-- name: propose_version
WITH noted AS (
    INSERT INTO atom_versions (atom_id, version, state, type, title, content, confidence, made_by, run_id, created_at)
    SELECT a.id, a.version, 'current', a.type, a.title, a.content, a.confidence, a.extractor, a.run_id, a.created_at
    FROM atoms a WHERE a.id = $1::bigint
    ON CONFLICT DO NOTHING
)
INSERT INTO atom_versions (atom_id, version, state, type, title, content, confidence, made_by, run_id, reason)
SELECT a.id,
       1 + greatest(a.version, (SELECT max(v.version) FROM atom_versions v WHERE v.atom_id = a.id)),
       'proposed', coalesce($9::text, a.type), $2, $3, $4::real,
       coalesce($5::text, (SELECT r.extractor FROM extraction_runs r WHERE r.id = $6::bigint), 'rules'), $6::bigint, left($7, 500)
FROM atoms a
WHERE a.id = $1::bigint
  AND (SELECT count(*) FROM atom_versions v WHERE v.atom_id = a.id AND v.state = 'proposed') < $8::int
RETURNING version

-- A proposed wording becomes the atom's: triggers take the vectors of the old one away. $1 atom, $2 version, $3 by whom.
-- name: approve_version
WITH chosen AS (
    SELECT v.* FROM atom_versions v WHERE v.atom_id = $1::bigint AND v.version = $2::int AND v.state = 'proposed'
), past AS (
    UPDATE atom_versions v SET state = 'past' FROM chosen c WHERE v.atom_id = c.atom_id AND v.state = 'current'
), current AS (
    UPDATE atom_versions v SET state = 'current', decided_at = now(), decided_by = $3::text
    FROM chosen c WHERE v.atom_id = c.atom_id AND v.version = c.version
)
UPDATE atoms a
SET type = c.type, title = c.title, content = c.content, version = c.version,
    confidence = greatest(a.confidence, c.confidence)
FROM chosen c WHERE a.id = c.atom_id
RETURNING a.id

-- $1 atom, $2 version, $3 by whom.
-- name: reject_version
UPDATE atom_versions SET state = 'rejected', decided_at = now(), decided_by = $3::text
WHERE atom_id = $1::bigint AND version = $2::int AND state = 'proposed' RETURNING version

-- Every wording of an atom. $1 atom.
-- name: versions_of_atom
SELECT version, state, type, title, content, confidence, made_by, reason, created_at, decided_at, decided_by
FROM atom_versions WHERE atom_id = $1::bigint ORDER BY version

-- Whether another atom of a type has this content. $1 atom, $2 type, $3 content.
-- name: same_words
SELECT a.id FROM atoms a
WHERE a.type = $2::text AND md5(lower(a.content)) = md5(lower($3::text)) AND a.id <> $1::bigint

-- Atoms as somebody who judges them must know them. $1 ids.
-- name: atoms_to_judge
SELECT a.id, a.type, a.title, a.content, a.status, a.confidence, coalesce(a.raw_confidence, a.confidence) AS raw_confidence,
       a.extractor, a.version, a.topic_id, p.name AS topic, a.merged_into, a.superseded_by, a.valid_until, a.said_at,
       a.closed_at, a.reviewed_by,
       (SELECT r.verdict FROM atom_reviews r WHERE r.atom_id = a.id ORDER BY r.id DESC LIMIT 1) AS verdict
FROM atoms a LEFT JOIN topics p ON p.id = a.topic_id
WHERE a.id = ANY($1::bigint[]) ORDER BY a.id

-- The words that atoms rest on, or were said to, to be shown to who judges them. $1 ids.
-- name: quotes_to_judge
SELECT e.atom_id, e.quote, m.author, m.channel, m.sent_at, m.text, true AS proven
FROM atom_evidence e JOIN messages m ON m.id = e.message_id WHERE e.atom_id = ANY($1::bigint[])
UNION ALL
SELECT c.atom_id, c.quote, m.author, m.channel, m.sent_at, m.text, false
FROM atom_claims c JOIN messages m ON m.id = c.message_id WHERE c.atom_id = ANY($1::bigint[])
ORDER BY 1, 7 DESC, 5

-- What waits for a person: the surest first. $1 types or NULL, $2 how many, $3 ids to leave out.
-- name: waiting_atoms
SELECT a.id FROM atoms a
WHERE a.status IN ('candidate', 'unproven') AND ($1::text[] IS NULL OR a.type = ANY($1::text[])) AND a.id <> ALL ($3::bigint[])
ORDER BY a.confidence DESC, a.id LIMIT $2::int

-- name: count_waiting
SELECT (SELECT count(*) FROM atoms WHERE status = 'candidate') AS candidates,
       (SELECT count(*) FROM atoms WHERE status = 'unproven') AS unproven,
       (SELECT count(*) FROM atom_versions WHERE state = 'proposed') AS versions

-- What a person says is so is sure; what the extractor thought of it stays beside it. $1 ids, $2 status, $3 by whom.
-- name: judge_atoms
UPDATE atoms
SET status = $2::text, reviewed_at = now(), reviewed_by = $3::text, raw_confidence = coalesce(raw_confidence, confidence),
    confidence = CASE WHEN $2::text = 'active' THEN 1 ELSE confidence END
WHERE id = ANY($1::bigint[])

-- What a person judged, with the words as they were. $1 ids, $2 verdict, $3 by whom.
-- name: insert_reviews
INSERT INTO atom_reviews (atom_id, verdict, extractor, type, title, content, confidence, reviewer)
SELECT a.id, $2::text, a.extractor, a.type, a.title, a.content, coalesce(a.raw_confidence, a.confidence), $3::text
FROM atoms a WHERE a.id = ANY($1::bigint[]) ORDER BY a.id

-- $1 atom, $2 topic.
-- name: file_atom
UPDATE atoms SET topic_id = $2::bigint WHERE id = $1::bigint

-- $1 ids, $2 why.
-- name: close_atoms
UPDATE atoms SET closed_at = now(), closed_because = nullif(left($2, 500), '') WHERE id = ANY($1::bigint[]) AND closed_at IS NULL
RETURNING id

-- What is open again, or holds again, is superseded by nothing. $1 ids.
-- name: reopen_atoms
WITH unlinked AS (
    DELETE FROM atom_links WHERE target_id = ANY($1::bigint[]) AND type = 'supersedes'
)
UPDATE atoms SET closed_at = NULL, closed_because = NULL, valid_until = NULL, superseded_by = NULL, superseded_because = NULL
WHERE id = ANY($1::bigint[]) AND (closed_at IS NOT NULL OR superseded_by IS NOT NULL OR valid_until IS NOT NULL)
RETURNING id

-- Links by which atoms that were hidden until now supersede others, or are superseded. What another run had made was
-- known, and named, when the link was found. $1 ids.
-- name: superseding_links
SELECT l.source_id AS newer, l.target_id AS older, n.said_at, n.run_id IS DISTINCT FROM o.run_id AS named
FROM atom_links l JOIN atoms n ON n.id = l.source_id JOIN atoms o ON o.id = l.target_id
WHERE (l.source_id = ANY($1::bigint[]) OR l.target_id = ANY($1::bigint[])) AND l.type = 'supersedes'
ORDER BY l.source_id DESC, l.target_id

-- One atom lives on in another: what proves it, its links, and what was superseded by it or merged into it. The words it
-- had stay with it, hidden. $1 what goes, $2 where.
-- name: merge_atom
WITH lost AS (
    SELECT * FROM atoms WHERE id = $1::bigint AND status <> 'merged'
), words AS (
    INSERT INTO atom_evidence (atom_id, message_id, start_char, end_char, quote)
    SELECT $2::bigint, e.message_id, e.start_char, e.end_char, e.quote FROM atom_evidence e JOIN lost ON lost.id = e.atom_id
    ON CONFLICT DO NOTHING
), emptied AS (
    DELETE FROM atom_evidence e USING lost WHERE e.atom_id = lost.id
), links AS (
    INSERT INTO atom_links AS l (source_id, target_id, type, confidence)
    SELECT new.source_id, new.target_id, new.type, max(new.confidence) FROM (
        SELECT CASE WHEN l.source_id = $1 THEN $2::bigint ELSE l.source_id END AS source_id,
               CASE WHEN l.target_id = $1 THEN $2::bigint ELSE l.target_id END AS target_id, l.type, l.confidence
        FROM atom_links l JOIN lost ON lost.id IN (l.source_id, l.target_id)) AS new
    WHERE new.source_id <> new.target_id GROUP BY 1, 2, 3
    ON CONFLICT (source_id, target_id, type) DO UPDATE SET confidence = greatest(l.confidence, excluded.confidence)
), unlinked AS (
    DELETE FROM atom_links l USING lost WHERE lost.id IN (l.source_id, l.target_id)
)
UPDATE atoms a
SET status = CASE WHEN a.id = $1 THEN 'merged' ELSE a.status END,
    merged_into = CASE WHEN a.id = $1 OR a.merged_into = $1 THEN $2::bigint ELSE a.merged_into END,
    superseded_by = CASE WHEN a.id = $1 THEN NULL WHEN a.superseded_by = $1 THEN nullif($2::bigint, a.id) ELSE a.superseded_by END,
    valid_until = CASE WHEN a.id = $1 OR a.superseded_by = $1 AND a.id = $2::bigint THEN NULL ELSE a.valid_until END,
    confidence = CASE WHEN a.id = $2 THEN greatest(a.confidence, lost.confidence) ELSE a.confidence END,
    said_at = CASE WHEN a.id = $2 THEN least(a.said_at, lost.said_at) ELSE a.said_at END,
    topic_id = CASE WHEN a.id = $2 THEN coalesce(a.topic_id, lost.topic_id) ELSE a.topic_id END
FROM lost WHERE a.id IN ($1::bigint, $2::bigint) OR a.merged_into = $1 OR a.superseded_by = $1

-- The nearest atoms of its type that are found, for each of these: pairs that may say the same. $1 ids, $2 how many of
-- each, $3 the least likeness.
-- name: nearest_atoms
SELECT n.id AS newer, n.content AS newer_content, near.id AS older, near.content AS older_content, near.likeness
FROM atoms n CROSS JOIN LATERAL (
    SELECT t.id, t.content, t.superseded_by, 1 - ({distance}) AS likeness FROM atoms t
    WHERE t.embedding IS NOT NULL AND t.status = 'active' AND t.type = n.type AND t.id <> n.id
    ORDER BY {distance} LIMIT $2::int) AS near
WHERE n.id = ANY($1::bigint[]) AND n.embedding IS NOT NULL AND n.status = 'active' AND near.likeness >= $3::float8
  AND n.id IS DISTINCT FROM near.superseded_by AND near.id IS DISTINCT FROM n.superseded_by
ORDER BY n.id, near.likeness DESC

-- What the judge learns from, oldest first: the latest verdict of each atom, with the type it has by now. $1 how many of the latest.
-- name: reviews_to_learn
SELECT * FROM (
    SELECT r.id, r.verdict, r.extractor, r.type, r.title, r.content, r.confidence, a.type AS type_now
    FROM (SELECT DISTINCT ON (atom_id) * FROM atom_reviews ORDER BY atom_id, id DESC) AS r
    JOIN atoms a ON a.id = r.atom_id ORDER BY r.id DESC LIMIT $1::int) AS latest
ORDER BY id

-- How many atoms were judged, and how many the latest judge was taught by.
-- name: count_reviews
SELECT (SELECT count(DISTINCT atom_id) FROM atom_reviews) AS reviews,
       coalesce((SELECT j.reviews FROM judges j ORDER BY j.id DESC LIMIT 1), 0) AS taught

-- What people found right, by type and by extractor: the latest verdict of each atom.
-- name: accepted_and_rejected
SELECT type, extractor, count(*) FILTER (WHERE verdict <> 'reject') AS accepted, count(*) FILTER (WHERE verdict = 'reject') AS rejected
FROM (SELECT DISTINCT ON (atom_id) type, extractor, verdict FROM atom_reviews ORDER BY atom_id, id DESC) AS latest
GROUP BY type, extractor ORDER BY type, extractor

-- $1 reviews, $2 weights, $3 report.
-- name: insert_judge
INSERT INTO judges (reviews, weights, report) VALUES ($1::int, $2::bytea, $3::jsonb) RETURNING id

-- The latest judges stay, for who wants to see how it went. $1 how many.
-- name: tidy_judges
DELETE FROM judges WHERE id NOT IN (SELECT id FROM judges ORDER BY id DESC LIMIT $1::int)

-- name: latest_judge_id
SELECT max(id) AS id FROM judges

-- name: latest_judge
SELECT id, reviews, weights, trained_at FROM judges ORDER BY id DESC LIMIT 1
