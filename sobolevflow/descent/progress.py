"""How a descent is watched: a progress bar for the terminal, and what a callback is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from .. import checks
from ..arrays import Array
from ..text import one_line, shortened

if TYPE_CHECKING:
    from rich.progress import ProgressColumn


@dataclass(frozen=True)
class StepInfo:
    """What a callback is told after every step.

    Parameters
    ----------
    step, steps : int
        Steps completed, and steps planned.
    octave : int
        Counted from 0.
    tau : float
        The length of the step just taken.
    value : (N,) float64 array
        The objective before the step.
    mean_abs_gradient : (N,) float64 array
        Mean absolute value of its gradient.
    u : (N, C, H, W) float32 array
        The images after the step, to be read only; copy what is to be kept. On a CUDA device an array of
        CuPy, which the next step overwrites.
    """

    step: int
    steps: int
    octave: int
    tau: float
    value: Array
    mean_abs_gradient: Array
    u: Array

    __repr__ = checks.summary


Callback = Callable[[StepInfo], bool | None]


def label(objective: object, seconds: float | None) -> str:
    """What a progress bar says is being done, with the time that it may take where that is limited."""
    return str(objective) if seconds is None else f"{objective}, at most {seconds:g} s"


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
        False, or a standard error that is no terminal, shows nothing; rich is not even imported then. Of
        descents in several threads one at a time has a bar.

    Yields
    ------
    callable
        To be called once after every step, with the value reached.
    """
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield lambda value: None
    elif _ON_THE_TERMINAL.acquire(blocking=False):
        try:
            with _bar(label, total) as advance:
                yield advance
        finally:
            _ON_THE_TERMINAL.release()
    else:
        yield lambda value: None


_ON_THE_TERMINAL = Lock()


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[float], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    said, columns = _columns(one_line(label), total, console.width)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(said, total=total, value=float("nan"), rate="")

        def advance(value: float) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, value=value, rate=f"{speed:.1f} steps/s" if speed else "")

        yield advance


_LEAST_BAR, _LEAST_LABEL = 8, 12  # characters
_MOST_BAR, _MOST_LABEL = 40, 60


def _columns(label: str, total: int, width: int) -> tuple[str, list[ProgressColumn]]:
    """The label and what stands behind it, as far as a line has room: the counts in any case."""
    from rich.cells import cell_len
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    bar, counts = BarColumn(_LEAST_BAR), 2 * len(str(total)) + 1
    columns: dict[str, tuple[int, ProgressColumn]] = {  # with the characters that each takes
        "bar": (_LEAST_BAR, bar),
        "counts": (counts, MofNCompleteColumn(table_column=Column(min_width=counts))),
        "value": (len("value -1.234e-05"), TextColumn("value {task.fields[value]:.4g}")),
        "rate": (len("1234.5 steps/s"), TextColumn("{task.fields[rate]}")),
        "time": (len("0:00:00"), TimeRemainingColumn()),
    }
    left = width - 1
    for name in ("counts", "value", "time", "bar", "rate"):
        left -= 1 + columns[name][0]
        if left < _LEAST_LABEL and name != "counts":
            left += 1 + columns.pop(name)[0]
    said = shortened(label, min(max(left, 1), _MOST_LABEL), cell_len)
    bar.bar_width = min(_LEAST_BAR + max(left - cell_len(said), 0), _MOST_BAR)
    # rich would take what is in square brackets for its own commands
    return said, [TextColumn("{task.description}", markup=False), *(each for _, each in columns.values())]
