-- The use of models: what was asked for, what it took, what it cost.

-- Notes one use. $1 kind, $2 space, $3 worker, $4 rows with a vector, $5 of them without asking, $6 tokens, $7 seconds,
-- $8 purpose, $9 run, $10 provider's id, $11 its kind, $12 model, $13 requests, $14 texts, $15 whether the tokens are
-- estimated, $16 tokens that came out, $17 price.
-- name: note_use
INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, tokens, seconds, purpose, run, provider_id, provider,
                       model, requests, texts, estimated, output_tokens, price_usd)
VALUES ($1::text, $2::smallint, $3::text, $4::integer, $5::integer, $6::bigint, $7::real, $8::text, $9::text, $10::uuid,
        $11::text, $12::text, $13::integer, $14::integer, $15::boolean, $16::bigint, $17::numeric)

-- What was used since a moment, summed up by one thing; days are those of UTC. Rows from before models were noted are of
-- their space's. $1 by what (day, provider, model, purpose or run), $2 since.
-- name: usage_totals
SELECT CASE $1::text
           WHEN 'day' THEN to_char(u.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
           WHEN 'provider' THEN coalesce(p.name, nullif(u.provider, ''), s.provider)
           WHEN 'model' THEN CASE WHEN coalesce(nullif(u.provider, ''), s.provider) = ANY ($3::text[])
               THEN coalesce(nullif(u.provider, ''), s.provider)
               ELSE concat_ws(':', coalesce(p.name, nullif(u.provider, ''), s.provider),
                              coalesce(nullif(u.model, ''), s.model)) END
           WHEN 'purpose' THEN u.purpose
           ELSE u.run END AS name,
       sum(u.requests)::bigint AS requests, sum(u.texts)::bigint AS texts, sum(u.embedded)::bigint AS embedded,
       sum(u.saved)::bigint AS saved, coalesce(sum(u.tokens), 0)::bigint AS tokens,
       bool_or(u.estimated OR u.tokens IS NULL) AS estimated, coalesce(sum(u.output_tokens), 0)::bigint AS output_tokens,
       sum(u.seconds::float8) AS seconds, sum(u.price_usd) AS price_usd, bool_and(u.price_usd IS NOT NULL) AS price_complete
FROM llm_usage u
LEFT JOIN llm_providers p ON p.id = u.provider_id
LEFT JOIN embedding_spaces s ON s.id = u.space_id
WHERE u.finished_at >= $2::timestamptz
GROUP BY 1
ORDER BY 1 NULLS LAST

-- What a run has used so far. $1 the run, which is not older than a month.
-- name: usage_of_run
SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(texts), 0)::bigint AS texts,
       coalesce(sum(embedded), 0)::bigint AS embedded, coalesce(sum(saved), 0)::bigint AS saved,
       coalesce(sum(tokens), 0)::bigint AS tokens, coalesce(bool_or(estimated), false) AS estimated,
       coalesce(sum(output_tokens), 0)::bigint AS output_tokens, coalesce(sum(seconds::float8), 0) AS seconds,
       sum(price_usd) AS price_usd, coalesce(bool_and(price_usd IS NOT NULL), true) AS price_complete
FROM llm_usage WHERE run = $1::text AND finished_at > now() - interval '31 days'

-- How fast a model has embedded in the last month: texts and tokens of all its batches, and for how many seconds at
-- least one of them went on. $1 provider's kind, $2 model.
-- name: past_pace
WITH batches AS (
    SELECT finished_at - make_interval(secs => seconds) AS began_at, finished_at, texts, tokens
    FROM llm_usage
    WHERE purpose = 'embed' AND provider = $1::text AND model = $2::text AND embedded > 0 AND texts > 0
      AND finished_at > now() - interval '31 days'
), in_turn AS (
    SELECT *, max(finished_at) OVER (ORDER BY began_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS busy_until
    FROM batches
)
SELECT coalesce(sum(texts), 0)::bigint AS texts, coalesce(sum(tokens), 0)::bigint AS tokens,
       coalesce(sum(greatest(extract(epoch FROM finished_at - greatest(began_at, busy_until)), 0)), 0)::float8 AS seconds
FROM in_turn
