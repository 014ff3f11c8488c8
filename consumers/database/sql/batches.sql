-- name: register_batch
-- A row that was made for a recording's event has no archive yet.
INSERT INTO batches (
    batch_id, archive_key, etag, size, original_name, dropped_at, is_moderated
)
VALUES (
    %(batch_id)s, %(archive_key)s, %(etag)s, %(size)s, %(original_name)s, %(dropped_at)s,
    EXISTS (SELECT FROM stages WHERE route = 'moderate')
)
ON CONFLICT (batch_id) DO UPDATE
    SET archive_key = excluded.archive_key,
        etag = excluded.etag,
        size = excluded.size,
        original_name = excluded.original_name,
        dropped_at = excluded.dropped_at
    WHERE batches.etag IS NULL

-- name: batch_etag
SELECT etag FROM batches WHERE batch_id = %(batch_id)s

-- name: unsealed_batch
-- COLLATE: the index is by the keys' bytes.
SELECT batch_id
FROM batches
WHERE archive_key COLLATE "C" = %(archive_key)s AND etag = %(etag)s AND sealed_at IS NULL
ORDER BY batch_id
LIMIT 1

-- name: seal_batch
UPDATE batches
SET sealed_at = coalesce(sealed_at, now()),
    rejected = %(rejected)s,
    ignored = %(ignored)s,
    failure = %(failure)s,
    notes = %(notes)s,
    stalled = NULL
WHERE batch_id = %(batch_id)s

-- name: complete_batch
-- Returns the batch if it is complete and not yet announced: completed by this statement, or
-- by a worker that died before it announced it.
-- Run in a statement of its own after a recording's row is committed: the worker that commits
-- last sees all other rows, so one completes the batch, and the row's lock and completed_at
-- let only one.
WITH completed AS (
    UPDATE batches
    SET completed_at = now()
    WHERE batch_id = %(batch_id)s
      AND sealed_at IS NOT NULL
      AND completed_at IS NULL
      -- With NOT EXISTS, outdated statistics could make the planner read every unfinished
      -- row, or the whole table. Only one index has this order.
      AND (
          SELECT ordinal
          FROM recordings
          WHERE batch_id = %(batch_id)s AND finished_at IS NULL
          ORDER BY -ordinal
          LIMIT 1
      ) IS NULL
    RETURNING batch_id
)
SELECT batch_id FROM completed
UNION ALL
SELECT batch_id
FROM batches
WHERE batch_id = %(batch_id)s AND completed_at IS NOT NULL AND announced_at IS NULL

-- name: announce_batch
UPDATE batches
SET announced_at = coalesce(announced_at, now()),
    counts = %(counts)s,
    is_kept = %(is_kept)s,
    stalled = NULL,
    -- Until now it was about the archive; from now on it is about the review.
    retold_at = NULL
WHERE batch_id = %(batch_id)s AND completed_at IS NOT NULL

-- name: keep_archive
UPDATE batches SET is_kept = %(is_kept)s WHERE batch_id = %(batch_id)s

-- name: count_kept
SELECT count(*) AS number FROM batches WHERE is_kept

-- name: stall_batch
-- The row does not exist where even HEAD failed.
INSERT INTO batches (batch_id, stalled, is_moderated)
VALUES (%(batch_id)s, %(stalled)s, EXISTS (SELECT FROM stages WHERE route = 'moderate'))
ON CONFLICT (batch_id) DO UPDATE
    SET stalled = excluded.stalled
    WHERE batches.sealed_at IS NULL
       OR (batches.completed_at IS NOT NULL AND batches.announced_at IS NULL)

-- name: stall_announcement
UPDATE batches
SET stalled = %(stalled)s
WHERE batch_id = %(batch_id)s AND completed_at IS NOT NULL AND announced_at IS NULL

-- name: unstall_batch
UPDATE batches SET stalled = NULL WHERE batch_id = %(batch_id)s AND stalled IS NOT NULL

-- name: unstall_archive
UPDATE batches SET stalled = NULL WHERE archive_key = %(archive_key)s AND stalled IS NOT NULL

-- name: unstall_announcement
UPDATE batches
SET stalled = NULL
WHERE batch_id = %(batch_id)s AND completed_at IS NOT NULL AND announced_at IS NULL

-- name: count_recordings
SELECT state, count(*) AS number
FROM recordings
WHERE batch_id = %(batch_id)s
GROUP BY state

-- name: count_flagged
SELECT count(*) AS number FROM recordings WHERE batch_id = %(batch_id)s AND flagged

-- name: count_notes
SELECT note->>'code' AS code, count(*) AS number
FROM recordings, jsonb_array_elements(notes || transcript_notes) AS note
WHERE batch_id = %(batch_id)s
GROUP BY 1

-- name: count_losses
SELECT count(*) AS number
FROM recordings
WHERE batch_id = %(batch_id)s
  AND EXISTS (
      SELECT FROM jsonb_array_elements(notes || transcript_notes) AS note
      WHERE note->>'code' = ANY(%(losses)s)
  )

-- name: count_unfinished
SELECT count(*) AS unfinished,
       count(*) FILTER (WHERE stalled IS NOT NULL) AS stalled
FROM recordings
WHERE batch_id = %(batch_id)s AND finished_at IS NULL

-- name: batch
SELECT * FROM batches WHERE batch_id = %(batch_id)s

-- name: recent_batches
SELECT * FROM batches ORDER BY dropped_at DESC NULLS FIRST, batch_id DESC LIMIT %(limit)s
