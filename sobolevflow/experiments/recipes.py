"""Recipes: everything that determines a descent but the network, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..descent import (
    GREY_LEVEL,
    Normalisation,
    Octave,
    Settings,
    Settled,
    declares,
    default_of,
    natural_recipe,
)
from ..filters import Filter, Gaussian, Sobolev
from ..maps import NaturalColour
from ..network import Network
from ..schemes import Scheme, elastic, fluid, fluid_elastic, gradient_descent, proximal_tv

SIZE = 11  # of most of the paper's filters


@declares
class Recipe(Settled):
    """How to descend: the parameters of `visualize` and `invert`, those of network and image left alone.

    What is not given is what they have beside a scheme, but for normalisation and jitter.
    """

    normalise: Normalisation | Literal["auto"] = default_of(Settled, "normalise", default="after")
    jitter: int = default_of(Settled, "jitter", default=0)

    def settings(self, *, batch: int, seed: int, device: str = "cpu") -> Settings:
        """The recipe for so many images, checked."""
        return Settings(**{**vars(self), "batch": batch, "seed": seed, "device": device})

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, as `Settings.to_dict` spells it."""
        return self.settings(batch=1, seed=0).to_dict()

    def but(self, **changes: Any) -> Recipe:
        """The recipe with other values of some parameters."""
        return replace(self, **changes)

    @property
    def own_octaves(self) -> tuple[Octave, ...]:
        """The octaves that have steps of their own; none where they share those of the recipe."""
        given = self.octaves if isinstance(self.octaves, Sequence) else ()
        return tuple(each for each in given if isinstance(each, Octave))

    def in_steps(self, steps: int) -> Recipe:
        """The recipe in another number of steps; octaves keep their shares of them."""
        total = sum(octave.steps for octave in self.own_octaves)
        if not total:
            return self.but(steps=steps)
        octaves = tuple(replace(o, steps=max(1, round(o.steps * steps / total))) for o in self.own_octaves)
        return self.but(steps=steps, octaves=octaves)

    def __str__(self) -> str:
        levels = f"tau {self.tau / GREY_LEVEL:g}/255"
        parts = [self.scheme.in_words(), levels]
        parts += [] if self.schedule == "constant" else [str(self.schedule)]
        parts += [] if self.optimizer == "descent" else [str(self.optimizer)]
        views = {"jitter": self.jitter, "rotate": self.rotate, "zoom": self.zoom}
        parts += [f"{name} {value:g}" for name, value in views.items() if value]
        return ", ".join(parts)


def default_inversion(net: Network) -> Recipe:
    """What `invert` does with a network where nobody says otherwise."""
    return Recipe(**natural_recipe("invert", net.input_shape))


def _taus(scheme: Scheme, *levels: float) -> tuple[Recipe, ...]:
    return tuple(Recipe(scheme=scheme, tau=level * GREY_LEVEL) for level in levels)


def _sized(make: Any, family: Callable[..., Filter], *pairs: tuple[int, float]) -> tuple[Recipe, ...]:
    """A scheme with filters of so many pixels, each with a tau in grey levels."""
    return tuple(recipe for size, level in pairs for recipe in _taus(make(family(size=size)), level))


_LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of tau, where nothing else is to be tuned
# Of filter and tau, which together make lambda, gamma / (2 tau).
_SIZES_AND_LEVELS = ((7, 1.0), (7, 2.0), (9, 1.0), (9, 2.0), (9, 4.0), (11, 4.0))


def _natural(gamma: float, **changes: Any) -> Recipe:
    """Fluid demons of a large gamma in natural colours, with momentum and steps that decay."""
    settled = Recipe(
        scheme=fluid(NaturalColour() @ Sobolev(gamma=gamma)),
        tau=GREY_LEVEL,
        schedule="cosine",
        optimizer="momentum",
    )
    return settled.but(**changes)


INVERT = "default of invert"
METHODS: dict[str, tuple[Recipe, ...]] = {
    "none": _taus(gradient_descent(), *_LEVELS),
    "TV": tuple(
        Recipe(scheme=proximal_tv(weight), tau=level * GREY_LEVEL)
        for level, weight in ((0.5, 0.001), (0.5, 0.003), (1, 0.001), (1, 0.003), (1, 0.01), (2, 0.003))
    ),
    "Sobolev fluid": _taus(fluid(Sobolev(size=SIZE)), *_LEVELS),
    "Sobolev elastic": _sized(elastic, Sobolev, *_SIZES_AND_LEVELS),
    "Sobolev fluid-elastic": _sized(fluid_elastic, Sobolev, *_SIZES_AND_LEVELS),
    "Gaussian fluid": _taus(fluid(Gaussian(size=SIZE)), *_LEVELS),
    "Gaussian elastic": _sized(elastic, Gaussian, *_SIZES_AND_LEVELS),
    "Gaussian fluid-elastic": _sized(fluid_elastic, Gaussian, *_SIZES_AND_LEVELS),
    "natural colour": (
        _natural(1000.0, jitter=4),
        _natural(1000.0, jitter=2),
        _natural(1000.0, jitter=4, rotate=4.0, zoom=0.05),
        _natural(1000.0),
        _natural(300.0, jitter=4),
        _natural(1000.0, jitter=4, tau=0.5 * GREY_LEVEL),
    ),
    INVERT: (),
}
"""Plain descent, the paper's methods, and fluid demons of natural colours with a large gamma: each with the
candidates that it is tuned over, six of equal cost; and what `invert` does by itself, which is not tuned."""
