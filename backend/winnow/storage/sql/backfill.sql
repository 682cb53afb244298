-- What a backfill asks of the batches it has sent.

-- How those of the given rows stand that have no vector: 'null' for each, and what embedding_jobs says of it, if
-- anything. In hand ('leased') is what a living worker holds. Free to be taken is what nobody holds any more, and what is
-- due. Resting is what waits for a model server, and not for a lock, for its turn by itself, or for another try of a text
-- at fault. No join: the statistics of a queue are always wrong, and it would be done row by row over all of it. $1 ids,
-- $2 space (NULL: the active one): once it has another role, its rows are nobody's here.
-- name: standing_of_rows
SELECT t.id, 'null' AS how FROM {table} t WHERE t.id = ANY($1::bigint[]) AND t.{embedding} IS NULL
  AND ($2::smallint IS NULL OR EXISTS (SELECT FROM embedding_spaces s WHERE s.id = $2::smallint AND s.status = '{role}'))
UNION ALL
SELECT j.entity_id,
       CASE WHEN j.state = 'leased' AND j.lease_until < now() OR j.state = 'waiting' AND j.not_before <= now() THEN 'free'
            WHEN j.state = 'waiting' AND j.attempts = 0 AND j.error_kind NOT IN ('locked', 'worker_died') THEN 'resting'
            ELSE j.state END
FROM embedding_jobs j
WHERE j.kind = '{kind}' AND j.entity_id = ANY($1::bigint[])
  AND j.space_id = (SELECT id FROM embedding_spaces WHERE status = '{role}')

-- Which of the given rows could be claimed, were they in nobody's hand: `claim` passes over the locked ones. $1 ids.
-- name: claimable_rows
SELECT t.id FROM {table} t WHERE t.id = ANY($1::bigint[]) FOR KEY SHARE SKIP LOCKED

-- What a backfill would ask the model for: rows, the different texts of those that no vector is stored of, and about how
-- many tokens these have. Blank texts, rows that are skipped for good, and texts that may not leave for a model elsewhere
-- are not asked for. $1 most rows (NULL: all), $2 bytes of the prefix, $3 bytes of a token, $4 whether it is elsewhere.
-- name: pending_weight
WITH pending AS (
    SELECT hashtextextended({text}, 0) AS hash, octet_length({text}) AS size
    FROM {table} t
    WHERE t.{embedding} IS NULL AND {text} ~ '\S' AND NOT EXISTS (
        SELECT FROM embedding_jobs j JOIN embedding_spaces s ON s.id = j.space_id AND s.status = '{role}'
        WHERE j.kind = '{kind}' AND j.entity_id = t.id AND j.state = 'skipped')
      AND NOT ($4::boolean AND {private})
    ORDER BY t.id LIMIT $1::bigint
), weighed AS (
    SELECT count(*) AS rows, (max(p.size) + $2::integer + $3::integer - 1) / $3::integer AS tokens,
           EXISTS (SELECT FROM {table} o
                   WHERE o.{embedding} IS NOT NULL AND hashtextextended({text_of_o}, 0) = p.hash) AS known
    FROM pending p GROUP BY p.hash
)
SELECT coalesce(sum(rows), 0)::bigint AS rows, count(*) FILTER (WHERE NOT known) AS texts,
       coalesce(sum(tokens) FILTER (WHERE NOT known), 0)::bigint AS tokens
FROM weighed

-- The same of each of these rows, as far as they have no vector. $1 ids, $2 to $4 as above.
-- name: row_weights
SELECT t.id, hashtextextended({text}, 0) AS hash,
       (octet_length({text}) + $2::integer + $3::integer - 1) / $3::integer AS tokens,
       EXISTS (SELECT FROM {table} o WHERE o.{embedding} IS NOT NULL
               AND hashtextextended({text_of_o}, 0) = hashtextextended({text}, 0)) AS known
FROM {table} t WHERE t.id = ANY($1::bigint[]) AND t.{embedding} IS NULL AND {text} ~ '\S' AND NOT ($4::boolean AND {private})

-- Texts that would be asked for, from all over the table. $1 how many at most, $2 whether the model is elsewhere.
-- name: sample_texts
SELECT {text} AS text
FROM {table} t
WHERE t.{embedding} IS NULL AND {text} ~ '\S' AND NOT EXISTS (
    SELECT FROM embedding_jobs j JOIN embedding_spaces s ON s.id = j.space_id AND s.status = '{role}'
    WHERE j.kind = '{kind}' AND j.entity_id = t.id AND j.state IN ('skipped', 'failed', 'waiting'))
  AND NOT ($2::boolean AND {private})
ORDER BY hashint8extended(t.id, 0) LIMIT $1::bigint
