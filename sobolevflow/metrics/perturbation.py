"""Whether what an image excites in a network outlasts small changes of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..arrays import hand_back
from ..filters import Gaussian
from ..gradient import Engine
from ..network import Network
from ..objectives import Objective
from ..transforms import Jitter
from .arguments import Floats, images_for

_MOST_PASSES = 10**6  # of an image through the network: hours
_LOUDEST = 1e6

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Robustness:
    """The value of an objective at images, and at images that were changed at random.

    Attributes
    ----------
    value
        (N,) at the images themselves.
    mean, std
        For each change, (N,): mean and standard deviation over the draws.

    They are arrays of float64 of the library of the images.
    """

    __repr__ = checks.summary

    value: Floats
    mean: dict[str, Floats]
    std: dict[str, Floats]

    def retained(self) -> dict[str, Floats]:
        """The share that is left, mean / value, for each change; of use where values are positive."""
        return {name: mean / self.value for name, mean in self.mean.items()}


def robustness(
    net: Network,
    objective: Objective,
    u: Any,
    *,
    jitter: int = 8,
    blur: float = 1.0,
    noise: float = 0.05,
    draws: int = 32,
    seed: int = 0,
) -> Robustness:
    """An objective under jitter, blur and noise, each by itself.

    Parameters
    ----------
    net : Network
    objective : Objective
        A class or a channel, for example.
    u : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1].
    jitter : int
        Cyclic shifts by up to so many pixels along both axes, uniform; 0 leaves it out.
    blur : float
        Gaussian filters with sigma uniform between 0 and this, in pixels; 0 leaves it out.
    noise : float
        Normal noise of this standard deviation, clipped to [0, 1]; 0 leaves it out.
    draws : int
        How many of each. Every draw is a pass of the gradient model over all images.
    seed : int
        Of the generator. An image's draws do not depend on the other images of the batch.

    Returns
    -------
    Robustness

    Raises
    ------
    InputError
        The images do not fit the network, or a number is out of range.
    """
    images = images_for(net, u)
    if not isinstance(objective, Objective):
        checks.refuse(objective, "objective", "an objective such as Class(0)")
    if checks.count(draws, "draws") * len(images) > _MOST_PASSES:
        checks.refuse(draws, "draws", f"so few that {len(images)} images make at most {_MOST_PASSES} passes")
    seed = checks.count(seed, "seed", least=0)
    jitter = checks.count(jitter, "jitter", least=0)
    checks.nonnegative(blur, "blur")
    if checks.nonnegative(noise, "noise") > _LOUDEST:
        checks.refuse(noise, "noise", f"at most {_LOUDEST:g}, since images lie in [0, 1]")
    engine = Engine(net, objective, batch=len(images))
    value = engine(images)[0]
    mean, std = {}, {}
    for name, change in _changes(jitter, blur, noise).items():
        rngs = [np.random.default_rng([seed, n]) for n in range(len(images))]
        found = np.stack([engine(_changed(images, change, rngs))[0] for _ in range(draws)])
        mean[name], std[name] = (hand_back(each, u) for each in (found.mean(axis=0), found.std(axis=0)))
    return Robustness(hand_back(value, u), mean, std)


def _changed(images: np.ndarray, change: Change, rngs: list[np.random.Generator]) -> np.ndarray:
    return np.concatenate([change(u[None], rng) for u, rng in zip(images, rngs, strict=True)])


def _changes(jitter: int, blur: float, noise: float) -> dict[str, Change]:
    def rolled(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return Jitter((jitter, jitter)).draw([rng]).apply(u)

    def blurred(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # the smallest sigma that still does something; the exact filter has no window to choose
        K = Gaussian(sigma=max(rng.uniform(0, blur), 1e-3), method="exact")
        return np.asarray(K(u, channel_axis=1))

    def noisy(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(np.clip(u + rng.normal(0, noise, u.shape).astype(u.dtype), 0, 1))

    every: dict[str, tuple[float, Change]] = {
        "jitter": (jitter, rolled),
        "blur": (blur, blurred),
        "noise": (noise, noisy),
    }
    return {name: change for name, (amount, change) in every.items() if amount > 0}
