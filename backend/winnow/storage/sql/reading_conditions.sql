-- What a filter may ask of atoms `a`, messages `m` and topics `p`: pieces that storage/conditions.py joins by AND.

-- $1 types.
-- name: atom_has_type
a.type = ANY($1::text[])

-- $1 statuses.
-- name: atom_has_status
a.status = ANY($1::text[])

-- What a person is asked about: below the cut, without proof, or with a wording that somebody proposes.
-- name: atom_waits
(a.status IN ('candidate', 'unproven') OR a.status = 'active' AND EXISTS (
    SELECT FROM atom_versions v WHERE v.atom_id = a.id AND v.state = 'proposed'))

-- $1 topic.
-- name: atom_in_topic
a.topic_id = $1::bigint

-- Filed under none.
-- name: atom_without_topic
a.topic_id IS NULL

-- $1 moment.
-- name: atom_said_since
a.said_at >= $1::timestamptz

-- $1 moment.
-- name: atom_said_until
a.said_at < $1::timestamptz

-- What held at a moment. $1 moment.
-- name: atom_held_at
a.said_at <= $1::timestamptz AND (a.valid_until IS NULL OR a.valid_until > $1::timestamptz)

-- $1 confidence.
-- name: atom_as_sure_as
a.confidence >= $1::real

-- $1 extractor.
-- name: atom_made_by
a.extractor = $1::text

-- All words of a text; one without any word finds nothing. $1 text.
-- name: atom_has_words
public.winnow_words((a.title || E'\n' || a.content)) @@ (
    SELECT string_agg('''' || replace(replace(w.lexeme, '\', '\\'), '''', '''''') || '''', ' & ')::tsquery
    FROM unnest(public.winnow_words($1::text)) AS w)

-- Nobody has answered or solved it, closed it, or said otherwise since.
-- name: atom_is_open
a.closed_at IS NULL AND a.valid_until IS NULL AND NOT EXISTS (
    SELECT FROM atom_links l JOIN atoms s ON s.id = l.source_id AND s.status = 'active'
    WHERE l.target_id = a.id AND l.type = CASE a.type WHEN 'question' THEN 'answers' ELSE 'solves' END)

-- Words of a message that is asked for prove it, or were said to: looked up for each atom by itself.
-- name: atom_rests_on
(EXISTS (SELECT FROM atom_evidence e JOIN messages m ON m.id = e.message_id
         WHERE e.atom_id = a.id AND true /* said */)
 OR EXISTS (SELECT FROM atom_claims l JOIN messages m ON m.id = l.message_id
            WHERE l.atom_id = a.id AND true /* said */))

-- $1 ids.
-- name: atom_is_one_of
a.id = ANY($1::bigint[])

-- After one in the order of `atoms_newest`. $1 when it was said, $2 its id.
-- name: atom_after_newest
(a.said_at, a.id) < ($1::timestamptz, $2::bigint)

-- After one in the order of `atoms_oldest`. $1 when it was said, $2 its id.
-- name: atom_after_oldest
(a.said_at, a.id) > ($1::timestamptz, $2::bigint)

-- Of those that nobody knows the time of: before an id. $1 id.
-- name: atom_undated_before
a.said_at IS NULL AND a.id < $1::bigint

-- Of those that nobody knows the time of: after an id. $1 id.
-- name: atom_undated_after
a.said_at IS NULL AND a.id > $1::bigint

-- Those that somebody knows the time of.
-- name: atom_dated
a.said_at IS NOT NULL

-- After one in the order of `atoms_surest`. $1 its confidence, $2 its id.
-- name: atom_after_surest
(a.confidence, a.id) < ($1::real, $2::bigint)

-- $1 source.
-- name: message_of_source
m.source = $1::text

-- $1 sources, $2 channels, as pairs.
-- name: message_in_places
(m.source, m.channel) IN (SELECT * FROM unnest($1::text[], $2::text[]))

-- $1 author, by name or by the source's id.
-- name: message_by_author
(m.author = $1::text OR m.author_id = $1::text)

-- $1 moment.
-- name: message_said_since
m.sent_at >= $1::timestamptz

-- $1 moment.
-- name: message_said_until
m.sent_at < $1::timestamptz

-- $1 words.
-- name: topic_has_words
public.winnow_words((p.name || E'\n' || p.description)) @@ (
    SELECT string_agg('''' || replace(replace(w.lexeme, '\', '\\'), '''', '''''') || '''', ' & ')::tsquery
    FROM unnest(public.winnow_words($1::text)) AS w)

-- Something that was said there is filed under it.
-- name: topic_of_messages
p.id IN (SELECT m.topic_id FROM messages m WHERE m.topic_id IS NOT NULL AND true /* said */)
