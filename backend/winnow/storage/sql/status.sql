-- How fast embedding goes, from `llm_usage`, where a worker notes each batch when it is done. What brought no vector is
-- none of its business, nor are tokens that the server did not count.

-- The rate just now: rows of the batches that ended in the last minute (where a batch takes long, in the time of three;
-- ten minutes at most), over the time since the first of them began. Then since when batches follow one another without
-- a minute's pause (a day at most, and read from the latest one back, so that it costs what it is long), and how many
-- rows have waited long enough. No rate and no beginning when nothing ended in that time.
-- name: embedding_pace
WITH of_space AS (
    SELECT b.embedded, b.saved, CASE WHEN NOT b.estimated THEN nullif(b.tokens, 0) END AS tokens, b.finished_at,
           b.finished_at - make_interval(secs => b.seconds) AS began_at
    FROM llm_usage b
    WHERE b.space_id IN (SELECT id FROM embedding_spaces WHERE status IN ('active', 'building'))
      AND b.purpose = 'embed' AND b.embedded > 0 AND b.finished_at > now() - interval '1 day'
), latest AS (
    SELECT least(greatest(interval '1 minute', 3 * (finished_at - began_at)), interval '10 minutes') AS look_back
    FROM of_space ORDER BY finished_at DESC LIMIT 1
), recent AS (
    SELECT sum(b.embedded) AS embedded, sum(b.saved) AS saved, sum(b.tokens) AS tokens,
           greatest(extract(epoch FROM now() - min(b.began_at)), 1)::float8 AS seconds
    FROM of_space b, latest l WHERE b.finished_at > now() - l.look_back
), stretch AS (
    SELECT r.began_at FROM (
        SELECT finished_at, min(began_at) OVER back AS began_at, lead(finished_at) OVER back AS earlier
        FROM of_space WINDOW back AS (ORDER BY finished_at DESC)
    ) r
    WHERE r.earlier IS NULL OR r.earlier < r.began_at - interval '1 minute'
    ORDER BY r.finished_at DESC LIMIT 1
)
SELECT r.embedded / r.seconds AS rows_per_second, r.saved / r.seconds AS saved_per_second,
       r.tokens / r.seconds AS tokens_per_second,
       CASE WHEN r.embedded IS NOT NULL
            THEN extract(epoch FROM now() - (SELECT began_at FROM stretch))::float8 END AS elapsed_seconds,
       (SELECT count(*) FROM embedding_jobs j JOIN embedding_spaces s ON s.id = j.space_id AND s.status = 'active'
        WHERE j.state = 'waiting' AND j.not_before <= now()) AS due
FROM recent r

-- Vectors that are of the beginning of their text only, because the model takes no more.
-- name: count_truncated
SELECT count(*) AS number FROM {table} WHERE embedded_characters IS NOT NULL AND embedding IS NOT NULL
