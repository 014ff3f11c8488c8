-- States only move forward; these queries, of `dropscribe reprocess`, are the one exception.

-- name: drop_some_recordings
DELETE FROM recordings WHERE batch_id = %(batch_id)s AND ordinal = ANY(%(ordinals)s)

-- name: uncomplete_batch
UPDATE batches
SET completed_at = NULL,
    announced_at = NULL,
    counts = NULL,
    stalled = NULL
WHERE batch_id = %(batch_id)s

-- name: unseal_batch
UPDATE batches
SET sealed_at = NULL,
    rejected = NULL,
    ignored = NULL,
    completed_at = NULL,
    announced_at = NULL,
    counts = NULL,
    failure = NULL,
    stalled = NULL,
    retold_at = NULL,
    is_unmarked = false
WHERE batch_id = %(batch_id)s

-- name: unfinished_recordings
SELECT ordinal
FROM recordings
WHERE batch_id = %(batch_id)s AND finished_at IS NULL AND ordinal > %(after)s
ORDER BY ordinal
LIMIT %(limit)s
