-- Texts that lie beside recordings, such as a.json beside a.wav, by which `search` finds those.
CREATE TABLE sidecars (
    batch_id text NOT NULL REFERENCES batches ON DELETE CASCADE,
    ordinal integer NOT NULL,
    path text NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
);

CREATE INDEX sidecars_search ON sidecars USING gin (to_tsvector('simple', text));

-- A hash, as paths can be longer than an index allows.
CREATE INDEX recordings_by_name
    ON recordings (batch_id, md5(lower(regexp_replace(path, '\.[^./]*$', ''))));
