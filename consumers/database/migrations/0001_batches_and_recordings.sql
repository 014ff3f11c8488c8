CREATE TABLE batches (
    batch_id       text PRIMARY KEY,
    archive_key    text,
    etag           text,
    size           bigint,
    original_name  text,
    dropped_at     timestamptz,
    -- The archive is read to its end: no recording can be added any more.
    sealed_at      timestamptz,
    rejected       integer,
    ignored        integer,
    -- Set once, by whoever finishes the last recording.
    completed_at   timestamptz,
    -- The .complete.json object is stored.
    announced_at   timestamptz,
    -- How many recordings ended in which state; written at completion.
    counts         jsonb,
    -- Why the archive could not be read, or not to its end.
    failure        text,
    -- Why the batch does not go on by itself: its event is a dead letter.
    stalled        text,
    CHECK (completed_at IS NULL OR sealed_at IS NOT NULL),
    CHECK (announced_at IS NULL OR completed_at IS NOT NULL)
);

CREATE INDEX batches_by_age ON batches (dropped_at DESC);

CREATE TABLE recordings (
    batch_id        text NOT NULL REFERENCES batches ON DELETE CASCADE,
    ordinal         integer NOT NULL CHECK (ordinal >= 0),
    state           text NOT NULL
        CHECK (state IN ('converted', 'transcribed', 'silent', 'rejected')),
    path            text NOT NULL,
    -- Why it was rejected, or what is to be known of it.
    reason          text,
    duration        double precision,
    codec           text,
    sample_rate     integer,
    channels        integer,
    loudness_dbfs   double precision,
    source_sha256   text,
    opus_key        text,
    transcript_key  text,
    -- Why it does not go on by itself: its event is a dead letter.
    stalled         text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- Set when nothing more is to be done for it.
    finished_at     timestamptz,
    PRIMARY KEY (batch_id, ordinal)
);

-- What completion asks for: is one left? It holds unfinished rows only, so the
-- answer costs the same in a batch of ten and in one of a million.
CREATE INDEX recordings_unfinished ON recordings (batch_id) WHERE finished_at IS NULL;

CREATE TABLE transcripts (
    batch_id              text NOT NULL,
    ordinal               integer NOT NULL,
    language              text,
    language_probability  double precision,
    text                  text NOT NULL,
    segments              jsonb NOT NULL,
    model                 text,
    alignment             text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    search                tsvector NOT NULL,
    PRIMARY KEY (batch_id, ordinal),
    FOREIGN KEY (batch_id, ordinal) REFERENCES recordings ON DELETE CASCADE
);

CREATE INDEX transcripts_search ON transcripts USING gin (search);
