"""A Celery worker with a task that does nothing."""
# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from tests.bench.consumption.counter import Consumed, DeliveryCounter
from tests.bench.consumption.messages import RawMessage, key_in, notifications

_TASK = "nothing"


def celery_messages(count: int) -> Iterator[RawMessage]:
    """Make notifications as arguments of Celery's messages (protocol 2)."""
    from celery import Celery  # noqa: PLC0415

    app = Celery(set_as_current=False)
    for each in notifications(count):
        made = app.amqp.as_task_v2(str(uuid4()), _TASK, args=(each,), kwargs={})
        yield RawMessage(
            json.dumps(made.body),
            {
                "application_headers": made.headers,
                "content_type": "application/json",
                "content_encoding": "utf-8",
                **made.properties,
            },
        )


def consume_by_celery(url: str, queue: str, prefetch: int, count: str) -> Consumed:
    """Take messages without gossip, mingling and events, which a single worker does not need.

    Its pool ``solo`` is the fastest where tasks take no time, as it hands nothing over.
    """
    from celery.platforms import SecurityWarning  # noqa: PLC0415
    from celery.worker import state  # noqa: PLC0415

    # Tests may run as root.
    warnings.simplefilter("ignore", SecurityWarning)
    # Once all that was taken is acked.
    tally = DeliveryCounter(int(count), lambda: setattr(state, "should_stop", 0))
    state.should_stop = None
    _make_app(url, queue, prefetch, tally).Worker(
        pool="solo",
        loglevel="ERROR",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()
    return tally.taken


def _make_app(url: str, queue: str, prefetch: int, tally: DeliveryCounter) -> Any:
    from celery import Celery  # noqa: PLC0415
    from kombu import Queue  # noqa: PLC0415

    app = Celery(broker=url, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(queue, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
        task_acks_late=True,
        task_ignore_result=True,
        worker_concurrency=1,
        worker_prefetch_multiplier=prefetch,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )

    def nothing(notification: dict[str, Any]) -> None:
        tally.add(key_in(notification))

    app.task(name=_TASK)(nothing)
    return app
