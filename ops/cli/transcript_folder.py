"""A batch's transcripts: from the bucket, and into files."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from consumers.database.rows import Recording
from consumers.documents.transcript import Transcript, TranscriptFormat, render
from consumers.errors import PermanentError
from consumers.store import Store

#: Bytes of a file name: file systems take 255, and the ending and an ordinal are added.
_NAME_BYTES = 200

#: The most parts of a path, counted from its end: Linux takes paths of 4,096 bytes.
_DEPTH = 12


def read_transcripts(
    store: Store, recordings: Sequence[Recording]
) -> Iterator[tuple[Recording, Transcript]]:
    """Read the transcripts of the recordings that have one."""
    for recording in recordings:
        if recording.transcript_key is not None:
            yield (
                recording,
                Transcript.from_json(
                    store.read(recording.transcript_key), recording.transcript_key
                ),
            )


class TranscriptFolder:
    """Writes transcripts under a folder, each under its recording's path in the archive.

    Paths are untrusted: every file stays within the folder, and none is written
    twice in one run.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path, formats: Sequence[TranscriptFormat]) -> None:
        self.root = root
        self._formats = formats
        self._taken: set[Path] = set()

    def make(self) -> None:
        """Create the folder.

        Raises:
            PermanentError: It cannot be created or written to.
        """
        with _translated(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass

    def write(self, recording: Recording, transcript: Transcript) -> list[Path]:
        """Write one recording's files, and give their paths.

        Raises:
            PermanentError: A file cannot be written.
        """
        paths = next(filter(self._is_free, self._candidates(recording)))
        self._taken.update(paths)
        with _translated(self.root):
            for path, form in zip(paths, self._formats, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(render(transcript, form), encoding="utf-8")
        return paths

    def _candidates(self, recording: Recording) -> Iterator[list[Path]]:
        """Return possible paths: the recording's own, then some by its ordinal at the top."""
        parts = safe_parts(recording.path)
        yield self._named(self.root.joinpath(*parts))
        for number in itertools.count():
            mark = f"{recording.audio.ordinal:07}" + (f"-{number}" if number else "")
            yield self._named(self.root / f"{mark}-{parts[-1]}")

    def _named(self, stem: Path) -> list[Path]:
        return [stem.with_name(f"{stem.name}.{form}") for form in self._formats]

    def _is_free(self, paths: Sequence[Path]) -> bool:
        """Whether the paths are within the folder, and new in this run."""
        root = self.root.resolve()
        return all(
            path not in self._taken
            and not path.is_dir()
            and path.resolve().is_relative_to(root)
            and _can_be_folder(root, path.parent.resolve())
            for path in paths
        )


@contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise PermanentError(f"{exc.filename or root}: {exc.strerror or exc}") from exc


def safe_parts(path: str) -> list[str]:
    """Split a path into file names that cannot lead out of a folder."""
    # First, since what is left of a part can be nothing, or "..".
    path = path.replace("\x00", "").replace("\\", "_")
    parts = [_cut(part) for part in PurePosixPath(path).parts if part not in {"..", "/", "//"}]
    return parts[-_DEPTH:] or ["recording"]


def _cut(name: str) -> str:
    """Shorten a name to `_NAME_BYTES`, without cutting a character in two."""
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _can_be_folder(root: Path, folder: Path) -> bool:
    """Whether the folder exists or can be created below the root."""
    while folder != root:
        if folder.exists() and not folder.is_dir():
            return False
        folder = folder.parent
    return True
