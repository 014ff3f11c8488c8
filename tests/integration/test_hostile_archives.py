"""Each bad thing ends as a rejected member or a failed batch, in words; the good goes on."""

from __future__ import annotations

import gzip
import random
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers.archive import ArchiveLimits
from consumers.stages.stored_archive import COMPLETE, STATE_TAG
from tests.contracts.pipeline import by_path, states
from tests.harness.samples.archives import EVERY_FORMAT, entry, tar_of, tar_of_entries, zip_of
from tests.integration.conftest import Pipeline
from tests.samples import MP3, RECORDINGS, WAV, archive


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, kind, size=len(data), **fields), data


HOSTILE = {
    "a link": (member("link.wav", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "link"),
    "a hard link": (member("hard.wav", kind=tarfile.LNKTYPE, linkname="one.wav"), "link"),
    "a device": (member("disk.wav", kind=tarfile.BLKTYPE), "device"),
    "a fifo": (member("pipe.wav", kind=tarfile.FIFOTYPE), "pipe"),
    "an absolute path": (member("/abs/x.wav", WAV), "absolute"),
    "a path that leads out": (member("a/../../x.wav", WAV), ".."),
    "0 bytes": (member("nothing.mp3"), "empty"),
    "garbage": (member("garbage.mp3", bytes(range(256)) * 40), "not a recording"),
    "random bytes": (member("data.bin", random.Random(1).randbytes(50_000)), "not a known audio"),
    "random bytes with a name": (
        member("data.wav", random.Random(2).randbytes(900)),
        "unknown kind",
    ),
    "a DS2 dictation": (member("a.ds2", b"\x03ds2" + bytes(2000)), "no decoder"),
    "text": (member("text.wav", b"This is not a recording.\n" * 40), "text"),
    "a cut MP3": (member("cut.mp3", MP3[:40]), "cannot be decoded"),
}


def test_bad_members_are_rejected_with_a_reason_and_the_others_are_transcribed(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    members = [member("one.wav", WAV)]
    for bad, _ in HOSTILE.values():
        members += [bad, member("two.mp3", MP3)]
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of_entries(members)))
    assert progress.state == "complete"
    first, *rest = pipeline.database.recordings(progress.batch)
    assert [each.state for each in (first, *rest[1::2])] == ["transcribed"] * (len(HOSTILE) + 1)
    for rejected, (what, (_, words)) in zip(rest[::2], HOSTILE.items(), strict=True):
        assert rejected.state == "rejected", what
        assert words in (rejected.reason or ""), what
        assert rejected.opus_key is None
    assert list(pipeline.scratch_root.iterdir()) == []
    assert not (tmp_path / "x.wav").exists()


#: Names, and what a note says of each.
NAMES = {
    b"caf\xe9.wav".decode(errors="surrogateescape"): "not UTF-8",
    "n" * 300 + ".wav": "304 characters",
    "\x1b[2Jred.wav": None,
}


def test_a_name_never_costs_a_good_recording(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    members = {**dict.fromkeys(NAMES, WAV), "two.mp3": MP3}
    progress = pipeline.run(archive(tmp_path, tar_of(members)))
    assert progress.counts == {"transcribed": 4}
    *named, _ = pipeline.database.recordings(progress.batch)
    for recording, note in zip(named, NAMES.values(), strict=True):
        assert recording.path.isprintable()
        if note is not None:
            assert recording.reason is None
            assert note in "; ".join(each.text for each in recording.notes)


def sevenzip() -> bytes:
    return b"7z\xbc\xaf\x27\x1c" + bytes(100)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (bytes(10240), "empty"),
        (zip_of({}), "empty"),
        (b"Dear archive, please find attached ...", "archive"),
        (sevenzip(), "7z"),
        (EVERY_FORMAT["tar.gz"](RECORDINGS)[:20], "cut off"),
    ],
    ids=["0 bytes", "an empty tar", "an empty zip", "text", "7z", "a cut header"],
)
def test_an_unreadable_archive_is_a_failed_batch_with_the_reason(
    pipeline: Pipeline, tmp_path: Path, data: bytes, words: str
) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, data))
    assert progress.state == "failed"
    assert progress.row is not None
    assert progress.row.failure
    assert words in progress.row.failure
    assert progress.counts == {}


