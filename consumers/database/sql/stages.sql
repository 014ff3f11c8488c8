-- name: put_stage
INSERT INTO stages (route) VALUES ('moderate') ON CONFLICT DO NOTHING

-- name: drop_stage
DELETE FROM stages WHERE route = 'moderate'

-- name: stage
-- Whether the stage is on record, and how many batches in progress differ.
SELECT EXISTS (SELECT FROM stages WHERE route = 'moderate') AS is_on,
       count(*) AS others
FROM batches
WHERE completed_at IS NULL AND is_moderated <> %(is_on)s
