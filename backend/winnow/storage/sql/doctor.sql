-- What `winnow doctor` asks of the database.

-- Facts and settings, in one row. Settings that we may not read are NULL.
-- name: database_facts
SELECT current_setting('server_version') AS version,
       (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
       current_setting('fsync', true) AS fsync, current_setting('full_page_writes', true) AS full_page_writes,
       current_setting('synchronous_commit', true) AS synchronous_commit, current_setting('autovacuum', true) AS autovacuum,
       current_setting('server_encoding') AS encoding, current_setting('max_connections')::int AS max_connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       extract(epoch FROM clock_timestamp())::float8 AS now, pg_database_size(current_database()) AS bytes,
       (SELECT extract(epoch FROM max(now() - xact_start))::float8 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%') AS idle_seconds

-- Indexes that a killed build left behind: writes pay for them, and searches pass over them.
-- name: broken_indexes
SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
WHERE NOT i.indisvalid AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)

-- Which triggers ($2) of our tables ($1) are gone or do nothing: without them an edited text keeps its old vector.
-- name: idle_triggers
SELECT name, "table", t.oid IS NULL AS missing
FROM unnest($1::text[]) AS "table" CROSS JOIN unnest($2::text[]) AS name
LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass('public.' || "table") AND t.tgname = name
WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A') ORDER BY "table", name
