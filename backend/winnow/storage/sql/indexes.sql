-- The HNSW indexes of the active space: which are there and valid, who is at work on one, and what a build may use.

-- How the index of each kind stands, and whether somebody has taken it into his hand or builds it just now.
-- No rows where there is no space of this status. A build of the plain kind knows no index yet (index_relid is 0).
-- $1 kinds, $2 status, $3 what the index's name ends with.
-- name: index_states
SELECT wanted.kind, s.dimensions, coalesce(i.indisvalid, false) AS valid,
       EXISTS (
           SELECT FROM pg_locks l
           WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid = x'77696e69'::int::oid
             AND l.objid = t.oid AND l.database = d.oid) AS held,
       p.phase, p.done
FROM unnest($1::text[]) AS wanted (kind)
JOIN pg_class t ON t.oid = to_regclass(wanted.kind)
JOIN pg_database d ON d.datname = current_database()
JOIN embedding_spaces s ON s.status = $2::text
LEFT JOIN pg_class x ON x.relname = wanted.kind || '_nearest' || $3::text AND x.relnamespace = t.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = x.oid
LEFT JOIN LATERAL (
    SELECT b.phase, b.blocks_done::float8 / nullif(b.blocks_total, 0) AS done FROM pg_stat_progress_create_index b
    WHERE b.relid = t.oid AND b.datid = d.oid AND b.index_relid IN (0, x.oid) LIMIT 1
) AS p ON true

-- Takes an index into this session's hand until the session ends: nobody else takes it away or builds it. Never waited
-- for: whoever waits for a lock keeps a snapshot, and a concurrent build waits for all snapshots.
-- name: take_index
SELECT pg_try_advisory_lock(x'77696e69'::int, '{table}'::regclass::oid::int) AS taken

-- A session that keeps such a lock, and does nothing for as long as a load takes, is not to be ended for that, neither
-- by the server nor by what lies between.
-- name: keep_session
SELECT set_config('idle_session_timeout', '0', false), set_config('tcp_keepalives_idle', '60', false)

-- For the build in this session: memory in kB ($1), processes beside its own ($2, at most). Small tables get helpers as
-- well: vectors beyond 2 kB lie outside of what PostgreSQL looks at when it calls a table small.
-- name: prepare_build
SELECT set_config('maintenance_work_mem', $1::bigint || 'kB', false),
       set_config('max_parallel_maintenance_workers',
                  least($2::int, current_setting('max_parallel_maintenance_workers')::int)::text, false),
       set_config('min_parallel_table_scan_size', '0', false),
       set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)

-- What the server gives a build by its own setting, and whether it runs on this machine (we came by a Unix socket).
-- name: build_memory
SELECT pg_size_bytes(current_setting('maintenance_work_mem')) AS own_bytes, inet_server_addr() IS NULL AS same_machine
