-- The queries of `dropscribe health`: read-only, and allowed with SELECT alone.

-- name: health_server
-- Connections and their limit are the whole server's; pg_stat_activity hides the kind of
-- other users' sessions.
SELECT (SELECT sum(numbackends)::integer FROM pg_stat_database) AS connections,
       current_setting('max_connections')::integer
           - current_setting('superuser_reserved_connections')::integer AS most,
       current_setting('server_version') AS version,
       -- NULL: it does not exist.
       (
           SELECT indisvalid
           FROM pg_index
           WHERE indexrelid = to_regclass('recordings_unfinished')
       ) AS has_index

-- name: health_open_batch
-- A batch that waits for its completion, or else the latest one.
SELECT batch_id
FROM batches
ORDER BY announced_at IS NOT NULL OR sealed_at IS NULL, batch_id DESC
LIMIT 1

-- name: health_completion
-- The condition of `complete_batch`, without its lock.
EXPLAIN (ANALYZE, FORMAT JSON)
SELECT
FROM batches
WHERE batch_id = %(batch_id)s
  AND sealed_at IS NOT NULL
  AND completed_at IS NULL
  AND (
      SELECT ordinal
      FROM recordings
      WHERE batch_id = %(batch_id)s AND finished_at IS NULL
      ORDER BY -ordinal
      LIMIT 1
  ) IS NULL

-- name: health_moderation
SELECT EXISTS (SELECT FROM stages WHERE route = 'moderate') AS is_on

-- name: health_longest
-- Of the last days only: reading all rows would cost too much.
SELECT max(duration) AS longest
FROM recordings
JOIN batches USING (batch_id)
WHERE dropped_at > now() - interval '7 days'

-- name: health_stages
-- The work that waits for each stage, and the age of the oldest in seconds.
SELECT 'unpack' AS route,
       count(*) AS waiting,
       extract(epoch FROM now() - min(dropped_at))::float8 AS oldest
FROM batches
WHERE announced_at IS NULL AND sealed_at IS NULL AND stalled IS NULL
UNION ALL
SELECT 'transcribe', count(*), extract(epoch FROM now() - min(created_at))::float8
FROM recordings
WHERE finished_at IS NULL AND state = 'converted' AND stalled IS NULL
UNION ALL
SELECT 'moderate', count(*), extract(epoch FROM now() - min(transcripts.created_at))::float8
FROM recordings
JOIN batches USING (batch_id)
LEFT JOIN transcripts USING (batch_id, ordinal)
WHERE finished_at IS NULL AND state = 'transcribed' AND recordings.stalled IS NULL
  AND is_moderated
UNION ALL
SELECT 'review', count(*), extract(epoch FROM now() - min(announced_at))::float8
FROM batches
WHERE announced_at IS NOT NULL AND itemised_at IS NULL AND stalled IS NULL

-- name: health_batches
-- Batches without progress: stalled ones, and those without a write for too long, unless an
-- older batch at the same stage progresses.
WITH open AS (
    SELECT batch_id,
           coalesce(
               dropped_at,
               to_timestamp(left(batch_id, 15) || ' UTC', 'YYYYMMDD-HH24MISS TZ')
           ) AS arrived_at,
           CASE
               WHEN announced_at IS NOT NULL THEN 'review'
               WHEN sealed_at IS NULL THEN 'unpack'
               WHEN unfinished = 0 THEN 'completion'
               WHEN converted > 0 THEN 'transcribe'
               ELSE 'moderate'
           END AS stage,
           batches.stalled IS NOT NULL
               OR (sealed_at IS NOT NULL AND unfinished > 0 AND unfinished = left_over.stalled)
               AS is_stalled,
           greatest(dropped_at, sealed_at, completed_at, announced_at, recorded_at, written_at)
               AS progressed_at
    FROM batches
    CROSS JOIN LATERAL (
        SELECT count(*) AS unfinished,
               count(*) FILTER (WHERE state = 'converted') AS converted,
               count(*) FILTER (WHERE recordings.stalled IS NOT NULL) AS stalled
        FROM recordings
        WHERE recordings.batch_id = batches.batch_id AND finished_at IS NULL
    ) AS left_over
    CROSS JOIN LATERAL (
        SELECT max(greatest(created_at, finished_at)) AS recorded_at
        FROM recordings
        WHERE recordings.batch_id = batches.batch_id
    ) AS rows
    CROSS JOIN LATERAL (
        SELECT max(created_at) AS written_at
        FROM transcripts
        WHERE transcripts.batch_id = batches.batch_id AND is_moderated
    ) AS texts
    WHERE announced_at IS NULL OR itemised_at IS NULL
),
aged AS (
    SELECT batch_id, stage, is_stalled, arrived_at,
           coalesce(progressed_at, arrived_at) AS progressed_at
    FROM open
),
found AS (
    SELECT batch_id, stage, is_stalled,
           extract(epoch FROM now() - progressed_at)::float8 AS idle
    FROM aged
    WHERE is_stalled
       OR (
           progressed_at < now() - %(stuck_after)s
           AND NOT EXISTS (
               SELECT FROM aged AS older
               WHERE older.stage = aged.stage
                 AND older.arrived_at < aged.arrived_at
                 AND older.progressed_at >= now() - %(stuck_after)s
                 AND NOT older.is_stalled
           )
       )
)
SELECT batch_id, stage, is_stalled, idle, number
FROM (
    SELECT *,
           count(*) OVER (PARTITION BY is_stalled) AS number,
           row_number() OVER (PARTITION BY is_stalled ORDER BY idle DESC, batch_id) AS place
    FROM found
) AS numbered
WHERE place <= %(limit)s
ORDER BY is_stalled, place

-- name: health_sweep
SELECT extract(epoch FROM ended_at)::float8 AS ended,
       extract(epoch FROM now() - ended_at)::float8 AS age,
       found,
       repaired
FROM sweeps
ORDER BY started_at DESC
LIMIT 1

-- name: health_archives
-- The archives of a page that were not read to their end, without dead letters, and without
-- copies, under other names, of an archive that was read.
SELECT page.key
FROM unnest(%(keys)s::text[], %(batches)s::text[], %(etags)s::text[])
    AS page (key, batch_id, etag)
WHERE NOT EXISTS (
        SELECT FROM batches
        WHERE batches.batch_id = page.batch_id
          AND (sealed_at IS NOT NULL OR stalled IS NOT NULL)
    )
    AND NOT EXISTS (
        SELECT FROM batches
        WHERE archive_key COLLATE "C" = page.key
          AND (sealed_at IS NOT NULL OR stalled IS NOT NULL)
    )
    AND NOT EXISTS (
        SELECT FROM batches
        WHERE page.batch_id IS NULL AND batches.etag = page.etag AND sealed_at IS NOT NULL
    )
