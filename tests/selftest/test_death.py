"""Processes that die at chosen points, and the results of their work."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology, declare_topology
from consumers.database.migrate import migrate
from consumers.database.moderation_switch import put_stage
from consumers.runtime.retry_policy import possible_delays
from events.keys import BatchId
from ops.wiring.adapters import make_store, open_database
from ops.wiring.environment import Environment
from tests.harness.deployment.batches import POLICY
from tests.harness.faults.death import DeathPoint, Deaths
from tests.harness.samples.archives import tar_of
from tests.harness.samples.sounds import voice, wav
from tests.harness.servers.ceph import CephGateway
from tests.harness.servers.postgres import PostgresServer

REACHES = f"""
import os
from tests.harness.faults.death import DeathPoint, Deaths
deaths = Deaths.from_variables(os.environ)
deaths.reach(DeathPoint.SEALED)
deaths.reach(DeathPoint.{DeathPoint.BEFORE_ACK.name})
"""


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.fixture
def deaths(tmp_path: Path) -> Deaths:
    return Deaths(tmp_path / "deaths")


def test_a_process_dies_the_allowed_number_of_times(deaths: Deaths) -> None:
    deaths.allow(DeathPoint.BEFORE_ACK, times=2)

    codes = [run("-c", REACHES, **deaths.variables).returncode for _ in range(3)]

    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert deaths.done() == {DeathPoint.BEFORE_ACK: 2}
    assert not deaths.due()


def test_no_process_dies_after_deaths_are_forbidden(deaths: Deaths) -> None:
    deaths.allow(DeathPoint.BEFORE_ACK)
    deaths.allow(DeathPoint.SEALED, times=3)
    assert deaths.due() == {DeathPoint.BEFORE_ACK: 1, DeathPoint.SEALED: 3}

    deaths.forbid()

    assert run("-c", REACHES, **deaths.variables).returncode == 0
    assert not deaths.due()
    assert not deaths.done()


def test_each_death_is_one_processs(deaths: Deaths) -> None:
    deaths.allow(DeathPoint.SEALED, times=100)

    with ThreadPoolExecutor(8) as executor:
        claims = executor.map(lambda _: deaths.claim(DeathPoint.SEALED), range(150))

    assert Counter(claims) == {True: 100, False: 50}


def test_no_process_dies_without_the_folder() -> None:
    assert Deaths.from_variables({}) is None


@pytest.fixture
def variables(
    gateway: CephGateway, bucket: str, server: PostgresServer, vhost: str, tmp_path: Path
) -> Mapping[str, str]:
    """Settings that reach a bucket, an empty schema and queues, with a policy."""
    url = server.database()
    migrate(url)
    put_stage(url, is_on=True, dry_run=False)
    address = BrokerAddress.parse(vhost, region="default", prefix="dropscribe")
    for _ in declare_topology(address, Topology(address.prefix, possible_delays())):
        pass
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "length.md").write_text(POLICY)
    return {
        **gateway.settings,
        "S3_REGION": "default",
        "S3_BUCKET": bucket,
        "DATABASE_URL": url,
        "BROKER_URL": vhost,
        "POLICIES_ROOT": str(policies),
        "UNPACK_PROCESSES": "1",
    }


def test_a_batch_survives_a_death_at_every_point(
    variables: Mapping[str, str], deaths: Deaths, tmp_path: Path
) -> None:
    batch = BatchId.new(datetime.now(UTC), secrets.token_bytes(3))
    store = make_store(Environment(variables))
    # Two seconds each: the policy flags both.
    archive = tar_of({"one.wav": wav(voice()), "two.wav": wav(voice())})
    store.write(batch.archive_key, archive, content_type="application/x-tar")
    for point in DeathPoint:
        deaths.allow(point)

    done = run("-m", "tests.selftest.dying_consumer", str(batch), **variables, **deaths.variables)

    *lives, last = json.loads(done.stdout)
    # Two recordings are unpacked at a time: two points can be reached in one life.
    assert set(lives) == {"SIGKILL"}, done.stderr
    assert last == "done", done.stderr
    assert deaths.done() == dict.fromkeys(DeathPoint, 1)
    with open_database(Environment(variables)) as database:
        row = database.batch(batch)
        assert row is not None
        assert row.state == "complete"
        assert database.counts(batch) == {"moderated": 2}
        assert database.flagged(batch) == 2
        assert row.itemised_at is not None
    assert store.head(batch.complete_key) is not None
    assert store.head(batch.review_key) is not None
