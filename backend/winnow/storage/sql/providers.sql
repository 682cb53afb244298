-- Providers: who makes vectors and answers. Their keys come and go encrypted.

-- Until the transaction ends, no key is exchanged for its like under another secret; those who write keys share the lock.
-- name: share_provider_keys
SELECT pg_advisory_xact_lock_shared(x'77696e6b'::bigint)

-- name: lock_provider_keys
SELECT pg_advisory_xact_lock(x'77696e6b'::bigint)

-- $1 name, $2 kind, $3 URLs, $4 model to embed with, $5 to extract with, $6 encrypted key, $7 active, $8 document prefix,
-- $9 query prefix, $10 requests and $11 tokens a minute, $12 requests at once. No row when the name is taken.
-- name: create_provider
INSERT INTO llm_providers (name, kind, urls, embedding_model, chat_model, api_key, active, document_prefix,
    query_prefix, requests_per_minute, tokens_per_minute, at_once)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (name) DO NOTHING
RETURNING *

-- name: list_providers
SELECT * FROM llm_providers ORDER BY name

-- $1 id.
-- name: provider_by_id
SELECT * FROM llm_providers WHERE id = $1

-- $1 name.
-- name: provider_by_name
SELECT * FROM llm_providers WHERE name = $1

-- $1 id. Until the transaction ends nobody else changes it.
-- name: provider_to_change
SELECT * FROM llm_providers WHERE id = $1 FOR UPDATE

-- $1 id, then as in create_provider but for the kind, which stays. A changed set-up has not been checked.
-- name: update_provider
UPDATE llm_providers SET name = $2, urls = $3, embedding_model = $4, chat_model = $5, api_key = $6, active = $7,
    document_prefix = $8, query_prefix = $9, requests_per_minute = $10, tokens_per_minute = $11, at_once = $12,
    changed_at = now(), checked_at = NULL, check_passed = NULL, check_said = NULL
WHERE id = $1
RETURNING *

-- $1 id.
-- name: delete_provider
DELETE FROM llm_providers WHERE id = $1

-- The spaces that vectors are made for, or searched in, by this provider. $1 id.
-- name: spaces_of_provider
SELECT status, provider, model FROM embedding_spaces
WHERE provider_id = $1 AND status IN ('active', 'building', 'previous') ORDER BY status FOR UPDATE

-- Of a check of the set-up as it was at $4. $1 id, $2 whether it passed, $3 what it said.
-- name: note_provider_check
UPDATE llm_providers SET checked_at = now(), check_passed = $2, check_said = left($3, 500)
WHERE id = $1 AND changed_at = $4

-- name: provider_keys
SELECT id, name, api_key FROM llm_providers WHERE api_key IS NOT NULL ORDER BY id FOR UPDATE

-- $1 id, $2 encrypted key. The set-up stays what it is.
-- name: exchange_provider_key
UPDATE llm_providers SET api_key = $2 WHERE id = $1
