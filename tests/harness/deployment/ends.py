"""Triggers that record each end of a recording or a batch in the database."""

from __future__ import annotations

import psycopg

#: The database itself notes each time that a recording ends, a batch completes, or is
#: ready for review, so that one which did so twice is seen, whatever its row says afterwards.
_WITNESS = """
    CREATE TABLE soak_ends (what text NOT NULL);
    CREATE FUNCTION soak_itemised() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO soak_ends VALUES (NEW.batch_id || ' itemised');
        RETURN NULL;
    END $$;
    CREATE FUNCTION soak_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO soak_ends VALUES (
            CASE TG_TABLE_NAME
                WHEN 'batches' THEN NEW.batch_id
                ELSE NEW.batch_id || '-' || lpad((to_jsonb(NEW) ->> 'ordinal'), 7, '0')
            END
        );
        RETURN NULL;
    END $$;
    CREATE TRIGGER soak_recording_updated AFTER UPDATE ON recordings FOR EACH ROW
        WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_recording_inserted AFTER INSERT ON recordings FOR EACH ROW
        WHEN (NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_batch_updated AFTER UPDATE ON batches FOR EACH ROW
        WHEN (OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_batch_itemised AFTER UPDATE ON batches FOR EACH ROW
        WHEN (OLD.itemised_at IS NULL AND NEW.itemised_at IS NOT NULL)
        EXECUTE FUNCTION soak_itemised();
"""


def record_ends(url: str) -> None:
    """Have the database note each end, from now on."""
    with psycopg.connect(url) as connection:
        connection.execute(_WITNESS)
