-- Where all messages stand, as the view `message_states` says of each: from one snapshot, and from indexes and the queue
-- alone. What is neither in the queue, nor noise, nor without a score, is extracted. $1 failures after which a message is
-- left aside. What others wrote into the table as noise without a score is received, not noise.
-- name: count_states
WITH queued AS (
    SELECT q.run_id IS NOT NULL AS held, q.run_id IS NULL AND q.failures >= $1::smallint AS failed,
           u.id IS NOT NULL AS unscored, n.id IS NOT NULL AS noise, t.message_id IS NULL OR s.id IS NOT NULL AS scored
    FROM extraction_queue q
    LEFT JOIN (SELECT id FROM messages WHERE importance IS NULL) u ON u.id = q.message_id
    LEFT JOIN (SELECT id FROM messages WHERE signal = 'noise') n ON n.id = q.message_id
    LEFT JOIN message_threads t ON t.message_id = q.message_id
    LEFT JOIN (SELECT m.id FROM channels c JOIN messages m ON m.source = c.source AND m.channel = c.channel
               WHERE c.mode <> 'on') s ON s.id = q.message_id
), counted AS (
    SELECT count(*) FILTER (WHERE held) AS extracting, count(*) FILTER (WHERE failed) AS failed,
           count(*) FILTER (WHERE NOT held AND NOT failed AND NOT unscored AND NOT noise AND scored) AS scored,
           count(*) FILTER (WHERE NOT held AND NOT failed AND NOT unscored AND NOT noise AND NOT scored) AS waiting,
           count(*) FILTER (WHERE (held OR failed) AND unscored) AS not_received,
           count(*) FILTER (WHERE (held OR failed) AND NOT unscored AND noise) AS not_noise
    FROM queued
), whole AS (
    SELECT (SELECT count(*) FROM messages) AS total,
           (SELECT count(*) FROM messages WHERE importance IS NULL) - c.not_received AS received,
           (SELECT count(*) FROM messages WHERE signal = 'noise')
           - (SELECT count(*) FROM messages WHERE importance IS NULL AND signal = 'noise') - c.not_noise AS noise,
           c.scored, c.waiting, c.extracting, c.failed
    FROM counted c
)
SELECT total, received, scored, noise, waiting, extracting,
       total - received - scored - noise - waiting - extracting - failed AS extracted, failed
FROM whole
