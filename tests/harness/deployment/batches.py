"""Archives to drop, and how each of their members has to end."""

from __future__ import annotations

import io
import math
import random
import secrets
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from consumers.database.rows import RecordingState
from consumers.store import Store
from events.keys import BatchId
from ops.wiring.adapters import utc_now
from tests.harness.samples.sounds import Signal, silence, wav

_RATE = 8000

#: The policy: `WordJudge` flags recordings of two seconds.
POLICY = "Nothing may last 2"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an archive holds.

    Attributes:
        states: How each member has to end that is, or should be, a recording, by its path.
        flagged: The paths of those that `POLICY` flags.
        ignored: How many other members there are.
        is_cut: Whether the archive breaks off in its last recording.
    """

    archive: Path
    states: Mapping[str, RecordingState]
    flagged: Collection[str]
    ignored: int
    is_cut: bool


def make_archive(path: Path, chance: random.Random, *, recordings: int, cut: bool = False) -> Plan:
    """Write a tar of short recordings, and of what people put beside them.

    No two recordings are the same, in one archive or in two, so that each can
    be told by its content.

    Args:
        chance: What is in it is chosen by this.
        recordings: How many members are, or should be, recordings; at least one.
        cut: Whether to leave the end out.
    """
    states: dict[str, RecordingState] = {}
    with tarfile.open(path, "w") as archive:
        _add(archive, "README.txt", b"recorded by the harbour\n")
        for number in range(recordings - 1):
            kind = chance.choices(list(_SHARES), list(_SHARES.values()))[0]
            name = f"{number:03} {kind}.wav"
            _add(archive, name, _content(kind, chance))
            states[name] = _END[kind]
        # Where the archive breaks off in it, the part before that is transcribed.
        _add(archive, "last.wav", _content("voice", chance))
        states["last.wav"] = "moderated"
    if cut:
        # Two blocks of zeros end an archive, filled up to 10 KiB.
        content = path.read_bytes().rstrip(b"\0")
        path.write_bytes(content[: len(content) - 1000])
    flagged = {name for name in states if name.endswith("long.wav")}
    return Plan(path, states, flagged, ignored=1, is_cut=cut)


def drop_recording(store: Store, folder: Path, chance: random.Random) -> BatchId:
    """Store an archive of one short recording, and return its batch."""
    batch = BatchId.new(utc_now(), secrets.token_bytes(3))
    path = folder / f"{batch}.tar"
    make_archive(path, chance, recordings=1)
    with path.open("rb") as file:
        store.write(batch.archive_key, file, content_type="application/x-tar")
    path.unlink()
    return batch


_SHARES = {"voice": 15, "long": 5, "silence": 2, "garbage": 1, "empty": 1}

_END: Mapping[str, RecordingState] = {
    "voice": "moderated",
    "long": "moderated",
    "silence": "silent",
    "garbage": "rejected",
    "empty": "rejected",
}


def _content(kind: str, chance: random.Random) -> bytes:
    match kind:
        case "garbage":
            return b"nothing that can be heard " + chance.randbytes(200)
        case "empty":
            return b""
        case "silence":
            return wav(silence(1.0, _RATE), _RATE)
        case "long":
            return wav(_voice(chance, 1.7, 2.3), _RATE)
        case _:
            return wav(_voice(chance, 0.5, 1.0), _RATE)


def _voice(chance: random.Random, least: float, most: float) -> Signal:
    """Make some seconds of a tone, whose pitch is its own."""
    pitch = chance.uniform(150, 900) * 2 * math.pi / _RATE
    samples = chance.randrange(round(least * _RATE), round(most * _RATE))
    return np.asarray(0.27 * np.sin(pitch * np.arange(samples)), np.float32)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
