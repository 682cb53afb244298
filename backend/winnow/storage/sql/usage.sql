-- The use of models: what was asked for, what it took, what it cost.

-- Notes one use. $1 kind, $2 space, $3 worker, $4 rows with a vector, $5 of them without asking, $6 tokens, $7 seconds,
-- $8 purpose, $9 run, $10 provider's id, $11 its kind, $12 model, $13 requests, $14 texts, $15 whether the tokens are
-- estimated, $16 tokens that came out, $17 price.
-- name: note_use
INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, tokens, seconds, purpose, run, provider_id, provider,
                       model, requests, texts, estimated, output_tokens, price_usd)
VALUES ($1::text, $2::smallint, $3::text, $4::integer, $5::integer, $6::bigint, $7::real, $8::text, $9::text, $10::uuid,
        $11::text, $12::text, $13::integer, $14::integer, $15::boolean, $16::bigint, $17::numeric)
