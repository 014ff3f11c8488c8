"""The embedded store, and what of the adapter needs no store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.errors import TransientError
from consumers.store import Store, connect_store, decoded_metadata, encoded_metadata
from tests.contracts.store import StoreContract, new_bucket


@pytest.fixture(scope="module")
def store(embedded: dict[str, str]) -> Store:
    return new_bucket(embedded)


class TestStoreOnMoto(StoreContract):
    """The contract."""


@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True), st.text()))
def test_metadata_is_ascii_on_the_way(metadata: dict[str, str]) -> None:
    metadata = {name: value for name, value in metadata.items() if value.isprintable()}
    encoded = encoded_metadata(metadata)
    assert all(value.isascii() for value in encoded.values())
    assert decoded_metadata(encoded) == metadata


def test_an_unreachable_store_is_a_temporary_error() -> None:
    away = connect_store(
        endpoint="http://127.0.0.1:9",
        access_key="a",
        secret_key="b",
        region="us-east-1",
        bucket="x",
    )
    with pytest.raises(TransientError, match="is unreachable"):
        away.head("archives/a.tar")
