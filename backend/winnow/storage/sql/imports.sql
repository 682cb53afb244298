-- Imports that were interrupted.

-- How many items of a file are stored. $1 the file's fingerprint.
-- name: import_progress
SELECT items FROM import_progress WHERE fingerprint = $1

-- $1 fingerprint, $2 items. Of two imports of one file at once the one that is further tells.
-- name: save_import_progress
INSERT INTO import_progress AS p (fingerprint, items) VALUES ($1, $2)
ON CONFLICT (fingerprint) DO UPDATE SET items = greatest(p.items, excluded.items), changed_at = now()

-- The import has come to the end of the file, or whoever interrupted one has not come back for so long. $1 fingerprint.
-- name: end_import_progress
DELETE FROM import_progress WHERE fingerprint = $1 OR changed_at < now() - interval '90 days'

-- How many of these are stored. $1 sources, $2 channels, $3 external ids.
-- name: count_known
SELECT count(*) AS known FROM unnest($1::text[], $2::text[], $3::text[]) AS given (source, channel, external_id)
WHERE EXISTS (SELECT FROM messages m WHERE m.source = given.source AND m.channel = given.channel
                  AND m.external_id = given.external_id)