@pytest.mark.parametrize("data", [WAV, gzip.compress(WAV)], ids=["plain", "compressed"])
def test_a_lone_recording_is_a_batch_of_one(
    pipeline: Pipeline, tmp_path: Path, data: bytes
) -> None:
    pipeline.start()
    name = "call.wav" if data == WAV else "call.wav.gz"
    progress = pipeline.run(archive(tmp_path, data, name))
    assert progress.state == "complete"
    assert states(pipeline.database, progress.batch) == {"call.wav": "transcribed"}


@pytest.mark.parametrize("in_front", [bytes(20_000), b"not sound \0" * 500], ids=["zeros", "junk"])
def test_a_recording_behind_something_else_is_transcribed(
    pipeline: Pipeline, tmp_path: Path, in_front: bytes
) -> None:
    pipeline.start()
    for dropped in (tar_of({"one.wav": in_front + WAV}), in_front + WAV):
        progress = pipeline.run(archive(tmp_path, dropped, "one.wav"))
        assert progress.state == "complete"
        assert states(pipeline.database, progress.batch) == {"one.wav": "transcribed"}


def test_an_archive_within_an_archive_is_read_one_level_deep(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    deepest = EVERY_FORMAT["tar.gz"]({"deep.wav": WAV})
    inner = zip_of({"two.mp3": MP3, "deep.tar.gz": deepest})
    pipeline.start()
    progress = pipeline.run(
        archive(tmp_path, tar_of({"one.wav": WAV, "inner.zip": inner, "three.wav": WAV}))
    )
    assert progress.state == "complete"
    assert states(pipeline.database, progress.batch) == {
        "one.wav": "transcribed",
        "inner.zip/two.mp3": "transcribed",
        "inner.zip/deep.tar.gz": "rejected",
        "three.wav": "transcribed",
    }
    assert list(pipeline.scratch_root.iterdir()) == []


def test_a_part_that_cannot_be_read_fails_the_batch_and_names_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    inner = EVERY_FORMAT["tar.gz"](RECORDINGS)[:2000]
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of({"inner.tar.gz": inner, "one.wav": WAV})))
    assert progress.state == "failed"
    assert progress.row is not None
    assert "inner.tar.gz: the archive is cut off" in (progress.row.failure or "")
    assert states(pipeline.database, progress.batch)["one.wav"] == "transcribed"


@pytest.mark.parametrize("name", ["tar", "tar.gz", "tar.xz"])
def test_whole_members_of_a_truncated_archive_are_transcribed(
    pipeline: Pipeline, tmp_path: Path, name: str
) -> None:
    whole = EVERY_FORMAT[name](RECORDINGS)
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, whole[: len(whole) * 2 // 3]))
    assert progress.state == "failed"
    assert progress.row is not None
    assert "cut off" in (progress.row.failure or "")
    found = states(pipeline.database, progress.batch)
    assert found["calls/one.mp3"] == "transcribed"
    assert list(found.values()).count("rejected") <= 1


@pytest.mark.parametrize("name", ["tar", "zip"])
def test_the_part_of_a_recording_before_the_archive_s_end_is_transcribed(
    pipeline: Pipeline, tmp_path: Path, name: str
) -> None:
    last = WAV + WAV[44:] * 20
    whole = EVERY_FORMAT[name]({"one.wav": WAV, "last.wav": last})
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, whole[: len(whole) * 2 // 3]))
    assert progress.state == "failed"
    found = by_path(pipeline.database, progress.batch)
    assert {path: each.state for path, each in found.items()} == {
        "one.wav": "transcribed",
        "last.wav": "transcribed",
    }


def test_each_member_of_an_encrypted_zip_is_rejected(pipeline: Pipeline, tmp_path: Path) -> None:
    data = bytearray(zip_of(RECORDINGS))
    # The bit that says so, in each local header and in the directory.
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", data, at + offset)
            struct.pack_into("<H", data, at + offset, flags | 1)
            at = data.find(signature, at + 4)
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, bytes(data), "calls.zip"))
    assert progress.counts == {"rejected": 3}
    reasons = {each.reason or "" for each in by_path(pipeline.database, progress.batch).values()}
    assert all("encrypted" in reason for reason in reasons)


