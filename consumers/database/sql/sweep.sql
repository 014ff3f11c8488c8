-- name: sweep_began
SELECT now() AS began

-- name: sweep_archives
-- One page of archives/ compared with the batches: only discrepancies.
WITH page AS (
    SELECT * FROM unnest(%(keys)s::text[], %(etags)s::text[]) AS page (key, etag)
)
SELECT page.key, batches.batch_id, true AS is_listed, batches.sealed_at IS NOT NULL AS is_sealed,
       batches.stalled, coalesce(batches.retold_at > now() - %(again_after)s, false) AS is_retold,
       batches.etag
FROM page
LEFT JOIN batches
    ON batches.archive_key COLLATE "C" = page.key AND batches.etag = page.etag
WHERE batches.batch_id IS NULL OR batches.sealed_at IS NULL OR batches.is_unmarked
UNION ALL
-- Batches whose archive should have been on the page, and which still need it.
SELECT batches.archive_key, batches.batch_id, false, false,
       batches.stalled, false, batches.etag
FROM batches
WHERE batches.sealed_at IS NULL
  AND batches.archive_key COLLATE "C" > %(after)s
  AND batches.archive_key COLLATE "C" <= %(upto)s
  AND NOT EXISTS (
      SELECT FROM page
      WHERE page.key = batches.archive_key AND page.etag = batches.etag
  )

-- name: forget_kept
-- Archives that were on no page expired, or somebody deleted them.
UPDATE batches
SET is_kept = false
WHERE is_kept
  AND archive_key COLLATE "C" > %(after)s
  AND archive_key COLLATE "C" <= %(upto)s
  AND NOT EXISTS (
      SELECT FROM unnest(%(keys)s::text[], %(etags)s::text[]) AS page (key, etag)
      WHERE page.key = batches.archive_key AND page.etag = batches.etag
  )

-- name: sweep_recordings
-- One page's recordings compared with their rows: only discrepancies. The rows are those of
-- the page's range, in the table's order, which is the listing's.
WITH page AS (
    SELECT *
    FROM unnest(
        %(batches)s::text[], %(ordinals)s::integer[], %(opus)s::boolean[],
        %(transcripts)s::boolean[], %(verdicts)s::boolean[]
    ) AS page (batch_id, ordinal, has_opus, has_transcript, has_verdict)
),
known AS (
    SELECT batch_id, ordinal, state, opus_key, transcript_key, verdict_key, stalled, retold_at,
           finished_at,
           greatest(created_at, finished_at) < %(began)s AS is_older
    FROM recordings
    WHERE (batch_id, ordinal) > (%(after_batch)s, %(after_ordinal)s)
      AND (batch_id, ordinal) <= (%(upto_batch)s, %(upto_ordinal)s)
      -- Redundant, but for pairs alone the planner expects up to a quarter of the table.
      AND batch_id BETWEEN %(after_batch)s AND %(upto_batch)s
)
SELECT coalesce(page.batch_id, known.batch_id) AS batch_id,
       coalesce(page.ordinal, known.ordinal) AS ordinal,
       known.batch_id IS NOT NULL AS has_row,
       coalesce(known.is_older, false) AS is_older,
       known.finished_at IS NOT NULL AS is_finished,
       -- An unfinished transcribed recording waits for its verdict, if its batch is moderated.
       coalesce(
           known.state = 'transcribed' AND (
               SELECT batches.is_moderated
               FROM batches
               WHERE batches.batch_id = known.batch_id
           ),
           false
       ) AS is_transcribed,
       known.stalled,
       coalesce(known.retold_at > now() - %(again_after)s, false) AS is_retold,
       -- Read for these few rows only. NULL: the batch has no row.
       (
           SELECT batches.sealed_at IS NOT NULL
           FROM batches
           WHERE batches.batch_id = coalesce(page.batch_id, known.batch_id)
       ) AS is_sealed
FROM page
FULL JOIN known ON known.batch_id = page.batch_id AND known.ordinal = page.ordinal
WHERE known.batch_id IS NULL
   OR (known.finished_at IS NULL AND page.has_opus)
   -- A member that `unpack` rejected has no object.
   OR ((known.state <> 'rejected' OR known.opus_key IS NOT NULL) AND page.has_opus IS NOT TRUE)
   OR (known.transcript_key IS NOT NULL AND page.has_transcript IS NOT TRUE)
   OR (known.verdict_key IS NOT NULL AND page.has_verdict IS NOT TRUE)
ORDER BY 1, 2

