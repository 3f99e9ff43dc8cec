"""How a descent is watched: a progress bar for the terminal, and what a callback is told."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from .. import checks
from ..arrays import Array
from ..kernels import told_of_compiling
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
        False shows nothing. A standard error that is no terminal, as of a notebook or file, has a line every
        ten seconds instead of a bar, so that what ends sooner says nothing there; rich is not even imported
        then. Of descents in several threads one at a time is shown. Both say that kernels are compiled, the
        lines only where that takes seconds.

    Yields
    ------
    callable
        To be called once after every step, with the value reached.
    """
    if not (shown and sys.stderr is not None and _SHOWN.acquire(blocking=False)):
        yield lambda value: None
        return
    try:
        with (_bar if sys.stderr.isatty() else _lines)(label, total) as advance:
            yield advance
    finally:
        _SHOWN.release()


_SHOWN = Lock()
_COMPILING = "compiling kernels (once)"
_BETWEEN_LINES = 10.0  # seconds
_LONG = 3.0  # seconds of compilation, from which on it is worth a line


@contextmanager
def _lines(label: str, total: int) -> Iterator[Callable[[float], None]]:
    said, done, latest = one_line(label), 0, time.monotonic()
    compiled_since: float | None = None  # infinity once that has been said

    def advance(value: float) -> None:
        nonlocal done, latest
        done += 1
        if time.monotonic() - latest >= _BETWEEN_LINES:
            latest = time.monotonic()
            _print(f"{said}: {done}/{total}, {_shown(value)}")

    def compiling() -> None:
        nonlocal compiled_since
        now = time.monotonic()
        compiled_since = now if compiled_since is None else compiled_since
        if now - compiled_since >= _LONG:
            compiled_since = math.inf
            _print(f"{said}: {_COMPILING}")

    with told_of_compiling(compiling):
        yield advance


def _print(line: str) -> None:
    """A line for whoever reads along; where nobody takes it, the work goes on."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _shown(value: float) -> str:
    return f"value {value:.4g}"


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[float], None]]:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    said, columns = _columns(one_line(label), total, console.width)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(said, total=total, value="", rate="")

        def advance(value: float) -> None:
            speed = bar.tasks[0].speed
            bar.update(
                task,
                advance=1,
                value=_shown(value),
                description=said,
                rate=f"{speed:.1f} steps/s" if speed else "",
            )

        def compiling() -> None:
            bar.update(task, description=shortened(_COMPILING, max(cell_len(said), len(_COMPILING))))

        with told_of_compiling(compiling):
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
        "value": (len("value -1.234e-05"), TextColumn("{task.fields[value]}")),
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
