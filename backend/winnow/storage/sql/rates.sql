-- How fast a server may be asked, by all processes together.

-- A process that is stuck with the row in its hands holds up nobody for long. For this transaction alone.
-- name: hurry
SELECT set_config('lock_timeout', '500ms', true), set_config('idle_in_transaction_session_timeout', '5s', true)

-- $1 name.
-- name: know_rate
INSERT INTO provider_rates (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING

-- By the database's own clock, for the processes' may differ. $1 name.
-- name: lock_rate
SELECT extract(epoch FROM clock_timestamp())::float8 AS now, requests_per_minute, tokens_per_minute,
       coalesce(extract(epoch FROM requests_at), 0)::float8 AS requests_at,
       coalesce(extract(epoch FROM tokens_at), 0)::float8 AS tokens_at,
       coalesce(extract(epoch FROM open_at), 0)::float8 AS open_at, spacing_seconds,
       extract(epoch FROM changed_at)::float8 AS paced_at,
       coalesce(extract(epoch FROM refused_at), 0)::float8 AS refused_at,
       extract(epoch FROM refused_since)::float8 AS refused_since
FROM provider_rates WHERE name = $1::text FOR UPDATE

-- $1 name, then as `lock_rate` gives it.
-- name: write_rate
UPDATE provider_rates
SET requests_per_minute = $2::float8, tokens_per_minute = $3::float8, requests_at = to_timestamp($4::float8),
    tokens_at = to_timestamp($5::float8), open_at = to_timestamp($6::float8), spacing_seconds = $7::float8,
    changed_at = to_timestamp($8::float8), refused_at = to_timestamp($9::float8),
    refused_since = to_timestamp($10::float8)
WHERE name = $1::text
