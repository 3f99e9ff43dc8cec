"""Maps of the image that can stand in the place of K_e, and how they combine.

The proximal map of a regulariser R takes u to argmin over v of 1/2 |v - u|^2 + R(v). In the place of K_e in
equation (18) it makes the scheme proximal gradient descent on D + R / tau.

=======================  ===========================================================================
map                      R
=======================  ===========================================================================
`filters.Sobolev`        gamma / 2 |grad u|^2 for order 1
any filter K             1/2 <(K^-1 - Id) u, u>, where the response lies in (0, 1]: Gaussian filters, all
                         Sobolev filters, their products and means
`TotalVariation`         weight TV(u), isotropic or anisotropic, or its Huber form
`GeneralisedVariation`   weight TGV(u), total generalised variation of second order
`Box`                    0 for images with values from low to high, infinite for others
`Sum`                    the sum of the R of several maps
=======================  ===========================================================================

`Composition`, written ``A @ B``, applies one map after the other, which in general is no proximal map; nor
are `Bilateral` and `PeronaMalik`. All are used alike: a map is called with an image, or, where it iterates,
asked to `solve` from where it last stopped (`ProximalMap`).
"""

from __future__ import annotations

import math
import numbers
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import checks, filters, total_variation
from .arrays import (
    NOT_GIVEN,
    AnyArray,
    Array,
    Batch,
    borrow,
    checked_axis,
    lending,
    namespace,
    on_stream_of,
    restore,
    to_host,
)
from .errors import InputError
from .maps import ChannelMap, Composition, Map, Operator, ProximalMap, Several, StepState, apply
from .named import Option, named
from .total_variation import Variation

__all__ = [
    "Box",
    "Composition",
    "GeneralisedVariation",
    "Map",
    "Operator",
    "ProximalMap",
    "StepState",
    "Sum",
    "TotalVariation",
    "apply",
    "energy",
]

Floats = NDArray[np.float64]

_WEIGHT = Option("weight", "of the variation (default: 0.1)")
_TOL = Option("tol", "relative duality gap (default: 0.001)")


class _Regulariser:
    """The proximal map of a regulariser whose value is known."""

    @lending("u")
    def energy(self, u: Any, *, channel_axis: int | None = -3) -> Floats:
        """The regulariser of each image; see the function `energy`."""
        return _measured(self, u, channel_axis)


