-- What a backfill asks of the batches it has sent.

-- Rows that have no vector yet, counted by their batch; a batch that is in no row is done. In hand is what a living
-- worker holds. Free to be taken is what nobody holds any more, and what is due. Resting is what waits for a model
-- server, and not for a lock, for its turn by itself, or for another try of a text at fault.
-- Looked up row by row (LIMIT 1): statistics of embedding_jobs are always wrong. $1 ids, $2 number of each one's batch.
-- name: standing_of_batches
SELECT stood.batch,
       count(*) FILTER (WHERE stood.how = 'failed') AS failed, count(*) FILTER (WHERE stood.how = 'skipped') AS skipped,
       count(*) FILTER (WHERE stood.how = 'waiting') AS waiting, count(*) FILTER (WHERE stood.how = 'resting') AS resting,
       count(*) FILTER (WHERE stood.how = 'leased') AS in_hand, count(*) FILTER (WHERE stood.how = 'free') AS free
FROM (
    SELECT given.batch,
           CASE WHEN j.state IS NULL THEN 'free'
                WHEN j.state = 'leased' AND j.lease_until < now() OR j.state = 'waiting' AND j.not_before <= now() THEN 'free'
                WHEN j.state = 'waiting' AND j.attempts = 0 AND j.error_kind NOT IN ('locked', 'worker_died') THEN 'resting'
                ELSE j.state END AS how
    FROM unnest($1::bigint[], $2::int[]) AS given (id, batch)
    JOIN {table} t ON t.id = given.id AND t.embedding IS NULL
    LEFT JOIN LATERAL (
        SELECT o.* FROM embedding_jobs o
        WHERE o.kind = '{kind}' AND o.entity_id = t.id
          AND o.space_id = (SELECT id FROM embedding_spaces WHERE status = 'active') LIMIT 1) AS j ON true
) AS stood
GROUP BY stood.batch
