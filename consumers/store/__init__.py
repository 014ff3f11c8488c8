"""The bucket: every S3 call that dropscribe makes, and what its errors mean."""

from consumers.store.objects import ListedObject, StoredObject, decoded_metadata, encoded_metadata
from consumers.store.refusals import ObjectGoneError
from consumers.store.store import Store, connect_store

__all__ = [
    "ListedObject",
    "ObjectGoneError",
    "Store",
    "StoredObject",
    "connect_store",
    "decoded_metadata",
    "encoded_metadata",
]
