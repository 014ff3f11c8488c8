"""What breaks on the way, and that the next run, or the same, goes on where it stopped."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.harness.faults.store_proxy import Misbehaviour
from tests.transfer.archives import members_of, noise, tar_of
from tests.transfer.conftest import MADE, CountingProxy, Line, Sending

MB = 1_000_000

#: Three parts of an upload.
LARGE = tar_of({"long.wav": noise(40 * MB)})


def until(look: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_connection_that_breaks_is_made_again_in_the_same_run(
    sending: Sending, line: Line
) -> None:
    sending.put("large.tar", LARGE)
    line.after(20 * MB, line.reset)

    report = sending.send(sending.source("*", line.port))

    assert sending.bucket.only() == LARGE
    assert report["bytes_fetched"] == len(LARGE)
    # What was on its way comes again, and no more than that.
    assert line.passed < len(LARGE) + 20 * MB


def test_an_unreachable_machine_is_tried_for_a_bounded_time(sending: Sending) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = sending.run(sending.source("*", nobody.getsockname()[1]), TRANSFER_ATTEMPTS="2")
    assert done.exit_code == 1
    assert "is unreachable" in done.stderr
    assert "tried 2 times" in done.stderr


def test_a_silent_machine_is_given_up(sending: Sending, line: Line) -> None:
    sending.put("large.tar", LARGE)
    line.after(10 * MB, line.cut)

    done = sending.run(sending.source("*", line.port), TRANSFER_ATTEMPTS="1", TRANSFER_TIMEOUT="10")

    assert done.exit_code == 1
    assert "the connection broke" in done.stderr
    line.mend()
    assert sending.send(sending.source("*", line.port))["bytes_resumed"] > 0
    assert sending.bucket.only() == LARGE


def test_a_run_that_was_killed_while_it_fetched_is_gone_on_with(
    sending: Sending, line: Line
) -> None:
    sending.put("large.tar", LARGE)
    _kill_while_fetching(sending, line, 20 * MB)
    line.passed = 0

    report = sending.send(sending.source("*", line.port))

    assert report["bytes_resumed"] >= 8 * MB
    assert report["bytes_fetched"] == len(LARGE) - report["bytes_resumed"]
    assert line.passed < len(LARGE) - report["bytes_resumed"] + MB
    assert sending.bucket.only() == LARGE


def test_a_pack_is_gone_on_with_in_the_middle_of_a_file(sending: Sending, line: Line) -> None:
    recordings = {f"{n}.wav".encode(): noise(9 * MB, n) for n in range(4)}
    for name, content in recordings.items():
        sending.put(name, content)
    _kill_while_fetching(sending, line, 20 * MB)

    report = sending.send(sending.source("", line.port))

    assert report["bytes_resumed"] >= 9 * MB
    assert members_of(sending.bucket.only()) == recordings


def test_a_file_that_was_changed_between_two_runs_begins_anew(sending: Sending, line: Line) -> None:
    sending.put("large.tar", LARGE)
    _kill_while_fetching(sending, line, 20 * MB)
    newer = tar_of({"other.wav": noise(3 * MB)})
    sending.put("large.tar", newer, mtime=MADE + 100)

    report = sending.send(sending.source("*", line.port))

    assert report["bytes_resumed"] == 0
    assert sending.bucket.only() == newer
    assert sending.staged() == []


def test_a_damaged_half_is_noticed_and_fetched_again(sending: Sending, line: Line) -> None:
    sending.put("large.tar", LARGE)
    _kill_while_fetching(sending, line, 20 * MB)
    _damage(sending.staged()[0])

    report = sending.send(sending.source("*", line.port))

    assert report["bytes_fetched"] == len(LARGE)
    assert sending.bucket.only() == LARGE


def test_a_pack_loses_what_was_changed_while_it_was_read(sending: Sending, line: Line) -> None:
    for number in range(3):
        sending.put(f"{number}.wav", noise(15 * MB, number))
    line.after(20 * MB, partial(sending.change, "1.wav", noise(15 * MB, 9), MADE + 5))

    report = sending.send(sending.source("", line.port))

    changed, sent = report["transfers"]
    assert (changed["outcome"], Path(changed["path"]).name) == ("changed", "1.wav")
    assert sent["files"] == 2
    assert members_of(sending.bucket.only()) == {
        b"0.wav": noise(15 * MB, 0),
        b"2.wav": noise(15 * MB, 2),
    }

    sending.send(sending.source("", line.port))
    assert {b"1.wav": noise(15 * MB, 9)} in map(members_of, sending.bucket.contents())


def test_a_change_with_the_same_time_and_size_is_found_by_content(
    sending: Sending, line: Line
) -> None:
    sending.put("large.tar", LARGE)
    altered = LARGE[:-MB] + bytes(MB)
    line.after(10 * MB, partial(sending.change, "large.tar", altered))

    report = sending.send(sending.source("*", line.port))

    assert [entry["outcome"] for entry in report["transfers"]] == ["changed"]
    assert sending.bucket.keys() == []
    sending.send(sending.source("*", line.port))
    assert sending.bucket.only() == altered


def test_a_store_that_refuses_leaves_it_staged(sending: Sending, store: CountingProxy) -> None:
    path = sending.put("large.tar", LARGE)
    store.fail(Misbehaviour.SLOW_DOWN, times=None, method="PUT")

    refused = sending.run(sending.source("*"))

    assert refused.exit_code == 1
    assert "it stays staged" in refused.stderr
    assert [staged.stat().st_size for staged in sending.staged()] == [len(LARGE)]
    assert sending.bucket.keys() == []

    store.heal()
    os.unlink(path)  # noqa: PTH108
    report = sending.send(sending.source("*"))

    # From what is here: over there, it is gone.
    assert report["bytes_fetched"] == 0
    assert [entry["outcome"] for entry in report["transfers"]] == ["sent"]
    assert sending.bucket.only() == LARGE
    assert sending.staged() == []


def test_with_the_store_unreachable_nothing_is_fetched(sending: Sending) -> None:
    sending.put("large.tar", LARGE)
    done = sending.run(sending.source("*"), S3_ENDPOINT="http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "the store is unreachable" in done.stderr
    assert sending.staged() == []


def test_a_run_killed_during_an_upload_sends_the_missing_parts(
    sending: Sending, store: CountingProxy
) -> None:
    sending.put("large.tar", LARGE)
    store.fail(Misbehaviour.HANG, times=1, method="PUT")
    with sending.start(sending.source("*")) as process:
        until(lambda: store.hits[Misbehaviour.HANG] and _parts(sending) == 2)
        process.kill()
    store.heal()
    store.requests.clear()

    report = sending.send(sending.source("*"))

    assert report["bytes_fetched"] == 0
    assert store.requests["PUT"] == 1
    assert sending.bucket.only() == LARGE


def test_a_run_killed_before_the_stores_answer_stores_nothing_twice(
    sending: Sending, store: CountingProxy
) -> None:
    sending.put("large.tar", LARGE)
    store.fail(Misbehaviour.HANG, times=None, method="HEAD", key="archives/")
    with sending.start(sending.source("*")) as process:
        until(lambda: store.hits[Misbehaviour.HANG])
        process.kill()
    store.heal()
    (key,) = sending.bucket.keys()
    stored = sending.bucket.head(key)
    store.requests.clear()

    report = sending.send(sending.source("*"))

    assert [entry["outcome"] for entry in report["transfers"]] == ["sent"]
    assert (store.requests["PUT"], store.requests["POST"]) == (0, 0)
    assert sending.bucket.keys() == [key]
    assert sending.bucket.head(key)["LastModified"] == stored["LastModified"]
    assert sending.staged() == []


def test_an_answer_that_was_lost_is_asked_for(sending: Sending, store: CountingProxy) -> None:
    sending.put("large.tar", LARGE)
    # To the request that completes the upload, too: tried again, it is refused.
    store.fail(Misbehaviour.LOSE_ANSWER, times=2, method="POST")
    store.fail(Misbehaviour.LOSE_ANSWER, times=1, method="PUT")

    sending.send(sending.source("*"))

    assert sending.bucket.only() == LARGE


def test_damaged_staging_is_noticed_and_fetched_again(
    sending: Sending, store: CountingProxy
) -> None:
    for content in (LARGE, tar_of({"small.wav": noise(1000)})):
        sending.put(f"{len(content)}.tar", content)
    store.fail(Misbehaviour.SLOW_DOWN, times=None, method="PUT")
    assert sending.run(sending.source("*")).exit_code == 1
    for staged in sending.staged():
        _damage(staged)
    store.heal()

    report = sending.send(sending.source("*"))

    assert [entry["outcome"] for entry in report["transfers"]] == ["sent", "sent"]
    assert all("it will be fetched again" in note for note in report["notes"])
    assert LARGE in sending.bucket.contents()
    assert len(sending.bucket.keys()) == 2


def test_damaged_staging_without_its_source_is_a_failure(
    sending: Sending, store: CountingProxy
) -> None:
    path = sending.put("small.tar", tar_of({"small.wav": noise(1000)}))
    store.fail(Misbehaviour.SLOW_DOWN, times=None, method="PUT")
    assert sending.run(sending.source("*")).exit_code == 1
    _damage(sending.staged()[0])
    os.unlink(path)  # noqa: PTH108
    store.heal()

    done = sending.run(sending.source("*"))

    assert done.exit_code == 1
    assert "the staged copy is damaged" in done.stderr
    assert sending.bucket.keys() == []


def _kill_while_fetching(sending: Sending, line: Line, count: int) -> None:
    """Have so many bytes come, and kill the process that waits for more."""
    line.after(count, line.cut)
    with sending.start(sending.source("", line.port)) as process:
        until(lambda: line._after is None and sending.staged())
        until(lambda: sending.staged()[0].stat().st_size >= 8 * MB)
        process.kill()
    line.mend()
    line.reset()


def _parts(sending: Sending) -> int:
    client, name = sending.bucket.client, sending.bucket.name
    uploads = client.list_multipart_uploads(Bucket=name).get("Uploads", ())
    return sum(
        len(client.list_parts(Bucket=name, Key=u["Key"], UploadId=u["UploadId"]).get("Parts", ()))
        for u in uploads
    )


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(700)
        byte = file.read(1)
        file.seek(700)
        file.write(bytes([byte[0] ^ 1]))
