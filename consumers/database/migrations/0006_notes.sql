ALTER TABLE recordings
    -- Of the conversion: what is lost, guessed or doubtful.
    ADD COLUMN notes jsonb NOT NULL DEFAULT '[]',
    -- What the recording says about itself. NULL: its conversion has not written the row.
    ADD COLUMN tags jsonb,
    ADD COLUMN transcript_notes jsonb NOT NULL DEFAULT '[]';

-- About the archive as a whole.
ALTER TABLE batches ADD COLUMN notes jsonb NOT NULL DEFAULT '[]';