-- name: sweep_batches
-- The batches that end on one page, compared with their rows: only discrepancies.
WITH page AS (
    SELECT *
    FROM unnest(%(batches)s::text[], %(manifests)s::boolean[], %(completes)s::boolean[])
        AS page (batch_id, has_manifest, has_complete)
),
known AS (
    SELECT batch_id, archive_key, etag, sealed_at, announced_at,
           greatest(sealed_at, announced_at) < %(began)s AS is_older
    FROM batches
    WHERE batch_id > %(after)s AND batch_id <= %(upto)s
)
SELECT coalesce(page.batch_id, known.batch_id) AS batch_id,
       known.batch_id IS NOT NULL AS has_row,
       coalesce(known.is_older, false) AS is_older,
       known.sealed_at IS NOT NULL AS is_sealed,
       known.archive_key,
       known.etag
FROM page
FULL JOIN known ON known.batch_id = page.batch_id
WHERE (page.has_manifest AND known.sealed_at IS NULL)
   OR (page.has_complete AND NOT page.has_manifest)
   OR (known.sealed_at IS NOT NULL AND page.has_manifest IS NOT TRUE)
   OR (known.announced_at IS NOT NULL AND page.has_complete IS NOT TRUE)
ORDER BY 1

-- name: sweep_ends
-- Batches that are done but not announced, and on which no worker is.
SELECT batch_id, completed_at IS NOT NULL AS is_completed
FROM batches
WHERE announced_at IS NULL
  AND batch_id > %(after)s
  AND sealed_at <= now() - %(older_than)s
  AND CASE
      WHEN completed_at IS NOT NULL THEN completed_at <= now() - %(older_than)s
      ELSE NOT EXISTS (
          SELECT FROM recordings
          WHERE recordings.batch_id = batches.batch_id AND finished_at IS NULL
      ) AND NOT EXISTS (
          SELECT FROM recordings
          WHERE recordings.batch_id = batches.batch_id
            AND finished_at > now() - %(older_than)s
      )
  END
ORDER BY batch_id
LIMIT %(limit)s

-- name: sweep_unknown_archives
-- Rows that were made for a recording's event or a dead letter, and have no archive yet.
SELECT batch_id, stalled
FROM batches
WHERE announced_at IS NULL AND sealed_at IS NULL AND archive_key IS NULL AND batch_id > %(after)s
ORDER BY batch_id
LIMIT %(limit)s

-- name: sweep_not_itemised
-- Complete batches whose review items are not made. A batch that is only partly restored is
-- not complete.
SELECT batch_id, stalled,
       coalesce(retold_at > now() - %(again_after)s, false) AS is_retold
FROM batches
WHERE announced_at <= now() - %(older_than)s
  AND itemised_at IS NULL
  AND batch_id > %(after)s
  AND NOT EXISTS (
      SELECT FROM recordings
      WHERE recordings.batch_id = batches.batch_id AND finished_at IS NULL
  )
ORDER BY batch_id
LIMIT %(limit)s

-- name: mark_batches_retold
UPDATE batches SET retold_at = now() WHERE batch_id = ANY(%(batches)s)

-- name: ensure_batches
INSERT INTO batches (batch_id, is_moderated)
SELECT DISTINCT batch_id, EXISTS (SELECT FROM stages WHERE route = 'moderate')
FROM unnest(%(batches)s::text[]) AS told (batch_id)
ON CONFLICT DO NOTHING

-- name: mark_recordings_retold
-- A recording without a row gets one with this time only; its consumer completes it.
INSERT INTO recordings (batch_id, ordinal, state, path, retold_at)
SELECT batch_id, ordinal, 'converted', '', now()
FROM unnest(%(batches)s::text[], %(ordinals)s::integer[]) AS told (batch_id, ordinal)
ON CONFLICT (batch_id, ordinal) DO UPDATE
    SET retold_at = excluded.retold_at
    WHERE recordings.finished_at IS NULL

-- name: move_archive
UPDATE batches
SET archive_key = %(archive_key)s, stalled = NULL
WHERE batch_id = %(batch_id)s AND sealed_at IS NULL

-- name: mark_retired
UPDATE batches SET is_unmarked = false WHERE batch_id = %(batch_id)s

-- name: unannounce_batch
-- Its .complete.json is gone: the next check of its completion writes it again.
-- A batch with unfinished recordings is not complete, either.
UPDATE batches
SET announced_at = NULL,
    completed_at = CASE WHEN is_done THEN completed_at END,
    -- Its review items stay as they are.
    itemised_at = CASE WHEN is_done THEN itemised_at END
FROM (
    SELECT NOT EXISTS (
        SELECT FROM recordings WHERE batch_id = %(batch_id)s AND finished_at IS NULL
    ) AS is_done
) AS looked
WHERE batch_id = %(batch_id)s

-- name: put_sweep
INSERT INTO sweeps (started_at, ended_at, found, repaired)
VALUES (%(started_at)s, now(), %(found)s, %(repaired)s)

-- name: forget_sweeps
DELETE FROM sweeps
WHERE started_at <= (SELECT started_at FROM sweeps ORDER BY started_at DESC OFFSET %(kept)s LIMIT 1)
