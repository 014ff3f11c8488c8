"""The bucket: every S3 call that dropscribe makes, and what its errors mean."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

from consumers.errors import PermanentError, TransientError
from consumers.network.aws import make_client
from consumers.store.download import Download, again
from consumers.store.errors import (
    CutShortError,
    ObjectGoneError,
    check_content,
    time_of,
    translated,
)
from consumers.store.objects import ListedObject, StoredObject, decoded_metadata, encoded_metadata
from consumers.store.upload import Advance, FileUpload, UploadJournal

#: The most bytes of content that are sent together with the request.
_SMALL = 1 << 20

#: Bytes of the largest object that is read into memory: a document of ours is smaller.
_LARGEST = 64 << 20


class Store:
    """One bucket. Safe to use from many threads.

    Every method raises `TransientError` if the store is unreachable, slow or throttling, and
    `PermanentError` if it denies access; those that need an object raise `ObjectGoneError`
    if there is none.
    """

    def __init__(
        self, client: Any, bucket: str, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self.bucket = bucket
        self._on_failure = on_failure

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Translate botocore's errors, and report all but a missing object."""
        try:
            with translated(key):
                yield
        except ObjectGoneError:
            raise
        except (TransientError, PermanentError):
            self._on_failure()
            raise

    def _request(self, operation: str, key: str, **parameters: object) -> dict[str, Any]:
        """Make one of boto3's requests about an object."""
        with self._translated(key):
            request: Callable[..., dict[str, Any]] = getattr(self._client, operation)
            return request(Bucket=self.bucket, Key=key, **parameters)

    def head(self, key: str) -> StoredObject | None:
        """Describe the object; None if there is none."""
        try:
            answer = self._request("head_object", key)
        except ObjectGoneError:
            return None
        return StoredObject(
            key=key,
            size=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            last_modified=answer["LastModified"],
            metadata=decoded_metadata(answer.get("Metadata", {})),
        )

    def read(self, key: str) -> bytes:
        """Read an object whole; `PermanentError` if it is larger than 64 MiB."""
        return again(lambda: self._read(key))

    def _read(self, key: str) -> bytes:
        with self._translated(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > _LARGEST:
                    raise PermanentError(
                        f"{key} has {answer['ContentLength']} bytes, and no document of "
                        f"dropscribe's has more than {_LARGEST >> 20} MiB"
                    )
                content: bytes = body.read()
        check_content(key, content, answer["ETag"].strip('"'))
        return content

    def download(self, key: str, file: IO[bytes]) -> None:
        """Read an object whole into ``file``."""
        stored = self.head(key)
        if stored is None:
            raise ObjectGoneError(f"{key}: no such object")
        with self.stream(stored) as body:
            shutil.copyfileobj(body, file, 1 << 20)

    def read_range(self, stored: StoredObject, start: int, length: int) -> bytes:
        """Read ``length`` bytes from ``start``, if the object is still the described one."""
        if length <= 0 or start >= stored.size:
            return b""
        last = min(start + length, stored.size) - 1
        return again(lambda: self._read_range(stored, start, last))

    def _read_range(self, stored: StoredObject, start: int, last: int) -> bytes:
        with self._translated(stored.key):
            answer = self._client.get_object(
                Bucket=self.bucket,
                Key=stored.key,
                Range=f"bytes={start}-{last}",
                IfMatch=stored.etag,
            )
            with closing(answer["Body"]) as body:
                content: bytes = body.read()
        if len(content) != last - start + 1:
            raise CutShortError(f"{stored.key}: the store's response is too short")
        return content

    def stream(self, stored: StoredObject) -> BinaryIO:
        """Read an object from its start; a download that breaks off resumes."""
        download = Download(self.open_range, stored, self._translated)
        return io.BufferedReader(download, buffer_size=1 << 20)

    def write(
        self,
        key: str,
        content: bytes | BinaryIO,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store an object, whose notification starts the next stage."""
        with self._translated(key):
            self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=_at_once(content),
                ContentType=content_type,
                Metadata=encoded_metadata(metadata or {}),
            )

    def upload(
        self,
        key: str,
        path: Path,
        *,
        metadata: Mapping[str, str],
        advance: Advance = lambda _: None,
        journal: UploadJournal | None = None,
    ) -> None:
        """Upload a local file of any size, in parts where it is large.

        No object appears under the key unless all bytes have arrived.

        Args:
            key: The object's key.
            path: The file.
            metadata: User metadata, encoded as `encoded_metadata` does.
            advance: See `Advance`.
            journal: Makes the upload resumable: an object, or parts, that the store has
                from an earlier attempt are not sent again, and HEAD confirms the object.
                Without one, a failed upload is aborted.

        Raises:
            LocalFileChangedError: The file is not the journal's.
            OSError: The file cannot be read.
        """
        FileUpload(self._client, self.bucket, key, path, metadata, advance, journal).run()

    def keys(self, prefix: str, *, per_request: int = 1000) -> Iterator[str]:
        """List the keys under ``prefix`` in order, at most ``per_request`` at a time."""
        for page in self.pages(prefix, per_request=per_request):
            for listed in page:
                yield listed.key

    def pages(self, prefix: str, *, per_request: int = 1000) -> Iterator[list[ListedObject]]:
        """List the objects under ``prefix`` in the order of their keys, a request per page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": per_request}
        )
        with self._translated(prefix):
            for page in pages:
                yield [
                    ListedObject(
                        key=entry["Key"],
                        size=entry["Size"],
                        etag=entry["ETag"].strip('"'),
                        last_modified=entry["LastModified"],
                    )
                    for entry in page.get("Contents", ())
                ]

    def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        self._request("delete_object", key)

    def tags(self, key: str) -> dict[str, str]:
        """Read an object's tags."""
        answer = self._request("get_object_tagging", key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace an object's tags, which Ceph counts as a modification."""
        if tags:
            pairs = [{"Key": name, "Value": tags[name]} for name in sorted(tags)]
            self._request("put_object_tagging", key, Tagging={"TagSet": pairs})
        else:
            self._request("delete_object_tagging", key)

    def require_bucket(self) -> None:
        """Raise `PermanentError` unless the bucket exists and is accessible."""
        try:
            with self._translated(self.bucket):
                self._client.head_bucket(Bucket=self.bucket)
        except ObjectGoneError as exc:
            raise PermanentError(
                f"there is no bucket {self.bucket} (dropscribe bootstrap makes it)"
            ) from exc

    def now(self) -> datetime:
        """Return the store's time; `ClockError` if this host's is too far off to sign requests."""
        with self._translated(self.bucket):
            answer = self._client.head_bucket(Bucket=self.bucket)
        time = time_of(answer)
        if time is None:
            raise TransientError("the store's response has no date")
        return time

    def open_range(self, stored: StoredObject, start: int) -> Any:
        """Open a download at byte ``start``; gives botocore's response body."""
        return self._request(
            "get_object", stored.key, Range=f"bytes={start}-", IfMatch=stored.etag
        )["Body"]


def _at_once(content: bytes | BinaryIO) -> bytes | BinaryIO:
    """Read a small file whole: before sending a file, botocore waits for the store's consent."""
    if isinstance(content, bytes):
        return content
    start = content.tell()
    beginning = content.read(_SMALL + 1)
    if len(beginning) <= _SMALL:
        return beginning
    content.seek(start)
    return content


def connect_store(
    *,
    endpoint: str | None,
    access_key: str | None,
    secret_key: str | None,
    region: str,
    bucket: str,
    ca_file: str | None = None,
    timeout: float = 60.0,
    connections: int = 32,
    on_failure: Callable[[], None] = lambda: None,
) -> Store:
    """Make the bucket's adapter.

    ``on_failure`` is called whenever a request fails, except for a missing object. For the
    other parameters see `consumers.network.aws.make_client`.
    """
    return Store(
        make_client(
            "s3",
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            ca_file=ca_file,
            timeout=timeout,
            connections=connections,
        ),
        bucket,
        on_failure,
    )
