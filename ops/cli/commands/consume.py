"""``dropscribe consume``: run consumers."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from types import FrameType

import click

from consumers.runtime.loop import Loop, Stop
from ops.cli.settings import SettingsCommand, read_environment
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth, ProcessHealth
from ops.observe.metrics.server import serving
from ops.observe.systemd import Notifier, Supervision
from ops.wiring.adapters import Adapters
from ops.wiring.environment import Environment
from ops.wiring.log import configure_log
from ops.wiring.pipeline import PIPELINE, open_consumer
from ops.wiring.settings import SERVER_SETTINGS, ObservingSettings


@click.command(
    cls=SettingsCommand, settings=(ObservingSettings, *SERVER_SETTINGS, *PIPELINE.settings)
)
@click.argument("routes", nargs=-1, required=True, type=click.Choice(PIPELINE.names))
def consume(routes: tuple[str, ...]) -> None:
    """Run the consumers of one or more routes.

    Any number of consumers can run, on any hosts. SIGTERM or Ctrl-C stops them
    within half a minute: they take no new deliveries, and finish or return those in
    hand. A second signal returns them at once.

    With METRICS_ADDRESS=HOST:PORT the process serves /metrics for Prometheus,
    /healthz (200 unless it hangs) and /readyz (200 while connected to the broker).
    Under systemd (Type=notify) it reports when it is ready, and feeds the watchdog.

    \b
    Examples:
      dropscribe consume unpack transcribe review
      METRICS_ADDRESS=9464 dropscribe consume unpack
      curl http://127.0.0.1:9464/metrics
    """  # noqa: D301
    run_consumers(routes, read_environment())


def run_consumers(
    routes: Sequence[str], environment: Environment, adapters: Adapters | None = None
) -> None:
    """Run the routes' consumers in this process until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: A setting is invalid or missing.
    """
    settings = ObservingSettings.read(environment)
    log = configure_log().bind(host=socket.gethostname(), pid=os.getpid())
    stages = [PIPELINE[name] for name in dict.fromkeys(routes)]
    healths = [LoopHealth(stage.route.name) for stage in stages]
    process = ProcessHealth(healths, hung_after=settings.hung_after)
    metrics = ConsumerMetrics(version("dropscribe"))
    supervision = Supervision(
        Notifier(settings.notify_socket, log), process, watchdog=settings.watchdog(os.getpid())
    )
    stop = Stop()

    def ask(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        process.is_stopping = True
        (stop.now if stop.asked.is_set() else stop.asked).set()

    with ExitStack() as stack:
        if settings.metrics is not None:
            # Before the handlers are made, as loading a model takes long.
            address = stack.enter_context(serving(settings.metrics, metrics.registry, process))
            log.info("serving metrics", address=str(address))
        loops = {
            health: stack.enter_context(
                open_consumer(
                    stage, environment, log, adapters, metrics.observer(health, stage.spec.states)
                )
            )
            for health, stage in zip(healths, stages, strict=True)
        }
        # Not before: until here a signal may end the process at once.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask)
        _run(loops, stop, supervision)


def _run(loops: Mapping[LoopHealth, Loop], stop: Stop, supervision: Supervision) -> None:
    """Run each loop in a thread of its own; if one fails, stop them all."""
    broken: list[BaseException] = []

    def run(health: LoopHealth, loop: Loop) -> None:
        try:
            loop.run(stop)
        except BaseException as exc:
            health.has_died = True
            broken.append(exc)
            stop.asked.set()

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in loops.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        # With a timeout, as Python handles signals in this thread, between waits.
        while thread.is_alive():
            supervision.attend()
            thread.join(0.5)
    # All threads may have ended since the last report.
    supervision.attend()
    if broken:
        raise broken[0]
