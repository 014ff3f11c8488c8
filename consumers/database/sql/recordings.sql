-- name: ensure_batch
-- A recording's event can outlive the batch's row, where the database was restored.
INSERT INTO batches (batch_id, is_moderated)
VALUES (%(batch_id)s, EXISTS (SELECT FROM stages WHERE route = 'moderate'))
ON CONFLICT DO NOTHING

-- name: put_recording
-- States only move forward: a finished row stays as it is. A transcribed recording is
-- finished, unless its batch is moderated.
INSERT INTO recordings (
    batch_id, ordinal, state, path, reason, duration, codec, sample_rate, channels,
    loudness_dbfs, source_sha256, opus_key, transcript_key, notes, tags, transcript_notes,
    finished_at
)
SELECT %(batch_id)s, %(ordinal)s, %(state)s, %(path)s, %(reason)s, %(duration)s, %(codec)s,
       %(sample_rate)s, %(channels)s, %(loudness_dbfs)s, %(source_sha256)s, %(opus_key)s,
       %(transcript_key)s, %(notes)s, %(tags)s, %(transcript_notes)s,
       CASE
           WHEN %(state)s IN ('silent', 'rejected') THEN now()
           WHEN %(state)s = 'transcribed' AND NOT is_moderated THEN now()
       END
FROM batches
WHERE batch_id = %(batch_id)s
ON CONFLICT (batch_id, ordinal) DO UPDATE
    SET state = excluded.state,
        -- The path in an object's metadata may be cut.
        path = CASE
            WHEN length(excluded.path) < length(recordings.path) THEN recordings.path
            ELSE excluded.path
        END,
        reason = coalesce(excluded.reason, recordings.reason),
        duration = excluded.duration,
        codec = excluded.codec,
        sample_rate = excluded.sample_rate,
        channels = excluded.channels,
        loudness_dbfs = excluded.loudness_dbfs,
        source_sha256 = excluded.source_sha256,
        opus_key = excluded.opus_key,
        transcript_key = excluded.transcript_key,
        -- Without tags, the notes are those that fit in the object's metadata.
        notes = CASE
            WHEN excluded.tags IS NULL AND recordings.tags IS NOT NULL THEN recordings.notes
            ELSE excluded.notes
        END,
        tags = coalesce(excluded.tags, recordings.tags),
        transcript_notes = excluded.transcript_notes,
        -- Both are about the step before.
        stalled = CASE WHEN excluded.state = recordings.state THEN recordings.stalled END,
        retold_at = CASE WHEN excluded.state = recordings.state THEN recordings.retold_at END,
        finished_at = excluded.finished_at
    WHERE recordings.finished_at IS NULL
      AND (recordings.state, excluded.state) <> ('transcribed', 'converted')

-- name: put_conversion
-- The next stage can be first to write the row.
UPDATE recordings
SET path = %(path)s, notes = %(notes)s, tags = %(tags)s
WHERE batch_id = %(batch_id)s AND ordinal = %(ordinal)s AND tags IS NULL

-- name: recorded_conversions
SELECT ordinal FROM recordings WHERE batch_id = %(batch_id)s AND tags IS NOT NULL

-- name: conversion
SELECT notes, tags
FROM recordings
WHERE batch_id = %(batch_id)s AND ordinal = %(ordinal)s AND tags IS NOT NULL

-- name: original
-- Of other batches any, as they may be unpacked at the same time, or in another order.
SELECT batch_id, ordinal, path, transcript_key
FROM recordings
WHERE source_sha256 = %(source_sha256)s
  AND (batch_id <> %(batch_id)s OR ordinal < %(ordinal)s)
ORDER BY batch_id, ordinal
LIMIT 1

-- name: transcribed_original
SELECT batch_id, ordinal, path, transcript_key
FROM recordings
WHERE source_sha256 = %(source_sha256)s
  AND (batch_id, ordinal) < (%(batch_id)s, %(ordinal)s)
  AND (
      state IN ('transcribed', 'moderated')
      OR (state = 'converted' AND stalled IS NULL AND created_at > now() - interval '6 hours')
  )
ORDER BY state = 'converted', batch_id, ordinal
LIMIT 1

-- name: put_transcript
-- 'simple' does not stem, as archives hold many languages.
INSERT INTO transcripts (
    batch_id, ordinal, language, language_probability, text, segments, model, alignment, search
)
VALUES (
    %(batch_id)s, %(ordinal)s, %(language)s, %(language_probability)s, %(text)s, %(segments)s,
    %(model)s, %(alignment)s, to_tsvector('simple', left(%(text)s, %(indexed)s))
)
ON CONFLICT (batch_id, ordinal) DO NOTHING

-- name: is_transcribed
SELECT state IN ('transcribed', 'moderated') AND transcripts.ordinal IS NOT NULL AS is_transcribed
FROM recordings
LEFT JOIN transcripts USING (batch_id, ordinal)
WHERE batch_id = %(batch_id)s AND ordinal = %(ordinal)s

