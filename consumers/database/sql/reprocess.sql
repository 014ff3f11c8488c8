-- The queries of `dropscribe reprocess`: only they move states backward.

-- name: drop_some_recordings
DELETE FROM recordings WHERE batch_id = %(batch_id)s AND ordinal = ANY(%(ordinals)s)

-- name: is_moderating
SELECT EXISTS (SELECT FROM stages WHERE route = 'moderate') AS is_moderating

-- name: moderate_some_again
DELETE FROM verdicts WHERE batch_id = %(batch_id)s AND ordinal = ANY(%(ordinals)s)

-- name: unmoderate_some
-- They wait for verdicts if moderation is configured now.
UPDATE recordings
SET state = 'transcribed',
    verdict_key = NULL,
    flagged = NULL,
    verdict_reason = NULL,
    stalled = NULL,
    retold_at = NULL,
    finished_at = CASE
        WHEN NOT EXISTS (SELECT FROM stages WHERE route = 'moderate') THEN now()
    END
WHERE batch_id = %(batch_id)s
  AND ordinal = ANY(%(ordinals)s)
  AND state IN ('transcribed', 'moderated')

-- name: transcribed_recordings
SELECT ordinal
FROM recordings
WHERE batch_id = %(batch_id)s AND state IN ('transcribed', 'moderated') AND ordinal > %(after)s
ORDER BY ordinal
LIMIT %(limit)s

-- name: uncomplete_batch
-- It is moderated if moderation is configured now.
UPDATE batches
SET completed_at = NULL,
    announced_at = NULL,
    itemised_at = NULL,
    counts = NULL,
    is_kept = false,
    stalled = NULL,
    is_moderated = EXISTS (SELECT FROM stages WHERE route = 'moderate')
WHERE batch_id = %(batch_id)s

-- name: unseal_batch
UPDATE batches
SET sealed_at = NULL,
    rejected = NULL,
    ignored = NULL,
    completed_at = NULL,
    announced_at = NULL,
    itemised_at = NULL,
    counts = NULL,
    is_kept = false,
    failure = NULL,
    notes = '[]',
    stalled = NULL,
    retold_at = NULL,
    is_unmarked = false,
    is_moderated = EXISTS (SELECT FROM stages WHERE route = 'moderate')
WHERE batch_id = %(batch_id)s

-- name: unfinished_recordings
SELECT ordinal
FROM recordings
WHERE batch_id = %(batch_id)s AND finished_at IS NULL AND ordinal > %(after)s
ORDER BY ordinal
LIMIT %(limit)s
