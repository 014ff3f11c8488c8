"""Neither memory nor scratch grows with the archive."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from consumers.database.batches import BatchRepository
from consumers.stages.stage_handler import StageContext
from consumers.stages.unpack import Unpack
from consumers.store import Store, StoredObject
from consumers.store.scratch import Scratch
from events.keys import BatchId
from tests.harness.samples.archives import entry
from tests.integration.conftest import Pipeline
from tests.integration.test_pipeline import event_for
from tests.samples import MP3

MIB = 1 << 20

SIZE = 1 << 30
MEMBER = 100_000
MEMBERS = SIZE // MEMBER

#: Every so many-th member is a recording; the others are pictures of cassettes.
RECORDING_EACH = 500

MEMORY_BOUND = 16 * MIB
SCRATCH_BOUND = 4 * MIB

BATCH = BatchId("20261122-100000-a1b2c3")


class Watched(io.RawIOBase):
    """A tar of 1 GiB that is made as it is read, and looks at what its reader takes up."""

    def __init__(self, scratch_root: Path) -> None:
        self._blocks = self._made()
        self._rest = b""
        self._device = scratch_root.stat().st_dev
        self.memory: list[int] = []
        self.scratch: list[int] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._blocks, b"")
        piece = self._rest[: len(buffer)]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _made(self) -> Iterator[bytes]:
        picture = b"\xff\xd8\xff\xe0" + bytes(MEMBER - 4)
        for number in range(MEMBERS):
            is_recording = number % RECORDING_EACH == 0
            content = MP3 if is_recording else picture
            name = f"tapes/{number:06}.{'mp3' if is_recording else 'jpg'}"
            yield entry(name, size=len(content)).tobuf(tarfile.USTAR_FORMAT)
            yield content + bytes(-len(content) % 512)
            if number % 1000 == 0:
                self._look()
        yield bytes(1024)

    def _look(self) -> None:
        self.memory.append(psutil.Process().memory_info().rss)
        self.scratch.append(sum(self._unnamed_files()))

    def _unnamed_files(self) -> Iterator[int]:
        for path in Path("/proc/self/fd").iterdir():
            try:
                about = os.fstat(int(path.name))
            except OSError:
                continue
            if about.st_nlink == 0 and about.st_dev == self._device:
                yield about.st_blocks * 512


class GeneratedStore(Store):
    """The bucket, with one archive in it that nobody could store."""

    def __init__(self, store: Store, content: Watched) -> None:
        super().__init__(store._client, store.bucket)
        self._content = content

    def head(self, key: str) -> StoredObject | None:
        if key != BATCH.archive_key:
            return super().head(key)
        now = datetime.now(UTC)
        # A stream that is longer than it has to be costs nothing; one that is shorter is an error.
        size = sum(len(block) for block in _sizes())
        return StoredObject(key, size, "e1", now, {})

    def read_range(self, stored: StoredObject, start: int, length: int) -> bytes:
        return next(Watched(Path("/"))._made())[start : start + length]

    def stream(self, stored: StoredObject) -> BinaryIO:
        return io.BufferedReader(self._content, MIB)


def _sizes() -> Iterator[range]:
    for number in range(MEMBERS):
        content = len(MP3) if number % RECORDING_EACH == 0 else MEMBER
        yield range(512 + -(-content // 512) * 512)
    yield range(1024)


def test_a_1_gib_archive_of_small_files_takes_no_more_than_its_largest(
    pipeline: Pipeline, store: Store, database: BatchRepository, scratch_root: Path
) -> None:
    content = Watched(scratch_root)
    generated = GeneratedStore(store, content)
    unpack = Unpack(
        StageContext(generated, database, pipeline.log),
        transcoders=pipeline.transcoders,
        scratch=Scratch(scratch_root),
        limits=pipeline.limits,
        threads=2,
    )
    assert unpack.handle([event_for(pipeline, BATCH.archive_key)]) == [None]
    recordings = database.recordings(BATCH)
    assert len(recordings) == -(-MEMBERS // RECORDING_EACH)
    assert {recording.state for recording in recordings} == {"converted"}
    # The manifest is the one thing that grows: a line for each member.
    manifest = store.head(BATCH.manifest_key)
    assert manifest is not None
    warm, rest = content.memory[0], content.memory[1:]
    assert max(rest) - warm < MEMORY_BOUND
    assert max(content.scratch) - 2 * manifest.size < SCRATCH_BOUND
    assert list(scratch_root.iterdir()) == []
