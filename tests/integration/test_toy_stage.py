"""A stage is one row, one module and one function; all else follows from them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import generate_latest
from psycopg import errors

from consumers.runtime.handler import Handler
from consumers.runtime.loop import Stop
from consumers.runtime.observer import SILENT, Observer
from consumers.store import Store
from events.keys import PROCESSED, TRANSCRIPT, AudioId
from events.routes import Route
from ops.bootstrap import bootstrap
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.bucket_rights import bucket_roles, policy_steps
from ops.bootstrap.step import applied
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth
from ops.wiring.adapters import Adapters
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE, open_consumer
from ops.wiring.stage_table import Stage, StageTable
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.harness.samples.scraped import Scraped
from tests.integration import word_count
from tests.integration.conftest import Pipeline
from tests.integration.test_roles import user
from tests.samples import RECORDINGS, archive

WHO = "arn:aws:iam::123456789012:user/counter"

#: The row.
ROW = Route("wordcount", PROCESSED, TRANSCRIPT)


@contextmanager
def open_word_count(
    environment: Environment, adapters: Adapters, log: Any, observer: Observer = SILENT
) -> Iterator[Handler]:
    """Put the handler together: the function."""
    del log
    store = adapters.store(environment, observer)
    with adapters.database(environment, connections=1) as database:
        yield word_count.WordCount(store, database, observer)


STAGE = Stage(ROW, word_count.SPEC, open_word_count)
TABLE = StageTable((*PIPELINE.stages, STAGE))


@pytest.fixture
def login(variables: dict[str, str], environment: Environment) -> Iterator[str]:
    """Bootstrap with the stage; gives the URL of the database for a user in its role."""
    del environment
    url = variables["DATABASE_URL"]
    steps = bootstrap(Environment(variables), table=TABLE)
    changed = [step.what for step in steps if step.changed]
    assert f"queue {variables['BROKER_PREFIX']}-wordcount" in changed
    assert "database role dropscribe_wordcount" in changed
    try:
        with user(url, role="dropscribe_wordcount") as login:
            yield login
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY dropscribe_wordcount")
            connection.execute("DROP ROLE dropscribe_wordcount")


@pytest.fixture
def metrics(variables: dict[str, str], login: str, pipeline: Pipeline) -> Iterator[ConsumerMetrics]:
    """Run the stage's consumer with the rights of its role; gives the metrics that it keeps."""
    metrics = ConsumerMetrics("1.2.3")
    observer = metrics.observer(LoopHealth(ROW.name), STAGE.spec.states)
    environment = Environment({**variables, "DATABASE_URL": login})
    stop = Stop()
    with open_consumer(STAGE, environment, pipeline.log, observer=observer) as loop:
        thread = threading.Thread(target=loop.run, args=(stop,))
        thread.start()
        try:
            yield metrics
        finally:
            stop.asked.set()
            thread.join()


def test_an_object_passes_the_stage(
    metrics: ConsumerMetrics, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.start(reviewers=0)
    audio = AudioId(pipeline.drop(archive(tmp_path, tar_of(RECORDINGS))), 1)
    key = audio.transcript_key.removesuffix(TRANSCRIPT) + word_count.WORDS
    stored = eventually(lambda: pipeline.store.head(key))
    counted = json.loads(pipeline.store.read(stored.key))
    assert counted["path"] == "two.wav"
    assert counted["words"] > 0

    scraped = Scraped(generate_latest(metrics.registry).decode())
    value = scraped.value("dropscribe_recordings_total", route="wordcount", state="counted")
    assert value >= 1


def test_a_stages_metrics_have_their_labels_from_the_start(metrics: ConsumerMetrics) -> None:
    value = Scraped(generate_latest(metrics.registry).decode()).value
    assert value("dropscribe_recordings_total", route="wordcount", state="counted") == 0
    assert value("dropscribe_deliveries_total", route="wordcount", verdict="ack") == 0


def test_its_database_role_has_the_declared_rights_and_no_more(login: str) -> None:
    with psycopg.connect(login, autocommit=True) as connection:
        connection.execute("SELECT FROM recordings")
        connection.execute("SELECT FROM schema_migrations")
        for statement in ("SELECT FROM verdicts", "DELETE FROM recordings"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)


def test_its_bucket_rights_are_the_declared_ones_and_no_more(store: Store) -> None:
    client, bucket = store._client, store.bucket
    rights = bucket_roles(TABLE)
    principals = {ROW.name: (WHO,)}
    whole = Bucket(client, bucket, "us-east-1", "prefix", TABLE.routes)
    list(applied(policy_steps(whole, principals, rights), dry_run=False))
    policy = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])
    objects = f"arn:aws:s3:::{bucket}/processed/*"
    allowed = {(each["Action"][0], each["Resource"][0]) for each in policy["Statement"]}
    assert allowed == {
        ("s3:ListBucket", f"arn:aws:s3:::{bucket}"),
        ("s3:GetObject", objects),
        ("s3:PutObject", f"{objects}.words.json"),
    }
    assert {each["Principal"]["AWS"][0] for each in policy["Statement"]} == {WHO}
