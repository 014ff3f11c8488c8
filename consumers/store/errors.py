"""The store's errors, and what botocore's errors mean."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from consumers.errors import ClockError, PermanentError, TransientError

#: Error codes that another attempt cannot change.
_FORBIDDEN = {
    "403",
    "AccessDenied",
    "Forbidden",
    "InvalidAccessKeyId",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
#: Error codes that another attempt cannot change before somebody does something, and what that is.
_REFUSED = {
    "InvalidObjectState": (
        "it lies in an archive tier (such as Glacier or Deep Archive), and cannot be read: restore "
        "it (aws s3api restore-object); its event, or dropscribe dead replay, then takes up the "
        "work"
    ),
    **dict.fromkeys(
        ("400", "BadRequest", "InvalidRequest"),
        "the store cannot serve it as it was asked for; an object that is encrypted with a key of "
        "your own (SSE-C) has to be copied over itself without that key",
    ),
    **dict.fromkeys(
        (
            *("KMS.DisabledException", "KMS.NotFoundException", "KMS.InvalidStateException"),
            *("KMS.KMSInvalidStateException", "KMS.InvalidKeyUsageException"),
        ),
        "the key that it is encrypted with is disabled or gone: enable the key",
    ),
    "MethodNotAllowed": "the store does not allow this for the object: look at it in the store",
    "KeyTooLongError": "its key is too long for the store",
    **dict.fromkeys(
        ("AccountProblem", "AllAccessDisabled", "NotSignedUp", "UserSuspended"),
        "the account is suspended: ask whoever runs the store",
    ),
}
_ABSENT = {"NoSuchKey", "NotFound", "404"}

_MD5 = re.compile(r"[0-9a-f]{32}")

#: S3 refuses requests that were signed more than 15 minutes away from its time.
_SKEW = timedelta(minutes=10)


class ObjectGoneError(TransientError):
    """The object does not exist (any more, or yet)."""


class CutShortError(TransientError):
    """A response was incomplete or damaged; the request can be repeated."""


class DamagedObjectError(TransientError):
    """The store damaged the object of a recording, which itself was good."""

    def __init__(self, key: str, error: str) -> None:
        super().__init__(
            f"{key} is damaged in the store: {error} "
            "(dropscribe reprocess --from unpack makes it again)"
        )


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Translate botocore's errors.

    Raises:
        ObjectGoneError: There is no such object.
        CutShortError: A response broke off.
        TransientError: The store is unreachable, slow or throttling.
        PermanentError: The store denies access, or cannot give the object until somebody does
            something about it, such as to restore it.
        ClockError: The store denies access because this host's clock is wrong.
    """
    try:
        yield
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if code in _ABSENT:
            raise ObjectGoneError(f"{key}: no such object") from exc
        if code in _FORBIDDEN:
            check_clock(exc.response)
            raise PermanentError(f"{key}: the store forbids it ({code})") from exc
        if code in _REFUSED:
            raise PermanentError(f"{key}: {_REFUSED[code]} ({code})") from exc
        raise TransientError(f"{key}: the store refused ({code})") from exc
    except (IncompleteReadError, ResponseStreamingError) as exc:
        raise CutShortError(f"{key}: the download broke off ({exc})") from exc
    except (BotoCoreError, HTTPClientError, HTTPError, OSError) as exc:
        raise TransientError(f"{key}: the store is unreachable ({exc})") from exc


def check_content(key: str, content: bytes, etag: str) -> None:
    """Compare content with its ETag, if that is an MD5: not for uploads in parts."""
    if _MD5.fullmatch(etag) is None:
        return
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != etag:
        raise CutShortError(f"{key}: the content does not match its ETag")


def check_clock(answer: Mapping[str, Any]) -> None:
    """Raise `ClockError` if the clock is wrong: the store responds to a wrong key with 403, too."""
    time = time_of(answer)
    if time is None:
        return
    ahead = datetime.now(UTC) - time
    if abs(ahead) > _SKEW:
        minutes = round(abs(ahead).total_seconds() / 60)
        where = "ahead of" if ahead > timedelta() else "behind"
        raise ClockError(
            f"this host's clock is {minutes} minutes {where} the store's, which therefore refuses "
            "its requests: correct the clock"
        )


def time_of(answer: Mapping[str, Any]) -> datetime | None:
    """Return the store's time from a response's Date header, if it has one."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        time = parsedate_to_datetime(date)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
