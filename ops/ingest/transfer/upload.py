"""Storing a staged file, in parts that the store verifies, until the store confirms it.

Each part goes with its MD5 (``Content-MD5``, which every S3 store compares) and its SHA-256
(``x-amz-checksum-sha256``, which AWS and MinIO compare and keep, and Ceph 16 passes over).
They are headers: the trailers that botocore would add of itself over TLS are unknown to Ceph 16.
An object's ETag is then a pure function of its bytes and of the size of its parts (the MD5 of
the parts' MD5s), so that it is known before the object is there, and HEAD can be compared.
"""

from __future__ import annotations

import base64
import errno
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from consumers.errors import PermanentError, TransientError
from consumers.store import ObjectGoneError, decoded_metadata
from consumers.store.refusals import translated
from ops.ingest.transfer.errors import CorruptedError
from ops.ingest.transfer.shipment import Shipment

#: Under which an object's metadata has the SHA-256 of all its bytes.
SHA256_NAME = "content-sha256"

_PART = 16 << 20
_MIB = 1 << 20

#: Amazon S3 user guide, "Multipart upload limits".
_MAX_PARTS = 10_000

#: Bytes of parts in memory; a part of a file of terabytes alone may be larger.
_MEMORY = 64 << 20

Advance = Callable[[int], None]


