"""The object that lists a batch's review items: JSON, with one item per line.

That is written, and read again, without holding all of them in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from consumers.documents.review.item import MalformedItemError, ReviewItem, fault
from events.keys import BatchId

VERSION = 1

_END = b"]}"


class ItemListWriter:
    """Writes a batch's items into a file.

    Args:
        file: An empty one.
        batch: Whose.
    """

    def __init__(self, file: BinaryIO, batch: BatchId) -> None:
        self._file = file
        self._separator = b"\n"
        head = json.dumps({"version": VERSION, "batch_id": str(batch), "items": []})
        self._file.write(head.encode().removesuffix(_END))

    def add(self, item: ReviewItem) -> None:
        """Write the next item."""
        line = json.dumps(item.to_document(), ensure_ascii=False, allow_nan=False)
        self._file.write(self._separator + line.encode())
        self._separator = b",\n"

    def finish(self) -> None:
        """Write the end, and go back to the file's start."""
        self._file.write(b"\n" + _END + b"\n")
        self._file.seek(0)


def read_items(file: BinaryIO) -> Iterator[ReviewItem]:
    """Read what `ItemListWriter` wrote.

    Raises:
        MalformedItemError: It is not that, or of another version.
    """
    try:
        version = json.loads(file.readline() + _END)["version"]
        if version != VERSION:
            raise MalformedItemError(
                f"the review items have version {version!r}, and this program reads "
                f"version {VERSION}"
            )
        for line in file:
            if line.strip() == _END:
                return
            yield ReviewItem.from_document(json.loads(line.rstrip(b",\n")))
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise MalformedItemError(f"the review items can't be read: {fault(exc)}") from None
    raise MalformedItemError("the list of review items breaks off")
