"""What a descent does where nobody says otherwise: two recipes, measured, and the paper's settings.

Without a scheme, `visualize` and `invert` descend by fluid Sobolev demons of natural colours with a gamma far
beyond what an 11x11 kernel holds, momentum, steps that decay, and views that move; `trials` finds out how
large a gamma a network follows. With a scheme, everything else defaults to what the paper has, so that
schemes are compared in their own setting.
docs/recipes.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import filters, schemes
from ..maps import NaturalColour
from .declaration import RecipeName, alone, beside_a_scheme, left_open
from .declaring import AUTO, Task

_MEASURED_AT = 224  # pixels; gamma and jitter are in pixels and grow with the image

_GAMMA: dict[Task, float] = {"visualize": 1000.0, "invert": 300.0}

# Where z is descended along instead of u: a filter of pixels has no place, and tau counts coefficients.
_IN_COORDINATES: dict[str, Any] = {
    "scheme": schemes.gradient_descent(),
    "tau": 0.05,
    "schedule": "constant",
    "optimizer": "adam",
    "normalise": "before",
    "start": "grey",
}

_STILL = {"jitter": 0, "rotate": 0.0, "zoom": 0.0}


def natural_recipe(
    task: Task, input_shape: tuple[int, ...], *, reach: int | None = None, share: float = 1.0
) -> dict[str, Any]:
    """The parameters of a descent without a scheme of the caller's.

    Parameters
    ----------
    task : {"visualize", "invert"}
    input_shape : (C, H, W)
        Of the network; colours are natural where there are three channels.
    reach : int, optional
        Pixels that the unit sees of the image along a side; all of them unless given. gamma grows with its
        square and jitter with it, so that a picture of another size, or of a unit that sees a part alone, is
        the same picture.
    share : float
        What gamma is of the largest that makes sense, see `trials`.

    Returns
    -------
    dict
        Keyword arguments of `visualize`.
    """
    channels, height, width = input_shape
    side = min(height, width)
    size = (side if reach is None else min(side, reach)) / _MEASURED_AT
    smooth = filters.Sobolev(gamma=_GAMMA[task] * size**2 * share)
    scheme = schemes.fluid(NaturalColour() @ smooth if channels == 3 else smooth)
    return {"scheme": scheme, **alone(task, size)}


def paper_recipe(task: Task) -> dict[str, Any]:
    """The parameters of the paper's descent: fluid-elastic by an 11x11 Sobolev kernel, of inversion fluid."""
    make = schemes.fluid_elastic if task == "visualize" else schemes.fluid
    return {"scheme": make(filters.Sobolev(size=11)), **beside_a_scheme(task)}


def is_natural(given: Mapping[str, Any], recipe: RecipeName) -> bool:
    """Whether pixels descend by the natural recipe."""
    if given.get("parametrization") is not None:
        return False
    return recipe == "natural" or (recipe == AUTO and given["scheme"] is None)


def filled(
    task: Task,
    given: Mapping[str, Any],
    input_shape: tuple[int, ...],
    latent: bool = False,
    recipe: RecipeName = AUTO,
    reach: int | None = None,
) -> dict[str, Any]:
    """`given`, with defaults in place of what is None or "auto"; what is in no recipe is left to `Settings`.

    `latent` says that the image is the code of a generator, `reach` is as in `natural_recipe`.
    """
    if latent:
        defaults = {**_IN_COORDINATES, **_STILL, "start": "normal", "clip": False}
    elif given.get("parametrization") is not None:
        defaults = natural_recipe(task, input_shape) | _IN_COORDINATES
    elif is_natural(given, recipe):
        defaults = natural_recipe(task, input_shape, reach=reach)
    else:
        defaults = paper_recipe(task)
    return {**given, **{name: defaults[name] for name in left_open(given) & defaults.keys()}}
