"""As much of HTTP/1.1 as a proxy needs that passes on bytes as they come (RFC 9112)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Self
from urllib.parse import unquote, urlsplit

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class MessageHead:
    """What comes before a body.

    Attributes:
        start: The first line: a request's or a status.
    """

    start: str
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, file: BufferedReader) -> Self:
        """Read one.

        Raises:
            EOFError: The connection ended before.
        """
        lines: list[str] = []
        while line := file.readline().decode("latin-1"):
            if not line.rstrip("\r\n"):
                start, *rest = lines
                pairs = (each.split(":", 1) for each in rest)
                return cls(start, tuple((name, value.strip()) for name, value in pairs))
            lines.append(line.rstrip("\r\n"))
        raise EOFError("the connection ended")

    def get(self, name: str) -> str | None:
        """Give a field's value; names know no case."""
        return next((value for each, value in self.fields if each.lower() == name.lower()), None)

    def with_field(self, name: str, value: str | None) -> Self:
        """Say one field otherwise, or not at all; all others stay as they are."""
        fields = [field for field in self.fields if field[0].lower() != name.lower()]
        if value is not None:
            fields.append((name, value))
        return type(self)(self.start, tuple(fields))

    def encode(self) -> bytes:
        """Write it, with the empty line after it."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.split(" ", 1)[0]

    @property
    def path(self) -> str:
        """What a request asks for, without its query, decoded."""
        return unquote(urlsplit(self.start.split(" ")[1]).path)

    @property
    def is_success(self) -> bool:
        """Whether it is a status of success."""
        return self.start.split(" ")[1].startswith("2")

    @property
    def is_chunked(self) -> bool:
        """Whether its body comes in chunks, each with its length."""
        return (self.get("Transfer-Encoding") or "").lower() == "chunked"

    @property
    def has_body(self) -> bool:
        """Whether a request has a body."""
        return self.is_chunked or bool(self.length)

    @property
    def length(self) -> int | None:
        """Bytes of its body; None where that is not said."""
        value = self.get("Content-Length")
        return None if value is None else int(value)


def body(file: BufferedReader, head: MessageHead) -> Iterator[bytes]:
    """Read a request's body in pieces, as it is on the wire.

    Raises:
        EOFError: It ended before its end.
    """
    if head.is_chunked:
        yield from _chunks(file)
        return
    left = head.length or 0
    while left:
        piece = _some(file.read1(min(_CHUNK, left)))
        left -= len(piece)
        yield piece


def _chunks(file: BufferedReader) -> Iterator[bytes]:
    while size := int((line := _some(file.readline())).split(b";")[0], 16):
        yield line + _some(file.read(size + 2))
    yield line
    while line.strip():
        line = _some(file.readline())
        yield line


def _some(data: bytes) -> bytes:
    if not data:
        raise EOFError("the connection ended")
    return data
