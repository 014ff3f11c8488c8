"""Sending events of stored objects again, where the store's notification was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consumers.broker.errors import skip_missing
from consumers.broker.sender import Sender
from consumers.database.sweep import SweepRepository
from consumers.portions import portions
from events.keys import AudioId, BatchId
from events.notification import encode
from events.routes import Route

#: Events between two records of what was sent: after a crash, so many are sent twice.
_TOGETHER = 100


class Resender:
    """Sends events in place of the store, and records when.

    An event is sent before it is recorded, so a crash in between sends it twice, which
    does no harm. The other way round, the event would be lost.
    """

    def __init__(
        self, bucket: str, sender: Sender, rows: SweepRepository, routes: Sequence[Route]
    ) -> None:
        self._bucket = bucket
        self._sender = sender
        self._rows = rows
        self._routes = routes

    def archive(self, batch: BatchId, key: str) -> None:
        """Send the event of a batch's archive."""
        self._send(key)
        self._rows.mark_batches([batch])

    def completion(self, batch: BatchId) -> None:
        """Send the event of a batch's ``.complete.json``."""
        self._send(batch.complete_key)
        self._rows.mark_batches([batch])

    def recordings(
        self, audios: Sequence[AudioId], sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Send the events of Opus objects; ``sent`` is called with the number of each group."""
        self._each(audios, lambda audio: audio.opus_key, sent)

    def transcripts(
        self, audios: Sequence[AudioId], sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Send the events of transcripts; see `recordings`."""
        self._each(audios, lambda audio: audio.transcript_key, sent)

    def _each(
        self, audios: Sequence[AudioId], key: Callable[[AudioId], str], sent: Callable[[int], None]
    ) -> None:
        for together in portions(audios, _TOGETHER):
            for name in map(key, together):
                self._send(name)
            self._rows.mark_recordings(together)
            sent(len(together))

    def depths(self) -> dict[str, int]:
        """Count the messages in each route's queue; 0 if the route is not set up."""
        return {route.name: self._depth(route) for route in self._routes}

    def _depth(self, route: Route) -> int:
        with skip_missing(route):
            return self._sender.depth(route)
        return 0

    def _send(self, key: str) -> None:
        """Send to the routes that the key matches, as the store's rules do.

        Raises:
            MissingQueueError: A queue is missing, even that of an optional route: a batch
                would wait for its verdicts for ever.
        """
        for route in self._routes:
            if route.matches(key):
                self._sender.send(route, encode(self._bucket, key))
