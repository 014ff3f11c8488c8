-- What completion asks for: which recording is the last one left? Rows are finished more
-- or less in order, and an entry stays in an index until a vacuum; so it looks from a
-- batch's end, where what is left stands, rather than past all that is done. Descending
-- by an expression, as the primary key could be read backwards and has that order, too.
-- Dropped last, as from then on nobody can read until the transaction ends.
CREATE INDEX recordings_last_unfinished
    ON recordings (batch_id, (-ordinal)) WHERE finished_at IS NULL;
DROP INDEX recordings_unfinished;
ALTER INDEX recordings_last_unfinished RENAME TO recordings_unfinished;
