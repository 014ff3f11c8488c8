-- Values of tags, by which `search` finds recordings, too.
CREATE INDEX recordings_tags ON recordings USING gin (to_tsvector('simple', tags));
