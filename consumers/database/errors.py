"""Errors that the tables' classes raise, besides those that `translated` makes of Postgres'."""

from __future__ import annotations

from datetime import datetime

from consumers.documents.manifest import Archive
from consumers.errors import PermanentError


class TextTooLongError(PermanentError):
    """A text has more different words than Postgres can index."""


class ArchiveOverwrittenError(PermanentError):
    """A batch id stands for other content already."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(
            f"{archive.key} was overwritten with other content: batch {archive.batch} stands for "
            "what was stored first. Drop the new content as a batch of its own."
        )


class NoItemError(PermanentError):
    """There is no such review item."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"there is no review item {item_id}")


class HeldError(PermanentError):
    """Another reviewer holds the item."""

    def __init__(self, item_id: str, holder: str | None, until: datetime | None) -> None:
        time = f" until {until:%Y-%m-%d %H:%M:%S %Z}" if until else ""
        super().__init__(
            f"{item_id} is claimed by {holder or 'another reviewer'}{time}: "
            "'dropscribe review next' gives one that is free"
        )
