"""Progress of the files that are on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


class ShowProgress(Protocol):
    """Shows something with a size."""

    def __call__(self, what: str, size: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show it for as long as the block runs, which tells the bytes done, from any thread."""
        ...


@contextmanager
def transfer_bars() -> Iterator[ShowProgress]:
    """Show a line for each file on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )

    @contextmanager
    def watch(what: str, size: int) -> Iterator[Callable[[int], None]]:
        task = bars.add_task(escape(what), total=size)
        try:
            yield lambda done: bars.advance(task, done)
        finally:
            bars.remove_task(task)

    with bars:
        yield watch
