"""``dropscribe consume``: run consumers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType

import click

from consumers.loop import Loop, Stop
from events.routes import ROUTES
from ops.composition import Adapters, open_loop, route_named
from ops.environment import Environment
from ops.log import configure_log


@click.command()
@click.argument(
    "routes",
    nargs=-1,
    required=True,
    metavar="ROUTE...",
    type=click.Choice([route.name for route in ROUTES]),
)
def consume(routes: tuple[str, ...]) -> None:
    """Run the consumers of one or more ROUTEs: unpack, transcribe, moderate, review.

    Runs until SIGTERM or Ctrl-C: then it takes nothing new, finishes what it has
    in hand or gives it back, and exits within half a minute. A second signal
    gives back at once. As many as you like can run, on any hosts.

    Settings: those of bootstrap, and SCRATCH_ROOT, UNPACK_PROCESSES,
    OPUS_BIT_RATE, SILENCE_DBFS for unpack; SCRATCH_ROOT, MODELS_ROOT,
    WHISPER_MODEL, WHISPER_DEVICE, WHISPER_COMPUTE_TYPE, WHISPER_BATCH_SIZE,
    WHISPER_THREADS, TRANSCRIBE_GROUP for transcribe; POLICIES_ROOT, MODELS_ROOT,
    POLICY_MODEL, POLICY_ADAPTER, POLICY_DEVICE, POLICY_QUANTISATION,
    POLICY_BATCH_SIZE, POLICY_CONTEXT, or POLICY_ENDPOINT, POLICY_ENDPOINT_MODEL,
    POLICY_ENDPOINT_KEY, POLICY_ENDPOINT_TIMEOUT, POLICY_ENDPOINT_CA_FILE, and
    POLICY_LANGUAGES, POLICY_WINDOW_SECONDS, MODERATE_GROUP for moderate;
    SCRATCH_ROOT, REVIEW_SAMPLE, REVIEW_MARGIN_SECONDS, REVIEW_LOGPROB, SILENCE_DBFS
    for review.
    """
    run_consumers(routes, Environment(os.environ))


def run_consumers(
    routes: Sequence[str], environment: Environment, adapters: Adapters | None = None
) -> None:
    """Run the routes' consumers in this process until a signal asks to end.

    Raises:
        ConfigurationError: They can't run.
    """
    log = configure_log()
    stop = Stop()

    def ask(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        (stop.now if stop.asked.is_set() else stop.asked).set()

    with ExitStack() as stack:
        loops = [
            stack.enter_context(open_loop(route_named(name), environment, log, adapters))
            for name in dict.fromkeys(routes)
        ]
        # Not before: until here there is nothing in hand, and loading a model takes long.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask)
        _run(loops, stop)


def _run(loops: list[Loop], stop: Stop) -> None:
    """Run each loop in a thread of its own; should one break, end them all."""
    broken: list[BaseException] = []

    def run(loop: Loop) -> None:
        try:
            loop.run(stop)
        except BaseException as exc:
            broken.append(exc)
            stop.asked.set()

    threads = [threading.Thread(target=run, args=(loop,), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        # With a timeout, as signals are handled in this thread between waits.
        while thread.is_alive():
            thread.join(0.5)
    if broken:
        raise broken[0]
