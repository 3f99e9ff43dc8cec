"""One step of a descent: from the gradient at what the network saw to the next images.

In this order: carry the gradient back through the adjoint of the view; normalise it; let the optimizer turn
it into a direction; take the scheme's step, u = K_e(u - tau K_f(g)); lower the contrast where too much would
be clipped; keep what is masked; clip to [0, 1], last and once. It is written once for arrays of NumPy and of
CuPy, without a look at their values, so that on a GPU it is queued as it stands, or captured into a CUDA
graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Array, namespace
from ..maps import StepState
from ..schemes import Scheme
from ..transforms import LinearMap, Resize, Size
from .gradient_scale import Normalised, mean_abs, unit_mean
from .plan import Stage
from .settings import Settings

# Rows of what is measured in a step.
VALUE, MEAN_ABS_GRADIENT, RMS_STEP = range(3)


@dataclass(frozen=True)
class Iterate:
    """What a step leaves to the next.

    Parameters
    ----------
    u : (N, C, H, W) array
        The images.
    z : (N, ...) array
        Their coordinates; without a parametrization the images themselves.
    moments
        The optimizer's state.
    warm : StepState, optional
        What an iterative K_e was left with.
    """

    u: Array
    z: Array
    moments: Any = None
    warm: StepState | None = None


@dataclass(frozen=True)
class Kept:
    """Where the images may change, weights (H, W) in [0, 1], and the start that they are elsewhere."""

    start: Array
    mask: Array

    def on(self, canvas: Size) -> Kept:
        """The same on a canvas of that size; both are of the size that they were given in until then."""
        return Kept(_of_size(self.start, canvas), _of_size(self.mask, canvas).clip(0, 1))

    def put_back(self, u: Array) -> Array:
        """Images, with the start where they may not change."""
        kept: Array = self.start + self.mask * (u - self.start)
        return kept


def _of_size(array: Array, canvas: Size) -> Array:
    """An array (..., H, W) on a canvas."""
    if array.shape[-2:] == canvas:
        return array
    resized: Array = Resize(array.shape[-2:], canvas).apply(array)
    return resized


@dataclass(frozen=True)
class Update:
    """What a step of a stage does to the images.

    Parameters
    ----------
    settings : Settings
    stage : Stage
    sign : float
        The descent goes down D = sign * value.
    kept : Kept, optional
        What stays as it is.
    """

    settings: Settings
    stage: Stage
    sign: float
    kept: Kept | None = None

    @cached_property
    def scheme(self) -> Scheme:
        """The scheme; with ``normalise="after"`` its K_f is followed by the normalisation."""
        scheme = self.settings.scheme
        if self.settings.normalise != "after":
            return scheme
        return replace(scheme, K_f=Normalised(scheme.K_f, self.stage.view.seen))

    def __call__(
        self, state: Iterate, view: LinearMap, values: Array, g: Array, tau: Any
    ) -> tuple[Iterate, Array]:
        """Take a step.

        Parameters
        ----------
        state : Iterate
            Not changed.
        view : LinearMap
            What the network was shown.
        values : (N,) float64 array
            The objective there.
        g : (N, C, h, w) array
            Its gradient there.
        tau : float or () array
            The length of the step.

        Returns
        -------
        Iterate
            An image whose gradient vanishes, or is no number, stays as it is.
        measured : (3, N) float64 array
            The objective, the mean absolute value of its gradient, and the root mean square of the step.
        """
        settings, P, seen = self.settings, self.settings.parametrization, self.stage.view.seen
        g = self.sign * view.adjoint(g)
        xp, scale = namespace(g), mean_abs(g, seen)
        if P is not None:
            g = P.adjoint(state.z, g)
        if settings.normalise == "before":
            g = unit_mean(g, seen)
        direction, moments = settings.direction(g, state.moments)
        z, warm = self.scheme.step(state.z, direction, tau, state.warm)
        clips = settings.clip and P is None
        if clips and settings.clipped < 1:
            z = with_less_contrast(z, settings.clipped)
        if self.kept is not None:
            z = self.kept.put_back(z)
        if clips:
            z = z.clip(0, 1)
        z = xp.where((scale > 0)[:, None, None, None], z, state.z)
        u = z if P is None else P.image(z)
        rms = xp.sqrt(((u - state.u).astype(np.float64) ** 2).mean(axis=(1, 2, 3)))
        return Iterate(u, z, moments, warm), xp.stack([values, scale, rms])


_DRAWN = 0.02  # part of the way to mid-grey


def with_less_contrast(u: Array, most: float) -> Array:
    """Images, those nearer to mid-grey of which more than so large a share lies beyond [0, 1]."""
    beyond = ((u < 0) | (u > 1)).mean(axis=(1, 2, 3), keepdims=True) > most
    drawn: Array = u - namespace(u).where(beyond, _DRAWN, 0).astype(u.dtype) * (u - 0.5)
    return drawn


def settled(old: Iterate, new: Iterate) -> Iterate:
    """The new state in the memory of the old one, whose addresses a CUDA graph has."""
    z = _written(old.z, new.z)
    u = z if new.u is new.z else _written(old.u, new.u)
    return Iterate(u, z, _written(old.moments, new.moments), new.warm)


def _written(old: Any, new: Any) -> Any:
    if old is None or new is None:
        return new
    if is_dataclass(new):
        names = [f.name for f in fields(new)]
        return replace(new, **{name: _written(getattr(old, name), getattr(new, name)) for name in names})  # type: ignore[type-var]
    old[...] = new
    return old


def arrays_of(state: Iterate) -> list[Array]:
    """The arrays that a step writes, each once."""
    arrays = [state.z, *([] if state.u is state.z else [state.u]), *_parts(state.moments)]
    return [a for a in arrays if a is not None]


def _parts(moments: Any) -> Iterator[Any]:
    if is_dataclass(moments):
        yield from (getattr(moments, f.name) for f in fields(moments))
    else:
        yield moments


def is_capturable(settings: Settings) -> bool:
    """Whether all parts of a step say that they queue their work, and never wait for the device.

    Total variation looks at its duality gap, and what a user's function does is not known.
    """
    scheme = settings.scheme
    parts = (settings.direction, settings.parametrization, scheme.K_f, scheme.K_e, scheme.penalty)
    return all(getattr(part, "queues", False) for part in parts if part is not None)
