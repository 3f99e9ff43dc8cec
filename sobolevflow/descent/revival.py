"""Images whose gradient is zero everywhere: started anew from stronger noise, or given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from ..arrays import Array, to_host
from ..errors import GradientError
from ..objectives import Objective
from .gradient_scale import mean_abs
from .numbers import listed
from .settings import Settings
from .start import drawn

if TYPE_CHECKING:
    from .log import Aim, Subject

# What is tried instead of a start without gradient, one after the other: stronger noise of the same kind, and
# white noise, which excites what natural noise does not. Standard deviations.
_WHITE = tuple(("grey", n / 255) for n in (16, 32, 64, 96, 128))
_NUDGES = {
    "normal": _WHITE,
    "grey": _WHITE,
    "natural": (*(("natural", n / 255) for n in (16, 32, 64)), *_WHITE),
}

# After so many steps in a row without any gradient in the whole batch the descent gives up.
_PATIENCE = 20


class NoGradientError(GradientError):
    """There is no way down; the message says where, and what can be done."""


class Revival:
    """Which images have no gradient, and what becomes of them.

    Parameters
    ----------
    net, objective, settings
        As for `descend`. A start that the user gave is left alone.
    """

    def __init__(self, net: Subject, objective: Aim, settings: Settings) -> None:
        self._net, self._objective = net, objective
        self._steps_without_gradient = 0
        self._random = settings.start_is_random
        self.nudges = _NUDGES[settings.start] if isinstance(settings.start, str) else ()

    def dead(self, values: Array, g: Array) -> Array:
        """Which images have no gradient at the start, (N,) bool."""
        return self._dead(to_host(values), to_host(mean_abs(g)) != 0)

    def nudged(
        self, u: Array, dead: Array, start: str, noise: float, rngs: Sequence[Generator]
    ) -> tuple[Array, str]:
        """The images with new starts for those that have no gradient, and a note of it."""
        u = to_host(u).copy()
        for i in np.flatnonzero(dead).tolist():
            u[i] = drawn(start, rngs[i], u[i].shape, noise)
        kind = "natural noise" if start == "natural" else "noise"
        return u, (
            f"The gradient was zero at the start for {listed(dead)}; started from grey with {kind} "
            f"{255 * noise:.0f}/255 instead."
        )

    def check_start(self, values: Array, g: Array) -> None:
        """NoGradientError unless all images have a gradient now."""
        dead = self.dead(values, g)
        if dead.any():
            tried = ", even with strong noise" if self._random else ""
            images = np.flatnonzero(dead).tolist()
            raise self._error(f"at the start for {listed(dead)}{tried}", images)

    def check_step(self, values: Array, moving: Array) -> None:
        """NoGradientError after many steps in which no image of the batch has moved."""
        stuck = self._dead(values, moving)
        self._steps_without_gradient = self._steps_without_gradient + 1 if stuck.all() else 0
        if self._steps_without_gradient >= _PATIENCE:
            raise self._error(f"for all images over the last {_PATIENCE} steps")

    def _dead(self, values: Array, moving: Array) -> Array:
        """Images without gradient, except those that have reproduced their features to the last bit."""
        solved = np.zeros_like(moving) if self._objective.maximize else values <= 0
        return ~(moving | solved)

    def _error(self, where: str, images: Sequence[int] = ()) -> NoGradientError:
        """Of these images, where it is not all of them."""
        aim = self._objective
        if images and isinstance(aim, Objective):
            aim = aim.for_images(images)
        hint = self._net.preactivation_hint(aim)
        remedy = hint or "Try another start, a larger noise, or an objective in an earlier layer."
        return NoGradientError(f"The gradient of {aim} is zero {where}. {remedy}")
