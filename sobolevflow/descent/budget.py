"""When a descent ends before its last step: its time is up, or its value has stopped rising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import numpy as np

from ..arrays import Array
from ..results import StoppedBy, budget_spent, stopped_after
from .plan import Stage
from .settings import Settings

Spent = Literal["seconds", "patience"]


@dataclass(frozen=True)
class Cut:
    """Where a run ended that is made again: its steps are counted, whatever had ended them.

    Parameters
    ----------
    steps : tuple of int
        Those of each stage that was begun.
    by : StoppedBy
        What had ended the last of them, or one before.
    """

    steps: tuple[int, ...]
    by: StoppedBy

    def note(self, taken: int, steps: int) -> str:
        """When it has ended, for people."""
        return stopped_after(taken, steps, "so did the run that this one makes again")


class Budget:
    """What is left of `seconds` and of `patience`.

    Time is divided among octaves in proportion to their steps: each ends when its part of the time, and that
    of those before it, is over, and has a step at least, so that the picture comes to its size whatever the
    time. Patience begins anew in each octave, where values are those of another canvas, and a step counts
    as a success if any image of the batch reaches a better value than it had before in that octave.

    Parameters
    ----------
    settings : Settings
    stages : sequence of Stage
        All of them.
    sign : float
        What falls is sign * value.

    Attributes
    ----------
    is_limited : bool
        Whether there is any limit; without one nobody need ask.
    """

    def __init__(self, settings: Settings, stages: Sequence[Stage], sign: float) -> None:
        self._seconds, self._patience = settings.seconds, settings.patience
        self.is_limited = self._seconds is not None or self._patience is not None
        self._sign = sign
        planned = np.cumsum([stage.steps for stage in stages])
        self._shares = (planned / planned[-1]).tolist()
        self._started = monotonic()
        self._octaves = len(stages)
        self.enter()

    def start(self) -> None:
        """Tell that the first step is about to be taken."""
        self._started = monotonic()

    def enter(self) -> None:
        """Tell that the next stage begins."""
        self._taken, self._best, self._in_vain = 0, np.array(np.inf), 0

    def take(self, value: Array) -> None:
        """Tell of a step, and of the objective before it, (N,)."""
        cost = self._sign * value
        self._in_vain = 0 if (cost < self._best).any() else self._in_vain + 1
        self._best = np.minimum(self._best, cost)
        self._taken += 1

    def spent(self, stage: Stage) -> Spent | None:
        """What the stage has to end for now, before all of its steps are taken; None where it may go on."""
        if self._taken >= stage.steps:
            return None
        if self._patience is not None and self._in_vain >= self._patience:
            return "patience"
        if self._seconds is None:
            return None
        passed = monotonic() - self._started
        return "seconds" if passed >= self._seconds * self._shares[stage.octave] else None

    def note(self, by: Spent, stage: Stage, taken: int, steps: int) -> str:
        """Why and when a stage, or the only one, has ended, for people.

        Parameters
        ----------
        by : {"seconds", "patience"}
        stage : Stage
        taken, steps : int
            Of the whole run: steps taken so far, and planned.
        """
        several = self._octaves > 1
        reason = budget_spent(
            by,
            seconds=self._seconds,
            patience=self._patience,
            maximize=self._sign < 0,
            of_octave=several,
        )
        if not several:
            return stopped_after(taken, steps, reason)
        ended = f"ended after {self._taken} of {stage.steps} steps"
        return f"Octave {stage.octave + 1} of {self._octaves} {ended}: {reason}."
