"""Finishing the remaining work with an operator's commands: ``sweep`` and ``dead``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from consumers.broker.connect import make_dead_letter_queues, open_sender
from consumers.broker.dead_letters import StoredDeadLetter
from consumers.database.sweep import Ages
from ops.recovery.dead_letters import DeadLetterFilter, discard, find, replay
from ops.wiring.adapters import make_topology
from ops.wiring.recovery import open_sweeper
from ops.wiring.settings import read_broker_address
from tests.harness.deployment.cluster import Cluster
from tests.harness.deployment.consumer import POISON

#: Seconds without progress before a sweep.
_PATIENCE = 15.0

#: Sweeps before the remaining work counts as stuck.
_ROUNDS = 20

#: Without regard to age and earlier events.
_ALL = Ages(timedelta(), timedelta())


@dataclass(slots=True)
class Drained:
    """What it took.

    Attributes:
        repaired: What sweeps found and repaired, by kind.
        replayed: Dead letters that were sent again, by reason.
        discarded: Dead letters that were to be expected.
    """

    seconds: float = 0.0
    repaired: Counter[str] = field(default_factory=Counter)
    replayed: Counter[str] = field(default_factory=Counter)
    discarded: int = 0


def drain(cluster: Cluster, log: Any) -> Drained:
    """Wait until the consumers have finished, with an operator's help."""
    drained = Drained()
    begun = time.monotonic()
    for _ in range(_ROUNDS):
        _settle(cluster, lambda: not cluster.unfinished())
        clear_dead_letters(cluster, drained)
        if not cluster.unfinished():
            break
        sweep(cluster, log, drained.repaired)
    _settle(cluster, lambda: not cluster.left_in_queues())
    clear_dead_letters(cluster, drained)
    drained.seconds = time.monotonic() - begun
    return drained


def sweep(cluster: Cluster, log: Any, repaired: Counter[str]) -> None:
    """Sweep once, and count the repairs."""
    with open_sweeper(cluster.deployment.environment, log, _ALL) as sweeper:
        report = sweeper.sweep()
    for kind, tally in report.tallies.items() if report else ():
        if kind.is_repaired:
            repaired[kind] += tally.done


def _settle(cluster: Cluster, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and not is_over():
        cluster.fleet.tend()
        time.sleep(0.5)


def clear_dead_letters(cluster: Cluster, drained: Drained) -> None:
    """Discard the dead letters that the run provokes on purpose, and replay the others."""
    address = read_broker_address(cluster.deployment.environment)
    dead = make_dead_letter_queues(address)
    letters = list(find(dead, DeadLetterFilter()))
    planned = frozenset(letter.id for letter in letters if _is_planned(cluster, letter))
    others = frozenset(letter.id for letter in letters) - planned
    if planned:
        drained.discarded += sum(1 for _ in discard(dead, DeadLetterFilter(ids=planned)))
    if others:
        topology = make_topology(cluster.deployment.environment)
        with open_sender(address, topology) as sender:
            sent = replay(dead, sender, cluster.database, DeadLetterFilter(ids=others))
            drained.replayed.update(letter.reason for letter in sent)


def _is_planned(cluster: Cluster, letter: StoredDeadLetter) -> bool:
    if letter.reason == "malformed" or POISON in letter.keys:
        return True
    plans = [cluster.plans.get(batch) for batch in letter.batches]
    return letter.reason == "permanent" and any(plan is not None and plan.is_cut for plan in plans)
