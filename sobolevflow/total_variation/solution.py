"""What `prox` gives back, and what it can be started from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import Array


@dataclass(frozen=True, eq=False)
class State:
    """Where an iteration of `prox` stopped, to start the next one from.

    NumPy arrays, or CuPy arrays where the image lies on a CUDA device. They are not changed by what starts
    from them, so that threads may start from one.

    Attributes
    ----------
    u
        Primal variable (N, C, H, W): N images of C coupled channels. Of `prox_tgv`: (N, 3, C, H, W), u and
        the slopes w down and to the right.
    p
        Dual variable (N, 2, C, H, W), in the unit of the image: |p| <= weight but for the relaxation. Of
        `prox_tgv`: (N, 5, C, H, W), p and the three parts of q.
    """

    __repr__ = checks.summary

    u: Array
    p: Array


@dataclass(frozen=True)
class Outcome:
    """How one image ended: its duality gap, the gap that was asked for, and the iterations made."""

    gap: float
    accepted: float
    iterations: int


@dataclass(frozen=True, eq=False)
class Prox:
    """What `prox` found. `gap`, `iterations` and `converged` have one entry for each image.

    Attributes
    ----------
    u
        The minimiser: library, device, shape and dtype of f.
    gap
        Duality gap, float64: the energy of `u` is at most this far above the minimum. It includes a bound of
        its own rounding.
    iterations
        Iterations made, int64.
    converged
        Whether the gap is at most tol * weight * TV(f), bool.
    state
        For the warm start of the next, similar problem.
    """

    __repr__ = checks.summary

    u: Any
    gap: NDArray[np.float64]
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]
    state: State


def as_prox(u: Any, outcomes: Sequence[Outcome], leading: tuple[int, ...], state: State) -> Prox:
    """The result for images `u` that `leading` axes count, of the outcome of each."""
    gap, accepted, iterations = np.array([(o.gap, o.accepted, o.iterations) for o in outcomes]).T
    return Prox(
        u=u,
        gap=gap.reshape(leading),
        iterations=iterations.astype(np.int64).reshape(leading),
        converged=(gap <= accepted).reshape(leading),
        state=state,
    )
