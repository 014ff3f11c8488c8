"""Small recordings, for archives that tests drop."""

from __future__ import annotations

from pathlib import Path

from tests.harness.samples.sounds import Recipe, made, silence

WAV = made(Recipe("wav", "pcm_s16le"))
MP3 = made(Recipe("mp3", "libmp3lame", rate=8_000, layout="mono"))
FLAC = made(Recipe("flac", "flac", rate=96_000))
SILENT = made(Recipe("wav", "pcm_s16le"), silence(rate=44_100))

#: Two seconds each.
RECORDINGS = {"calls/one.mp3": MP3, "two.wav": WAV, "calls/three.flac": FLAC}


def archive(folder: Path, data: bytes, name: str = "calls.tar") -> Path:
    """Write an archive to a file."""
    path = folder / name
    path.write_bytes(data)
    return path