def part_size(size: int) -> int:
    """Say in parts of how many bytes a file goes up."""
    least = -(-size // _MAX_PARTS)
    return max(_PART, -(-least // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class Records:
    """What is written down on the way.

    Attributes:
        uploading: The multipart upload that was begun; None when it is gone.
        expecting: The ETag, before the object can be there.
    """

    uploading: Callable[[str | None], None]
    expecting: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    data: bytes
    md5: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return {"ContentMD5": base64.b64encode(self.md5).decode(), "ChecksumSHA256": self.sha256}

    @property
    def sha256(self) -> str:
        return base64.b64encode(hashlib.sha256(self.data).digest()).decode()


class Uploader:
    """Stores staged files.

    Args:
        client: boto3's, for S3.
        bucket: Where to.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def check(self) -> None:
        """Make sure that the bucket can be reached.

        Raises:
            TransientError: The store is away.
            PermanentError: There is no such bucket, or it is closed to us.
        """
        try:
            with translated(self._bucket):
                self._client.head_bucket(Bucket=self._bucket)
        except ObjectGoneError as exc:
            raise PermanentError(
                f"there is no bucket {self._bucket} (dropscribe bootstrap makes it)"
            ) from exc

    def upload(
        self,
        shipment: Shipment,
        path: Path,
        metadata: Mapping[str, str],
        records: Records,
        advance: Advance,
    ) -> None:
        """Store a staged file, and make sure that the store has it.

        Nothing is done where it is stored already. Of an upload that was interrupted,
        the parts that the store has are not sent again. No object appears under the
        key unless all of the file's bytes are what was staged.

        Args:
            shipment: What is staged.
            path: Its file.
            metadata: The object's, as it goes over the wire.
            records: What is written down on the way.
            advance: Is told how many bytes are stored, from any thread.

        Raises:
            CorruptedError: The file is not what was staged.
            TransientError: The store is away, refuses for the moment, or does not confirm it.
            PermanentError: The store forbids it, or has something else under the key.
        """
        key = shipment.batch.archive_key
        size, sha256, part = _facts(shipment)
        if shipment.etag is not None and self._is_stored(shipment, shipment.etag):
            advance(size)
            return
        metadata = {**metadata, SHA256_NAME: sha256}
        try:
            if path.stat().st_size != size:
                raise CorruptedError(f"{path} is not as large as it was")
            if size <= part:
                etag = self._put(key, path, sha256, metadata, records)
                advance(size)
            else:
                etag = self._put_parts(shipment, path, metadata, records, advance)
        except OSError as exc:
            # Whatever else it is, too many open files for one, says nothing of the file.
            kind = CorruptedError if exc.errno in {errno.ENOENT, errno.EIO} else TransientError
            raise kind(f"{path} can't be read: {exc.strerror or exc}") from exc
        if not self._is_stored(shipment, etag):
            raise TransientError(f"{key}: the store does not confirm what was uploaded")

    def _is_stored(self, shipment: Shipment, etag: str) -> bool:
        """Ask whether the object is there, and ours.

        Raises:
            PermanentError: There is another one.
        """
        key = shipment.batch.archive_key
        try:
            with translated(key):
                head = self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectGoneError:
            return False
        metadata = decoded_metadata(head.get("Metadata", {}))
        # Of what a store encrypts by keys of KMS, the ETag is no MD5.
        is_opaque = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
        found = head["ETag"].strip('"')
        if (
            head["ContentLength"] == shipment.size
            and metadata.get(SHA256_NAME) == shipment.sha256
            and (is_opaque or found == etag)
        ):
            return True
        raise PermanentError(
            f"{key}: the store has something else under this key (ETag {found}, not {etag})"
        )

    def _put(
        self, key: str, path: Path, sha256: str, metadata: Mapping[str, str], records: Records
    ) -> str:
        """Store a small file at once."""
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CorruptedError(f"{path} is not what was staged")
        part = _Part(1, data, _md5(data))
        records.expecting(part.md5.hex())
        with translated(key):
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, Metadata=metadata, **part.headers
            )
        return part.md5.hex()

    def _put_parts(
        self,
        shipment: Shipment,
        path: Path,
        metadata: Mapping[str, str],
        records: Records,
        advance: Advance,
    ) -> str:
        key = shipment.batch.archive_key
        _, sha256, size = _facts(shipment)
        upload_id, stored = self._begun(shipment)
        if upload_id is None:
            with translated(key):
                upload_id = self._client.create_multipart_upload(
                    Bucket=self._bucket, Key=key, Metadata=metadata, ChecksumAlgorithm="SHA256"
                )["UploadId"]
            records.uploading(upload_id)
        whole = hashlib.sha256()
        sender = _Sender(self._client, self._bucket, key, upload_id, advance)
        with ThreadPoolExecutor(max(1, _MEMORY // size), "upload") as pool:
            sent, etags = sender.send(pool, _parts(path, size, whole), stored)
        if whole.hexdigest() != sha256:
            records.uploading(None)
            # Whatever becomes of the upload, the file has to be fetched again.
            with suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
            raise CorruptedError(f"{path} is not what was staged")
        etag = f"{_md5(b''.join(etags)).hex()}-{len(etags)}"
        records.expecting(etag)
        self._complete(shipment, upload_id, sent, etag, records)
        return etag

    def _begun(self, shipment: Shipment) -> tuple[str | None, dict[int, dict[str, Any]]]:
        """Give the upload that was begun, with the parts that the store has; None if it is gone."""
        if shipment.upload_id is None:
            return None, {}
        key = shipment.batch.archive_key
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=shipment.upload_id
        )
        try:
            with translated(key):
                parts = [part for page in pages for part in page.get("Parts", ())]
        except TransientError as exc:
            if _code(exc) == "NoSuchUpload":
                return None, {}
            raise
        return shipment.upload_id, {part["PartNumber"]: part for part in parts}

    def _complete(
        self,
        shipment: Shipment,
        upload_id: str,
        parts: list[dict[str, Any]],
        etag: str,
        records: Records,
    ) -> None:
        key = shipment.batch.archive_key
        try:
            with translated(key):
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                )
        except TransientError as exc:
            # Its answer may have been lost, and the attempt after that refused.
            if self._is_stored(shipment, etag):
                return
            if _code(exc) in {"NoSuchUpload", "InvalidPart"}:
                records.uploading(None)
            raise


class _Sender:
    """Sends the parts of one upload, some at a time."""

    def __init__(
        self, client: Any, bucket: str, key: str, upload_id: str, advance: Advance
    ) -> None:
        self._client = client
        self._place = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
        self._key = key
        self._advance = advance

    def send(
        self,
        pool: ThreadPoolExecutor,
        parts: Iterator[_Part],
        stored: Mapping[int, Mapping[str, Any]],
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Send those that the store has not; give what completes the upload, and all MD5s."""
        under_way: set[Future[dict[str, Any]]] = set()
        done: list[dict[str, Any]] = []
        digests: list[bytes] = []
        try:
            for part in parts:
                digests.append(part.md5)
                there = stored.get(part.number, {})
                if there.get("ETag", "").strip('"') == part.md5.hex() and there.get("Size") == len(
                    part.data
                ):
                    done.append(_named(part.number, there["ETag"], part.sha256))
                    self._advance(len(part.data))
                    continue
                under_way.add(pool.submit(self._send, part))
                # Not one more than there are threads: each holds its bytes.
                if len(under_way) >= pool._max_workers:  # noqa: SLF001
                    ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    done += [future.result() for future in ended]
            done += [future.result() for future in under_way]
        except BaseException:
            for future in under_way:
                future.cancel()
            raise
        return sorted(done, key=lambda each: int(each["PartNumber"])), digests

    def _send(self, part: _Part) -> dict[str, Any]:
        headers = part.headers
        with translated(self._key):
            answer = self._client.upload_part(
                **self._place, PartNumber=part.number, Body=part.data, **headers
            )
        self._advance(len(part.data))
        return _named(part.number, answer["ETag"], headers["ChecksumSHA256"])


def _named(number: int, etag: str, sha256: str) -> dict[str, Any]:
    return {"PartNumber": number, "ETag": etag, "ChecksumSHA256": sha256}


def _parts(path: Path, size: int, whole: Any) -> Iterator[_Part]:
    """Read a file in parts, which are hashed as they are sent."""
    with path.open("rb") as file:
        number = 0
        while data := file.read(size):
            number += 1
            whole.update(data)
            yield _Part(number, data, _md5(data))


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _code(exc: BaseException) -> str:
    cause = exc.__cause__
    return str(cause.response["Error"].get("Code")) if isinstance(cause, ClientError) else ""


def _facts(shipment: Shipment) -> tuple[int, str, int]:
    """Give a staged shipment's size, SHA-256, and size of parts."""
    if shipment.size is None or shipment.sha256 is None or shipment.part_size is None:
        raise LookupError(f"{shipment.batch} is not staged")
    return shipment.size, shipment.sha256, shipment.part_size
