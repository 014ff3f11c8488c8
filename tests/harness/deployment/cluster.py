"""A deployment with its consumers, and an operator who drops archives and looks at results."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from consumers.database.batches import BatchRepository
from consumers.errors import TransientError
from consumers.store import Store
from events.keys import BatchId
from events.routes import Route, dead_letter_queue_name, queue_name, review_queue_name, route_named
from ops.cli.batch_progress import BatchProgress, look
from ops.wiring.adapters import make_store, open_database, utc_now
from ops.wiring.settings import read_broker_address
from tests.harness.deployment.audit import Audit, audit
from tests.harness.deployment.batches import Plan, make_archive
from tests.harness.deployment.deployment import Deployment
from tests.harness.deployment.fleet import Fleet, open_fleet
from tests.harness.faults.death import Deaths
from tests.harness.faults.disk import SmallDisk, small_disk
from tests.harness.faults.messages import Tamperer

#: Megabytes that consumers have for their work.
_SCRATCH = 64


@dataclass(frozen=True, slots=True)
class Cluster:
    """What can be seen and done there, past all that is broken.

    Attributes:
        announced: Messages of the review queue, by the items' ids.
        restarting: Whoever ends a server keeps this until it is up again.
    """

    deployment: Deployment
    fleet: Fleet
    store: Store
    database: BatchRepository
    folder: Path
    disk: SmallDisk
    deaths: Deaths
    plans: dict[BatchId, Plan] = field(default_factory=dict)
    announced: dict[str, dict[str, Any]] = field(default_factory=dict)
    restarting: Lock = field(default_factory=Lock)

    def drop(
        self, chance: Random, *, recordings: int, cut: bool = False, batch: BatchId | None = None
    ) -> BatchId:
        """Make an archive, and drop it.

        Args:
            batch: Its id; None for a new one.
        """
        batch = batch or BatchId.new(utc_now(), secrets.token_bytes(3))
        path = self.folder / f"{batch}.tar"
        # Before it is stored: an answer that is lost leaves an archive there.
        self.plans[batch] = make_archive(path, chance, recordings=recordings, cut=cut)
        self._store(batch.archive_key, path)
        path.unlink()
        return batch

    def _store(self, key: str, path: Path) -> None:
        """Store a file, again and again while the store is away."""
        for pause in (1.0, 2.0, 4.0, 8.0, None):
            try:
                with path.open("rb") as file:
                    self.store.write(key, file, content_type="application/x-tar")
            except TransientError:
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                return

    @property
    def messages(self) -> Tamperer:
        """The broker's queues."""
        return Tamperer(self.deployment.direct["BROKER_URL"])

    def queue(self, route: Route | str) -> str:
        """Name a route's queue."""
        route = route_named(route) if isinstance(route, str) else route
        return queue_name(self._prefix, route)

    def forget_dead_letters(self) -> None:
        """Discard all dead letters."""
        for route in self.deployment.routes:
            self.messages.take_all(dead_letter_queue_name(self._prefix, route))

    @property
    def _prefix(self) -> str:
        return read_broker_address(self.deployment.environment).prefix

    def _take_announcements(self) -> None:
        """Take all messages from the review queue, as another system does."""
        for body in self.messages.take_all(review_queue_name(self._prefix)):
            document = json.loads(body)
            self.announced[document["item_id"]] = document

    def left_in_queues(self) -> dict[str, int]:
        """Count the messages of each queue for consumers that is not empty."""
        virtual_host = urlsplit(self.deployment.direct["BROKER_URL"]).path[1:]
        listed = self.deployment.servers.node.queues(virtual_host)
        others = review_queue_name(self._prefix)
        # The gateway's own queue is exclusive.
        names = [name for name in listed if not name.startswith("amq.") and name != others]
        return {name: count for name, count in self.messages.counts(names).items() if count}

    def look(self, batch: BatchId) -> BatchProgress:
        """Say how far a batch is."""
        return look(self.database, batch)

    def unfinished(self) -> list[BatchId]:
        """List the batches that are not over."""
        return [batch for batch in self.plans if not self.is_over(batch)]

    def is_over(self, batch: BatchId) -> bool:
        """Tell whether a batch is complete, or failed, and ready for review."""
        row = self.database.batch(batch)
        return row is not None and None not in (row.announced_at, row.itemised_at)

    def audit(self, plans: Mapping[BatchId, Plan] | None = None) -> Audit:
        """Compare the results with the dropped archives."""
        self._take_announcements()
        return audit(
            self.store,
            self.deployment.url,
            plans or self.plans,
            known=self.plans,
            announced=self.announced,
        )


@contextmanager
def open_cluster(deployed: Deployment, folder: Path) -> Iterator[Cluster]:
    """Open a site without consumers; those that are added end with the block.

    Raises:
        ConfigurationError: The scratch disk cannot be mounted.
    """
    deaths = Deaths(folder / "deaths")
    with (
        open_database(deployed.environment, connections=4) as database,
        small_disk(folder / "scratch", _SCRATCH) as disk,
        open_fleet(
            folder / "logs",
            disk.folder,
            {**deployed.consuming, **deaths.variables},
        ) as consumers,
    ):
        store = make_store(deployed.environment)
        yield Cluster(deployed, consumers, store, database, folder, disk, deaths)
