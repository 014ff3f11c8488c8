"""Telling the consumers again of what is stored, where the store's notification was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consumers.broker.errors import skip_missing
from consumers.broker.sender import Sender
from consumers.database.sweep import SweepRepository
from events.keys import AudioId, BatchId
from events.notification import encode
from events.routes import Route

#: Sent between two marks: what a crash makes be sent twice.
_TOGETHER = 100


class Resender:
    """Sends events that no store sends, and puts on record when.

    An event is sent before that is on record: a crash between them makes it
    come twice, which does no harm; the other way round it would not come.
    """

    def __init__(
        self, bucket: str, sender: Sender, rows: SweepRepository, routes: Sequence[Route]
    ) -> None:
        self._bucket = bucket
        self._sender = sender
        self._rows = rows
        self._routes = routes

    def archive(self, batch: BatchId, key: str) -> None:
        """Tell of a batch's archive."""
        self._tell(key)
        self._rows.mark_batches([batch])

    def completion(self, batch: BatchId) -> None:
        """Tell of a batch's ``.complete.json``."""
        self._tell(batch.complete_key)
        self._rows.mark_batches([batch])

    def recordings(
        self, audios: Sequence[AudioId], sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Tell of recordings' Opus objects; ``sent`` is called with how many, now and then."""
        self._each(audios, lambda audio: audio.opus_key, sent)

    def transcripts(
        self, audios: Sequence[AudioId], sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Tell of recordings' transcripts. See `recordings`."""
        self._each(audios, lambda audio: audio.transcript_key, sent)

    def _each(
        self,
        audios: Sequence[AudioId],
        key: Callable[[AudioId], str],
        sent: Callable[[int], None],
    ) -> None:
        for begin in range(0, len(audios), _TOGETHER):
            together = audios[begin : begin + _TOGETHER]
            for name in map(key, together):
                self._tell(name)
            self._rows.mark_recordings(together)
            sent(len(together))

    def depths(self) -> dict[str, int]:
        """Count what waits in each route's queue; nothing does of one that is not set up."""
        return {route.name: self._depth(route) for route in self._routes}

    def _depth(self, route: Route) -> int:
        with skip_missing(route):
            return self._sender.depth(route)
        return 0

    def _tell(self, key: str) -> None:
        """Send to the routes that wait for it, as the store's rules do.

        Raises:
            MissingQueueError: A queue is not there, not even an optional one: who is told
                of a transcript waits for its verdict.
        """
        for route in self._routes:
            if route.matches(key):
                self._sender.send(route, encode(self._bucket, key))
