"""JSON in the bucket: how documents are encoded, and decoded from bytes that may be damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, BinaryIO, ClassVar, Self, TypeVar

import msgspec

from consumers.errors import PermanentError

VERSION = 1

#: Bytes of the largest document. A transcript of ten hours has seven million.
MAX_BYTES = 64 << 20

#: Bytes of the longest line, in documents that are read line by line.
MAX_LINE_BYTES = 4 << 20

#: Text that Postgres can store, which excludes NUL.
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]

BatchIdText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$")]
AudioIdText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}-[0-9]{7}$")]

Count = Annotated[int, msgspec.Meta(ge=0)]

#: A time with its offset from UTC.
Time = Annotated[datetime, msgspec.Meta(tz=True)]

#: msgspec quotes a wrong value of an enumeration, and a document's content belongs in no log.
_QUOTED = re.compile(r"(?<=Invalid enum value) .*(?= - at `)", re.DOTALL)

#: A brace, a key or another string of valid JSON.
_TOKEN = re.compile(rb'([{}])|("(?:[^"\\]++|\\.)*+")[ \t\r\n]*:|"(?:[^"\\]++|\\.)*+"', re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


class MalformedDocumentError(PermanentError):
    """A stored document is damaged, or of a version that this program does not read."""


class _Version(msgspec.Struct):
    version: int


class Document(msgspec.Struct, frozen=True, tag_field="version", tag=VERSION):
    """Base of the documents that are one JSON object; ``version`` is its first key.

    Fields that are unknown to this program are skipped when a document is decoded.
    """

    #: What error messages call it.
    NOUN: ClassVar[str]

    def to_json(self) -> bytes:
        """Encode the document in one line of UTF-8.

        Raises:
            ValueError: A number is not finite, or a text holds half a surrogate pair.
        """
        return encode(self) + b"\n"

    @classmethod
    def from_json(cls, data: bytes, key: str | None = None) -> Self:
        """Decode a document.

        Args:
            data: What is stored.
            key: Under which key, for the error.

        Raises:
            MalformedDocumentError: It is not valid JSON, too large, nested too deeply, of another
                version, or a field is missing, repeated or wrong.
        """
        return decode(data, cls, cls.NOUN if key is None else f"{key}: {cls.NOUN}")


def stored_form(value: msgspec.Struct) -> dict[str, Any]:
    """The document as builtin values; its own times in ISO 8601, UTC as ``+00:00``."""
    document = msgspec.to_builtins(value, builtin_types=(datetime,))
    # msgspec would write UTC as ``Z``, and the documents have always had the offset.
    return {
        name: each.isoformat() if isinstance(each, datetime) else each
        for name, each in document.items()
    }


def encode(value: msgspec.Struct) -> bytes:
    """Encode a document, or a part that is stored as a line.

    Raises:
        ValueError: It could not be decoded to the same value: a number is not finite.
    """
    data = msgspec.json.encode(stored_form(value))
    # msgspec writes NaN and Infinity as null.
    try:
        is_same = msgspec.json.decode(data, type=type(value)) == value
    except msgspec.MsgspecError:
        is_same = False
    if not is_same:
        raise ValueError(
            f"a number of a {type(value).__name__} is not finite, or a text is invalid"
        )
    return data


def decode(data: bytes, kind: type[T], noun: str) -> T:
    """Decode JSON that may be damaged or hostile, at a bounded cost.

    Raises:
        MalformedDocumentError: See `Document.from_json`. The message holds no value of the
            document.
    """
    try:
        _check_size(data)
        if issubclass(kind, Document):
            _check_version(data)
        value = msgspec.json.decode(data, type=kind)
        # What this program wrote repeats no key. Other data takes longer to check.
        if msgspec.json.encode(stored_form(value)) != data.rstrip():
            _refuse_repeated_keys(data)
    except RecursionError:
        fault = "it is nested too deeply"
    except (msgspec.MsgspecError, ValueError, OverflowError) as exc:
        fault = _QUOTED.sub("", str(exc))
    else:
        return value
    raise MalformedDocumentError(f"{noun} is invalid: {fault}")


def read_lines(file: BinaryIO, noun: str) -> Iterator[bytes]:
    """Read lines of bounded length.

    Raises:
        MalformedDocumentError: One is longer than `MAX_LINE_BYTES`.
    """
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise MalformedDocumentError(
                f"{noun} is invalid: a line is longer than {MAX_LINE_BYTES >> 20} MiB"
            )
        yield line


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")


def _check_version(data: bytes) -> None:
    version = msgspec.json.decode(data, type=_Version).version
    if version != VERSION:
        raise ValueError(f"it has version {version}, and this program reads version {VERSION}")


def _refuse_repeated_keys(data: bytes) -> None:
    """Find repeated keys in valid JSON: msgspec takes the last one, and has no option to refuse.

    The values are not built, which would cost a hostile document's size many times over.
    """
    objects: list[set[bytes]] = []
    for match in _TOKEN.finditer(data):
        brace, key = match.groups()
        if brace == b"{":
            objects.append(set())
        elif brace:
            objects.pop()
        elif key is not None:
            name = json.loads(key).encode() if b"\\" in key else key[1:-1]
            if name in objects[-1]:
                raise ValueError("an object has the same key twice")
            objects[-1].add(name)
