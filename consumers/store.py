"""The bucket: every S3 call that dropscribe makes, and what its errors mean."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, Any, BinaryIO
from urllib.parse import quote, unquote

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from consumers.aws import make_client
from consumers.errors import ClockError, PermanentError, TransientError

#: Answers that another try can't change.
_FORBIDDEN = {
    "403",
    "AccessDenied",
    "Forbidden",
    "InvalidAccessKeyId",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_ABSENT = {"NoSuchKey", "NotFound", "404"}

_MD5 = re.compile(r"[0-9a-f]{32}")

#: S3 refuses requests that were signed more than 15 minutes away from its time.
_SKEW = timedelta(minutes=10)

#: How often in a row a download that broke off is taken up again where it stopped.
_RESUMES = 5

#: Seconds to wait before that.
_RESUME_PAUSE = 1.0


class ObjectGoneError(TransientError):
    """The object is not there (any more, or yet)."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object.

    Attributes:
        key: Its key.
        size: Bytes.
        etag: Its ETag without quotes.
        last_modified: When it was stored (aware).
        metadata: User metadata, names in lower case, values decoded.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing; see `StoredObject`."""

    key: str
    size: int
    etag: str
    last_modified: datetime


class Store:
    """One bucket. Safe to use from many threads.

    Every method raises `TransientError` where the store is away, slow or
    refuses for the moment, and `PermanentError` where it forbids.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def head(self, key: str) -> StoredObject | None:
        """Ask what is stored under ``key`` now; None where nothing is."""
        try:
            with _translated(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=key)
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
        """Read a small object whole.

        Raises:
            ObjectGoneError: Nothing is stored under ``key``.
        """
        with _translated(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            with answer["Body"] as body:
                content: bytes = body.read()
        _check_content(key, content, answer["ETag"].strip('"'))
        return content

    def download(self, key: str, file: IO[bytes]) -> None:
        """Read an object whole into ``file``.

        Raises:
            ObjectGoneError: Nothing is stored under ``key``.
        """
        stored = self.head(key)
        if stored is None:
            raise ObjectGoneError(f"{key}: no such object")
        with self.stream(stored) as body:
            shutil.copyfileobj(body, file, 1 << 20)

    def read_range(self, stored: StoredObject, start: int, length: int) -> bytes:
        """Read ``length`` bytes from ``start`` of the very object that HEAD described."""
        if length <= 0 or start >= stored.size:
            return b""
        last = min(start + length, stored.size) - 1
        with _translated(stored.key):
            answer = self._client.get_object(
                Bucket=self.bucket,
                Key=stored.key,
                Range=f"bytes={start}-{last}",
                IfMatch=stored.etag,
            )
            with answer["Body"] as body:
                content: bytes = body.read()
        if len(content) != last - start + 1:
            raise TransientError(f"{stored.key}: the store's answer is too short")
        return content

    def stream(self, stored: StoredObject) -> BinaryIO:
        """Read an object from its start; a download that breaks off is taken up again."""
        return io.BufferedReader(_Download(self, stored), buffer_size=1 << 20)

    def write(
        self,
        key: str,
        content: bytes | BinaryIO,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store an object; its notification is what tells the next stage."""
        with _translated(key):
            self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=content,
                ContentType=content_type,
                Metadata=encoded_metadata(metadata or {}),
            )

    def keys(self, prefix: str, *, per_request: int = 1000) -> Iterator[str]:
        """List the keys under ``prefix``, in order, so many per request."""
        for page in self.pages(prefix, per_request=per_request):
            for listed in page:
                yield listed.key

    def pages(self, prefix: str, *, per_request: int = 1000) -> Iterator[list[Listed]]:
        """List the objects under ``prefix``, in their keys' order, one request per page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": per_request}
        )
        with _translated(prefix):
            for page in pages:
                yield [
                    Listed(
                        key=entry["Key"],
                        size=entry["Size"],
                        etag=entry["ETag"].strip('"'),
                        last_modified=entry["LastModified"],
                    )
                    for entry in page.get("Contents", ())
                ]

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        with _translated(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def tags(self, key: str) -> dict[str, str]:
        """Read an object's tags.

        Raises:
            ObjectGoneError: Nothing is stored under ``key``.
        """
        with _translated(key):
            answer = self._client.get_object_tagging(Bucket=self.bucket, Key=key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace an object's tags. Some stores (Ceph) count that as a modification.

        Raises:
            ObjectGoneError: Nothing is stored under ``key``.
        """
        with _translated(key):
            if not tags:
                self._client.delete_object_tagging(Bucket=self.bucket, Key=key)
                return
            self._client.put_object_tagging(
                Bucket=self.bucket,
                Key=key,
                Tagging={"TagSet": [{"Key": name, "Value": tags[name]} for name in sorted(tags)]},
            )

    def now(self) -> datetime:
        """Ask the store for its time, which its events and its listings are in.

        Raises:
            ClockError: This host's own is so far from it that nothing can be signed.
        """
        with _translated(self.bucket):
            answer = self._client.head_bucket(Bucket=self.bucket)
        time = _time_of(answer)
        if time is None:
            raise TransientError("the store's answer has no date")
        return time

    def open_range(self, stored: StoredObject, start: int) -> Any:
        """Begin a download at byte ``start``; returns botocore's body."""
        with _translated(stored.key):
            return self._client.get_object(
                Bucket=self.bucket,
                Key=stored.key,
                Range=f"bytes={start}-",
                IfMatch=stored.etag,
            )["Body"]


class _Download(io.RawIOBase):
    """A forward read of one object that outlives its connections."""

    def __init__(self, store: Store, stored: StoredObject) -> None:
        self._store = store
        self._stored = stored
        self._position = 0
        self._resumes = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._position < self._stored.size:
            try:
                chunk = self._read(len(buffer))
            except TransientError:
                self._drop()
                self._resumes += 1
                if self._resumes > _RESUMES:
                    raise
                time.sleep(_RESUME_PAUSE)
                continue
            self._resumes = 0
            self._position += len(chunk)
            buffer[: len(chunk)] = chunk
            return len(chunk)
        return 0

    def _read(self, size: int) -> bytes:
        with _translated(self._stored.key):
            if self._body is None:
                self._body = self._store.open_range(self._stored, self._position)
            chunk: bytes = self._body.read(size)
        if not chunk:
            raise TransientError(f"{self._stored.key}: the store ended the download early")
        return chunk

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if code in _ABSENT:
            raise ObjectGoneError(f"{key}: no such object") from exc
        if code in _FORBIDDEN:
            _check_clock(exc.response)
            raise PermanentError(f"{key}: the store forbids it ({code})") from exc
        raise TransientError(f"{key}: the store refused ({code})") from exc
    except (BotoCoreError, HTTPClientError, HTTPError, OSError) as exc:
        raise TransientError(f"{key}: the store can't be reached ({exc})") from exc


def _check_content(key: str, content: bytes, etag: str) -> None:
    """Compare content with its ETag, where that is an MD5 (of what was not stored in parts)."""
    if _MD5.fullmatch(etag) is None:
        return
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != etag:
        raise TransientError(f"{key}: what came is not what was stored")


def _check_clock(answer: Mapping[str, Any]) -> None:
    """Tell a wrong clock from a wrong key: to both, a store answers 403.

    Raises:
        ClockError: It is the clock.
    """
    time = _time_of(answer)
    if time is None:
        return
    ahead = datetime.now(UTC) - time
    if abs(ahead) > _SKEW:
        minutes = round(abs(ahead).total_seconds() / 60)
        where = "ahead of" if ahead > timedelta() else "behind"
        raise ClockError(
            f"this host's clock is {minutes} minutes {where} the store's, which therefore refuses "
            "its requests: set it right"
        )


def _time_of(answer: Mapping[str, Any]) -> datetime | None:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        time = parsedate_to_datetime(date)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


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
) -> Store:
    """Make the bucket's adapter. For the parameters see `consumers.aws.make_client`."""
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
    )


def encoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Percent-encode what HTTP headers can't carry: S3 metadata is ASCII."""
    return {name: quote(value, safe=" /:;,.=+()'!@[]{}|*&$") for name, value in metadata.items()}


def decoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Undo `encoded_metadata`."""
    return {name.lower(): unquote(value) for name, value in metadata.items()}
