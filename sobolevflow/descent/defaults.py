"""What a descent does where nobody says otherwise: two recipes, measured, and the paper's settings.

Without a scheme, `visualize` and `invert` descend by fluid Sobolev demons of natural colours with a gamma far
beyond what an 11x11 kernel holds, momentum, steps that decay, and views that move. With a scheme,
everything else defaults to what the paper has, so that schemes are compared in their own setting.
docs/recipes.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .. import filters, schemes
from ..maps import NaturalColour
from .settings import DEFAULT_TAU, GREY_LEVEL, INVERSION_TAU

Task = Literal["visualize", "invert"]

AUTO = "auto"

_MEASURED_AT = 224  # pixels; gamma and jitter are in pixels and grow with the image

_GAMMA: dict[Task, float] = {"visualize": 1000.0, "invert": 300.0}

_JITTER: dict[Task, float] = {"visualize": 16, "invert": 4}

_VIEWS: dict[Task, dict[str, float]] = {
    "visualize": {"rotate": 8.0, "zoom": 0.1},
    "invert": {"rotate": 0.0, "zoom": 0.0},
}

_STILL = {"rotate": 0.0, "zoom": 0.0}

_WITH_A_SCHEME: dict[Task, dict[str, Any]] = {
    "visualize": {
        "tau": DEFAULT_TAU,
        "schedule": "constant",
        "optimizer": "descent",
        "normalise": "before",
        "jitter": 2,
        **_STILL,
    },
    "invert": {
        "tau": INVERSION_TAU,
        "schedule": "cosine",
        "optimizer": "descent",
        "normalise": "after",
        "jitter": 0,
        **_STILL,
    },
}

# Where z is descended along instead of u: a filter of pixels has no place, and tau counts coefficients.
_IN_COORDINATES: dict[str, Any] = {
    "scheme": schemes.gradient_descent(),
    "tau": 0.05,
    "schedule": "constant",
    "optimizer": "adam",
    "normalise": "before",
}


def natural_recipe(task: Task, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """The parameters of a descent without a scheme of the caller's.

    Parameters
    ----------
    task : {"visualize", "invert"}
    input_shape : (C, H, W)
        Of the network. gamma grows with the square of its size and jitter with the size, so that a picture of
        another size is the same picture; colours are natural where there are three.

    Returns
    -------
    dict
        Keyword arguments of `visualize`.
    """
    channels, height, width = input_shape
    size = min(height, width) / _MEASURED_AT
    large = filters.Sobolev(gamma=_GAMMA[task] * size**2)
    return {
        "scheme": schemes.fluid(NaturalColour() @ large if channels == 3 else large),
        "tau": GREY_LEVEL,
        "schedule": "cosine",
        "optimizer": "momentum",
        "normalise": "after",
        "jitter": max(1, round(_JITTER[task] * size)),
        **_VIEWS[task],
    }


def filled(
    task: Task, given: Mapping[str, Any], input_shape: tuple[int, ...], latent: bool = False
) -> dict[str, Any]:
    """`given`, with defaults in place of what is None or "auto".

    `latent` says that the image is the code of a generator.

    Raw gradients, ``normalise=None``, are an answer like any other; there tau has no default.
    """
    defaults: dict[str, Any] = {"clip": True}
    if latent:
        defaults |= {**_IN_COORDINATES, "jitter": 0, **_STILL, "start": "normal", "clip": False}
    elif given.get("parametrization") is not None:
        defaults |= natural_recipe(task, input_shape) | _IN_COORDINATES
    elif given["scheme"] is None:
        defaults |= natural_recipe(task, input_shape)
    else:
        defaults |= _WITH_A_SCHEME[task]
    open_ = {key for key in defaults if _is_open(key, given.get(key))}
    if given["normalise"] is None:
        open_.discard("tau")
    return {**given, **{key: defaults[key] for key in open_}}


def _is_open(key: str, value: Any) -> bool:
    return (isinstance(value, str) and value == AUTO) or (value is None and key != "normalise")
