"""Properties of a recording's sound, in the manifest and in the metadata of its Opus object.

With them a recording's row can be restored from the bucket, and a worker that finds the
object need not decode it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import quote

import msgspec

from consumers.documents.note import Note, packed_notes, unpacked_notes
from consumers.errors import PermanentError

#: S3 allows 2 KiB of user metadata; the path gets what the rest leaves.
_PATH_BYTES = 1200

#: Bytes of user metadata, of which stores count each name with its prefix; some are to spare.
_METADATA_BYTES = 2048 - 48
_NAME_PREFIX = "x-amz-meta-"

#: The name of the metadata that holds the notes.
_NOTES = "notes"


class AudioProperties(msgspec.Struct, frozen=True, omit_defaults=True):
    """Properties of a recording's sound.

    Attributes:
        duration: Seconds.
        codec: FFmpeg's name of the source's codec.
        sample_rate: Hz, of the source.
        channels: Of the source.
        loudness_dbfs: RMS over the whole recording; None for digital silence.
        silent: Whether there is no audible sound.
        damaged: Packets that could not be decoded.
        source_sha256: Of the member's bytes, in hexadecimal.
        output_channels: Of the Opus object; several where voices are kept apart.
        layout: FFmpeg's names of the source's channel layouts, such as ``stereo + mono``.
    """

    duration: float
    codec: str
    sample_rate: int
    channels: int
    loudness_dbfs: float | None
    silent: bool
    damaged: int
    source_sha256: str
    output_channels: int = 1
    layout: str = ""

    def to_metadata(self, path: str, notes: Sequence[Note] = ()) -> dict[str, str]:
        """Make the Opus object's user metadata; a very long path and many notes are cut."""
        metadata = {
            "path": _cut(path),
            "duration": f"{self.duration:.3f}",
            "codec": self.codec,
            "sample-rate": str(self.sample_rate),
            "channels": str(self.channels),
            "silent": "1" if self.silent else "0",
            "damaged": str(self.damaged),
            "source-sha256": self.source_sha256,
        }
        if self.loudness_dbfs is not None:
            metadata["loudness-dbfs"] = f"{self.loudness_dbfs:.1f}"
        if self.output_channels != 1:
            metadata["output-channels"] = str(self.output_channels)
        if self.layout:
            metadata["layout"] = self.layout
        if packed := packed_notes(notes, _METADATA_BYTES - _size({**metadata, _NOTES: ""})):
            metadata[_NOTES] = packed
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Read an Opus object's user metadata.

        Raises:
            PermanentError: dropscribe did not make the object.
        """
        try:
            loudness = metadata.get("loudness-dbfs")
            return cls(
                duration=float(metadata["duration"]),
                codec=metadata["codec"],
                sample_rate=int(metadata["sample-rate"]),
                channels=int(metadata["channels"]),
                loudness_dbfs=None if loudness is None else float(loudness),
                silent=metadata["silent"] == "1",
                damaged=int(metadata["damaged"]),
                source_sha256=metadata["source-sha256"],
                output_channels=int(metadata.get("output-channels", 1)),
                layout=metadata.get("layout", ""),
            )
        except (KeyError, ValueError) as exc:
            raise PermanentError(
                f"the Opus object's metadata is not dropscribe's ({exc}): it was stored by "
                "something else, or copied without its metadata"
            ) from exc


def notes_of_metadata(metadata: Mapping[str, str]) -> tuple[Note, ...]:
    """Read the notes in an Opus object's user metadata; long ones are cut."""
    return unpacked_notes(metadata.get(_NOTES, ""))


def _size(metadata: Mapping[str, str]) -> int:
    return sum(
        len(_NAME_PREFIX) + len(name) + len(quote(value)) for name, value in metadata.items()
    )


def _cut(path: str) -> str:
    """Shorten a path until it fits, percent-encoded, beside the other properties."""
    while len(quote(path)) > _PATH_BYTES:
        path = path[: len(path) * 9 // 10]
    return path
