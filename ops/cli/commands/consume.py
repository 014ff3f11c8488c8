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
from ops.wiring.settings import (
    BrokerSettings,
    DatabaseSettings,
    LoopSettings,
    ObservingSettings,
    StoreSettings,
)


@click.command(
    cls=SettingsCommand,
    settings=(
        ObservingSettings,
        StoreSettings,
        BrokerSettings,
        DatabaseSettings,
        LoopSettings,
        *PIPELINE.settings,
    ),
)
@click.argument(
    "routes",
    nargs=-1,
    required=True,
    type=click.Choice(PIPELINE.names),
)
def consume(routes: tuple[str, ...]) -> None:
    """Run the consumers of one or more routes.

    Runs until SIGTERM or Ctrl-C: then it takes nothing new, finishes what it has
    in hand or gives it back, and exits within half a minute. A second signal
    gives back at once. As many as you like can run, on any hosts.

    With METRICS_ADDRESS=HOST:PORT it serves /metrics for Prometheus, /healthz (200
    unless it hangs) and /readyz (200 while it is connected to the broker). Under
    systemd (Type=notify) it says when it is ready, and feeds the watchdog.

    \b
      METRICS_ADDRESS=9464 dropscribe consume unpack
      curl http://127.0.0.1:9464/metrics
    """  # noqa: D301
    run_consumers(routes, read_environment())


def run_consumers(
    routes: Sequence[str], environment: Environment, adapters: Adapters | None = None
) -> None:
    """Run the routes' consumers in this process until a signal asks to end.

    Raises:
        ConfigurationError: They can't run.
    """
    settings = ObservingSettings.read(environment)
    log = configure_log().bind(host=socket.gethostname(), pid=os.getpid())
    stages = [PIPELINE[name] for name in dict.fromkeys(routes)]
    pulses = [LoopHealth(stage.route.name) for stage in stages]
    vitals = ProcessHealth(pulses, hung_after=settings.hung_after)
    figures = ConsumerMetrics(version("dropscribe"))
    supervision = Supervision(
        Notifier(settings.notify_socket, log), vitals, watchdog=settings.watchdog(os.getpid())
    )
    stop = Stop()

    def ask(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        vitals.is_stopping = True
        (stop.now if stop.asked.is_set() else stop.asked).set()

    with ExitStack() as stack:
        if settings.metrics is not None:
            # Before there are handlers, as loading a model takes long.
            address = stack.enter_context(serving(settings.metrics, figures.registry, vitals))
            log.info("serving metrics", address=str(address))
        loops = {
            pulse: stack.enter_context(
                open_consumer(
                    stage,
                    environment,
                    log,
                    adapters,
                    figures.observer(pulse, stage.spec.states),
                )
            )
            for pulse, stage in zip(pulses, stages, strict=True)
        }
        # Not before: until here there is nothing in hand.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask)
        _run(loops, stop, supervision)


def _run(loops: Mapping[LoopHealth, Loop], stop: Stop, supervision: Supervision) -> None:
    """Run each loop in a thread of its own; should one break, end them all."""
    broken: list[BaseException] = []

    def run(pulse: LoopHealth, loop: Loop) -> None:
        try:
            loop.run(stop)
        except BaseException as exc:
            pulse.has_died = True
            broken.append(exc)
            stop.asked.set()

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in loops.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        # With a timeout, as signals are handled in this thread between waits.
        while thread.is_alive():
            supervision.attend()
            thread.join(0.5)
    # What is asked to stop can have stopped between two looks.
    supervision.attend()
    if broken:
        raise broken[0]
