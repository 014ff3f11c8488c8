"""The metrics of a process' consumers, and the observer that records them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from consumers.broker.verdict import NAMES, REASONS, DeadLetter, Verdict
from consumers.runtime.observer import Observer
from events.keys import AudioId
from ops.observe.metrics.liveness import LoopHealth

_MINUTE, _HOUR = 60, 3600

#: Buckets in seconds: a delivery may be a recording of a second, or an archive of a day.
_DELIVERY = (0.1, 0.5, 1, 5, 10, 30, *(_MINUTE * n for n in (1, 5, 15, 30)), _HOUR, 4 * _HOUR)
_STAGE = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR)
_COMPLETION = (*(_MINUTE * n for n in (1, 5, 10, 30)), *(_HOUR * n for n in (1, 2, 4, 8, 24, 48)))
_FILL = tuple(n / 10 for n in range(1, 11))


class ConsumerMetrics:
    """All metrics, in a registry of their own.

    Args:
        version: The version of dropscribe, for ``dropscribe_build``.
    """

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.deliveries = counter(
            "dropscribe_deliveries",
            "Settled deliveries, by verdict: ack (done), retry (failed, to be retried), wait "
            "(another worker has it), dead (became a dead letter).",
            ("route", "verdict"),
        )
        self.dead_letters = counter(
            "dropscribe_dead_letters", "Dead letters, by reason.", ("route", "reason")
        )
        self.delivery_seconds = histogram(
            "dropscribe_delivery_seconds",
            "Working time per delivery in seconds, whatever the verdict.",
            ("route",),
            buckets=_DELIVERY,
        )
        self.stage_seconds = histogram(
            "dropscribe_stage_seconds",
            "Duration of each stage in seconds, whether it succeeded or failed.",
            ("route", "stage"),
            buckets=_STAGE,
        )
        self.recordings = counter(
            "dropscribe_recordings",
            "Recordings that this consumer finished, by state.",
            ("route", "state"),
        )
        self.audio_seconds = counter(
            "dropscribe_audio_seconds",
            "Seconds of sound in these recordings, without rejected ones.",
            ("route",),
        )
        self.batch_fill = histogram(
            "dropscribe_batch_fill_ratio",
            "Windows per batch of the model, as a share of the batch size.",
            ("route",),
            buckets=_FILL,
        )
        self.completion = histogram(
            "dropscribe_batch_completion_seconds",
            "Seconds from the drop of an archive to the completion of its batch.",
            buckets=_COMPLETION,
        )
        self.store_errors = counter(
            "dropscribe_store_errors",
            "Requests to the store that failed after all attempts, but not for missing objects.",
            ("route",),
        )
        self.in_hand = gauge(
            "dropscribe_in_hand", "Received deliveries that are not settled.", ("route",)
        )
        self.connected = gauge(
            "dropscribe_connected",
            "1 while the consumer is connected to the broker, else 0.",
            ("route",),
        )
        Info("dropscribe_build", "The running version.", registry=registry).info(
            {"version": version}
        )
        # The process' memory, CPU time, open files and start; without its transcoders.
        ProcessCollector(registry=registry)

    def observer(self, loop: LoopHealth, states: Sequence[str] = ()) -> Observer:
        """Make the observer of a loop's route, which brings recordings to these states."""
        return RouteObserver(self, loop, states)


class RouteObserver(Observer):
    """Records the metrics and the state of one route's loop."""

    def __init__(self, metrics: ConsumerMetrics, loop: LoopHealth, states: Sequence[str]) -> None:
        route = loop.route
        self._loop = loop
        self._metrics = metrics
        self._delivery_seconds = metrics.delivery_seconds.labels(route)
        self._audio_seconds = metrics.audio_seconds.labels(route)
        self._batch_fill = metrics.batch_fill.labels(route)
        self._store_errors = metrics.store_errors.labels(route)
        self._in_hand = metrics.in_hand.labels(route)
        self._connected = metrics.connected.labels(route)
        # Counters start at 0, so that Prometheus sees the first dead letter as an increase.
        self._deliveries = _children(metrics.deliveries, route, NAMES)
        self._dead_letters = _children(metrics.dead_letters, route, REASONS)
        _children(metrics.recordings, route, states)

    def turned(self) -> None:
        """Record a sign of life, for ``/healthz``."""
        self._loop.turn()

    def connected(self, *, to_broker: bool) -> None:
        """Set ``dropscribe_connected``, and the state for ``/readyz``."""
        self._loop.is_connected = to_broker
        self._connected.set(to_broker)

    def in_hand(self, deliveries: int) -> None:
        """Set ``dropscribe_in_hand``."""
        self._loop.in_hand = deliveries
        self._in_hand.set(deliveries)

    def settled(self, verdict: Verdict, seconds: float) -> None:
        """Count in ``dropscribe_deliveries``, ``..._delivery_seconds`` and ``..._dead_letters``."""
        self._loop.settled += 1
        self._deliveries[verdict.name].inc()
        self._delivery_seconds.observe(seconds)
        if isinstance(verdict, DeadLetter):
            self._dead_letters[verdict.reason].inc()

    def step_took(self, step: str, seconds: float) -> None:
        """Observe ``dropscribe_stage_seconds``."""
        super().step_took(step, seconds)
        self._metrics.stage_seconds.labels(self._loop.route, step).observe(seconds)

    def recording_ended(self, audio: AudioId, state: str, seconds: float) -> None:
        """Count in ``dropscribe_recordings`` and ``dropscribe_audio_seconds``."""
        super().recording_ended(audio, state, seconds)
        self._metrics.recordings.labels(self._loop.route, state).inc()
        self._audio_seconds.inc(seconds)

    def model_filled(self, ratio: float) -> None:
        """Observe ``dropscribe_batch_fill_ratio``."""
        self._batch_fill.observe(ratio)

    def batch_completed(self, seconds: float) -> None:
        """Observe ``dropscribe_batch_completion_seconds``."""
        self._metrics.completion.observe(seconds)

    def store_failed(self) -> None:
        """Count in ``dropscribe_store_errors``."""
        self._store_errors.inc()


def _children(counter: Counter, route: str, names: Iterable[str]) -> Mapping[str, Counter]:
    """Create the counters of one route, by their other label."""
    return {name: counter.labels(route, name) for name in names}
