"""The list of a batch's review items: JSON with one item per line.

It is written and read without holding all items in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from consumers.documents.codec import Document, MalformedDocumentError, decode, encode, read_lines
from consumers.documents.review.item import ReviewItem
from events.keys import BatchId

_END = b"]}"

_NOUN = "the list of review items"


class ItemList(Document, frozen=True):
    """The whole list. Only its form is used: it may be too large for memory."""

    NOUN: ClassVar[str] = _NOUN

    batch_id: str
    items: tuple[ReviewItem, ...]


class ItemListWriter:
    """Writes a batch's items into an empty file."""

    def __init__(self, file: BinaryIO, batch: BatchId) -> None:
        self._file = file
        self._separator = b"\n"
        self._file.write(encode(ItemList(str(batch), ())).removesuffix(_END))

    def add(self, item: ReviewItem) -> None:
        """Append an item; the caller keeps the order."""
        self._file.write(self._separator + encode(item))
        self._separator = b",\n"

    def finish(self) -> None:
        """Write the end, and rewind the file."""
        self._file.write(b"\n" + _END + b"\n")
        self._file.seek(0)


def read_items(file: BinaryIO, key: str | None = None) -> Iterator[ReviewItem]:
    """Read what `ItemListWriter` wrote; the error names the ``key`` under which it is stored.

    Raises:
        MalformedDocumentError: It is not such a list.
    """
    noun = _NOUN if key is None else f"{key}: {_NOUN}"
    lines = read_lines(file, noun)
    decode(next(lines, b"") + _END, ItemList, noun)
    for line in lines:
        if line.strip() == _END:
            return
        yield decode(line.rstrip(b",\n"), ReviewItem, noun)
    raise MalformedDocumentError(f"{noun} is invalid: its end is missing")
