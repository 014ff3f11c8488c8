-- name: review_round
-- When the batch was completed, and its review items made. While its rows are restored, it is
-- complete before all of them exist.
SELECT CASE
           WHEN NOT EXISTS (
               SELECT FROM recordings
               WHERE recordings.batch_id = batches.batch_id AND finished_at IS NULL
           ) THEN completed_at
       END AS completed_at,
       itemised_at
FROM batches
WHERE batch_id = %(batch_id)s

-- name: reviewable_recordings
-- A page: as many transcribed recordings as fit in its size, but at least one.
WITH following AS (
    SELECT recordings.batch_id, recordings.ordinal, path, duration, flagged,
           sum(pg_column_size(segments)) OVER (ORDER BY recordings.ordinal)
               - pg_column_size(segments) AS before
    FROM recordings
    JOIN transcripts USING (batch_id, ordinal)
    WHERE recordings.batch_id = %(batch_id)s
      AND recordings.ordinal > %(after)s
      AND state IN ('transcribed', 'moderated')
    ORDER BY recordings.ordinal
    LIMIT %(limit)s
)
SELECT following.*, language, language_probability, model, alignment, segments,
       (
           SELECT coalesce(jsonb_agg(to_jsonb(verdicts) ORDER BY policy), '[]')
           FROM verdicts
           WHERE verdicts.batch_id = following.batch_id AND verdicts.ordinal = following.ordinal
       ) AS findings
FROM following
JOIN transcripts USING (batch_id, ordinal)
WHERE before < %(bytes)s
ORDER BY ordinal

-- name: put_review_items
-- An item with a decision stays as its reviewer saw it.
INSERT INTO review_items (
    item_id, batch_id, ordinal, kind, policy, version, score, reason, path, starts, ends, text,
    clip_key, clip_starts
)
SELECT *
FROM jsonb_to_recordset(%(items)s) AS given (
    item_id text, batch_id text, ordinal integer, kind text, policy text, version text,
    score double precision, reason text, path text, starts double precision,
    ends double precision, text text, clip_key text, clip_starts double precision
)
ON CONFLICT (item_id) DO UPDATE
    SET score = excluded.score,
        reason = excluded.reason,
        path = excluded.path,
        text = excluded.text,
        clip_key = excluded.clip_key,
        clip_starts = excluded.clip_starts,
        superseded_at = NULL
    WHERE NOT EXISTS (SELECT FROM reviews WHERE reviews.item_id = review_items.item_id)

-- name: supersede_review_items
-- Items of an earlier round that are not found again, unless they have a decision.
UPDATE review_items
SET superseded_at = now()
WHERE batch_id = %(batch_id)s
  AND superseded_at IS NULL
  AND item_id <> ALL(%(current)s)
  AND NOT EXISTS (SELECT FROM reviews WHERE reviews.item_id = review_items.item_id)

-- name: mark_itemised
-- Only for the completion that they were made for: the batch may have been reprocessed since.
UPDATE batches
SET itemised_at = now(), stalled = NULL
WHERE batch_id = %(batch_id)s AND completed_at = %(completed_at)s

-- name: stall_review
UPDATE batches
SET stalled = %(stalled)s
WHERE batch_id = %(batch_id)s AND completed_at IS NOT NULL AND itemised_at IS NULL

-- name: review_items
SELECT review_items.*, given.state, given.decisions,
       coalesce(claimed_until > now(), false) AS is_claimed
