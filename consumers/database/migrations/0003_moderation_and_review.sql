-- The optional stages that bootstrap has set up. What is made a row of `batches` from
-- then on waits for them.
CREATE TABLE stages (route text PRIMARY KEY);

ALTER TABLE batches
    -- Whether its recordings are checked against policies.
    ADD COLUMN is_moderated boolean NOT NULL DEFAULT false,
    -- Its review items are made.
    ADD COLUMN itemised_at timestamptz;

-- No items are made of batches that were complete before there were any.
UPDATE batches SET itemised_at = now() WHERE announced_at IS NOT NULL;

-- What a sweep asks for: complete batches whose items are not made.
CREATE INDEX batches_not_itemised ON batches (batch_id)
    WHERE announced_at IS NOT NULL AND itemised_at IS NULL;

ALTER TABLE recordings
    DROP CONSTRAINT recordings_state_check,
    ADD CHECK (state IN ('converted', 'transcribed', 'moderated', 'silent', 'rejected')),
    ADD COLUMN verdict_key text,
    -- Whether a policy flags it; NULL where none was asked.
    ADD COLUMN flagged boolean,
    -- Why none was asked.
    ADD COLUMN verdict_reason text;

CREATE TABLE verdicts (
    batch_id    text NOT NULL,
    ordinal     integer NOT NULL,
    policy      text NOT NULL,
    -- A hash of the policy's text, which is stored under policies/.
    version     text NOT NULL,
    threshold   double precision NOT NULL,
    flagged     boolean NOT NULL,
    -- The highest of the windows'.
    score       double precision NOT NULL,
    windows     jsonb NOT NULL,
    model       text NOT NULL,
    adapter     text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, ordinal, policy),
    FOREIGN KEY (batch_id, ordinal) REFERENCES recordings ON DELETE CASCADE
);

-- Not tied to recordings: what people decided outlives rows that are made anew.
CREATE TABLE review_items (
    item_id        text PRIMARY KEY,
    batch_id       text NOT NULL,
    ordinal        integer NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('flagged', 'doubtful', 'sample')),
    -- Of a flagged one: by which policy, its version, and how sure the model is.
    policy         text,
    version        text,
    score          double precision,
    -- Why it is to be reviewed, for people.
    reason         text NOT NULL,
    path           text NOT NULL,
    -- The passage, in seconds from the recording's start, and its words.
    starts         double precision NOT NULL,
    ends           double precision NOT NULL,
    text           text NOT NULL,
    clip_key       text NOT NULL,
    -- Where in the recording the clip begins.
    clip_starts    double precision NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    -- Its recording was done again, and this passage is no item any more.
    superseded_at  timestamptz,
    -- Who has it in hand, and until when.
    claimed_by     text,
    claimed_until  timestamptz,
    CHECK ((kind = 'flagged') = (policy IS NOT NULL)),
    CHECK ((claimed_by IS NULL) = (claimed_until IS NULL))
);

CREATE INDEX review_items_of_batch ON review_items (batch_id, ordinal);

CREATE TABLE reviews (
    -- The time and the token in the key of its object.
    review_id    text PRIMARY KEY,
    item_id      text NOT NULL REFERENCES review_items,
    decision     text NOT NULL CHECK (decision IN ('uphold', 'reject', 'unsure')),
    reviewer     text NOT NULL,
    decided_at   timestamptz NOT NULL,
    note         text,
    -- Words that the recogniser got wrong: [{"word": number, "was": text, "is": text}].
    corrections  jsonb NOT NULL
);

CREATE INDEX reviews_of_item ON reviews (item_id, decided_at);
