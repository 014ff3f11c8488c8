"""Uploading a local file in parts that the store verifies, across processes if need be.

Each part carries its MD5 (``Content-MD5``, which every S3 store compares) and its SHA-256
(``x-amz-checksum-sha256``, which AWS and MinIO compare and keep, and Ceph 16 ignores).
They are headers: Ceph 16 does not know the trailers that botocore would add over TLS.
An object's ETag is then a pure function of its bytes and of the part size (the MD5 of
the parts' MD5s), so it is known before the object exists and HEAD can be compared to it.

boto3's TransferManager does not do this: it cannot resume the upload of an earlier
process, and does not give the ETag in advance.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

from consumers.errors import PermanentError, TransientError
from consumers.store.errors import ObjectGoneError, translated
from consumers.store.objects import decoded_metadata

#: The name of the user metadata that holds the SHA-256 of all of an object's bytes.
SHA256_NAME = "content-sha256"

_PART = 16 << 20
_MIB = 1 << 20

#: Amazon S3 user guide, "Multipart upload limits".
_MAX_PARTS = 10_000

#: Bytes of parts in memory, unless a single part of a file of terabytes is larger.
_MEMORY = 64 << 20

#: Called with the bytes stored since the last call, from any thread.
Advance: TypeAlias = Callable[[int], None]


class LocalFileChangedError(TransientError):
    """A local file is not the one whose checksum was given."""


def part_size(size: int) -> int:
    """Return the part size for a file: a multiple of 1 MiB, and at most 10,000 parts."""
    least = -(-size // _MAX_PARTS)
    return max(_PART, -(-least // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class UploadJournal:
    """What is on record about a file's upload, so that a later process can resume it.

    Attributes:
        sha256: In hex.
        upload_id: The multipart upload that an earlier process began.
        etag: The ETag that an earlier process expected.
        save_upload_id: Records the multipart upload that begins; None once it is gone.
        save_etag: Records the ETag, before the object can exist.
    """

    size: int
    sha256: str
    part_size: int
    upload_id: str | None
    etag: str | None
    save_upload_id: Callable[[str | None], None]
    save_etag: Callable[[str], None]


@dataclass(frozen=True)
class _Part:
    number: int
    data: bytes

    @cached_property
    def md5(self) -> bytes:
        return _md5(self.data)

    @cached_property
    def sha256(self) -> str:
        return base64.b64encode(hashlib.sha256(self.data).digest()).decode()

    def is_stored_as(self, listed: Mapping[str, Any]) -> bool:
        """Compare with what ListParts says; an empty mapping is a missing part."""
        return listed.get("ETag", "").strip('"') == self.md5.hex() and listed.get("Size") == len(
            self.data
        )

    def body(self) -> dict[str, Any]:
        """Return the parameters of PutObject and UploadPart that carry the bytes."""
        md5 = base64.b64encode(self.md5).decode()
        return {"Body": self.data, "ContentMD5": md5, "ChecksumSHA256": self.sha256}


@dataclass(frozen=True)
class FileUpload:
    """One upload by boto3's ``client``; see `consumers.store.Store.upload`."""

    client: Any
    bucket: str
    key: str
    path: Path
    metadata: Mapping[str, str]
    advance: Advance
    journal: UploadJournal | None

    def run(self) -> None:
        """Upload the file."""
        journal = self.journal
        if journal is not None and journal.etag is not None and self._is_stored(journal.etag):
            self.advance(journal.size)
            return
        size = self.path.stat().st_size
        if journal is not None and size != journal.size:
            raise LocalFileChangedError(f"{self.path} is no longer {journal.size} bytes long")
        of_parts = part_size(size) if journal is None else journal.part_size
        etag = self._put() if size <= of_parts else self._put_parts(of_parts)
        if journal is not None and not self._is_stored(etag):
            raise TransientError(f"{self.key}: the store does not confirm the upload")

    def _request(self, operation: str, **parameters: object) -> dict[str, Any]:
        """Make one of boto3's requests about the object."""
        with translated(self.key):
            request: Callable[..., dict[str, Any]] = getattr(self.client, operation)
            return request(Bucket=self.bucket, Key=self.key, **parameters)

    @property
    def _metadata(self) -> dict[str, str]:
        own = {} if self.journal is None else {SHA256_NAME: self.journal.sha256}
        return {**self.metadata, **own}

    def _is_stored(self, etag: str) -> bool:
        """Compare the object with this upload; False where there is none.

        Raises:
            PermanentError: Another object has the key.
        """
        try:
            head = self._request("head_object")
        except ObjectGoneError:
            return False
        # The ETag of an object that is encrypted with a KMS key is not an MD5.
        is_opaque = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
        found = head["ETag"].strip('"')
        if self.journal is not None and (
            head["ContentLength"] == self.journal.size
            and decoded_metadata(head.get("Metadata", {})).get(SHA256_NAME) == self.journal.sha256
            and (is_opaque or found == etag)
        ):
            return True
        raise PermanentError(
            f"{self.key}: the store has another object under this key (ETag {found}, not {etag})"
        )

    def _check_content(self, sha256: str) -> None:
        if self.journal is not None and sha256 != self.journal.sha256:
            raise LocalFileChangedError(f"{self.path} does not match its SHA-256")

    def _put(self) -> str:
        """Upload a small file in one request, and give its ETag."""
        part = _Part(1, self.path.read_bytes())
        self._check_content(hashlib.sha256(part.data).hexdigest())
        if self.journal is not None:
            self.journal.save_etag(part.md5.hex())
        self._request("put_object", Metadata=self._metadata, **part.body())
        self.advance(len(part.data))
        return part.md5.hex()

    def _put_parts(self, size: int) -> str:
        """Upload a file in parts, but for those that the store has, and give its ETag."""
        upload_id, stored = self._begun()
        whole = hashlib.sha256()
        try:
            sent, md5s = self._send_parts(upload_id, size, stored, whole)
            self._check_content(whole.hexdigest())
            etag = f"{_md5(b''.join(md5s)).hex()}-{len(md5s)}"
            self._complete(upload_id, sent, etag)
        except LocalFileChangedError:
            if self.journal is not None:
                self.journal.save_upload_id(None)
            self._abort(upload_id)
            raise
        except BaseException:
            if self.journal is None:
                self._abort(upload_id)
            raise
        return etag

    def _begun(self) -> tuple[str, Mapping[int, Mapping[str, Any]]]:
        """Return the journal's upload, if it still exists, or a new one, and its stored parts."""
        if self.journal is None or self.journal.upload_id is None:
            return self._begin(), {}
        upload_id = self.journal.upload_id
        pages = self.client.get_paginator("list_parts").paginate(
            Bucket=self.bucket, Key=self.key, UploadId=upload_id
        )
        try:
            with translated(self.key):
                parts = [part for page in pages for part in page.get("Parts", ())]
        except TransientError as exc:
            if _code(exc) == "NoSuchUpload":
                return self._begin(), {}
            raise
        return upload_id, {part["PartNumber"]: part for part in parts}

    def _begin(self) -> str:
        upload_id: str = self._request(
            "create_multipart_upload", Metadata=self._metadata, ChecksumAlgorithm="SHA256"
        )["UploadId"]
        if self.journal is not None:
            self.journal.save_upload_id(upload_id)
        return upload_id

    def _send_parts(
        self, upload_id: str, size: int, stored: Mapping[int, Mapping[str, Any]], whole: Any
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Send the missing parts; give what completes the upload, and the MD5s of all parts."""
        threads = max(1, _MEMORY // size)
        under_way: deque[Future[dict[str, Any]]] = deque()
        done: list[dict[str, Any]] = []
        md5s: list[bytes] = []
        with ThreadPoolExecutor(threads, "upload") as pool:
            try:
                for part in _parts(self.path, size, whole):
                    md5s.append(part.md5)
                    # No more at a time than there are threads: each holds its bytes in memory.
                    if len(under_way) == threads:
                        done.append(under_way.popleft().result())
                    there = stored.get(part.number, {})
                    under_way.append(pool.submit(self._send, upload_id, part, there))
                done += [future.result() for future in under_way]
            except BaseException:
                for future in under_way:
                    future.cancel()
                raise
        return done, md5s

    def _send(self, upload_id: str, part: _Part, there: Mapping[str, Any]) -> dict[str, Any]:
        if not part.is_stored_as(there):
            there = self._request(
                "upload_part", UploadId=upload_id, PartNumber=part.number, **part.body()
            )
        self.advance(len(part.data))
        return {"PartNumber": part.number, "ETag": there["ETag"], "ChecksumSHA256": part.sha256}

    def _complete(self, upload_id: str, parts: list[dict[str, Any]], etag: str) -> None:
        if self.journal is not None:
            self.journal.save_etag(etag)
        try:
            self._request(
                "complete_multipart_upload", UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        except TransientError as exc:
            if self.journal is None:
                raise
            # The answer to an earlier attempt may have been lost, and this one refused.
            if self._is_stored(etag):
                return
            if _code(exc) in {"NoSuchUpload", "InvalidPart"}:
                self.journal.save_upload_id(None)
            raise

    def _abort(self, upload_id: str) -> None:
        with suppress(TransientError, PermanentError):
            self._request("abort_multipart_upload", UploadId=upload_id)


def _parts(path: Path, size: int, whole: Any) -> Iterator[_Part]:
    """Read a file in parts, and add each to the hash of the whole."""
    with path.open("rb") as file:
        number = 0
        while data := file.read(size):
            number += 1
            whole.update(data)
            yield _Part(number, data)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _code(exc: BaseException) -> str:
    cause = exc.__cause__
    return str(cause.response["Error"].get("Code")) if isinstance(cause, ClientError) else ""