class _Denoiser(ChannelMap):
    """What the variations have in common: an iteration that starts where that of the last step stopped."""

    def __call__(self, u: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:
        """Denoise `u` from a cold start; it and the channel axis are what `ChannelMap` says of a call."""
        return self.solve(u, None, channel_axis=channel_axis)[0]

    def solve(
        self, u: AnyArray, state: StepState | None, *, channel_axis: int | None = NOT_GIVEN
    ) -> tuple[AnyArray, StepState]:
        """Denoise `u`, starting from the variables of the step before; the rest as in a call."""
        if state is not None and not isinstance(state, StepState):
            checks.refuse(state, "state", "what the last step returned, or None")
        solved = self._prox(u, state, self._said(u, channel_axis))
        gap, iterations = float(np.max(solved.gap)), int(np.max(solved.iterations))
        return solved.u, StepState(solved.state, gap, iterations, bool(np.all(solved.converged)))

    @abstractmethod
    def _prox(self, u: Any, state: StepState | None, channel_axis: int | None) -> total_variation.Prox:
        """The proximal map, from the variables in a state or from a cold start."""


@named(
    "operator",
    "tv",
    _WEIGHT,
    Option("variation", "which norm (default: isotropic)", "text", ("isotropic", "anisotropic")),
    Option("huber", "slopes below it cost their square (default: 0)"),
    _TOL,
    places=("filter",),
    strength="weight",
    defaults={"weight": 0.1, "max_iterations": 5000},
)
@dataclass(frozen=True)
class TotalVariation(_Regulariser, _Denoiser):
    """The proximal map of total variation: argmin_v 1/2 |v - u|^2 + weight TV(v).

    Parameters
    ----------
    weight : float
        The weight of one step's prox, tau * lambda, in the unit of u.
    tol : float
        The duality gap to stop at, relative to weight * TV(u).
    max_iterations : int
        At most so many iterations a step; the duals of the step before are the start.
    coupled : bool
        Where a call says which axis holds channels, couple them (vectorial TV: their edges coincide) or treat
        each channel alone.
    variation : {"isotropic", "anisotropic"}
        The length of the gradient, or the sum of the lengths of its directions.
    huber : float
        Slopes below it are penalised quadratically, in the unit of u.
    """

    weight: float
    tol: float = 1e-3
    max_iterations: int = 500
    coupled: bool = True
    variation: Variation = "isotropic"
    huber: float = 0.0

    def __post_init__(self) -> None:
        checks.nonnegative(self.weight, "weight")
        _check_stopping(self.tol, self.max_iterations)
        total_variation.check_kind(self.variation, self.huber)

    @property
    def regulariser(self) -> str:
        """R without its weight, for people."""
        smoothed = f"Huber({self.huber:g}) " if self.huber else ""
        return f"{'anisotropic ' if self.variation == 'anisotropic' else ''}{smoothed}TV(u)"

    def _energy(self, u: Array, channel_axis: int | None) -> Floats:
        """weight * TV(u), for each image."""
        u = _images(u, channel_axis)
        kind: dict[str, Any] = {"variation": self.variation, "huber": self.huber, "coupled": self.coupled}
        return np.asarray(self.weight * _by_image(to_host(total_variation.value(u, -3, **kind)), u))

    def _prox(self, u: Any, state: StepState | None, channel_axis: int | None) -> total_variation.Prox:
        return total_variation.prox(
            *(u, self.weight, self.tol, self.max_iterations, channel_axis),
            None if state is None else state.memory,
            variation=self.variation,
            huber=self.huber,
            coupled=self.coupled,
        )


@named(
    "operator",
    "tgv",
    *(_WEIGHT, Option("ratio", "cost of bends, in pixels (default: 2)"), _TOL),
    places=("filter",),
    strength="weight",
    defaults={"weight": 0.1, "max_iterations": 10_000},
)
@dataclass(frozen=True)
class GeneralisedVariation(_Denoiser):
    """The proximal map of total generalised variation: argmin_v 1/2 |v - u|^2 + weight TGV(v).

    It leaves ramps as they are, of which total variation makes stairs.

    Parameters
    ----------
    weight : float
        The weight of one step's prox, tau * lambda, in the unit of u.
    ratio : float
        What a change of the slope costs beside a step, in pixels, above 0.
    tol : float
        The duality gap to stop at, relative to weight * TV(u).
    max_iterations : int
        At most so many iterations a step; the variables of the step before are the start.
    coupled : bool
        Where a call says which axis holds channels, couple them, or treat each channel alone.
    """

    weight: float
    ratio: float = 2.0
    tol: float = 1e-3
    max_iterations: int = 2000
    coupled: bool = True

    def __post_init__(self) -> None:
        checks.nonnegative(self.weight, "weight")
        _check_stopping(self.tol, self.max_iterations)
        checks.positive(self.ratio, "ratio")

    @property
    def regulariser(self) -> str:
        """R without its weight, for people."""
        return f"TGV({self.ratio:g})(u)"

    def _prox(self, u: Any, state: StepState | None, channel_axis: int | None) -> total_variation.Prox:
        return total_variation.prox_tgv(
            *(u, self.weight, self.ratio, self.tol, self.max_iterations, channel_axis),
            None if state is None else state.memory,
            coupled=self.coupled,
        )


@named("operator", "box")
@dataclass(frozen=True)
class Box(_Regulariser, Map):
    """The projection onto images with values from `low` to `high`, in the unit of u: clipping.

    Parameters
    ----------
    low, high : float
        The bounds; infinite ones are allowed.
    """

    queues: ClassVar[bool] = True
    takes_channel_axis: ClassVar[bool] = True

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for name, bound in (("low", self.low), ("high", self.high)):
            if not isinstance(bound, numbers.Real) or isinstance(bound, bool):
                checks.refuse(bound, f"{name} of Box", "a number, or infinite")
        if not self.low <= self.high:
            raise InputError(
                f"Box needs low <= high, got {checks.shown(self.low)} and {checks.shown(self.high)}."
            )

    def __call__(self, u: AnyArray, *, channel_axis: int | None = None) -> AnyArray:
        """Clip `u`, of any array library as for filters; which axis holds channels makes no difference."""
        with on_stream_of(u):
            memory = borrow(u, "u")
            return restore(namespace(memory).clip(memory, self.low, self.high), u)

    def _energy(self, u: Array, channel_axis: int | None) -> Floats:
        """0 or infinity, for each image."""
        u = _images(u, channel_axis)
        outside = to_host(((u < self.low) | (u > self.high)).any(axis=(-3, -2, -1)))
        return np.where(outside, np.inf, 0.0)


@named("operator", "sum")
@dataclass(frozen=True)
class Sum(_Regulariser, Several, ChannelMap):
    """The proximal map of a sum of regularisers: argmin_v 1/2 |v - u|^2 + R_1(v) + ... + R_m(v).

    Parameters
    ----------
    maps : tuple
        The proximal maps of R_1 to R_m: `TotalVariation`, `Box`, and filters with a response in (0, 1]. A
        box is moved to the end of the cycle, so that the result lies in it; there can only be one.
    tol : float
        The duality gap to stop at, relative to the finite ones of R_1(u) to R_m(u), added up.
    max_iterations : int
        Cycles at most.

    Notes
    -----
    The splitting is Dykstra's algorithm in the form of Bauschke and Combettes (Pacific J. Optim. 4, 2008) in
    cycles: with z_i = 0 and v = u to begin with, ::

        for i = 1 ... m:  y_i = prox_{R_i}(v + z_i);  z_i = v + z_i - y_i;  v = y_i

    which is exact minimisation of the dual energy over one z_i after the other. Every z_i is a subgradient
    of R_i at y_i, and v + z_1 + ... + z_m = u, so that the energy of v exceeds the least one by at most the
    sum of R_i(v) - R_i(y_i) - <z_i, v - y_i>; where R_i is total variation, its own gap is added, and what
    that can contribute through z_i.

    Filters are inverted by a discrete cosine transform to evaluate their R_i, on the host.
    """

    tol: float = 1e-3
    max_iterations: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_stopping(self.tol, self.max_iterations)
        if sum(isinstance(K, Box) for K in self.maps) > 1:
            raise InputError("Sum has more than one box; give their intersection.")
        for K in self.maps:
            if not isinstance(K, TotalVariation | Box | filters.Filter):
                raise InputError(
                    "Sum needs maps whose regulariser is known (TotalVariation, Box, filters), got "
                    f"{checks.shown(K)}."
                )
        object.__setattr__(self, "maps", tuple(sorted(self.maps, key=lambda K: isinstance(K, Box))))

    @property
    def couples(self) -> bool:
        """Whether one of its maps does."""
        return any(getattr(K, "couples", False) for K in self.maps)

    def __call__(self, u: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:
        """Solve from a cold start; `u` and `channel_axis` are what `ChannelMap` says of a call."""
        return self.solve(u, None, channel_axis=channel_axis)[0]

    def _energy(self, u: Array, channel_axis: int | None) -> Floats:
        """R_1(u) + ... + R_m(u), for each image."""
        return np.asarray(sum(_measured(K, u, channel_axis) for K in self.maps))

    def solve(
        self, u: AnyArray, state: StepState | None, *, channel_axis: int | None = NOT_GIVEN
    ) -> tuple[AnyArray, StepState]:
        """Solve for `u`, starting from the subgradients of the step before."""
        with on_stream_of(u):
            batch = Batch.borrow(u, self._said(u, channel_axis), "u")
            v, state = self._solve(batch.images, state)
            return batch.lend(v), state

    def _solve(self, u: Array, state: StepState | None) -> tuple[Array, StepState]:
        """The solution of images (N, C, H, W)."""
        each = np.stack([_measured(K, u) for K in self.maps])
        accepted = self.tol * np.where(np.isfinite(each), each, 0).sum(axis=0)
        cycle = _Cycle(self.maps, u, None if state is None else state.memory)
        v, gap, cycles = u, np.full(len(u), np.inf), 0
        while (gap > accepted).any() and cycles < self.max_iterations:
            v, cycles = cycle.next(), cycles + 1
            gap = cycle.gap(v)
        return v, StepState(cycle.memory, float(gap.max()), cycles, bool((gap <= accepted).all()))


class _Cycle:
    """Dykstra's algorithm for the maps of a `Sum`, on images (N, C, H, W)."""

    def __init__(self, maps: tuple[Any, ...], u: Array, memory: Any) -> None:
        self._maps, self._u = maps, u
        zero = namespace(u).zeros_like(u)
        self.memory = [(zero, None)] * len(maps) if memory is None else list(memory)
        self._steps: list[tuple[Array, Floats]] = []

    def next(self) -> Array:
        """Go through all maps once."""
        v: Array = self._u - sum(z for z, _ in self.memory)
        self._steps = []
        for i, K in enumerate(self._maps):
            z, state = self.memory[i]
            y, inner, state = _solved(K, v + z, state)
            self.memory[i] = (v + z - y, state)
            self._steps.append((y, inner))
            v = y
        return v

    def gap(self, v: Array) -> Floats:
        """How far the energy of v, the result of the last cycle, can be above the least one, by image."""
        total, off = np.zeros(len(v)), np.zeros(len(v))
        for K, (z, _), (y, inner) in zip(self._maps, self.memory, self._steps, strict=True):
            if y is not v:
                total += _measured(K, v) - _measured(K, y) - _dot(z, v - y)
            length = np.sqrt(2 * inner)
            total += inner + length * np.sqrt(_dot(v - y, v - y))
            off += length
        lengths = np.sqrt(_dot(self._u, self._u) * _dot(v - self._u, v - self._u))
        rounding = 8 * float(np.finfo(v.dtype).eps) * lengths
        return np.maximum(total, 0) + off**2 / 2 + rounding


@lending("u", axes=2)
def energy(K: Any, u: Any, *, channel_axis: int | None = -3) -> Floats:
    """The regulariser R of which K is the proximal map, for each image, float64, as an array of u's library.

    Parameters
    ----------
    K
        A filter or a map of this module.
    u
        Images (..., C, H, W), of any library.
    channel_axis
        The axis that holds channels; the one before (H, W) unless given. None: each plane is an image.

    Raises
    ------
    InputError
        If none is known: K is no filter of `sobolevflow.filters` whose response lies in (0, 1], nor a map of
        this module that has one.
    """
    return _measured(K, u, channel_axis)


def _measured(K: Any, u: Array, channel_axis: int | None = -3) -> Floats:
    """`energy` on the host, of images of NumPy or CuPy."""
    if isinstance(K, filters.Filter):
        return _quadratic(K, _images(u, channel_axis))
    if isinstance(K, TotalVariation | Box | Sum):
        return K._energy(u, channel_axis)
    raise InputError(f"{checks.shown(K)} is not known to be the proximal map of a regulariser.")


def _images(u: Array, channel_axis: int | None) -> Array:
    """A view (..., C, H, W) of images; one plane has no axis of channels, and none before (H, W)."""
    axis = checked_axis(None if u.ndim == 2 and channel_axis == -3 else channel_axis, u.shape, "u")
    if axis is None:
        return u[..., None, :, :]
    moved: Array = u if axis == u.ndim - 3 else namespace(u).moveaxis(u, axis, -3)
    return moved


def _quadratic(K: filters.Filter, u: Array) -> Floats:
    """1/2 <(K^-1 - Id) u, u>."""
    response = K.response(*u.shape[-2:])
    if not (response.min() > 0 and response.max() <= 1 + 1e-12):
        raise InputError(
            f"{checks.shown(K)} has a response from {response.min():.2g} to {response.max():.2g}, so it is "
            "no proximal map. Give its strength instead of its size: without a window all responses are."
        )
    on_host = to_host(u).astype(np.float64)
    return np.asarray(0.5 * _dot(on_host, filters.inverse(K, on_host, channel_axis=-3) - on_host))


def _solved(K: Any, u: Array, state: StepState | None) -> tuple[Array, Floats, StepState | None]:
    """The map of u, the gap of each image, and the state."""
    if not isinstance(K, TotalVariation):
        return K(u, channel_axis=1), np.zeros(len(u)), None
    solved = K._prox(u, state, 1)
    return solved.u, _by_image(solved.gap, u), StepState(solved.state, float(solved.gap.max()), 0, True)


def _by_image(numbers: Floats, u: Array) -> Floats:
    """Numbers for each image, or each channel of each image, added up for each image."""
    return np.asarray(numbers.reshape(math.prod(u.shape[:-3]), -1).sum(axis=1).reshape(u.shape[:-3]))


def _dot(a: Array, b: Array) -> Floats:
    products = a.astype(np.float64) * b.astype(np.float64)
    return np.asarray(to_host(products.sum(axis=(-3, -2, -1))))


def _check_stopping(tol: float, max_iterations: int) -> None:
    checks.positive(tol, "tol")
    checks.count(max_iterations, "max_iterations")
