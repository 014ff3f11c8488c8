"""Archives and recordings that are sent in tests."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Mapping


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that look like no kind of archive, and are the same each time."""
    return b"RIFF" + random.Random(seed).randbytes(size - 4)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def members_of(content: bytes) -> dict[bytes, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for info in archive:
            file = archive.extractfile(info)
            assert file is not None
            found[info.name.encode("utf-8", "surrogateescape")] = file.read()
    return found
