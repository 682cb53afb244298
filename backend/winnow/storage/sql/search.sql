-- The two arms of a search, and what its hits say.

-- Full text: rows with any of the query's words, scored by BM25 (k1 1.2, b 0.75; Robertson & Zaragoza 2009), which knows
-- how rare a word is; ts_rank does not. Parsing texts is what costs, so the 200 candidates are picked from the index
-- alone: by the summed rarity of the words they hold, shorter texts first. Words are taken rarest first until they have
-- matched 20,000 rows, and matches of one word stop there, beyond which its weight hardly changes.
-- bench/search.py holds this against BM25 over everything. $1 query, $2 how many.
-- name: full_text
WITH word AS (
    SELECT row_number() OVER () AS number, lexeme,
           ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS query
    FROM unnest(public.winnow_words($1::text))
), matching AS MATERIALIZED (
    SELECT word.number, found.id, found.size
    FROM word CROSS JOIN LATERAL (
        SELECT t.id, octet_length({text}) AS size FROM {table} t
        WHERE public.winnow_words({text}) @@ word.query AND {found} LIMIT 20000
    ) AS found
), known AS (
    SELECT number, count(*)::float8 AS rows FROM matching GROUP BY number
), corpus AS (
    SELECT greatest((SELECT reltuples FROM pg_class WHERE oid = '{table}'::regclass),
                    (SELECT count(*) FROM (SELECT FROM {table} LIMIT 20000) AS first))::float8 AS rows
), weight AS (
    SELECT word.number, word.lexeme,
           ln(1 + (greatest(corpus.rows - known.rows, 0) + 0.5) / (known.rows + 0.5)) AS idf,
           sum(known.rows) OVER (ORDER BY known.rows, word.number) - known.rows AS rarer
    FROM corpus, word JOIN known USING (number)
), best AS (
    SELECT matching.id
    FROM matching JOIN weight USING (number)
    WHERE weight.rarer < 20000
    GROUP BY matching.id
    ORDER BY sum(weight.idf) DESC, min(matching.size), matching.id
    LIMIT 200
), candidate AS MATERIALIZED (
    SELECT t.id, public.winnow_words({text}) AS vector FROM best JOIN {table} t USING (id)
), frequency AS (
    SELECT c.id, entry.lexeme, cardinality(entry.positions)::float8 AS count
    FROM candidate c, unnest(c.vector) AS entry
), size AS (
    SELECT id, sum(count) AS length, avg(sum(count)) OVER () AS mean FROM frequency GROUP BY id
)
SELECT frequency.id, sum(weight.idf * frequency.count * 2.2 / (frequency.count + 1.2 * (0.25 + 0.75 * size.length / size.mean))) AS score
FROM frequency JOIN weight USING (lexeme) JOIN size USING (id)
GROUP BY frequency.id
ORDER BY score DESC, frequency.id
LIMIT $2::int

-- Nearest vectors by cosine, if the query's space is still the column's. $1 query vector, $2 space, $3 how many.
-- name: nearest
SELECT t.id, 1 - ({distance}) AS score
FROM {table} t
WHERE t.embedding IS NOT NULL AND {found}
  AND (SELECT s.status = 'active' FROM embedding_spaces s WHERE s.id = $2::smallint)
ORDER BY {distance}
LIMIT $3::int

-- $1 ids.
-- name: messages_found
SELECT m.id, m.source, m.channel, coalesce(c.title, '') AS channel_title, m.external_id, m.author, m.author_id, m.text,
       m.sent_at, m.edited_at, p.name AS topic, s.state, m.importance, m.signal, m.factors::text AS factors
FROM messages m JOIN message_states s ON s.id = m.id LEFT JOIN topics p ON p.id = m.topic_id
LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
WHERE m.id = ANY($1::bigint[])

-- $1 ids.
-- name: topics_found
SELECT p.id, p.name, p.description,
       (SELECT count(*) FROM atoms a WHERE a.topic_id = p.id AND a.status = 'active') AS atoms
FROM topics p WHERE p.id = ANY($1::bigint[])

-- Atoms with their words: evidence as a list of objects, in the order it was said. $1 ids.
-- name: atoms_found
SELECT a.id, a.type, a.title, a.content, a.confidence, a.status, p.name AS topic, a.created_at, words.evidence
FROM atoms a
LEFT JOIN topics p ON p.id = a.topic_id
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'message_id', e.message_id, 'start', e.start_char, 'end', e.end_char, 'quote', e.quote,
        'author', m.author, 'channel', m.channel, 'channel_title', coalesce(c.title, ''), 'sent_at', m.sent_at)
        ORDER BY m.sent_at, m.id, e.start_char), '[]') AS evidence
    FROM atom_evidence e JOIN messages m ON m.id = e.message_id
    LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
    WHERE e.atom_id = a.id
) AS words
WHERE a.id = ANY($1::bigint[])

-- Links of these atoms, both ways, with the other end's title. $1 ids.
-- name: links_of_atoms
SELECT l.source_id, l.target_id, l.type, l.confidence, s.title AS source_title, g.title AS target_title
FROM atom_links l JOIN atoms s ON s.id = l.source_id JOIN atoms g ON g.id = l.target_id
WHERE (l.source_id = ANY($1::bigint[]) OR l.target_id = ANY($1::bigint[])) AND s.status = 'active' AND g.status = 'active'

-- Newest atoms first. $1 type or NULL, $2 topic id or NULL, $3 before this id, $4 how many.
-- name: list_atoms
SELECT a.id FROM atoms a
WHERE a.status = 'active' AND ($1::text IS NULL OR a.type = $1::text) AND ($2::bigint IS NULL OR a.topic_id = $2::bigint)
  AND a.id < $3::bigint
ORDER BY a.id DESC LIMIT $4::int

-- $1 before this id, $2 how many.
-- name: list_topics
SELECT p.id FROM topics p WHERE p.id < $1::bigint ORDER BY p.id DESC LIMIT $2::int

-- Newest messages first. $1 channel or NULL, $2 before this id, $3 how many, $4 author (by name or id) or NULL, $5 state or
-- NULL.
-- name: list_messages
SELECT m.id FROM messages m
WHERE ($1::text IS NULL OR m.channel = $1::text
       OR (m.source, m.channel) IN (SELECT c.source, c.channel FROM channels c WHERE c.title = $1::text))
  AND m.id < $2::bigint
  AND ($4::text IS NULL OR m.author = $4::text OR m.author_id = $4::text)
  AND ($5::text IS NULL OR (SELECT s.state FROM message_states s WHERE s.id = m.id) = $5::text)
ORDER BY m.id DESC LIMIT $3::int
