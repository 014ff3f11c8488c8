"""Properties of a recording's sound, in the manifest and in the metadata of its Opus object.

With them a recording's row can be restored from the bucket, and a worker that finds the
object need not decode it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from urllib.parse import quote

import msgspec

from consumers.errors import PermanentError

#: S3 allows 2 KiB of user metadata; the path gets what the rest leaves.
_PATH_BYTES = 1200


class AudioProperties(msgspec.Struct, frozen=True):
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
    """

    duration: float
    codec: str
    sample_rate: int
    channels: int
    loudness_dbfs: float | None
    silent: bool
    damaged: int
    source_sha256: str

    def to_metadata(self, path: str) -> dict[str, str]:
        """Make the Opus object's user metadata; a very long path is cut."""
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
            )
        except (KeyError, ValueError) as exc:
            raise PermanentError(
                f"the Opus object's metadata is not dropscribe's ({exc}): it was stored by "
                "something else, or copied without its metadata"
            ) from exc


def _cut(path: str) -> str:
    """Shorten a path until it fits, percent-encoded, beside the other properties."""
    while len(quote(path)) > _PATH_BYTES:
        path = path[: len(path) * 9 // 10]
    return path
