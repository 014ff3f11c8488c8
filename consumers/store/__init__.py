"""The bucket: every S3 call that dropscribe makes, and what its errors mean."""

from consumers.store.errors import ObjectGoneError
from consumers.store.objects import ListedObject, StoredObject, decoded_metadata, encoded_metadata
from consumers.store.store import Store, connect_store
from consumers.store.upload import LocalFileChangedError, UploadJournal, part_size

__all__ = [
    "ListedObject",
    "LocalFileChangedError",
    "ObjectGoneError",
    "Store",
    "StoredObject",
    "UploadJournal",
    "connect_store",
    "decoded_metadata",
    "encoded_metadata",
    "part_size",
]
