"""The bucket, through the calls that dropscribe makes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.errors import TransientError
from consumers.store import (
    ObjectGoneError,
    Store,
    connect_store,
    decoded_metadata,
    encoded_metadata,
)

DATA = bytes(range(256)) * 8192


def test_what_is_written_can_be_read(store: Store) -> None:
    metadata = {"path": "Zoë/100%/ü.wav", "duration": "2.5"}
    store.write("archives/a b+c.tar", DATA, content_type="application/x-tar", metadata=metadata)
    stored = store.head("archives/a b+c.tar")
    assert stored is not None
    assert stored.size == len(DATA)
    assert stored.metadata == metadata
    assert store.read("archives/a b+c.tar") == DATA
    assert store.read_range(stored, 255, 3) == b"\xff\x00\x01"
    assert store.read_range(stored, len(DATA) - 1, 100) == b"\xff"
    with store.stream(stored) as stream:
        assert stream.read() == DATA


@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True), st.text()))
def test_metadata_is_ascii_on_the_way(metadata: dict[str, str]) -> None:
    metadata = {name: value for name, value in metadata.items() if value.isprintable()}
    encoded = encoded_metadata(metadata)
    assert all(value.isascii() for value in encoded.values())
    assert decoded_metadata(encoded) == metadata


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.lists(st.integers(1, 300_000), min_size=1, max_size=5))
def test_a_stream_gives_all_bytes_however_they_are_asked_for(
    store: Store, sizes: list[int]
) -> None:
    store.write("archives/x.tar", DATA, content_type="application/x-tar")
    stored = store.head("archives/x.tar")
    assert stored is not None
    with store.stream(stored) as stream:
        read = [stream.read(size) for size in sizes]
        assert b"".join(read) + stream.read() == DATA


def test_a_download_that_breaks_off_is_taken_up_where_it_stopped(store: Store) -> None:
    store.write("archives/x.tar", DATA, content_type="application/x-tar")
    stored = store.head("archives/x.tar")
    assert stored is not None
    opened: list[int] = []
    whole = store.open_range

    def cut(stored: Any, start: int) -> Any:
        opened.append(start)
        body = whole(stored, start)
        return io.BytesIO(body.read(1 << 20)) if len(opened) < 3 else body

    store.open_range = cut  # type: ignore[method-assign]
    with store.stream(stored) as stream:
        assert stream.read() == DATA
    assert opened == [0, 1 << 20, 2 << 20][: len(opened)]
    assert len(opened) > 1


def test_an_object_that_changed_since_is_not_mixed_with_its_successor(store: Store) -> None:
    store.write("archives/x.tar", DATA, content_type="application/x-tar")
    stored = store.head("archives/x.tar")
    assert stored is not None
    store.write("archives/x.tar", DATA[::-1], content_type="application/x-tar")
    with pytest.raises(TransientError, match="PreconditionFailed"), store.stream(stored) as stream:
        stream.read()


def test_what_is_not_there_is_told_apart(store: Store) -> None:
    assert store.head("archives/none.tar") is None
    with pytest.raises(ObjectGoneError):
        store.read("archives/none.tar")


def test_a_store_that_is_away_is_a_passing_trouble() -> None:
    away = connect_store(
        endpoint="http://127.0.0.1:9",
        access_key="a",
        secret_key="b",
        region="us-east-1",
        bucket="x",
    )
    with pytest.raises(TransientError, match="can't be reached"):
        away.head("archives/a.tar")


def test_keys_are_listed_in_order_over_pages(store: Store) -> None:
    names = [f"processed/{n:04}.opus" for n in range(20)]
    for name in reversed(names):
        store.write(name, b"x", content_type="audio/ogg")
    assert list(store.keys("processed/", per_request=7)) == names
