"""Octaves and stages: the sizes of the canvas that a descent goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import checks
from ..errors import InputError
from ..transforms import RandomView, Size
from .declaring import MOST_STEPS

MOST_OCTAVES = 1000
_LARGEST = 1_000_000  # scale, of a canvas that no machine holds


@dataclass(frozen=True)
class Octave:
    """One size of the canvas, and how long to stay at it.

    Parameters
    ----------
    scale : float
        The canvas relative to the network's input, both ways, above 0. Absolute, not relative to the octave
        before: 1.0, 1.1, 1.2 are 224, 246 and 269 pixels for a network of 224. Above 1 each step shows the
        network a crop of the canvas; below 1 the canvas is a coarser grid, which is enlarged linearly to what
        the network takes, and the gradient is carried back by the exact adjoint.
    steps : int
        Steps at this size.
    tau : float, optional
        The length of a step, in the unit of the image; that of the run unless given.
    """

    scale: float
    steps: int
    tau: float | None = None

    def __post_init__(self) -> None:
        if not (checks.is_number(self.scale) and 0 < checks.plain(self.scale) <= _LARGEST):
            raise InputError(
                "An octave's scale is relative to the network's input and above 0, got "
                f"{checks.shown(self.scale)}; at most it is {_LARGEST}."
            )
        checks.count(self.steps, "steps of an octave", most=MOST_STEPS)
        if self.tau is not None:
            checks.single(checks.positive(self.tau, "tau of an octave"), "tau of an octave")
        for name in ("scale", "steps", "tau"):
            object.__setattr__(self, name, checks.plain(getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """The fields, for the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Stage:
    """The steps between two changes of the canvas's size.

    Parameters
    ----------
    octave : int
        Counted from 0.
    view : RandomView
        What the network is shown of the canvas.
    steps : int
        How many steps.
    tau : float
        The length of a step before the schedule's factor.
    """

    octave: int
    view: RandomView
    steps: int
    tau: float


def scaled(window: Size, scale: float) -> Size:
    """A size, enlarged or reduced, to a pixel at least."""
    return max(1, round(window[0] * scale)), max(1, round(window[1] * scale))


def octaves_in(steps: int, count: int, tau: float) -> tuple[Octave, ...]:
    """So many octaves of the scales 1.0, 1.1, 1.2, ... that share so many steps.

    Each has about half the steps and half the tau of the one before it, as in the paper's Figure 2 (100, 50
    and 10 steps with tau 5, 2 and 1).

    Raises
    ------
    InputError
        There are fewer steps than octaves.
    """
    if count > steps:
        raise InputError(f"{count} octaves cannot share {steps} steps; ask for more steps.")
    ends = [round(steps * (1 - 0.5 ** (k + 1)) / (1 - 0.5**count)) for k in range(count)]
    lengths = _at_least_one(np.diff(ends, prepend=0).tolist())
    return tuple(Octave(1 + 0.1 * k, lengths[k], tau * 0.5**k) for k in range(count))


def octaves_of(scales: Sequence[float], steps: int) -> tuple[Octave, ...]:
    """Octaves of these scales that share so many steps equally, each with the tau of the run.

    Raises
    ------
    InputError
        There are fewer steps than octaves, or a scale is not above 0.
    """
    count = len(scales)
    if count > steps:
        raise InputError(f"{count} octaves cannot share {steps} steps; ask for more steps.")
    ends = [round(steps * (k + 1) / count) for k in range(count)]
    lengths = np.diff(ends, prepend=0).tolist()
    return tuple(Octave(scale, length) for scale, length in zip(scales, lengths, strict=True))


def _at_least_one(lengths: list[int]) -> list[int]:
    """The lengths with every 0 raised to 1, at the cost of the longest."""
    lengths = list(lengths)
    for k, length in enumerate(lengths):
        if length < 1:
            lengths[k] += 1
            lengths[lengths.index(max(lengths))] -= 1
    return lengths
