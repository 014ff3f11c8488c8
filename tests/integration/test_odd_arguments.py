"""What people type, and what their files are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from consumers.documents.manifest import Archive
from consumers.errors import TransientError
from consumers.store import Store
from events.keys import BatchId
from tests.integration.conftest import Pipeline, Run, printed
from tests.integration.damage import execute


@pytest.mark.usefixtures("environment")
def test_a_file_s_name_need_not_be_utf_8(
    run: Run,
    store: Store,
    tmp_path: Path,
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/tapes \xff.tar"))
    path.write_bytes(b"sound")
    (dropped,) = printed(run("drop", "--json", str(path)))["batches"]
    assert dropped["archive"] == f"{tmp_path}/tapes \ufffd.tar"
    stored = store.head(BatchId(dropped["batch_id"]).archive_key)
    assert stored is not None
    assert stored.metadata["original-name"] == "tapes \ufffd.tar"


@pytest.mark.usefixtures("environment")
def test_an_archive_that_is_named_twice_is_two_batches(
    run: Run,
    store: Store,
    tmp_path: Path,
) -> None:
    path = tmp_path / "tapes.tar"
    path.write_bytes(b"sound")
    answer = printed(run("drop", "--json", str(path), str(path)))
    keys = [BatchId(each["batch_id"]).archive_key for each in answer["batches"]]
    assert sorted(keys) == list(store.keys("archives/"))
    assert len(keys) == 2


def test_a_limit_below_one_is_refused(run: Run) -> None:
    assert run("status", "--limit", "0").exit_code == 2


def test_a_schema_that_is_behind_the_program_makes_no_dead_letters(pipeline: Pipeline) -> None:
    """Consumers that are updated before bootstrap ran wait for it."""
    execute(pipeline.database, "ALTER TABLE batches DROP COLUMN size")
    with pytest.raises(TransientError, match="bootstrap"):
        pipeline.database.register(_archive())


def _archive() -> Archive:
    batch = BatchId("20250622-143052-a1b2c3")
    return Archive(batch, batch.archive_key, "etag", 1, None, batch.time)
