-- API keys: who may call, and what for.

-- $1 name, $2 SHA-256 of the secret, $3 scopes. No row when a key in force has that name.
-- name: create_key
INSERT INTO api_keys (name, secret_hash, scopes) VALUES ($1, $2, $3)
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
RETURNING id

-- name: list_keys
SELECT id, name, scopes, created_at, last_used_at, revoked_at FROM api_keys ORDER BY id

-- name: keys_in_force
SELECT id, name, scopes, secret_hash FROM api_keys WHERE revoked_at IS NULL

-- Once a minute is enough to tell keys in use from forgotten ones. $1 id.
-- name: mark_key_used
UPDATE api_keys SET last_used_at = now()
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')

-- $1 name, or the id as text.
-- name: revoke_key
UPDATE api_keys SET revoked_at = now()
WHERE revoked_at IS NULL AND (name = $1 OR id::text = $1)
RETURNING id, name
