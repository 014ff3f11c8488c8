"""What is sent, under which names, and that nothing is sent twice."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from events.keys import BatchId
from ops.ingest.transfer.staging import open_staging
from tests.transfer.archives import members_of, noise, tar_of
from tests.transfer.conftest import MADE, Sending

CALLS = tar_of({"one.wav": noise(2000)})

#: What a file can be called: all that ends up in a shell, a header, a tar or on a terminal.
ODD_NAMES = [
    b"with space.wav",
    b'it\'s "quoted" $(touch pwned) `id`;.wav',
    b"two\nlines.wav",
    b"latin-\xe9.wav",
    b"back\\slash.wav",
    b"-rf.wav",
    b"[brackets]*?.wav",
    "grüße/\N{SNOWMAN}.wav".encode(),
    b"deep/" + b"n" * 200 + b"/" + b"m" * 200 + b".wav",
]


def test_an_archive_is_sent_as_it_is_with_where_it_comes_from(sending: Sending) -> None:
    sending.put("über calls.tar", CALLS)

    report = sending.send(sending.source("*.tar"))

    (sent,) = report["transfers"]
    assert sent["outcome"] == "sent"
    assert sending.bucket.keys() == [BatchId(sent["batch_id"]).archive_key]
    assert sending.bucket.only() == CALLS
    metadata = sending.bucket.head(sending.bucket.keys()[0])["Metadata"]
    assert metadata["original-name"] == "%C3%BCber calls.tar"
    assert unquote_to_bytes(metadata["source-path"]) == bytes(sending.there / "über calls.tar")
    assert metadata["source-host"] == f"127.0.0.1:{sending.server.port}"
    assert metadata["transferred-at"].startswith("20")
    assert metadata["content-sha256"] == hashlib.sha256(CALLS).hexdigest()
    assert sending.staged() == []


def test_a_folder_of_loose_files_is_packed_with_their_names(sending: Sending) -> None:
    recordings = {name: noise(1000 + n, n) for n, name in enumerate(ODD_NAMES)}
    for name, content in recordings.items():
        sending.put(name, content)
    sending.put(".half.wav.Xy12", b"a copy that is still on its way")
    sending.put("empty.wav", b"")

    report = sending.send(sending.source())

    assert [entry["files"] for entry in report["transfers"]] == [len(ODD_NAMES) + 1]
    assert members_of(sending.bucket.only()) == recordings | {b"empty.wav": b""}
    assert not (sending.there / "pwned").exists()
    assert sending.send(sending.source())["known"] == len(ODD_NAMES) + 1


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_archive_of_any_name_is_sent(sending: Sending, name: bytes) -> None:
    path = sending.put(name, CALLS)

    sending.send(sending.server.source(_quoted(path)))

    assert sending.bucket.contents() == [CALLS]


def _quoted(path: bytes) -> str:
    return "".join(f"%{byte:02X}" if byte != ord("/") else "/" for byte in path)


def test_archives_among_loose_files_are_told_by_their_content(sending: Sending) -> None:
    sending.put("looks-like-sound.wav", CALLS)
    sending.put("looks-like-an-archive.tar", noise(3000))

    sending.send(sending.source())

    assert CALLS in sending.bucket.contents()
    (pack,) = (content for content in sending.bucket.contents() if content != CALLS)
    assert members_of(pack) == {b"looks-like-an-archive.tar": noise(3000)}


def test_packs_hold_so_many_files_and_bytes_at_most(sending: Sending) -> None:
    for number in range(5):
        sending.put(f"{number}.wav", noise(1000, number))
    sending.put("large/0.wav", noise(50_000))

    by_count = sending.send("--pack-files", "3", sending.source("?.wav"))
    by_size = sending.send("--pack-bytes", "10kB", sending.source("large/"))

    assert [entry["files"] for entry in by_count["transfers"]] == [3, 2]
    # Larger than a pack may be: alone.
    assert [entry["files"] for entry in by_size["transfers"]] == [1]


def test_the_same_file_is_not_sent_twice(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    sending.send(sending.source("*"))
    for again in (sending.source("*"), sending.source("calls.tar"), sending.source()):
        assert sending.send(again)["transfers"] == []

    # Copied and touched: the same content, which is told by its SHA-256.
    sending.put("copy-of-calls.tar", CALLS)
    sending.put("calls.tar", CALLS, mtime=MADE + 100)
    report = sending.send(sending.source("*"))
    assert [entry["outcome"] for entry in report["transfers"]] == ["copy", "copy"]
    assert report["bytes_fetched"] == 0
    assert len(sending.bucket.keys()) == 1

    assert sending.send(sending.source("*"))["known"] == 2


def test_a_file_with_new_content_is_another_one(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    sending.send(sending.source("*"))
    newer = tar_of({"two.wav": noise(4000)})
    sending.put("calls.tar", newer, mtime=MADE + 100)

    sending.send(sending.source("*"))

    assert sorted(sending.bucket.contents()) == sorted([CALLS, newer])


def test_files_that_may_still_be_written_are_left_alone(sending: Sending) -> None:
    now = int(time.time())
    sending.put("old.tar", CALLS)
    sending.put("young.tar", tar_of({"young.wav": noise(10)}), mtime=now - 5)
    # A recorder that believes to be in another year will do so tomorrow, too.
    future = tar_of({"future.wav": noise(10)})
    sending.put("future.tar", future, mtime=now + 400 * 86400)

    report = sending.send(sending.source("*"))

    assert [(e["outcome"], Path(e["path"]).name) for e in report["transfers"]] == [
        ("unsettled", "young.tar"),
        ("sent", "future.tar"),
        ("sent", "old.tar"),
    ]
    assert len(sending.send("--settle", "1s", sending.source("*"))["transfers"]) == 1


def test_patterns(sending: Sending) -> None:
    for name in ("a/1.tar", "a/b/2.tar", "a/b/c/3.tar", "a/3.txt", "x[1].tar", "x1.tar"):
        sending.put(name, tar_of({name: name.encode()}))

    def meant(pattern: str) -> set[str]:
        report = sending.send("--dry-run", sending.source(pattern))
        return {
            str(Path(entry["path"]).relative_to(sending.there)) for entry in report["transfers"]
        }

    assert meant("a/*.tar") == {"a/1.tar"}
    assert meant("a/*/*.tar") == {"a/b/2.tar"}
    assert meant("a/**/*.tar") == {"a/1.tar", "a/b/2.tar", "a/b/c/3.tar"}
    assert meant("*/b/[0-9].tar") == {"a/b/2.tar"}
    # A file can be called so.
    assert meant("x[1].tar") == {"x[1].tar"}
    assert sending.bucket.keys() == []
    assert not sending.staged()


def test_an_unmatched_pattern_is_fine_and_a_missing_file_is_an_error(
    sending: Sending,
) -> None:
    sending.put("calls.tar", CALLS)

    nothing = sending.send(sending.source("*.zip"))
    assert nothing["transfers"] == []
    (note,) = nothing["notes"]
    assert note.endswith(f"{sending.there}/*.zip: no such files")

    missing = sending.run(sending.source("not-there.tar"), sending.source("calls.tar"))
    assert missing.exit_code == 1
    assert "not-there.tar does not exist" in missing.stderr
    # The rest goes on.
    assert sending.bucket.only() == CALLS


def test_links_are_not_followed_out_of_a_folder(sending: Sending, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(noise(100))
    (sending.there / "link.wav").symlink_to(tmp_path / "secret.wav")
    (sending.there / "all").symlink_to(tmp_path)

    assert sending.send(sending.source())["transfers"] == []


def test_a_list_of_sources(sending: Sending, tmp_path: Path) -> None:
    sending.put("one.tar", CALLS)
    sending.put("two/a.wav", noise(100))
    lines = tmp_path / "studio.sources"
    lines.write_text(f"# Studio 1\n{sending.source('one.tar')}\n\n{sending.source('two/')}\n")
    toml = tmp_path / "studio.toml"
    toml.write_text(f"sources = [{sending.source('one.tar')!r}]\n")

    assert len(sending.send("--sources", str(lines))["transfers"]) == 2
    assert sending.send("--sources", str(toml))["known"] == 1

    lines.write_text("studio:/srv\n/srv/recordings\n")
    refused = sending.run("--sources", str(lines))
    assert refused.exit_code == 2
    assert "line 2" in refused.stderr


def test_a_second_run_at_the_same_time_does_nothing(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    with open_staging(sending.root, 0):
        second = sending.run(sending.source("*"))
        assert sending.send(sending.source("*")) == {"running": True}
    assert second.exit_code == 0
    assert "another transfer is running" in second.stdout
    assert sending.bucket.keys() == []


def test_a_full_disk_here_is_told_before_anything_is_fetched(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)

    done = sending.run(sending.source("*"), TRANSFER_RESERVE=str(10**15))

    assert done.exit_code == 1
    assert "has no room" in done.stderr
    assert sending.send(sending.source("*"))["transfers"][0]["outcome"] == "sent"


def test_only_regular_files_are_recordings(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    os.mkfifo(sending.there / "pipe.tar")

    assert len(sending.send(sending.source("*"))["transfers"]) == 1
    assert sending.run(sending.source("pipe.tar")).exit_code == 1
