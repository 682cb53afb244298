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
