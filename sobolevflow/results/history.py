"""The measurements of a descent, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array


@dataclass(frozen=True)
class Record:
    """The measurements of one step.

    Parameters
    ----------
    value : (N,) float64 array
        The objective at the image before the step, as the network saw it (jittered, cropped).
    mean_abs_gradient : (N,) float64 array
        Mean absolute value of the objective's gradient, over the pixels the network saw.
    rms_step : (N,) float64 array
        Root mean square of the change of the image, in the unit of the image.
    tau : float
        The length of the step, the schedule's factor included.
    octave : int
        Counted from 0.
    tv_gap, tv_iterations : float and int, or None
        The largest duality gap and number of iterations in the batch, where the scheme has a TV step.
    """

    value: Array
    mean_abs_gradient: Array
    rms_step: Array
    tau: float
    octave: int
    tv_gap: float | None = None
    tv_iterations: int | None = None


@dataclass(frozen=True, repr=False)
class History:
    """The records of all steps, as arrays: one row a step, one column an image.

    Parameters
    ----------
    records : sequence of Record
        In the order of the steps.
    batch : int
        The number of images.
    """

    records: Sequence[Record]
    batch: int

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        fields = "value, mean_abs_gradient, rms_step, tau, octave"
        return f"History({len(self)} steps of {self.batch}: {fields})"

    @cached_property
    def value(self) -> NDArray[np.float64]:
        """(steps, N): the objective before each step."""
        return self._per_image("value")

    @cached_property
    def mean_abs_gradient(self) -> NDArray[np.float64]:
        """(steps, N): mean absolute value of the gradient."""
        return self._per_image("mean_abs_gradient")

    @cached_property
    def rms_step(self) -> NDArray[np.float64]:
        """(steps, N): root mean square of the change of the image."""
        return self._per_image("rms_step")

    @cached_property
    def tau(self) -> NDArray[np.float64]:
        """(steps,): the length of each step."""
        return np.array([record.tau for record in self.records], dtype=np.float64)

    @cached_property
    def octave(self) -> NDArray[np.int64]:
        """(steps,): the octave of each step."""
        return np.array([record.octave for record in self.records], dtype=np.int64)

    @cached_property
    def tv_gap(self) -> NDArray[np.float64] | None:
        """(steps,): the duality gap of each step's TV prox; None for schemes without one."""
        gaps = [record.tv_gap for record in self.records]
        return None if not gaps or None in gaps else np.array(gaps, dtype=np.float64)

    @cached_property
    def tv_iterations(self) -> NDArray[np.int64] | None:
        """(steps,): the iterations of each step's TV prox; None for schemes without one."""
        counts = [record.tv_iterations for record in self.records]
        return None if not counts or None in counts else np.array(counts, dtype=np.int64)

    def _per_image(self, name: str) -> NDArray[np.float64]:
        rows = [getattr(record, name) for record in self.records]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.batch)
