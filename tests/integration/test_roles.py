"""Least privilege: each program's role in a real PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, urlencode

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from consumers.database.migrate import migrate, migrations, pending
from consumers.database.pool import Pool, open_pool
from consumers.database.review_items import ReviewItemRepository
from consumers.database.review_queue import ItemFilter, ReviewQueueRepository
from consumers.database.roles import ensure_roles
from consumers.documents.review.decision import Decision
from consumers.documents.review.item import ReviewItem
from consumers.documents.verdict import JudgedWindow, PolicyFinding, PolicyVerdict
from consumers.errors import ConfigurationError, TransientError
from events.keys import AudioId, BatchId
from ops.cli.main import main
from ops.wiring.adapters import open_database
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.samples import RECORDINGS, archive

PRIVILEGES = PIPELINE.database_roles
UNPACK, TRANSCRIBE, MODERATE, REVIEW, REVIEWER, READ, OPERATOR = PRIVILEGES
BATCH = BatchId("20250622-143052-a1b2c3")


@pytest.fixture
def url(variables: dict[str, str]) -> Iterator[str]:
    """A database with the schema, as its owner, on a server that has none of our roles."""
    url = variables["DATABASE_URL"]
    forget_roles(url)
    yield url
    forget_roles(url)


def forget_roles(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for (database,) in connection.execute(
            "SELECT datname FROM pg_database WHERE datallowconn"
        ).fetchall():
            with psycopg.connect(at(url, dbname=database), autocommit=True) as each:
                for role in PRIVILEGES:
                    if each.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                        each.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        for role in PRIVILEGES:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def at(url: str, **others: str) -> str:
    """Give the URL of the same server, with other parameters."""
    return "postgresql://?" + urlencode({**conninfo_to_dict(url), **others}, quote_via=quote)


@contextmanager
def user(url: str, *, role: str | None = None, can: LiteralString = "") -> Iterator[str]:
    """Make a user, as people do; gives the URL by which it logs in."""
    name = f"someone-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        statement = sql.SQL("CREATE ROLE {} LOGIN " + can).format(sql.Identifier(name))
        if role is not None:
            statement += sql.SQL(" IN ROLE {}").format(sql.Identifier(role))
        connection.execute(statement)
        try:
            yield at(url, user=name)
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@contextmanager
def member(url: str, role: str) -> Iterator[str]:
    """Make the roles, and a user in one of them."""
    make(url)
    with user(url, role=role) as login:
        yield login


def make(url: str, *, dry_run: bool = False) -> set[str]:
    """Make the roles; gives what was changed."""
    return {
        what for what, is_changed in ensure_roles(url, PRIVILEGES, dry_run=dry_run) if is_changed
    }


def everything() -> set[str]:
    names = {f"database role {role}" for role in PRIVILEGES}
    return names | {f"privileges of {name}" for name in names}


def run_as(url: str, statement: LiteralString) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def as_owner(url: str, *statements: LiteralString) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def test_roles_are_made_once(url: str) -> None:
    assert make(url) == everything()
    assert make(url) == set()


def test_a_dry_run_tells_and_changes_nothing(url: str) -> None:
    assert make(url, dry_run=True) == everything()
    assert make(url, dry_run=True) == everything()
    make(url)
    assert make(url, dry_run=True) == set()


def test_a_dry_run_needs_no_schema(url: str) -> None:
    with empty_database(url) as empty:
        assert make(empty, dry_run=True) == everything()
        with pytest.raises(TransientError, match="dropscribe bootstrap"):
            make(empty)
        assert make(empty, dry_run=True) == everything()


@contextmanager
def empty_database(url: str) -> Iterator[str]:
    name = f"empty-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield at(url, dbname=name)
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def test_a_dry_run_lists_pending_migrations(url: str) -> None:
    assert pending(url) == ()
    with empty_database(url) as empty:
        assert pending(empty) == migrations()
        assert migrate(empty) == migrations()
        assert pending(empty) == ()


def test_every_table_has_its_roles(url: str) -> None:
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'S')"
        ).fetchall()
    assert {name for (name,) in tables} == PRIVILEGES[OPERATOR].keys()
    assert PRIVILEGES[OPERATOR].keys() == PRIVILEGES[READ].keys()


@pytest.mark.parametrize(
    ("statement", "concerned"),
    [
        ("GRANT DELETE ON recordings TO dropscribe_transcribe", TRANSCRIBE),
        ("GRANT UPDATE (etag) ON batches TO dropscribe_read", READ),
        ("GRANT UPDATE ON batches TO dropscribe_transcribe", TRANSCRIBE),
        ("GRANT SELECT ON batches TO dropscribe_read WITH GRANT OPTION", READ),
        ("GRANT CREATE ON SCHEMA public TO dropscribe_unpack", UNPACK),
        ("REVOKE SELECT ON transcripts FROM dropscribe_operator", OPERATOR),
        ("REVOKE UPDATE (counts) ON batches FROM dropscribe_transcribe", TRANSCRIBE),
    ],
)
def test_manual_changes_of_roles_are_repaired(
    url: str, statement: LiteralString, concerned: str
) -> None:
    make(url)
    before = granted(url)
    as_owner(url, statement)
    assert granted(url) != before
    assert make(url) == {f"privileges of database role {concerned}"}
    assert granted(url) == before
    assert make(url) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT ON transcripts TO PUBLIC",
        "GRANT UPDATE (text) ON transcripts TO PUBLIC",
        # As everywhere before PostgreSQL 15.
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ],
)
def test_rights_of_public_are_revoked(url: str, statement: LiteralString) -> None:
    make(url)
    before = granted(url)
    as_owner(url, statement)
    assert make(url, dry_run=True) == {"database privileges of everybody"}
    assert make(url) == {"database privileges of everybody"}
    assert granted(url) == before


def granted(url: str) -> set[object]:
    """Ask Postgres who may do what in this database."""
    with psycopg.connect(url) as connection:
        return set(
            connection.execute(
                "SELECT oid::regclass::text, NULL, aclexplode(relacl) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace"
                " UNION ALL SELECT attrelid::regclass::text, attname, aclexplode(attacl)"
                " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
                " WHERE relnamespace = 'public'::regnamespace"
                " UNION ALL SELECT nspname, NULL, aclexplode(nspacl) FROM pg_namespace"
            ).fetchall()
        )


def test_grants_to_other_roles_stay(url: str) -> None:
    make(url)
    with user(url) as someone:
        name = conninfo_to_dict(someone)["user"]
        with psycopg.connect(url) as connection:
            connection.execute(
                sql.SQL("GRANT DELETE ON batches TO {}").format(sql.Identifier(str(name)))
            )
        assert make(url) == set()
        run_as(someone, "DELETE FROM batches")


def test_two_at_once_take_turns(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(make, [url] * 4))
    assert sorted(map(len, results)) == [0, 0, 0, len(everything())]


def test_two_databases_of_one_server_at_once(url: str) -> None:
    with empty_database(url) as other:
        migrate(other)
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(make, [url, other]))
        assert make(url) | make(other) == set()


def test_a_migration_waits_for_no_reader_or_writer(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO batches (batch_id) VALUES ('a')")
        assert make(at(url, options="-c lock_timeout=2s")) == everything()


def test_an_operator_without_rights_gets_the_statements_to_run(url: str) -> None:
    with user(url) as owner, empty_database(url) as empty:
        run_as(empty, "GRANT CREATE ON SCHEMA public TO PUBLIC")
        mine = at(owner, dbname=str(conninfo_to_dict(empty)["dbname"]))
        migrate(mine)
        with pytest.raises(ConfigurationError, match="cannot create roles") as caught:
            make(mine)
        as_administrator(url, caught.value)
        # It owns the tables, but not the schema, which everybody may fill.
        with pytest.raises(ConfigurationError, match="REVOKE CREATE ON SCHEMA") as caught:
            make(mine)
        as_administrator(empty, caught.value)
        assert make(mine) == {f"privileges of database role {role}" for role in PRIVILEGES}
        run_as(empty, "GRANT USAGE ON SCHEMA public TO PUBLIC")


def test_a_role_that_does_not_own_the_tables_is_refused(url: str) -> None:
    with user(url, can="CREATEROLE") as someone:
        with pytest.raises(ConfigurationError, match="does not own the tables") as caught:
            make(someone)
        assert make(url, dry_run=True) == everything()
        make(url)
        as_owner(url, "GRANT DELETE ON batches TO dropscribe_read")
        with pytest.raises(
            ConfigurationError, match=r"REVOKE DELETE ON TABLE \"batches\""
        ) as caught:
            make(someone)
        as_administrator(url, caught.value)
        assert make(someone) == set()


def as_administrator(url: str, error: ConfigurationError) -> None:
    """Run what the message says."""
    statements = str(error).splitlines()[1:]
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_each_program_does_its_work_as_its_own_user(
    url: str, pipeline: Pipeline, variables: dict[str, str], tmp_path: Path
) -> None:
    members = {**RECORDINGS, "bad.mp3": bytes(99), "notes.txt": b"notes"}
    with ExitStack() as stack:
        login = {
            role: stack.enter_context(member(url, role)) for role in (UNPACK, TRANSCRIBE, READ)
        }
        database = {
            role: stack.enter_context(open_database(Environment({"DATABASE_URL": url})))
            for role, url in login.items()
        }
        stack.callback(pipeline.stop)
        pipeline.database = database[UNPACK]
        pipeline.start(transcribers=0)
        pipeline.database = database[TRANSCRIBE]
        pipeline.start(unpackers=0)
        pipeline.database = database[READ]
        progress = pipeline.run(archive(tmp_path, tar_of(members)))
        assert progress.state == "complete"
        assert progress.counts == {"transcribed": 3, "rejected": 1}
        assert pipeline.run(archive(tmp_path, b"no archive")).state == "failed"
        check_commands({**variables, "DATABASE_URL": login[READ]}, str(progress.batch))


def check_commands(variables: dict[str, str], batch: str) -> None:
    assert batch in printed(variables, "status", "--json")
    assert "calls/one.mp3" in printed(variables, "status", batch)
    assert "2 seconds of sound" in printed(variables, "transcripts", batch)
    assert "calls/one.mp3" in printed(variables, "search", "sound")


def printed(variables: dict[str, str], *arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, env=variables)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_operator_mends_as_a_user_of_the_role(
    url: str, pipeline: Pipeline, variables: dict[str, str], tmp_path: Path
) -> None:
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of(RECORDINGS))).batch
    with member(url, OPERATOR) as operator:
        as_operator = {**variables, "DATABASE_URL": operator}
        printed(as_operator, "rebuild", str(batch), "--yes")
        # The rebuilt rows wait for their transcripts to be read again.
        printed(as_operator, "sweep", "--older-than", "0s", "--again-after", "0s")
        assert pipeline.wait(batch).state == "complete"
        for stage in ("transcribe", "unpack"):
            printed(as_operator, "reprocess", str(batch), "--from", stage)
            assert pipeline.wait(batch).state == "complete"
        printed(as_operator, "dead", "list", "--batch", str(batch))
        printed(as_operator, "dead", "replay", "--all")


def test_consumers_put_dead_letters_on_record(url: str) -> None:
    with (
        member(url, UNPACK) as unpack,
        open_database(Environment({"DATABASE_URL": unpack})) as database,
    ):
        database.stall_batch(BATCH, "first")
        database.stall_batch(BATCH, "the store forbids it")
        row = database.batch(BATCH)
        assert row is not None
        assert row.stalled == "the store forbids it"
    with (
        member(url, TRANSCRIBE) as transcribe,
        open_database(Environment({"DATABASE_URL": transcribe})) as database,
    ):
        for _ in range(2):
            database.stall_recording(AudioId(BATCH, 3), "the model is not there")
        assert database.unfinished(BATCH)[1] == 1


@pytest.mark.parametrize("role", [TRANSCRIBE, MODERATE])
def test_a_row_made_by_a_consumer_records_whether_moderation_is_on(url: str, role: str) -> None:
    with (
        member(url, role) as login,
        open_database(Environment({"DATABASE_URL": login})) as database,
    ):
        as_owner(url, "INSERT INTO stages VALUES ('moderate')")
        database.stall_recording(AudioId(BATCH, 3), "the model is not there")
        assert database.unfinished(BATCH) == (1, 1)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT is_moderated FROM batches").fetchall() == [(True,)]


def test_verdicts_are_written_and_complete_a_batch_as_a_user_of_the_role(url: str) -> None:
    audio = AudioId(BATCH, 3)
    window = JudgedWindow(start=0.0, end=1.5, score=0.9, flagged=True)
    finding = PolicyFinding("hate", "0" * 16, 0.5, flagged=True, score=0.9, windows=(window,))
    moderation = PolicyVerdict(str(audio), "judged", None, "en", "tiny", None, (finding,))
    as_owner(
        url,
        "INSERT INTO batches (batch_id, sealed_at, is_moderated)"
        " VALUES ('20250622-143052-a1b2c3', now(), true)",
        "INSERT INTO recordings (batch_id, ordinal, state, path)"
        " VALUES ('20250622-143052-a1b2c3', 3, 'transcribed', 'a.wav')",
        "INSERT INTO transcripts (batch_id, ordinal, text, segments, model, search)"
        " VALUES ('20250622-143052-a1b2c3', 3, 'words', '[]', 'tiny', '')",
    )
    with (
        member(url, MODERATE) as login,
        open_database(Environment({"DATABASE_URL": login})) as database,
    ):
        assert database.is_transcribed(audio)
        for _ in range(2):
            database.put_moderation(audio, moderation)
        assert database.complete(BATCH)
        database.announced(BATCH, database.counts(BATCH), is_kept=True)
        assert database.flagged(BATCH) == 1
        database.unstall_recording(audio)
    with (
        member(url, READ) as login,
        open_database(Environment({"DATABASE_URL": login})) as database,
    ):
        assert database.findings(BATCH) == {3: [finding]}


def test_items_are_made_by_one_role_and_decided_by_another(url: str) -> None:
    as_owner(
        url,
        "INSERT INTO batches (batch_id, sealed_at, completed_at, announced_at)"
        " VALUES ('20250622-143052-a1b2c3', now(), now(), now())",
    )
    item = ReviewItem(
        item_id=f"{BATCH}-0000003-00000000",
        audio_id=str(AudioId(BATCH, 3)),
        kind="sample",
        policy=None,
        version=None,
        score=None,
        reason="one of the sample",
        path="a.wav",
        start=0.0,
        end=1.0,
        text="words",
        clip_key=AudioId(BATCH, 3).clip_key(0, 4),
        clip_start=0.0,
    )
    now = datetime.now(UTC)
    decision = Decision.new(item, "uphold", reviewer="me", now=now, token=b"abc")
    with member(url, REVIEW) as login, connected(login) as pool:
        itemising = ReviewItemRepository(pool)
        completed_at = itemising.progress(BATCH).completed_at
        assert completed_at is not None
        assert list(itemising.recordings(BATCH)) == []
        itemising.stall(BATCH, "the store is away")
        for _ in range(2):
            itemising.put_items([item])
        itemising.supersede(BATCH, [item.item_id])
        itemising.itemised(BATCH, completed_at)
        assert itemising.progress(BATCH).itemised_at is not None
    with member(url, REVIEWER) as login, connected(login) as pool:
        reviewing = ReviewQueueRepository(pool)
        claimed = reviewing.claim("me", timedelta(minutes=1), ItemFilter())
        assert claimed is not None
        assert claimed.item == item
        reviewing.hold(item.item_id, "me")
        for _ in range(2):
            reviewing.put_decision(decision)
        assert [each.decisions for each in reviewing.all(BATCH)] == [(decision,)]


@contextmanager
def connected(url: str) -> Iterator[Pool]:
    pool = open_pool(url, size=1, name="test")
    try:
        yield pool
    finally:
        pool.close()


#: For none of the roles.
FORBIDDEN: tuple[LiteralString, ...] = (
    "CREATE TABLE loot (a text)",
    "CREATE FUNCTION trap() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP TABLE transcripts",
    "TRUNCATE batches CASCADE",
    "ALTER TABLE batches ADD COLUMN trap text",
    "ALTER TABLE batches DISABLE TRIGGER ALL",
    "CREATE INDEX trap ON batches (etag)",
    "CREATE TRIGGER trap AFTER INSERT ON batches EXECUTE FUNCTION f()",
    "DELETE FROM schema_migrations",
    "INSERT INTO schema_migrations VALUES (99, 'trap')",
    "CREATE ROLE dropscribe_else",
    "COPY batches TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/hostname')",
)

#: What one of them may not do, beside that.
BEYOND: dict[str, tuple[LiteralString, ...]] = {
    UNPACK: (
        "SELECT count(*) FROM transcripts",
        "INSERT INTO transcripts (batch_id) VALUES ('a')",
        "UPDATE transcripts SET text = ''",
        "DELETE FROM transcripts",
        "DELETE FROM recordings",
        "DELETE FROM batches",
        "INSERT INTO stages VALUES ('moderate')",
        "SELECT FROM verdicts",
        "SELECT FROM reviews",
    ),
    TRANSCRIBE: (
        "SELECT text FROM transcripts",
        "SELECT * FROM transcripts",
        "UPDATE transcripts SET text = ''",
        "DELETE FROM transcripts",
        "DELETE FROM recordings",
        "DELETE FROM batches",
        "UPDATE batches SET archive_key = ''",
        "UPDATE batches SET sealed_at = now()",
        "INSERT INTO batches (batch_id, etag) VALUES ('a', 'b')",
        "UPDATE batches SET is_moderated = false",
        "DELETE FROM stages",
        "SELECT FROM verdicts",
    ),
    MODERATE: (
        "SELECT text FROM transcripts",
        "UPDATE transcripts SET text = ''",
        "DELETE FROM transcripts",
        "SELECT * FROM verdicts",
        "UPDATE verdicts SET flagged = false",
        "DELETE FROM verdicts",
        "DELETE FROM recordings",
        "UPDATE batches SET is_moderated = false",
        "UPDATE batches SET itemised_at = now()",
        "INSERT INTO batches (batch_id, etag) VALUES ('a', 'b')",
        "DELETE FROM stages",
        "SELECT FROM review_items",
        "SELECT FROM reviews",
    ),
    REVIEW: (
        "UPDATE batches SET completed_at = now()",
        "UPDATE recordings SET stalled = NULL",
        "UPDATE transcripts SET text = ''",
        "UPDATE verdicts SET flagged = false",
        "DELETE FROM review_items",
        "INSERT INTO reviews (review_id) VALUES ('a')",
        "UPDATE reviews SET note = ''",
        "SELECT * FROM stages",
    ),
    REVIEWER: (
        "UPDATE reviews SET decision = 'uphold'",
        "DELETE FROM reviews",
        "UPDATE review_items SET text = ''",
        "UPDATE review_items SET superseded_at = NULL",
        "INSERT INTO review_items (item_id) VALUES ('a')",
        "DELETE FROM review_items",
        # What else was said in a batch is none of a reviewer's business.
        "SELECT FROM transcripts",
        "SELECT FROM recordings",
        "SELECT FROM verdicts",
        "SELECT FROM batches",
        "SELECT * FROM schema_migrations",
    ),
    READ: (
        "INSERT INTO batches (batch_id) VALUES ('a')",
        "INSERT INTO recordings (batch_id) VALUES ('a')",
        "INSERT INTO transcripts (batch_id) VALUES ('a')",
        "UPDATE batches SET stalled = NULL",
        "UPDATE recordings SET stalled = NULL",
        "UPDATE transcripts SET text = ''",
        "DELETE FROM transcripts",
        "DELETE FROM recordings",
        "DELETE FROM batches",
        "INSERT INTO reviews (review_id) VALUES ('a')",
        "UPDATE review_items SET claimed_by = 'me'",
        "DELETE FROM stages",
        "SELECT FROM batches FOR UPDATE",
        "DELETE FROM schema_migrations",
        "DELETE FROM sweeps",
        "INSERT INTO sweeps (started_at) VALUES (now())",
    ),
    OPERATOR: (
        "UPDATE sweeps SET repaired = '{}'",
        "DELETE FROM reviews",
        "UPDATE reviews SET note = ''",
    ),
}

#: What it may.
WITHIN: dict[str, tuple[LiteralString, ...]] = {
    UNPACK: ("SELECT * FROM batches", "SELECT * FROM stages, schema_migrations"),
    TRANSCRIBE: ("SELECT * FROM batches", "SELECT * FROM stages, schema_migrations"),
    MODERATE: (
        "SELECT * FROM batches, schema_migrations",
        "SELECT batch_id, ordinal FROM transcripts",
        "UPDATE batches SET completed_at = now(), announced_at = now() WHERE false",
    ),
    REVIEW: (
        "SELECT * FROM batches, recordings, transcripts, verdicts, review_items, reviews",
        "SELECT * FROM schema_migrations",
        "UPDATE batches SET itemised_at = now(), stalled = NULL",
        "UPDATE review_items SET superseded_at = now()",
    ),
    REVIEWER: (
        "SELECT * FROM review_items, reviews",
        # Claiming passes over what others have in hand.
        "SELECT * FROM review_items FOR UPDATE SKIP LOCKED",
        "UPDATE review_items SET claimed_by = 'me', claimed_until = now()",
    ),
    READ: (
        "SELECT * FROM batches, recordings, transcripts, verdicts, review_items, reviews, stages",
        "SELECT * FROM schema_migrations, sweeps",
    ),
    OPERATOR: (
        "INSERT INTO sweeps (started_at, found, repaired) VALUES (now(), '{}', '{}')",
        "DELETE FROM sweeps",
        "SELECT * FROM reviews",
        "DELETE FROM review_items",
        "DELETE FROM verdicts",
        "DELETE FROM stages",
        "DELETE FROM transcripts",
        "DELETE FROM recordings",
        "DELETE FROM batches",
        "UPDATE recordings SET stalled = NULL",
        "SELECT * FROM schema_migrations",
    ),
}


@pytest.mark.parametrize("role", PRIVILEGES)
def test_a_role_can_do_its_own_work_and_nothing_else(url: str, role: str) -> None:
    with member(url, role) as login, psycopg.connect(login, autocommit=True) as connection:
        for statement in WITHIN[role]:
            connection.execute(statement)
        for statement in FORBIDDEN + BEYOND[role]:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
