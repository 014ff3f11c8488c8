"""Results in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from consumers.errors import ConfigurationError
from ops.observe.health.result import CheckResult, Level


@dataclass(frozen=True, slots=True)
class Series:
    """A metric whose value is a figure of a check.

    Attributes:
        metric: The metric's name.
        about: The metric's help text.
        check: The check's name.
        figure: The figure's name: a number, or numbers by the label's value.
        label: The metric's label, if it has one.
        value: The label's value, if the figure is a number.
    """

    metric: str
    about: str
    check: str
    figure: str
    label: str | None = None
    value: str | None = None


_OLDEST = "Age in seconds of the oldest archive, recording or batch that waits for the route"
_OFFSET = "Seconds by which this host's clock is ahead of the store's"
_FREE = ("dropscribe_volume_free_ratio", "Free share of the volume")

_SERIES = (
    Series("dropscribe_queue_messages", "Waiting messages", "queues", "messages", "route"),
    Series("dropscribe_queue_consumers", "Connected consumers", "queues", "consumers", "route"),
    Series("dropscribe_queue_oldest_seconds", _OLDEST, "stages", "oldest_seconds", "route"),
    Series("dropscribe_dead_letter_messages", "Dead letters", "queues", "dead", "route"),
    Series(
        "dropscribe_kept_archives",
        "Archives that do not expire, as something of them is missing from the result",
        "batches",
        "kept_archives",
    ),
    Series("dropscribe_stuck_batches", "Batches without progress", "batches", "stuck"),
    Series("dropscribe_last_sweep_timestamp_seconds", "End of the last sweep", "sweep", "ended"),
    Series(
        "dropscribe_last_sweep_repaired", "Repairs of the last sweep", "sweep", "repaired", "kind"
    ),
    Series("dropscribe_clock_offset_seconds", _OFFSET, "clock", "offset_seconds"),
    Series(*_FREE, "scratch", "free_ratio", "volume", "scratch"),
    Series(*_FREE, "models-volume", "free_ratio", "volume", "models"),
)


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
    gauge = partial(Gauge, registry=registry)
    health = gauge("dropscribe_health", "0 ok, 1 warning, 2 critical, 3 unknown", ("look", "check"))
    for result in results:
        if result.level is not Level.SKIPPED:
            health.labels(look, result.check).set(result.level.code)
    written = gauge("dropscribe_health_timestamp_seconds", "Time of the checks", ("look",))
    written.labels(look).set(now.timestamp())
    figures = {result.check: result.figures for result in results}
    gauges: dict[str, Gauge] = {}
    for series in _SERIES:
        figure = figures.get(series.check, {}).get(series.figure)
        if figure is None:
            continue
        if series.metric not in gauges:
            labels = () if series.label is None else (series.label,)
            gauges[series.metric] = gauge(series.metric, series.about, labels)
        numbers = figure if isinstance(figure, Mapping) else {series.value: figure}
        for value, number in numbers.items():
            each = gauges[series.metric]
            (each if value is None else each.labels(value)).set(number)
    try:
        with _readable_by_all():
            write_to_textfile(str(path), registry)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc.strerror}") from exc


@contextmanager
def _readable_by_all() -> Iterator[None]:
    """Create files with mode 0644, as node_exporter runs as another user."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
