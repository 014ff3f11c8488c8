"""Finding, replaying and discarding dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from consumers.broker.dead_letters import DeadLetterQueues, HeldDeadLetter, StoredDeadLetter
from consumers.broker.errors import skip_missing
from consumers.broker.sender import Sender
from events.keys import ArchiveKey, AudioId, BatchId, BatchKey, RecordingKey, known_key
from events.routes import ROUTES, Route

#: How often to look for dead letters by their IDs: while another operator reads the queue,
#: they are invisible.
_LOOKS = 3

#: Seconds between looks.
_PAUSE = 1.0


class StatusRows(Protocol):
    """The rows that ``status`` reads (`consumers.database.batches.BatchRepository`)."""

    def unstall_archive(self, key: ArchiveKey) -> None:
        """Record that the archive's batch goes on again."""

    def unstall_recording(self, audio: AudioId) -> None:
        """Record that the recording goes on again."""


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """A filter for dead letters: those that match every condition; None is no condition.

    Attributes:
        batch: Those of one of its objects.
        archive_key: The key of the batch's archive, which may not name the batch.
    """

    routes: tuple[Route, ...] = ROUTES
    reason: str | None = None
    batch: BatchId | None = None
    archive_key: str | None = None
    ids: frozenset[str] | None = None

    def includes(self, letter: StoredDeadLetter) -> bool:
        """Whether a dead letter matches."""
        return (
            self.reason in {None, letter.reason}
            and (self.ids is None or letter.id in self.ids)
            and (self.batch is None or self._is_of_batch(letter))
        )

    def _is_of_batch(self, letter: StoredDeadLetter) -> bool:
        return self.batch in letter.batches or self.archive_key in letter.keys


def find(
    dead: DeadLetterQueues, selection: DeadLetterFilter, sleep: Callable[[float], None] = time.sleep
) -> Generator[StoredDeadLetter, None, None]:
    """Iterate over the matching dead letters, which stay in their queues."""
    for held in _held(dead, selection, sleep):
        yield held.letter


def discard(
    dead: DeadLetterQueues, selection: DeadLetterFilter, sleep: Callable[[float], None] = time.sleep
) -> Generator[StoredDeadLetter, None, None]:
    """Delete the matching dead letters.

    Yields:
        Each once it is gone.
    """
    for held in _held(dead, selection, sleep):
        held.discard()
        yield held.letter


def replay(
    dead: DeadLetterQueues,
    sender: Sender,
    rows: StatusRows,
    selection: DeadLetterFilter,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[StoredDeadLetter, None, None]:
    """Send the matching dead letters again, as first attempts.

    A dead letter leaves its queue only once the route's queue has its message: a crash
    between the two duplicates it, and duplicates are harmless.

    Yields:
        Each once it is sent.
    """
    for held in _held(dead, selection, sleep):
        # Before it is sent: the new attempt's own outcome must not be overwritten.
        _unstall(rows, held.letter)
        sender.send(held.letter.route, held.letter.body)
        held.discard()
        yield held.letter


def _held(
    dead: DeadLetterQueues, selection: DeadLetterFilter, sleep: Callable[[float], None]
) -> Generator[HeldDeadLetter, None, None]:
    missing = set(selection.ids or ())
    for look in range(_LOOKS if missing else 1):
        if look:
            sleep(_PAUSE)
        with closing(_walked(dead, selection)) as letters:
            for held in letters:
                if selection.ids is not None and held.letter.id not in missing:
                    continue
                yield held
                missing.discard(held.letter.id)
                if selection.ids is not None and not missing:
                    return
        if not missing:
            return


def _walked(
    dead: DeadLetterQueues, selection: DeadLetterFilter
) -> Generator[HeldDeadLetter, None, None]:
    for route in selection.routes:
        with skip_missing(route), dead.walk(route) as letters:
            yield from (held for held in letters if selection.includes(held.letter))


def _unstall(rows: StatusRows, letter: StoredDeadLetter) -> None:
    """Have ``status`` show the dead letter's objects as going on."""
    for key in letter.keys:
        parsed = known_key(key)
        if isinstance(parsed, RecordingKey):
            rows.unstall_recording(parsed.audio)
        elif isinstance(parsed, ArchiveKey):
            rows.unstall_archive(parsed)
        elif isinstance(parsed, BatchKey):
            rows.unstall_archive(ArchiveKey(parsed.batch.archive_key, parsed.batch))
