"""The pieces that an upload and a pack are made of."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.errors import ConfigurationError, TransientError
from consumers.store import LocalFileChangedError, Store, part_size
from events.keys import BatchId
from ops.ingest.transfer import tar
from ops.ingest.transfer.ledger import Shipment, ShipmentState
from ops.ingest.transfer.send import archive_metadata, send_shipment
from ops.ingest.transfer.staging import PartialFile, Staging, open_staging
from ops.wiring.environment import Environment
from ops.wiring.settings import TransferSettings

NOW = datetime(2025, 6, 22, 14, 30, 52, tzinfo=UTC)

MEMBER_NAMES = (
    st.binary(min_size=1, max_size=300)
    .map(lambda name: name.replace(b"\0", b"0"))
    .filter(lambda name: not name.endswith(b"/"))
)


def shipment(path: bytes, *, is_pack: bool = False) -> Shipment:
    batch = BatchId.new(NOW, b"abc")
    state = ShipmentState.STAGED
    return Shipment(7, batch, "studio", path, is_pack, state, 1, "f" * 64, 1, None, None)


@given(st.integers(0, 5 * 10**12))
def test_no_file_has_more_parts_than_a_store_takes(size: int) -> None:
    part = part_size(size)
    assert part >= 16 << 20
    assert -(-size // part) <= 10_000


@given(st.lists(st.tuples(MEMBER_NAMES, st.binary(max_size=2000)), max_size=5))
def test_a_pack_is_a_tar(members: list[tuple[bytes, bytes]]) -> None:
    pieces = [
        tar.header(name, len(content), 1_000_000_000) + content + tar.padding(len(content))
        for name, content in members
    ]
    assert [len(piece) for piece in pieces] == [
        tar.packed_size(name, len(content)) for name, content in members
    ]
    archive = io.BytesIO(b"".join(pieces) + tar.TRAILER)
    with tarfile.open(fileobj=archive, encoding="utf-8", errors="surrogateescape") as read:
        infos = read.getmembers()
        names = [info.name.encode("utf-8", "surrogateescape") for info in infos]
        contents = [read.extractfile(info) for info in infos]
        assert names == [name for name, _ in members]
        assert [file.read() for file in contents if file] == [content for _, content in members]


def test_a_header_holds_sizes_beyond_eight_gigabytes() -> None:
    info = tarfile.TarInfo.frombuf(tar.header(b"long.wav", 10**11, 0), "utf-8", "strict")
    assert info.size == 10**11


@given(st.binary(min_size=1, max_size=4096).filter(lambda path: b"\0" not in path))
def test_metadata_fits_whatever_the_path(path: bytes) -> None:
    metadata = archive_metadata(shipment(b"/" + path), NOW)
    size = sum(len(name) + len(value) for name, value in metadata.items())
    assert size + len("content-sha256") + 64 + 255 < 2048
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    read = unquote_to_bytes(metadata["source-path"])
    assert read == b"/" + path or path.endswith(read.removeprefix(b"..."))


def test_a_pack_is_named_after_its_folder() -> None:
    assert archive_metadata(shipment(b"/srv/calls", is_pack=True), NOW)["original-name"] == (
        "calls.tar"
    )
    assert archive_metadata(shipment(b"/", is_pack=True), NOW)["original-name"] == "studio.tar"


@given(st.data())
def test_a_file_in_the_making_is_the_same_wherever_it_was_interrupted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    pieces = data.draw(st.lists(st.binary(max_size=50), min_size=1, max_size=6))
    whole = b"".join(pieces)
    path = tmp_path_factory.mktemp("partial") / "1.staged"
    # Cut off anywhere, and something else may stand there.
    there = whole[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=20))
    path.write_bytes(there)

    with PartialFile(path) as partial:
        for number, piece in enumerate(pieces):
            if number % 2 == 0:
                partial.put(piece)
                continue
            start, digest = partial.checkpoint(), hashlib.sha256()
            here = partial.recall(len(piece), digest)
            partial.append(piece[here:], digest)
            if digest.digest() != hashlib.sha256(piece).digest():
                partial.go_back(start)
                partial.append(piece, hashlib.sha256())
        assert partial.finish() == hashlib.sha256(whole).hexdigest()
    assert path.read_bytes() == whole


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with open_staging(tmp_path, 0) as staging:
        assert staging is not None
        yield staging


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with open_staging(tmp_path, 0) as first:
        assert first
        with open_staging(tmp_path, 0) as second:
            assert not second
    with open_staging(tmp_path, 0) as third:
        assert third


def test_orphaned_and_abandoned_parts_are_removed(staging: Staging) -> None:
    begun = [
        staging.ledger.begin(
            BatchId.new(NOW, bytes([0, 0, number])), "studio", b"/a", [], is_pack=False, now=NOW
        )
        for number in range(3)
    ]
    for number in (1, 2, 8):
        path = staging.root / f"{number}.staged"
        path.touch()
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    os.utime(staging.path(begun[1]), (0, 0))

    staging.tidy(NOW)

    assert [path.name for path in staging.root.glob("*.staged")] == ["1.staged"]
    assert staging.ledger.in_state(ShipmentState.STAGING) == [begun[0], begun[2]]


def test_room_is_asked_for(staging: Staging) -> None:
    staging.require_room(shipment(b"/a"), 1)
    with pytest.raises(TransientError, match="make room"):
        staging.require_room(shipment(b"/a"), 10**18)


@pytest.mark.parametrize(
    ("what", "kind"),
    [("is gone", LocalFileChangedError), ("is a folder", TransientError)],
)
def test_a_staged_file_is_given_up_only_if_it_is_no_good(
    staging: Staging, what: str, kind: type[TransientError]
) -> None:
    sent = shipment(b"/a")
    path = staging.path(sent)
    if what == "is a folder":
        path.mkdir()
        sent = replace(sent, size=path.stat().st_size, part_size=1 << 20)
    # Without a client: nothing is asked of the store.
    store = Store(None, "bucket")
    with pytest.raises(TransientError, match="cannot be read") as refusal:
        send_shipment(store, staging, sent, now=NOW, advance=lambda _: None)
    assert type(refusal.value) is kind


def test_settings(tmp_path: Path) -> None:
    settings = TransferSettings.read(Environment({"XDG_DATA_HOME": str(tmp_path)}))
    assert settings.root == tmp_path / "dropscribe" / "transfer"
    assert (settings.key, settings.known_hosts, settings.attempts) == (None, None, 5)
    with pytest.raises(ConfigurationError, match="TRANSFER_SSH_KEY"):
        TransferSettings.read(Environment({"TRANSFER_SSH_KEY": str(tmp_path / "none")}))
