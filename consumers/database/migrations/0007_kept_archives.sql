-- Whether the archive does not expire by itself, as something of it is missing from the result.
ALTER TABLE batches ADD COLUMN is_kept boolean NOT NULL DEFAULT false;

UPDATE batches SET is_kept = true WHERE announced_at IS NOT NULL AND failure IS NOT NULL;

-- What `status` and `health` count, and a sweep compares with a listing.
CREATE INDEX batches_kept ON batches (archive_key COLLATE "C") WHERE is_kept;
