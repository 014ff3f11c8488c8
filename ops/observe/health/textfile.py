"""Results in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from consumers.errors import ConfigurationError
from ops.observe.health.result import CheckResult, Level


@dataclass(frozen=True, slots=True)
class Series:
    """A metric whose value is a figure of a check.

    Attributes:
        metric: The metric's name.
        check: The check's name.
        figure: The figure's name.
        label: The label for the keys of a figure; None for a single number.
        about: The metric's help text.
    """

    metric: str
    check: str
    figure: str
    label: str | None
    about: str


_SERIES = (
    Series("dropscribe_queue_messages", "queues", "messages", "route", "Waiting messages"),
    Series("dropscribe_queue_consumers", "queues", "consumers", "route", "Connected consumers"),
    Series(
        "dropscribe_queue_oldest_seconds",
        "stages",
        "oldest_seconds",
        "route",
        "Age in seconds of the oldest archive, recording or batch that waits for the route",
    ),
    Series("dropscribe_dead_letter_messages", "queues", "dead", "route", "Dead letters"),
    Series("dropscribe_stuck_batches", "batches", "stuck", None, "Batches without progress"),
    Series(
        "dropscribe_last_sweep_timestamp_seconds",
        "sweep",
        "ended",
        None,
        "End of the last sweep",
    ),
    Series(
        "dropscribe_last_sweep_repaired",
        "sweep",
        "repaired",
        "kind",
        "Repairs of the last sweep",
    ),
    Series(
        "dropscribe_clock_offset_seconds",
        "clock",
        "offset_seconds",
        None,
        "Seconds by which this host's clock is ahead of the store's",
    ),
)

#: Check of each volume, and the value of the label ``volume``.
_VOLUMES = {"scratch": "scratch", "models-volume": "models"}


def write_textfile(path: Path, results: Sequence[CheckResult], now: datetime, look: str) -> None:
    """Write the figures of results, and replace the file atomically.

    Skipped checks and missing figures are left out.

    Args:
        path: The file.
        results: The results.
        now: The time of the checks.
        look: Value of the label ``look``, if one host writes several files.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    registry = CollectorRegistry()
    health = Gauge(
        "dropscribe_health",
        "0 ok, 1 warning, 2 critical, 3 unknown",
        ["look", "check"],
        registry=registry,
    )
    for result in results:
        if result.level is not Level.SKIPPED:
            health.labels(look, result.check).set(result.level.code)
    written = Gauge(
        "dropscribe_health_timestamp_seconds", "Time of the checks", ["look"], registry=registry
    )
    written.labels(look).set(now.timestamp())
    by_check = {result.check: result for result in results}
    for series in _SERIES:
        if series.check in by_check:
            _add(registry, series, by_check[series.check].figures.get(series.figure))
    _add_volumes(registry, by_check)
    try:
        with _readable_by_all():
            write_to_textfile(str(path), registry)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc.strerror}") from exc


def _add(registry: CollectorRegistry, series: Series, figure: object) -> None:
    if series.label is None:
        if isinstance(figure, int | float):
            Gauge(series.metric, series.about, registry=registry).set(figure)
        return
    if isinstance(figure, Mapping):
        gauge = Gauge(series.metric, series.about, [series.label], registry=registry)
        for name, value in figure.items():
            gauge.labels(name).set(value)


def _add_volumes(registry: CollectorRegistry, by_check: Mapping[str, CheckResult]) -> None:
    gauge = Gauge(
        "dropscribe_volume_free_ratio",
        "Free share of the volume",
        ["volume"],
        registry=registry,
    )
    for check, volume in _VOLUMES.items():
        if check in by_check and "free_ratio" in by_check[check].figures:
            gauge.labels(volume).set(by_check[check].figures["free_ratio"])


@contextmanager
def _readable_by_all() -> Iterator[None]:
    """Create files with mode 0644, as node_exporter runs as another user."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