def test_a_zip_bomb_is_refused_before_it_goes_off(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.limits = ArchiveLimits(ratio=100, ratio_floor=1 << 20)
    bomb = zip_of({"one.wav": WAV, "bomb.wav": WAV[:44] + bytes(32 << 20)})
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, bomb, "bomb.zip"))
    assert progress.state == "failed"
    assert progress.row is not None
    assert "100 times its size" in (progress.row.failure or "")
    assert list(pipeline.scratch_root.iterdir()) == []


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_member_that_is_too_large_costs_itself_only(
    pipeline: Pipeline, tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    pipeline.limits = ArchiveLimits(member_bytes=1 << 20)
    members = {"one.wav": WAV, "huge.wav": WAV[:44] + bytes(2 << 20), "two.mp3": MP3}
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, pack(members)))
    assert states(pipeline.database, progress.batch) == {
        "one.wav": "transcribed",
        "huge.wav": "rejected",
        "two.mp3": "transcribed",
    }


def test_a_member_that_breaks_its_decoder_off_is_not_lost(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """What decodes of a damaged recording is kept, and it says so."""
    damaged = bytearray(MP3)
    damaged[len(MP3) // 2 : len(MP3) // 2 + 200] = bytes(200)
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of({"damaged.mp3": bytes(damaged)})))
    assert progress.counts == {"transcribed": 1}


def test_names_of_file_managers_cost_no_recording(pipeline: Pipeline, tmp_path: Path) -> None:
    apple_double = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100)
    members = {
        "._one.wav": WAV,
        "__MACOSX/two.mp3": MP3,
        "._two.mp3": apple_double,
        "__MACOSX/._three.wav": apple_double,
        ".DS_Store": bytes(range(256)),
        "__MACOSX/empty": b"",
    }
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of(members)))
    assert progress.state == "complete"
    assert states(pipeline.database, progress.batch) == {
        "._one.wav": "transcribed",
        "__MACOSX/two.mp3": "transcribed",
    }
    assert pipeline.store.tags(progress.batch.archive_key)[STATE_TAG] == COMPLETE


def test_an_empty_file_is_missed_only_if_it_is_named_like_a_recording(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.start()
    members = {"one.wav": WAV, "two.wav": b"", ".keep": b""}
    progress = pipeline.run(archive(tmp_path, tar_of(members)))
    assert states(pipeline.database, progress.batch) == {
        "one.wav": "transcribed",
        "two.wav": "rejected",
    }
    rejected = pipeline.database.recordings(progress.batch)[1]
    assert rejected.reason == "not a recording, despite its name: an empty file"


@pytest.mark.parametrize("data", [zip_of(RECORDINGS), gzip.compress(tar_of(RECORDINGS))])
def test_an_archive_that_was_compressed_once_more_is_read(
    pipeline: Pipeline, tmp_path: Path, data: bytes
) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, gzip.compress(data), "calls.gz"))
    assert progress.state == "complete"
    assert states(pipeline.database, progress.batch) == {
        f"calls/{path}": "transcribed" for path in RECORDINGS
    }
    assert pipeline.store.tags(progress.batch.archive_key)[STATE_TAG] == COMPLETE
