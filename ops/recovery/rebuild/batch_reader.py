"""Batches as the bucket has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

from consumers.database.rows import Recording, Sidecar
from consumers.documents.audio_properties import AudioProperties, notes_of_metadata
from consumers.documents.completion import BatchCompletion
from consumers.documents.manifest import Archive, ManifestHead, read_manifest
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.item_list import read_items
from consumers.documents.transcript import Transcript
from consumers.documents.verdict import PolicyVerdict
from consumers.errors import PermanentError
from consumers.stages.stored_archive import describe
from consumers.store import ObjectGoneError, Store
from consumers.store.scratch import Scratch
from events.keys import (
    ARCHIVES,
    PROCESSED,
    ArchiveKey,
    AudioId,
    BatchId,
    DecisionKey,
    RecordingKey,
    batch_of,
    known_key,
)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A batch's ``.complete.json``, and when it was stored."""

    completion: BatchCompletion
    announced_at: datetime


def describe_stored(store: Store, key: str) -> Archive | None:
    """Describe the archive under a key; None where there is none."""
    parsed = known_key(key)
    if not isinstance(parsed, ArchiveKey):
        return None
    stored = store.head(key)
    return None if stored is None else describe(store, parsed, stored)


def has_content(store: Store, key: str | None, etag: str | None) -> bool:
    """Whether there is an object with this key and ETag."""
    stored = store.head(key) if key else None
    return stored is not None and stored.etag == etag


class BatchReader:
    """Reads batches from a bucket, by way of scratch files."""

    def __init__(self, store: Store, scratch: Scratch) -> None:
        self._store = store
        self._scratch = scratch

    def batches(self) -> Iterator[tuple[BatchId, Archive | None]]:
        """Find every batch, and its archive where it exists; some batches come twice."""
        for page in self._store.pages(ARCHIVES):
            for listed in page:
                try:
                    archive = describe_stored(self._store, listed.key)
                except PermanentError:
                    # The reason is reported when its batch is rebuilt.
                    archive, batch = None, batch_of(listed.key)
                else:
                    batch = archive.batch if archive else None
                if batch is not None:
                    yield batch, archive
        last = None
        for key in self._store.keys(PROCESSED):
            batch = batch_of(key)
            if batch is not None and batch != last:
                yield batch, None
                last = batch

    def archive(self, batch: BatchId) -> Archive | None:
        """Find a batch's archive; None where it no longer exists."""
        for key in self._store.keys(f"{ARCHIVES}{batch}"):
            archive = describe_stored(self._store, key)
            if archive is not None and archive.batch == batch:
                return archive
        # Under any other name, the batch's last digits are derived from name and content.
        for page in self._store.pages(ARCHIVES):
            for listed in page:
                derived = BatchId.derived(listed.last_modified, listed.key, listed.etag)
                if derived.value[-6:] != batch.value[-6:]:
                    continue
                archive = describe_stored(self._store, listed.key)
                if archive is not None and archive.batch == batch:
                    return archive
        return None

    @contextmanager
    def manifest(self, batch: BatchId) -> Iterator[tuple[ManifestHead, Iterator[Recording]]]:
        """Open a batch's manifest: its head and, read lazily, the rows of its recordings.

        Raises:
            ObjectGoneError: The batch has none.
            MalformedDocumentError: It is invalid; also while recordings are read.
        """
        with self._downloaded(batch.manifest_key) as file:
            head, entries = read_manifest(file)
            rows = (Recording.of_entry(batch, entry) for entry in entries)
            yield head, (row for row in rows if row is not None)

    @contextmanager
    def sidecars(self, batch: BatchId) -> Iterator[Iterator[Sidecar]]:
        """Open a batch's manifest for the texts in it; the errors are those of `manifest`."""
        with self._downloaded(batch.manifest_key) as file:
            _, entries = read_manifest(file)
            rows = (Sidecar.of_entry(batch, entry) for entry in entries)
            yield (row for row in rows if row is not None)

    @contextmanager
    def review_items(self, batch: BatchId) -> Iterator[Iterator[ReviewItem]]:
        """Open a batch's list of review items; the errors are those of `manifest`."""
        with self._downloaded(batch.review_key) as file:
            yield read_items(file, batch.review_key)

    @contextmanager
    def _downloaded(self, key: str) -> Iterator[BinaryIO]:
        with self._scratch.file() as file:
            self._store.download(key, file)
            file.seek(0)
            yield cast("BinaryIO", file)

    def audios(self, batch: BatchId, suffix: str | None = None) -> Iterator[AudioId]:
        """List the recordings that have an object, or one with the suffix, in order."""
        last = None
        for key in self._store.keys(f"{batch.prefix}-"):
            parsed = known_key(key)
            if not isinstance(parsed, RecordingKey) or parsed.audio == last:
                continue
            if suffix in {None, parsed.suffix}:
                last = parsed.audio
                yield last

    def decision_keys(self, batch: BatchId) -> Iterator[str]:
        """List the keys of the reviewers' decisions."""
        for key in self._store.keys(f"{batch.prefix}."):
            if isinstance(known_key(key), DecisionKey):
                yield key

    def recording(self, audio: AudioId) -> Recording | None:
        """Read a recording from its Opus object; None where it is gone, or not dropscribe's.

        The reason for the latter is reported by the consumer of the object's event.
        """
        stored = self._store.head(audio.opus_key)
        if stored is None:
            return None
        try:
            facts = AudioProperties.from_metadata(stored.metadata)
        except PermanentError:
            return None
        path = stored.metadata.get("path", str(audio))
        return Recording.converted(audio, path, facts, notes_of_metadata(stored.metadata))

    def transcribed(self, audio: AudioId) -> tuple[Recording, Transcript] | None:
        """Read a transcript and the row of its recording; None as for `recording`."""
        recording = self.recording(audio)
        if recording is None:
            return None
        try:
            transcript = Transcript.from_json(
                self._store.read(audio.transcript_key), audio.transcript_key
            )
        except (PermanentError, ObjectGoneError):
            return None
        return recording.transcribed(transcript), transcript

    def moderation(self, audio: AudioId) -> PolicyVerdict | None:
        """Read a recording's verdict; None where it cannot be read."""
        try:
            return PolicyVerdict.from_json(self._store.read(audio.verdict_key), audio.verdict_key)
        except (PermanentError, ObjectGoneError):
            return None

    def announcement(self, batch: BatchId) -> Announcement | None:
        """Read a batch's ``.complete.json``; None where it has none.

        Raises:
            MalformedDocumentError: It is invalid.
        """
        stored = self._store.head(batch.complete_key)
        if stored is None:
            return None
        completion = BatchCompletion.from_json(self._store.read(stored.key), stored.key)
        return Announcement(completion, stored.last_modified)

    def has(self, batch: BatchId, suffix: str) -> bool:
        """Whether any recording of the batch has an object with the suffix."""
        return next(self.audios(batch, suffix), None) is not None
