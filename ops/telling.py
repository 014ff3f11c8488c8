"""Telling the consumers again of what is stored, where the store's notification was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consumers.broker.sender import Sender
from consumers.database.sweeping import Sweeping
from events.keys import AudioId, BatchId
from events.notification import encode
from events.routes import ROUTES

#: Sent between two marks: what a crash makes be sent twice.
_TOGETHER = 100


class Telling:
    """Sends events that no store sends, and puts on record when.

    An event is sent before that is on record: a crash between them makes it
    come twice, which does no harm; the other way round it would not come.
    """

    def __init__(self, bucket: str, sender: Sender, rows: Sweeping) -> None:
        self._bucket = bucket
        self._sender = sender
        self._rows = rows

    def archive(self, batch: BatchId, key: str) -> None:
        """Tell of a batch's archive."""
        self._tell(key)
        self._rows.mark_batches([batch])

    def recordings(
        self, audios: Sequence[AudioId], sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Tell of recordings' Opus objects; ``sent`` is called with how many, now and then."""
        for begin in range(0, len(audios), _TOGETHER):
            together = audios[begin : begin + _TOGETHER]
            for audio in together:
                self._tell(audio.opus_key)
            self._rows.mark_recordings(together)
            sent(len(together))

    def depths(self) -> dict[str, int]:
        """Count what waits in each route's queue."""
        return {route.name: self._sender.depth(route) for route in ROUTES}

    def _tell(self, key: str) -> None:
        for route in ROUTES:
            if route.matches(key):
                self._sender.send(route, encode(self._bucket, key))
