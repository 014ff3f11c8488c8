-- name: drop_recordings
DELETE FROM recordings WHERE batch_id = %(batch_id)s

-- name: add_recordings
-- A row that a consumer wrote first has the same content.
INSERT INTO recordings (
    batch_id, ordinal, state, path, reason, duration, codec, sample_rate, channels,
    loudness_dbfs, source_sha256, opus_key, notes, tags, transcript_notes, finished_at
)
SELECT %(batch_id)s, ordinal, state, path, reason, duration, codec, sample_rate, channels,
       loudness_dbfs, source_sha256, opus_key, notes, tags, transcript_notes,
       CASE WHEN state = 'rejected' THEN now() END
FROM jsonb_to_recordset(%(rows)s) AS given (
    ordinal integer, state text, path text, reason text, duration double precision, codec text,
    sample_rate integer, channels integer, loudness_dbfs double precision, source_sha256 text,
    opus_key text, notes jsonb, tags jsonb, transcript_notes jsonb
)
ON CONFLICT (batch_id, ordinal) DO NOTHING

-- name: recreate_batch
-- An update, as rows of recordings that consumers write meanwhile refer to this row.
UPDATE batches
SET archive_key = %(archive_key)s,
    etag = %(etag)s,
    size = %(size)s,
    original_name = %(original_name)s,
    dropped_at = %(dropped_at)s,
    sealed_at = %(sealed_at)s,
    rejected = %(rejected)s,
    ignored = %(ignored)s,
    completed_at = %(completed_at)s,
    announced_at = %(announced_at)s,
    counts = %(counts)s,
    failure = %(failure)s,
    notes = %(notes)s,
    is_kept = %(is_kept)s,
    stalled = NULL,
    retold_at = NULL,
    is_unmarked = false,
    itemised_at = NULL,
    -- It must not wait for a stage that is no longer configured.
    is_moderated = coalesce(%(is_moderated)s, is_moderated)
        AND (
            %(announced_at)s::timestamptz IS NOT NULL
            OR EXISTS (SELECT FROM stages WHERE route = 'moderate')
        )
WHERE batch_id = %(batch_id)s

-- name: recreate_announcement
UPDATE batches
SET completed_at = %(completed_at)s,
    announced_at = %(announced_at)s,
    counts = %(counts)s,
    is_kept = %(is_kept)s
WHERE batch_id = %(batch_id)s AND sealed_at IS NOT NULL AND announced_at IS NULL

-- name: itemised
UPDATE batches
SET itemised_at = %(itemised_at)s
WHERE batch_id = %(batch_id)s AND announced_at IS NOT NULL

-- name: finish_announced
-- An announced batch is done, whatever stages are configured now.
UPDATE recordings
SET finished_at = now()
FROM batches
WHERE batches.batch_id = recordings.batch_id
  AND recordings.batch_id = %(batch_id)s
  AND announced_at IS NOT NULL
  AND state = 'transcribed'
  AND finished_at IS NULL

-- name: forget_batch
DELETE FROM batches WHERE batch_id = %(batch_id)s
