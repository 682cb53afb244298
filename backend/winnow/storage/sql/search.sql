-- The two arms of a search, and what its hits say. `true /* chosen */` is where conditions come in, when only some of the
-- rows are searched (reading_conditions.sql).

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
        WHERE public.winnow_words({text}) @@ word.query AND {found} AND true /* chosen */ LIMIT 20000
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
WHERE t.embedding IS NOT NULL AND {found} AND true /* chosen */
  AND (SELECT s.status = 'active' FROM embedding_spaces s WHERE s.id = $2::smallint)
ORDER BY {distance}
LIMIT $3::int

-- The same among few rows, each of which is looked at: no index picks candidates, and none that matters is missed.
-- $1 query, $2 how many, $3 ids.
-- name: full_text_of
WITH chosen AS MATERIALIZED (
    SELECT t.id, public.winnow_words({text}) AS vector FROM {table} t WHERE t.id = ANY($3::bigint[]) AND {found}
), frequency AS MATERIALIZED (
    SELECT c.id, entry.lexeme, cardinality(entry.positions)::float8 AS count FROM chosen c, unnest(c.vector) AS entry
), size AS (
    SELECT id, sum(count) AS length, avg(sum(count)) OVER () AS mean FROM frequency GROUP BY id
), weight AS (
    SELECT lexeme, ln(1 + ((SELECT count(*) FROM chosen) - count(*) + 0.5) / (count(*) + 0.5)) AS idf
    FROM unnest(public.winnow_words($1::text)) AS word JOIN frequency USING (lexeme) GROUP BY lexeme
)
SELECT frequency.id, sum(weight.idf * frequency.count * 2.2 / (frequency.count + 1.2 * (0.25 + 0.75 * size.length / size.mean))) AS score
FROM frequency JOIN weight USING (lexeme) JOIN size USING (id)
GROUP BY frequency.id
ORDER BY score DESC, frequency.id
LIMIT $2::int

-- The same among few rows: read by id and compared one by one, which is exact, where an index would pass most of them by.
-- $1 query vector, $2 space, $3 how many, $4 ids.
-- name: nearest_of
WITH chosen AS MATERIALIZED (
    SELECT t.id, t.embedding FROM {table} t WHERE t.id = ANY($4::bigint[]) AND t.embedding IS NOT NULL AND {found}
)
SELECT t.id, 1 - ({distance}) AS score
FROM chosen t
WHERE (SELECT s.status = 'active' FROM embedding_spaces s WHERE s.id = $2::smallint)
ORDER BY {distance}
LIMIT $3::int

-- Messages that are asked for. $1 how many.
-- name: messages_said
SELECT m.id FROM messages m WHERE true /* said */ LIMIT $1::int

-- Atoms that rest on such messages, each as often as it does. $1 how many.
-- name: atoms_said
SELECT e.atom_id AS id FROM messages m JOIN atom_evidence e ON e.message_id = m.id WHERE true /* said */
UNION ALL
SELECT l.atom_id FROM messages m JOIN atom_claims l ON l.message_id = m.id WHERE true /* said */
LIMIT $1::int

-- Topics that such messages are filed under. $1 how many.
-- name: topics_said
SELECT DISTINCT m.topic_id AS id FROM messages m WHERE m.topic_id IS NOT NULL AND true /* said */ LIMIT $1::int

-- $1 ids.
-- name: messages_found
SELECT m.id, m.source, m.channel, coalesce(c.title, '') AS channel_title, m.external_id, m.author, m.author_id, m.text,
       m.sent_at, m.edited_at, p.name AS topic, s.state, m.importance, m.signal, m.factors::text AS factors
FROM messages m JOIN message_states s ON s.id = m.id LEFT JOIN topics p ON p.id = m.topic_id
LEFT JOIN channels c ON c.source = m.source AND c.channel = m.channel
WHERE m.id = ANY($1::bigint[])

-- Newest messages first. $1 channel or NULL, $2 before this id, $3 how many, $4 author (by name or id) or NULL, $5 state or
-- NULL.
-- name: list_messages
SELECT m.id FROM messages m
WHERE ($1::text IS NULL OR m.channel = $1::text) AND m.id < $2::bigint
  AND ($4::text IS NULL OR m.author = $4::text OR m.author_id = $4::text)
  AND ($5::text IS NULL OR (SELECT s.state FROM message_states s WHERE s.id = m.id) = $5::text)
ORDER BY m.id DESC LIMIT $3::int
