"""How a descent is watched: a progress bar for the terminal, and what a callback is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from .. import checks
from ..arrays import Array


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
