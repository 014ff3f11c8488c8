"""What consumers tell becomes figures, under the names that dashboards and alerts go by."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import generate_latest

from consumers.broker.verdict import REASONS, Ack, DeadLetter, Retry
from consumers.runtime.observer import Observer, step
from consumers.speech.whisper import _fills
from events.keys import AudioId, BatchId
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth
from ops.wiring.pipeline import PIPELINE
from ops.wiring.stage_table import Stage
from tests.harness.samples.scraped import Scraped

AUDIO = AudioId(BatchId("20250622-143052-a1b2c3"), 1)


def scraped(figures: ConsumerMetrics) -> Scraped:
    return Scraped(generate_latest(figures.registry).decode())


@pytest.fixture
def figures() -> ConsumerMetrics:
    return ConsumerMetrics("1.2.3")


@pytest.fixture
def observer(figures: ConsumerMetrics) -> Observer:
    return figures.observer(LoopHealth("transcribe"))


def test_verdicts_are_counted_by_route_and_dead_letters_by_reason(
    figures: ConsumerMetrics, observer: Observer
) -> None:
    observer.settled(Ack(), 2.0)
    observer.settled(Ack(), 3.0)
    observer.settled(Retry(10, counts=True, error="away"), 0.1)
    observer.settled(Retry(10, counts=False, error="busy"), 0.1)
    observer.settled(DeadLetter("exhausted", "away"), 0.1)
    value = scraped(figures).value
    assert {
        name: value("dropscribe_deliveries_total", route="transcribe", verdict=name)
        for name in ("ack", "retry", "wait", "dead")
    } == {"ack": 2, "retry": 1, "wait": 1, "dead": 1}
    assert value("dropscribe_dead_letters_total", route="transcribe", reason="exhausted") == 1
    assert value("dropscribe_delivery_seconds_count", route="transcribe") == 5
    assert value("dropscribe_delivery_seconds_sum", route="transcribe") == pytest.approx(5.3)


def test_all_observations_can_be_scraped(figures: ConsumerMetrics, observer: Observer) -> None:
    with step(observer, "hear"):
        pass
    observer.recording_ended(AUDIO, "transcribed", 12.5)
    observer.recording_ended(AUDIO, "rejected", 0.0)
    observer.model_filled(0.25)
    observer.batch_completed(90.0)
    observer.store_failed()
    observer.in_hand(7)
    observer.connected(to_broker=True)
    value = scraped(figures).value
    assert value("dropscribe_stage_seconds_count", route="transcribe", stage="hear") == 1
    assert value("dropscribe_recordings_total", route="transcribe", state="transcribed") == 1
    assert value("dropscribe_recordings_total", route="transcribe", state="rejected") == 1
    assert value("dropscribe_audio_seconds_total", route="transcribe") == 12.5
    assert value("dropscribe_batch_fill_ratio_sum", route="transcribe") == 0.25
    assert value("dropscribe_batch_completion_seconds_sum") == 90
    assert value("dropscribe_store_errors_total", route="transcribe") == 1
    assert value("dropscribe_in_hand", route="transcribe") == 7
    assert value("dropscribe_connected", route="transcribe") == 1
    assert value("dropscribe_build_info", version="1.2.3") == 1
    assert value("process_resident_memory_bytes") > 0


def test_a_stage_that_fails_is_timed_all_the_same(
    figures: ConsumerMetrics, observer: Observer
) -> None:
    with pytest.raises(OSError, match="away"), step(observer, "store"):
        raise OSError("away")
    assert (
        scraped(figures).value("dropscribe_stage_seconds_count", route="transcribe", stage="store")
        == 1
    )


@pytest.mark.parametrize("stage_", PIPELINE.stages, ids=PIPELINE.names)
def test_unobserved_counters_are_zero(figures: ConsumerMetrics, stage_: Stage) -> None:
    """Or the first dead letter would be no increase, and no alert would fire."""
    route, states = stage_.route.name, stage_.spec.states
    figures.observer(LoopHealth(route), states)
    value = scraped(figures).value
    assert value("dropscribe_store_errors_total", route=route) == 0
    for reason in REASONS:
        assert value("dropscribe_dead_letters_total", route=route, reason=reason) == 0
    for state in states:
        assert value("dropscribe_recordings_total", route=route, state=state) == 0


def test_processes_keep_figures_of_their_own(figures: ConsumerMetrics, observer: Observer) -> None:
    observer.store_failed()
    other = ConsumerMetrics("1.2.3")
    other.observer(LoopHealth("transcribe"))
    assert scraped(other).value("dropscribe_store_errors_total", route="transcribe") == 0


def test_observations_of_many_threads_all_count(
    figures: ConsumerMetrics, observer: Observer
) -> None:
    def tell() -> None:
        for _ in range(1000):
            observer.recording_ended(AUDIO, "transcribed", 1.0)

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scraped(figures).value("dropscribe_audio_seconds_total", route="transcribe") == 8000


def test_the_silent_observer_has_every_method() -> None:
    told = {name for name in vars(Observer) if not name.startswith("_")}
    assert told == {name for name in vars(Observer) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("windows", "ratios"), [(0, []), (4, [0.25]), (16, [1.0]), (40, [1.0, 1.0, 0.5])]
)
def test_only_a_models_last_batch_is_not_full(windows: int, ratios: list[float]) -> None:
    assert list(_fills(windows, 16)) == ratios
