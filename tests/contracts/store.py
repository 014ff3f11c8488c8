"""The contract of the bucket: the requirements for any S3 store, by `consumers.store`."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.errors import TransientError
from consumers.store import ObjectGoneError, Store, StoredObject
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment

DATA = bytes(range(256)) * 8192

#: Keys that one way or another to encode them turns into others.
KEYS = [
    "archives/a b+c.tar",
    "archives/100%/a%2Fb%2B.tar",
    "archives/Zoë/Ümit & 日本語 🎙.tar",
    "archives/a=b&c?d#e;f:g@h,i$j!k*l'm(n)o~p.tar",
    "archives/" + "long " * 40 + ".tar",
]


def new_bucket(settings: Mapping[str, str]) -> Store:
    """Make a bucket in the store of these settings."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    store = make_store(Environment({**settings, "S3_BUCKET": name}))
    store._client.create_bucket(Bucket=name)
    return store


def stored(
    store: Store,
    key: str = "archives/x.tar",
    content: bytes = DATA,
    metadata: dict[str, str] | None = None,
) -> StoredObject:
    """Store an object, and read it by HEAD."""
    store.write(key, content, content_type="application/x-tar", metadata=metadata)
    found = store.head(key)
    assert found is not None
    return found


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class StoreContract:
    """Subclasses have a fixture ``store``: a bucket, which may hold other objects."""

    @pytest.fixture
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Resume downloads at once."""
        monkeypatch.setattr("consumers.store.download._RESUME_PAUSE", 0.01)

    def test_a_written_object_can_be_read(self, store: Store) -> None:
        found = stored(store)
        assert found.size == len(DATA)
        assert store.read(found.key) == DATA
        with store.stream(found) as stream:
            assert stream.read() == DATA
        file = io.BytesIO()
        store.download(found.key, file)
        assert file.getvalue() == DATA

    @pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, len(DATA)])
    def test_a_file_can_be_written_from_where_it_stands(self, store: Store, size: int) -> None:
        file = io.BytesIO(b"before" + DATA[:size])
        file.seek(len(b"before"))
        store.write("archives/x.tar", file, content_type="application/x-tar")
        assert store.read("archives/x.tar") == DATA[:size]

    def test_an_empty_object_can_be_written_and_read(self, store: Store) -> None:
        found = stored(store, content=b"")
        assert found.size == 0
        assert store.read(found.key) == b""
        with store.stream(found) as stream:
            assert stream.read() == b""

    def test_a_later_object_replaces_an_earlier_one(self, store: Store) -> None:
        before = stored(store, metadata={"path": "a.wav"})
        after = stored(store, content=b"sound")
        assert store.read(after.key) == b"sound"
        assert after.etag != before.etag
        assert after.metadata == {}

    @pytest.mark.parametrize("key", KEYS)
    def test_a_key_comes_back_as_it_was_given(self, store: Store, key: str) -> None:
        assert stored(store, key, b"sound").key == key
        assert store.read(key) == b"sound"
        assert list(store.keys(key[:12])).count(key) == 1
        store.delete(key)
        assert key not in store.keys("archives/")

    def test_a_part_can_be_read(self, store: Store) -> None:
        found = stored(store)
        assert store.read_range(found, 255, 3) == b"\xff\x00\x01"
        assert store.read_range(found, len(DATA) - 1, 100) == b"\xff"
        assert store.read_range(found, len(DATA), 1) == b""

    # On a real store, the duration of an example says nothing.
    @settings(
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
        max_examples=15,
        deadline=None,
    )
    @given(sizes=st.lists(st.integers(1, 300_000), min_size=1, max_size=5))
    def test_a_stream_gives_all_bytes_however_they_are_asked_for(
        self, store: Store, sizes: list[int]
    ) -> None:
        with store.stream(stored(store)) as stream:
            read = [stream.read(size) for size in sizes]
            assert b"".join(read) + stream.read() == DATA

    @pytest.mark.usefixtures("impatient")
    def test_a_download_that_breaks_off_is_taken_up_where_it_stopped(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[int] = []
        whole = store.open_range

        def cut(stored: StoredObject, start: int) -> Any:
            opened.append(start)
            body = whole(stored, start)
            if len(opened) > 2:
                return body
            with body:
                return io.BytesIO(body.read(1 << 19))

        monkeypatch.setattr(store, "open_range", cut)
        with store.stream(stored(store)) as stream:
            assert stream.read() == DATA
        assert opened == [0, 1 << 19, 1 << 20]

    @pytest.mark.usefixtures("impatient")
    def test_an_object_that_changed_since_is_not_mixed_with_its_successor(
        self, store: Store
    ) -> None:
        before = stored(store)
        after = stored(store, content=DATA[::-1])
        with pytest.raises(TransientError, match="PreconditionFailed"):
            store.read_range(before, 0, 10)
        with pytest.raises(TransientError, match="PreconditionFailed"), store.stream(before) as old:
            old.read()
        assert store.read_range(after, 0, 2) == b"\xff\xfe"

    def test_a_missing_object_has_an_error_of_its_own(self, store: Store) -> None:
        nowhere = "archives/none.tar"
        assert store.head(nowhere) is None
        with pytest.raises(ObjectGoneError):
            store.read(nowhere)
        with pytest.raises(ObjectGoneError):
            store.download(nowhere, io.BytesIO())
        with pytest.raises(ObjectGoneError):
            store.tags(nowhere)
        with pytest.raises(ObjectGoneError):
            store.tag(nowhere, {"dropscribe": "complete"})
        store.delete(nowhere)

    def test_a_deleted_object_is_gone(self, store: Store) -> None:
        found = stored(store, "archives/deleted.tar")
        store.delete(found.key)
        assert store.head(found.key) is None
        assert list(store.keys(found.key)) == []
        with pytest.raises(ObjectGoneError):
            store.read_range(found, 0, 10)

    def test_any_name_in_metadata_is_read_back_unchanged(self, store: Store) -> None:
        metadata = {
            "path": "Zoë/100%/ü, „日本語“ 🎙.wav",
            "duration": "2.5",
            "note": "a+b=c; 1, 2: %2B %% \\ \t",
        }
        assert stored(store, metadata=metadata).metadata == metadata

    def test_an_etag_is_the_md5_of_what_was_stored_at_once(self, store: Store) -> None:
        assert stored(store).etag == md5(DATA)
        assert stored(store, content=b"").etag == md5(b"")

    def test_an_object_has_the_time_of_the_stores_clock(self, store: Store) -> None:
        before = store.now()
        found = stored(store)
        # Both are in whole seconds.
        assert before - timedelta(seconds=1) <= found.last_modified <= store.now()
        # The same host's.
        assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)

    def test_tags_are_read_and_replaced(self, store: Store) -> None:
        key = stored(store).key
        assert store.tags(key) == {}
        first = {"dropscribe": "failed", "project": "birds"}
        store.tag(key, first)
        assert store.tags(key) == first
        second = {"dropscribe": "complete", "dropscribe-batch": "20250622-143052-a1b2c3"}
        store.tag(key, second)
        assert store.tags(key) == second

    def test_a_tag_changes_nothing_else_but_perhaps_the_time(self, store: Store) -> None:
        before = stored(store, metadata={"original-name": "Zoë.tar"})
        store.tag(before.key, {"dropscribe": "complete"})
        after = store.head(before.key)
        assert after is not None
        assert (after.size, after.etag) == (before.size, before.etag)
        assert after.metadata == before.metadata
        # Ceph counts it as a modification, others do not.
        assert after.last_modified >= before.last_modified
        assert store.read(before.key) == DATA

    def test_a_new_object_has_no_tags_of_the_old_one(self, store: Store) -> None:
        key = stored(store).key
        store.tag(key, {"dropscribe": "complete"})
        stored(store, content=b"other")
        assert store.tags(key) == {}

    def test_keys_are_listed_in_order_over_pages(self, store: Store) -> None:
        names = [f"processed/{n:04}.opus" for n in range(20)]
        for name in reversed(names):
            store.write(name, b"x", content_type="audio/ogg")
        assert list(store.keys("processed/", per_request=7)) == names
        assert [len(page) for page in store.pages("processed/", per_request=7)] == [7, 7, 6]
        assert list(store.keys("processed/001", per_request=3)) == names[10:]

    def test_keys_are_listed_in_the_order_of_their_bytes(self, store: Store) -> None:
        prefix = "sorted/"
        names = [
            f"{prefix}{name}" for name in ("aa", "B", "a-1", "a/1", "a.1", "Zoë", "é", "日", "🎙")
        ]
        for name in names:
            store.write(name, b"x", content_type="audio/ogg")
        assert list(store.keys(prefix, per_request=2)) == sorted(names, key=str.encode)

    def test_a_listing_agrees_with_head(self, store: Store) -> None:
        found = stored(store, "listed/Zoë a+b.tar")
        ((listed,),) = store.pages("listed/")
        assert (listed.key, listed.size, listed.etag) == (found.key, found.size, found.etag)
        # HEAD leaves out fractions of a second.
        assert listed.last_modified.replace(microsecond=0) == found.last_modified

    def test_an_empty_prefix_lists_nothing(self, store: Store) -> None:
        assert list(store.keys("nowhere/")) == []

    def test_a_large_file_is_uploaded_in_parts(self, store: Store, tmp_path: Path) -> None:
        path, content = tmp_path / "large.tar", DATA * 9
        path.write_bytes(content)
        sent: list[int] = []
        store.upload("archives/large.tar", path, metadata={"name": "a%20b"}, advance=sent.append)
        found = store.head("archives/large.tar")
        assert found is not None
        assert (sum(sent), found.size, found.etag[-2:]) == (len(content), len(content), "-2")
        assert found.metadata["name"] == "a b"
        with store.stream(found) as body:
            assert md5(body.read()) == md5(content)

    def test_an_upload_that_fails_leaves_no_parts(self, store: Store, tmp_path: Path) -> None:
        path, key = tmp_path / "large.tar", f"archives/{uuid.uuid4().hex}.tar"
        path.write_bytes(DATA * 9)

        def fail(_: int) -> None:
            raise TransientError("no more of this")

        with pytest.raises(TransientError, match="no more"):
            store.upload(key, path, metadata={}, advance=fail)
        assert store.head(key) is None
        begun = store._client.list_multipart_uploads(Bucket=store.bucket, Prefix=key)
        assert begun.get("Uploads", []) == []
