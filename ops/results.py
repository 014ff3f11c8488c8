"""A batch's transcripts: from the bucket, and into files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from consumers.database.rows import Recording
from consumers.errors import PermanentError
from consumers.store import Store
from consumers.transcript import Format, Transcript, render

#: Bytes of one file name, with room for the longest ending.
_NAME_BYTES = 200

#: Folders below folders: the last ones of a path are the telling ones, and
#: systems take 4,096 bytes of a path at most.
_DEPTH = 12


def read_transcripts(
    store: Store, recordings: Sequence[Recording]
) -> Iterator[tuple[Recording, Transcript]]:
    """Read the transcripts of those recordings that have one."""
    for recording in recordings:
        if recording.transcript_key is not None:
            yield recording, Transcript.from_json(store.read(recording.transcript_key))


class TranscriptFolder:
    """Writes transcripts under a folder, each under its recording's path in the archive.

    A path is a stranger's: what is written stays within the folder whatever it
    says, and no file is ever written over within one run.
    """

    def __init__(self, root: Path, formats: Sequence[Format]) -> None:
        self._root = root
        self._formats = formats
        self._taken: set[Path] = set()

    def write(self, recording: Recording, transcript: Transcript) -> list[Path]:
        """Write one recording's files; returns where they are.

        Raises:
            PermanentError: The folder can't be written to.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            stem = self._stem(recording)
            stem.parent.mkdir(parents=True, exist_ok=True)
            written = []
            for form in self._formats:
                path = stem.with_name(f"{stem.name}.{form}")
                self._check_inside(path)
                path.write_text(render(transcript, form), encoding="utf-8")
                written.append(path)
        except OSError as exc:
            raise PermanentError(f"{exc.filename or self._root}: {exc.strerror or exc}") from exc
        return written

    def _stem(self, recording: Recording) -> Path:
        path = self._root.joinpath(*safe_parts(recording.path))
        ordinal = recording.audio.ordinal
        if path in self._taken or not _can_be_folder(self._root, path.parent):
            path = self._root / f"{ordinal:07}-{path.name}"
        self._taken.add(path)
        return path

    def _check_inside(self, path: Path) -> None:
        """Follow the links that stand in the folder; nothing is written through one to outside."""
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise PermanentError(f"{path} leads out of {self._root} by a link")


def safe_parts(path: str) -> list[str]:
    """Give a path's parts as names of files that stay within a folder."""
    parts = [
        _cut(part.replace("\x00", "").replace("\\", "_"))
        for part in PurePosixPath(path).parts
        if part not in {"", ".", "..", "/", "//"}
    ]
    return parts[-_DEPTH:] or ["recording"]


def _cut(name: str) -> str:
    """Shorten a name to what file systems take, without cutting a character in two."""
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _can_be_folder(root: Path, folder: Path) -> bool:
    """Tell whether no file stands in the way of a folder."""
    while folder != root:
        if folder.exists() and not folder.is_dir():
            return False
        folder = folder.parent
    return True
