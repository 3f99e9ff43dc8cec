"""Descents that go astray: told by what was written down of them, with what to change.

The measurements are those that the history has anyway, and the images are looked at once, at the end, on the
host. Where the bounds lie was found by measuring: docs/trust.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..filters import Identity
from ..results import History
from .declaring import GREY_LEVEL
from .numbers import listed
from .settings import Settings

_FEWEST = 20  # steps from which on there is something to tell

_WORSE = 1 / 3  # the share of the steps at which the value is worse than at the start, as it is in the end

# The share of the values of an image at 0 or 1 with a tau that is larger than usual; with that, what wants
# one colour or stripes, as channels of early layers do, has all of them there, and a smaller one does not
# change it. A start of the user's has less room to its bounds.
_AT_BOUNDS, _AT_BOUNDS_GIVEN = 0.3, 0.6

_FAR = 1 / 3  # the share of the values further than 1 outside of [0, 1], where nothing is clipped

# Root mean square of the change of an image at a step: 9 grey levels at most in order. Above the first bound
# it is too much where the value is no better for it, above the second anywhere.
_JUMPS, _LEAPS = 15 * GREY_LEVEL, 30 * GREY_LEVEL

_SPREADS = 5.0  # how much worse than a start that was good already, in differences from step to step


@dataclass(frozen=True)
class _Symptom:
    """What is wrong with some images of a batch: ``"the value ended smaller than it was at the start"``."""

    images: NDArray[np.bool_]
    words: str


def divergence(history: History, u: Array, settings: Settings, *, maximize: bool, latent: bool) -> list[str]:
    """What went wrong, with what to change; nothing where a descent is in order.

    Parameters
    ----------
    history : History
        Of all steps so far.
    u : (N, C, H, W) array
        The images, on the host.
    settings : Settings
    maximize : bool
        The sense of the objective.
    latent : bool
        Whether the images are codes of a generator, which have no bounds.
    """
    if len(history) < _FEWEST:
        return []
    long_steps = _steps_are_long(history, settings)
    found = list(_of_values(history, maximize, settings, long_steps))
    if not latent:
        found += _of_images(u, maximize, settings, long_steps)
    return _joined(found, _remedy(history, settings)) if found else []


def _steps_are_long(history: History, settings: Settings) -> bool:
    """Whether tau is above what is usual, or above what a penalty allows."""
    tau, usual = float(history.tau.max()), _usual(settings)
    longest = getattr(settings.scheme.penalty, "longest_step", None)
    return usual is None or tau > 2 * usual or (longest is not None and tau > longest)


def _of_values(history: History, maximize: bool, settings: Settings, long_steps: bool) -> Iterator[_Symptom]:
    """Values that got worse, and steps so long that they get nowhere; octaves are looked at one by one."""
    cost = -history.value if maximize else history.value
    worse, jumping = (np.zeros(history.batch, bool) for _ in range(2))
    for octave in np.unique(history.octave):
        own = history.octave == octave
        if own.sum() < _FEWEST:
            continue
        fresh = octave == 0 and settings.start_is_random
        worse |= _is_worse(cost[own], fresh)
        if long_steps:
            jumping |= ~worse & _jumps(cost[own], history.rms_step[own])
    if worse.any():
        word = "smaller" if maximize else "larger"
        yield _Symptom(worse, f"the value ended {word} than it was at the start")
    if jumping.any():
        level = 255 * float(np.median(history.rms_step[:, jumping]))
        yield _Symptom(jumping, f"each step changed the image by {level:.0f} of 255 grey levels")


def _is_worse(cost: Array, fresh: bool) -> NDArray[np.bool_]:
    """Whether values (steps, N) end worse than the first of them, by far or after many that were so too.

    The first is that of grey and noise, unless it is not `fresh`: then it may be the best that there is, and
    only what is worse by more than values differ from step to step counts.
    """
    first, later = cost[0], cost[1:]
    spread = np.median(np.abs(np.diff(cost, axis=0)), axis=0)
    margin = 0.0 if fresh else _SPREADS * spread
    end = np.median(cost[-max(1, len(cost) // 10) :], axis=0)
    often = np.mean(later > first + margin, axis=0) > _WORSE
    return np.asarray((often & (end > first + margin)) | (end > first + _SPREADS * spread))


def _jumps(cost: Array, rms_step: Array) -> NDArray[np.bool_]:
    """Whether an image leaps, or jumps to the end while the value is no better than near the start."""
    tenth, half = max(1, len(cost) // 10), len(cost) // 2
    before, after = np.median(cost[tenth : 2 * tenth], axis=0), np.median(cost[-tenth:], axis=0)
    spread = np.median(np.abs(np.diff(cost, axis=0)), axis=0)
    early, late = (np.median(part, axis=0) for part in (rms_step[:half], rms_step[half:]))
    return np.asarray((early > _LEAPS) | ((late > _JUMPS) & (after > before - spread)))


def _of_images(u: Array, maximize: bool, settings: Settings, long_steps: bool) -> Iterator[_Symptom]:
    """Values that pile up at the bounds, or leave them behind.

    An image that is to have the features of another may have its black and white.
    """
    if not settings.clip and settings.parametrization is None:
        beyond = _share((u < -1) | (u > 2))
        if (beyond > _FAR).any():
            yield _Symptom(beyond > _FAR, f"{beyond.max():.0%} of the values are far outside of [0, 1]")
        return
    if not (maximize and long_steps):
        return
    piled, start = _share(_at_bounds(u)), settings.start
    most = np.array(_AT_BOUNDS)
    if isinstance(start, np.ndarray):
        most = _AT_BOUNDS_GIVEN + _share(_at_bounds(start))
    too_many = piled > most
    if too_many.any():
        yield _Symptom(too_many, f"{piled[too_many].max():.0%} of the values are at 0 or 1")


def _at_bounds(u: Array) -> NDArray[np.bool_]:
    return np.asarray((u <= 0) | (u >= 1))


def _share(which: Array) -> NDArray[np.float64]:
    """The share of the values of each image, (N,) or of a single one ()."""
    return np.asarray(np.mean(which, axis=(-3, -2, -1), dtype=np.float64))


def _joined(found: list[_Symptom], remedy: str) -> list[str]:
    """A note for each set of images, which it names unless they are all."""
    by_images: dict[bytes, list[_Symptom]] = {}
    for each in found:
        by_images.setdefault(each.images.tobytes(), []).append(each)
    return [
        ("" if alike[0].images.all() else f"{listed(alike[0].images)}: ")
        + " and ".join(each.words for each in alike)
        + f"; {remedy}"
        for alike in by_images.values()
    ]


def _remedy(history: History, settings: Settings) -> str:
    """What to change, by its name in Python and on the command line."""
    tau, penalty = float(history.tau.max()), settings.scheme.penalty
    longest = getattr(penalty, "longest_step", None)
    if longest is not None and tau > longest:
        weight: Any = getattr(penalty, "weight", None)
        less = _rounded(0.5 * weight * longest / tau)
        return (
            f"the penalty of weight {weight:.3g} is too large for steps of {tau:.3g}; try a weight of {less} "
            f"(--penalty-weight {less})"
        )
    usual = _usual(settings)
    if usual is not None and tau <= 2 * usual:
        if penalty is not None or not isinstance(settings.scheme.K_e, Identity):
            what = "the penalty" if penalty is not None else "K_e, which smooths the image at every step,"
            return f"{what} outweighs the objective; try a weaker one, or none"
        fewer = max(1, len(history) // 2)
        return f"tau is as usual, {tau:.3g}; try half of it, or fewer steps: steps={fewer} (--steps {fewer})"
    less = _rounded(tau / 10 if usual is None else min(tau / 10, usual))
    return f"tau {tau:.3g} is too large; try tau={less} (--tau {less})"


def _usual(settings: Settings) -> float | None:
    """A tau that is seldom too large; None for raw gradients, which have the scale of the network."""
    if settings.parametrization is not None:
        return 0.05
    if settings.normalise is None:
        return None
    return 5 * GREY_LEVEL


def _rounded(value: float) -> str:
    return f"{value:.1g}" if value >= 1e-4 else f"{value:.1e}"
