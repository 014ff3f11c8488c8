"""Each delivery leaves one log line with all that an operator needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

import pytest
import structlog

from consumers.broker.delivery import Delivery
from consumers.broker.verdict import NAMES
from consumers.errors import BadAudioError, BusyError, TransientError
from consumers.runtime.call_summary import CallSummary, summarised
from consumers.runtime.observer import SILENT, step
from consumers.runtime.worker import Worker
from events.event import ObjectCreated
from events.keys import AudioId, BatchId
from events.notification import decode, encode

BATCH = BatchId("20250622-143052-a1b2c3")
OTHER = BatchId("20250622-150000-a1b2c3")
ONE, TWO = AudioId(BATCH, 1), AudioId(OTHER, 2)

Work = Callable[[Sequence[ObjectCreated]], Sequence[Exception | None]]


class Handler:
    """Does what a test has it do."""

    def __init__(self, work: Work, group: int) -> None:
        self.group = group
        self.handle = work

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Nothing is on record here."""


class Written:
    """A log whose lines can be read."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.log: Any = structlog.wrap_logger(None, processors=[self._keep])

    def _keep(self, _: Any, level: str, words: Any) -> Any:
        json.dumps({**words, "exc_info": None})
        self.lines.append({**words, "level": level})
        raise structlog.DropEvent


def event(key: str) -> ObjectCreated:
    (event,) = decode(encode("bucket", key))
    return event


def delivery(key: str | None, *, attempt: int = 1, losses: int = 0) -> Delivery:
    body = "no notification" if key is None else encode("bucket", key)
    return Delivery(body, attempt, losses, is_lost=losses > 0, message=None)


def lines_of(work: Work, *deliveries: Delivery) -> list[dict[str, Any]]:
    """Have a worker do the work, and collect its log lines."""
    written = Written()
    worker = Worker(
        handler=Handler(work, group=max(1, len(deliveries))),
        log=written.log,
        delays=(10.0, 60.0),
    )
    assert len(list(worker.work(deliveries))) == len(deliveries)
    return written.lines


def test_a_finished_delivery_reports_its_work_and_its_time() -> None:
    def work(events: Sequence[ObjectCreated]) -> Sequence[None]:
        with step(SILENT, "read"):
            SILENT.batch_known(BATCH)
        for ordinal, state in enumerate(["converted", "converted", "rejected"]):
            seconds = 0.0 if state == "rejected" else 2.5
            SILENT.recording_ended(AudioId(BATCH, ordinal), state, seconds)
            SILENT.step_took("transcode", 0.25)
        return [None]

    # Its name does not say which batch it stands for.
    (line,) = lines_of(work, delivery("archives/tapes.zip"))
    assert line["event"] == "delivery"
    assert line["key"] == "archives/tapes.zip"
    assert line["batch"] == str(BATCH)
    assert (line["verdict"], line["attempt"]) == ("ack", 1)
    assert line["recordings"] == {"converted": 2, "rejected": 1}
    assert line["audio_seconds"] == 5.0
    assert line["stages"]["transcode"] == 0.75
    assert 0 <= line["stages"]["read"] <= line["seconds"]
    assert "group" not in line


def test_each_delivery_of_a_group_reports_its_own_share() -> None:
    def work(events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        SILENT.step_took("hear", 3.0)
        SILENT.recording_ended(ONE, "transcribed", 4.0)
        return [None, TransientError("the store is away")]

    one, two = lines_of(work, delivery(ONE.opus_key), delivery(TWO.opus_key))
    assert (one["batch"], two["batch"]) == (str(BATCH), str(OTHER))
    assert (one["verdict"], two["verdict"]) == ("ack", "retry")
    assert (one["recordings"], one["audio_seconds"]) == ({"transcribed": 1}, 4.0)
    assert "recordings" not in two
    # What they went through together is said of both.
    assert one["stages"] == two["stages"] == {"hear": 3.0}
    assert one["group"] == two["group"] == 2


@pytest.mark.parametrize(
    ("error", "attempt", "words"),
    [
        (TransientError("away"), 1, {"verdict": "retry", "retry_in": 10.0, "level": "warning"}),
        (TransientError("away"), 3, {"verdict": "dead", "reason": "exhausted"}),
        (BusyError("busy"), 2, {"verdict": "wait", "retry_in": 10.0}),
        (BadAudioError("bad"), 1, {"verdict": "dead", "reason": "permanent", "error": "bad"}),
        (ValueError("a bug"), 3, {"verdict": "dead", "reason": "unexpected"}),
    ],
)
def test_a_failed_delivery_reports_its_reason_and_its_verdict(
    error: Exception, attempt: int, words: dict[str, Any]
) -> None:
    (line,) = lines_of(lambda _: [error], delivery(ONE.opus_key, attempt=attempt))
    assert line["batch"] == str(BATCH)
    assert line["attempt"] == attempt
    assert line.items() >= words.items()


def test_deliveries_that_are_never_begun_leave_a_line_too() -> None:
    def work(_: Sequence[ObjectCreated]) -> Sequence[None]:
        raise AssertionError("it was begun")

    malformed, lost = lines_of(work, delivery(None), delivery(ONE.opus_key, losses=5))
    assert (malformed["reason"], malformed["batch"]) == ("malformed", None)
    assert (lost["reason"], lost["batch"]) == ("lost", str(BATCH))
    assert malformed["verdict"] == lost["verdict"] == "dead" == NAMES[-1]


def test_a_group_that_is_retried_one_by_one_names_its_batches() -> None:
    def work(events: Sequence[ObjectCreated]) -> Sequence[None]:
        if len(events) > 1:
            raise MemoryError
        return [None]

    group, *each = lines_of(work, delivery(ONE.opus_key), delivery(TWO.opus_key))
    assert group["batch"] == f"{BATCH}, {OTHER}"
    assert [line["batch"] for line in each] == [str(BATCH), str(OTHER)]


def test_only_threads_that_work_for_a_call_add_to_its_summary() -> None:
    def run(target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    with summarised([event(BATCH.archive_key)]) as summary:
        context = copy_context()
        run(lambda: context.run(SILENT.step_took, "transcode", 1.0))
        run(lambda: SILENT.step_took("transcode", 10.0))
    SILENT.step_took("transcode", 100.0)
    assert summary.fields(event(BATCH.archive_key))["stages"] == {"transcode": 1.0}


def test_a_summary_does_not_grow_with_the_recordings() -> None:
    summary = CallSummary([event(BATCH.archive_key)])
    summary.add_recording(ONE, "converted", 1.0)
    small = len(str(summary.fields(event(BATCH.archive_key))))
    for ordinal in range(9_000):
        summary.add_recording(AudioId(BATCH, ordinal), "converted", 1.0)
    assert len(str(summary.fields(event(BATCH.archive_key)))) <= small + 10
