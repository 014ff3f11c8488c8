"""The route table, and the names that are derived from it."""

import itertools
import re
from datetime import UTC, datetime
from pathlib import Path
from runpy import run_path

import pytest
from hypothesis import given

from events.keys import AudioId
from events.routes import (
    ROUTES,
    dead_letter_queue_name,
    delay_queue_name,
    exchange_name,
    lease_queue_name,
    queue_name,
    rule_id,
)
from ops.wiring.pipeline import PIPELINE
from tests.unit.test_keys import recordings


def matching(key: str) -> list[str]:
    return [route.name for route in ROUTES if route.matches(key)]


def test_an_archive_goes_to_unpack_only() -> None:
    assert matching("archives/calls.zip") == ["unpack"]


@given(recordings)
def test_each_object_of_a_recording_goes_to_one_route_at_most(audio: AudioId) -> None:
    assert matching(audio.opus_key) == ["transcribe"]
    assert matching(audio.transcript_key) == ["moderate"]
    assert matching(audio.verdict_key) == []
    assert matching(audio.clip_key(3.5, 9.25)) == []
    assert matching(audio.batch.manifest_key) == []
    assert matching(audio.batch.complete_key) == ["review"]
    assert matching(audio.batch.review_key) == []
    assert matching(audio.batch.decision_key(datetime.now(UTC), b"abc")) == []


def test_no_two_rules_overlap_as_stores_refuse_that() -> None:
    for first, second in itertools.combinations(ROUTES, 2):
        prefixes = (first.prefix, second.prefix)
        suffixes = (first.suffix, second.suffix)
        share_prefix = any(a.startswith(b) for a, b in itertools.permutations(prefixes))
        share_suffix = any(a.endswith(b) for a, b in itertools.permutations(suffixes))
        assert not (share_prefix and share_suffix)


def test_queue_names_are_distinct_and_allowed_by_sqs() -> None:
    names = [
        name("dropscribe", route)
        for route in ROUTES
        for name in (queue_name, dead_letter_queue_name)
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) for name in names)


def test_names_on_rabbitmq_are_distinct_whatever_the_delay_or_holder() -> None:
    names = [exchange_name("dropscribe")]
    for route in ROUTES:
        names += [queue_name("dropscribe", route), dead_letter_queue_name("dropscribe", route)]
        names += [delay_queue_name("dropscribe", route, delay) for delay in (0.5, 1, 10, 60.0, 600)]
        names += [lease_queue_name("dropscribe", route, holder) for holder in ("a", "b")]
    assert len(set(names)) == len(names)
    assert delay_queue_name("dropscribe", ROUTES[0], 10.0) == "dropscribe-unpack-delay-10s"
    assert delay_queue_name("dropscribe", ROUTES[0], 10) == "dropscribe-unpack-delay-10s"


def test_a_rule_keeps_its_id() -> None:
    assert [rule_id("dropscribe", route) for route in ROUTES] == [
        "dropscribe-unpack",
        "dropscribe-transcribe",
        "dropscribe-moderate",
        "dropscribe-review",
    ]


@pytest.mark.parametrize("is_moderated", [True, False])
def test_ansible_sets_up_the_routes_of_the_table(*, is_moderated: bool) -> None:
    plugin = run_path(str(Path(__file__).parents[2] / "ops/ansible/filter_plugins/pipeline.py"))
    names = [route.name for route in ROUTES if is_moderated or not route.is_optional]
    assert plugin["pipeline_routes"](is_moderated) == names


def test_every_route_has_a_stage() -> None:
    assert PIPELINE.routes == ROUTES
