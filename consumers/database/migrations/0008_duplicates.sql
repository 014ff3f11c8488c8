-- Where the bytes of a recording were before.
CREATE INDEX recordings_by_source ON recordings (source_sha256, batch_id, ordinal)
    WHERE source_sha256 IS NOT NULL;
