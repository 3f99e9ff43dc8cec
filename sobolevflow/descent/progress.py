"""A progress bar for the terminal; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(label: str, total: int, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """Show steps done, the value reached, the rate and the time left, on the standard error.

    Parameters
    ----------
    label : str
        What is being done.
    total : int
        Steps to be done.
    shown : bool
        False, or a standard error that is no terminal, shows nothing; rich is not even imported then.

    Yields
    ------
    callable
        To be called once after every step, with the value reached.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda value: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("value {task.fields[value]:.4g}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, value=float("nan"), rate="")

        def advance(value: float) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, value=value, rate=f"{speed:.1f} steps/s" if speed else "")

        yield advance
