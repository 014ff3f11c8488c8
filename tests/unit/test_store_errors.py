"""What the store's refusals mean: which a retry can mend, and what to do about the others."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from consumers.errors import PermanentError, TransientError
from consumers.store.errors import ObjectGoneError, translated

KEY = "archives/a.tar"


def refused(code: str) -> ClientError:
    return ClientError(cast("Any", {"Error": {"Code": code}}), "GetObject")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "forbids"),
        ("InvalidObjectState", "restore it"),
        ("InvalidRequest", "SSE-C"),
        ("400", "SSE-C"),
        ("KMS.DisabledException", "enable the key"),
        ("MethodNotAllowed", "does not allow"),
        ("KeyTooLongError", "too long"),
        ("AllAccessDisabled", "suspended"),
    ],
)
def test_what_no_retry_mends_is_permanent_and_says_what_to_do(code: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as raised, translated(KEY):
        raise refused(code)
    assert str(raised.value).startswith(f"{KEY}: ")
    assert str(raised.value).endswith(f"({code})")


@pytest.mark.parametrize(
    "code", ["SlowDown", "InternalError", "503", "RequestTimeout", "PreconditionFailed"]
)
def test_anything_else_is_tried_again(code: str) -> None:
    with pytest.raises(TransientError, match=f"refused .{code}."), translated(KEY):
        raise refused(code)


def test_a_missing_object_is_told_apart() -> None:
    with pytest.raises(ObjectGoneError), translated(KEY):
        raise refused("NoSuchKey")
