-- What the sweeps of the last days found and did. Two at once can't be, so none begins
-- when another does.
CREATE TABLE sweeps (
    started_at  timestamptz PRIMARY KEY,
    ended_at    timestamptz NOT NULL DEFAULT now(),
    -- How many of each kind.
    found       jsonb NOT NULL,
    repaired    jsonb NOT NULL
);