FROM review_items
CROSS JOIN LATERAL (
    SELECT CASE
               WHEN bool_or(decision = 'uphold') FILTER (WHERE is_latest)
                   AND bool_or(decision = 'reject') FILTER (WHERE is_latest) THEN 'disputed'
               WHEN count(*) > 0 THEN 'decided'
               WHEN claimed_until > now() THEN 'claimed'
               ELSE 'open'
           END AS state,
           coalesce(
               jsonb_agg(to_jsonb(made) ORDER BY decided_at, review_id), '[]'
           ) AS decisions
    FROM (
        SELECT reviews.*,
               row_number() OVER (
                   PARTITION BY reviewer ORDER BY decided_at DESC, review_id DESC
               ) = 1 AS is_latest
        FROM reviews
        WHERE reviews.item_id = review_items.item_id
    ) AS made
) AS given
WHERE (%(items)s::text[] IS NULL OR item_id = ANY(%(items)s))
  AND (%(items)s::text[] IS NOT NULL OR superseded_at IS NULL OR given.decisions <> '[]')
  AND (%(batch)s::text IS NULL OR batch_id = %(batch)s)
  AND (%(policy)s::text IS NULL OR policy = %(policy)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(state)s::text IS NULL OR given.state = %(state)s)
ORDER BY array_position(ARRAY['flagged', 'doubtful', 'sample'], kind), score DESC,
         batch_id, ordinal, starts, item_id
LIMIT %(limit)s

-- name: review_item_ids
-- All items that people see, in the order of recordings.
SELECT item_id
FROM review_items
WHERE item_id > %(after)s
  AND (%(batch)s::text IS NULL OR batch_id = %(batch)s)
  AND (
      superseded_at IS NULL
      OR EXISTS (SELECT FROM reviews WHERE reviews.item_id = review_items.item_id)
  )
ORDER BY item_id
LIMIT %(limit)s

-- name: choose_review_item
-- The next item that nobody else holds; the reviewer's own comes first. A concurrent query
-- skips the locked row, and takes another.
SELECT item_id
FROM review_items
WHERE superseded_at IS NULL
  AND (claimed_until IS NULL OR claimed_until <= now() OR claimed_by = %(reviewer)s)
  AND (%(batch)s::text IS NULL OR batch_id = %(batch)s)
  AND (%(policy)s::text IS NULL OR policy = %(policy)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (
      SELECT CASE
          WHEN %(second)s THEN
              count(DISTINCT reviewer) = 1 AND bool_and(reviewer <> %(reviewer)s)
          ELSE count(*) = 0
      END
      FROM reviews
      WHERE reviews.item_id = review_items.item_id
  )
ORDER BY coalesce(claimed_by = %(reviewer)s AND claimed_until > now(), false) DESC,
         array_position(ARRAY['flagged', 'doubtful', 'sample'], kind), score DESC,
         batch_id, ordinal, starts, item_id
LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: claim_review_item
-- Checked again, as another reviewer may have decided between the choice and its lock.
UPDATE review_items
SET claimed_by = %(reviewer)s, claimed_until = now() + %(lease)s
WHERE item_id = %(item_id)s
  AND (
      SELECT CASE
          WHEN %(second)s THEN
              count(DISTINCT reviewer) = 1 AND bool_and(reviewer <> %(reviewer)s)
          ELSE count(*) = 0
      END
      FROM reviews
      WHERE reviews.item_id = review_items.item_id
  )
RETURNING item_id

-- name: hold_review_item
-- For the time that it takes to store a decision; the reviewer's longer claim stays.
UPDATE review_items
SET claimed_by = %(reviewer)s,
    claimed_until = greatest(
        now() + %(lease)s, CASE WHEN claimed_by = %(reviewer)s THEN claimed_until END
    )
WHERE item_id = %(item_id)s
  AND (claimed_until IS NULL OR claimed_until <= now() OR claimed_by = %(reviewer)s)
RETURNING item_id

-- name: put_review
INSERT INTO reviews (review_id, item_id, decision, reviewer, decided_at, note, corrections)
VALUES (
    %(review_id)s, %(item_id)s, %(decision)s, %(reviewer)s, %(decided_at)s, %(note)s,
    %(corrections)s
)
ON CONFLICT (review_id) DO NOTHING

-- name: release_review_item
UPDATE review_items
SET claimed_by = NULL, claimed_until = NULL
WHERE item_id = %(item_id)s AND claimed_by = %(reviewer)s