-- name: put_verdicts
INSERT INTO verdicts (
    batch_id, ordinal, policy, version, threshold, flagged, score, windows, model, adapter
)
SELECT %(batch_id)s, %(ordinal)s, policy, version, threshold, flagged, score, windows,
       %(model)s, %(adapter)s
FROM jsonb_to_recordset(%(findings)s) AS given (
    policy text, version text, threshold double precision, flagged boolean,
    score double precision, windows jsonb
)
ON CONFLICT (batch_id, ordinal, policy) DO NOTHING

-- name: moderated
UPDATE recordings
SET state = 'moderated',
    verdict_key = %(verdict_key)s,
    flagged = %(flagged)s,
    verdict_reason = %(reason)s,
    stalled = NULL,
    finished_at = coalesce(finished_at, now())
WHERE batch_id = %(batch_id)s AND ordinal = %(ordinal)s AND state = 'transcribed'

-- name: verdicts_of_batch
SELECT ordinal, policy, version, threshold, flagged, score, windows, model, adapter
FROM verdicts
WHERE batch_id = %(batch_id)s
ORDER BY ordinal, policy

-- name: stall_recording
-- The row may be missing, as the object is stored before it.
INSERT INTO recordings (batch_id, ordinal, state, path, stalled)
VALUES (%(batch_id)s, %(ordinal)s, 'converted', '', %(stalled)s)
ON CONFLICT (batch_id, ordinal) DO UPDATE
    SET stalled = excluded.stalled
    WHERE recordings.finished_at IS NULL

-- name: unstall_recording
UPDATE recordings
SET stalled = NULL
WHERE batch_id = %(batch_id)s AND ordinal = %(ordinal)s AND stalled IS NOT NULL

-- name: recordings_of_batch
SELECT recordings.*, transcripts.language, transcripts.text
FROM recordings
LEFT JOIN transcripts USING (batch_id, ordinal)
WHERE recordings.batch_id = %(batch_id)s
ORDER BY ordinal

-- name: put_sidecar
INSERT INTO sidecars (batch_id, ordinal, path, text)
VALUES (%(batch_id)s, %(ordinal)s, %(path)s, %(text)s)
ON CONFLICT (batch_id, ordinal) DO UPDATE SET path = excluded.path, text = excluded.text

-- name: search
-- Each condition has an index of its own. A sidecar is named like its recording (a.json or
-- a.wav.json beside a.wav), without regard to case.
WITH found AS (
    SELECT batch_id, ordinal, ts_rank_cd(search, query) AS rank, false AS is_tag,
           NULL::integer AS sidecar
    FROM transcripts, websearch_to_tsquery('simple', %(text)s) AS query
    WHERE search @@ query
    UNION ALL
    SELECT batch_id, ordinal, 0, true, NULL
    FROM recordings
    LEFT JOIN transcripts USING (batch_id, ordinal),
        websearch_to_tsquery('simple', %(text)s) AS query
    WHERE to_tsvector('simple', tags) @@ query AND (search @@ query) IS NOT TRUE
    UNION ALL
    SELECT recordings.batch_id, recordings.ordinal, 0, false, min(sidecars.ordinal)
    FROM websearch_to_tsquery('simple', %(text)s) AS query
    JOIN sidecars ON to_tsvector('simple', sidecars.text) @@ query
    CROSS JOIN regexp_replace(lower(sidecars.path), '\.[^./]*$', '') AS name
    JOIN recordings
        ON recordings.batch_id = sidecars.batch_id
        AND md5(lower(regexp_replace(recordings.path, '\.[^./]*$', '')))
            IN (md5(name), md5(regexp_replace(name, '\.[^./]*$', '')))
        AND name IN (
            lower(recordings.path), lower(regexp_replace(recordings.path, '\.[^./]*$', ''))
        )
    LEFT JOIN transcripts
        ON transcripts.batch_id = recordings.batch_id
        AND transcripts.ordinal = recordings.ordinal
    WHERE (transcripts.search @@ query) IS NOT TRUE
      AND (to_tsvector('simple', recordings.tags) @@ query) IS NOT TRUE
    GROUP BY recordings.batch_id, recordings.ordinal
    ORDER BY rank DESC, batch_id DESC, ordinal
    LIMIT %(limit)s
)
SELECT batch_id, ordinal, path, language,
       ts_headline(
           'simple',
           CASE
               WHEN sidecar IS NOT NULL THEN (
                   SELECT sidecars.path || ': ' || sidecars.text
                   FROM sidecars
                   WHERE sidecars.batch_id = found.batch_id AND sidecars.ordinal = sidecar
               )
               WHEN is_tag THEN (
                   SELECT string_agg(key || ': ' || value, '; ' ORDER BY key)
                   FROM jsonb_each_text(tags)
               )
               ELSE text
           END,
           websearch_to_tsquery('simple', %(text)s),
           'StartSel=[, StopSel=], MaxFragments=2'
       ) AS passage,
       rank
FROM found
JOIN recordings USING (batch_id, ordinal)
LEFT JOIN transcripts USING (batch_id, ordinal)
ORDER BY rank DESC, batch_id DESC, ordinal
