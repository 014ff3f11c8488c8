ALTER TABLE batches
    -- When a sweep last sent the archive's event again.
    ADD COLUMN retold_at timestamptz,
    -- Announced before archives were tagged on completion: its archive's tag is to be looked at.
    ADD COLUMN is_unmarked boolean NOT NULL DEFAULT false;

UPDATE batches SET is_unmarked = true WHERE announced_at IS NOT NULL;

-- When a sweep last sent the recording's event again.
ALTER TABLE recordings ADD COLUMN retold_at timestamptz;

-- By the keys' bytes, which is the order of a listing.
CREATE INDEX batches_by_archive ON batches (archive_key COLLATE "C");

-- What a sweep asks for: batches of which something is left to do.
CREATE INDEX batches_open ON batches (batch_id) WHERE announced_at IS NULL;
