"""The archive that a sweep is measured on is like those that dropscribe makes."""

from __future__ import annotations

from collections import Counter

import boto3
import pytest

from events.keys import ARCHIVES, PROCESSED, ArchiveKey, BatchKey, RecordingKey, parse_key
from tests.bench.listing_server import Shape, listing_server

#: 2,009 objects: a page ends between the two of a recording.
SHAPE = Shape(batches=3, recordings=333)


def test_the_keys_are_those_of_finished_batches_in_order() -> None:
    keys = list(SHAPE.processed)
    assert keys == sorted(keys)
    assert len(keys) == SHAPE.objects == 3 * (2 * 333 + 3)
    kinds = Counter(type(parse_key(key)) for key in keys)
    assert kinds == {RecordingKey: 3 * 2 * 333, BatchKey: 3 * 3}
    assert {type(parse_key(key)) for key in SHAPE.archives} == {ArchiveKey}


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_the_server_lists_page_by_page() -> None:
    with listing_server(SHAPE) as endpoint:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="key",
            region_name="us-east-1",
        )
        for prefix, keys in ((ARCHIVES, SHAPE.archives), (PROCESSED, SHAPE.processed)):
            pages = list(
                client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
            )
            listed = [entry["Key"] for page in pages for entry in page["Contents"]]
            assert listed == list(keys)
            assert max(len(page["Contents"]) for page in pages) <= 1000
        client.close()
