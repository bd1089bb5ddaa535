"""Progress of long verbs: a bar with the time left on a terminal, its last state elsewhere."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class Bar:
    """One bar; made by `progress_bar`."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def show(self, done: float, note: str | None = None) -> None:
        """How much of the total is done, and what is known of it."""
        self._progress.update(self._task, completed=done, **({} if note is None else {"note": note}))

    def write(self, line: str) -> None:
        """A line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str, total: float, counted: bool = False, shown: bool = True) -> Iterator[Bar]:
    """A bar on standard error.

    Args:
        what: is going on.
        total: of what is to be done.
        counted: whether the numbers mean something, or only their share does.
        shown: whether there is one at all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.table import Column

    # On a narrow terminal the note is cut, and nothing else.
    whole, cut = Column(no_wrap=True, min_width=len(what)), Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = [TextColumn("{task.description}", table_column=whole), BarColumn(bar_width=20)]
    columns += [MofNCompleteColumn() if counted else TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left")]
    columns += [Remaining(elapsed_when_finished=False), TextColumn("{task.fields[note]}", table_column=cut)]
    with Progress(*columns, console=Console(stderr=True), disable=not shown, expand=True) as progress:
        yield Bar(progress, progress.add_task(what, total=total, note=""))


def counted(what: str, items: Iterable[Any], total: int) -> Iterator[Any]:
    """The items, with a bar that counts them."""
    with progress_bar(what, total, counted=True) as bar:
        for done, item in enumerate(items, 1):
            bar.show(done)
            yield item
