"""What an operator on images is, what a proximal map is, and several after one another."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from .. import checks
from ..arrays import (
    NOT_GIVEN,
    AnyArray,
    Array,
    Batch,
    ChannelsFirst,
    borrow,
    namespace,
    on_stream_of,
    restore,
    shape_of,
)
from ..errors import ChangedWarning, InputError, warn
from ..named import named

Operator = Callable[[Array], Array]


@runtime_checkable
class ProximalMap(Protocol):
    """What the maps with a memory have beside the call; a plain function of an image needs none of it.

    Where `takes_channel_axis` is true of a map, both methods take ``channel_axis`` too.
    """

    def __call__(self, u: Array) -> Array:
        """The map of `u`, (N, C, H, W), from a cold start."""
        ...

    def solve(self, u: Array, state: Any) -> tuple[Array, Any]:
        """The map of `u`, starting from what the last call returned beside its result, or from None."""
        ...


@dataclass(frozen=True)
class StepState:
    """What an iterative map carries from step to step, and how well the last step was solved.

    Attributes
    ----------
    memory
        Of the map.
    gap
        The largest duality gap of an image.
    iterations
        The most that an image took.
    converged
        Whether all images did.
    """

    memory: Any
    gap: float
    iterations: int
    converged: bool


def told(K: Operator, channel_axis: int | None) -> Operator:
    """K for arrays whose channels are that axis.

    A function of another program, which knows where its channels are, is left as it is: what it is given in a
    scheme are images (N, C, H, W).
    """
    said = _keywords(K, channel_axis)
    return functools.partial(K, **said) if said else K


def apply(
    K: Operator, u: Array, state: Any = None, *, channel_axis: int | None = NOT_GIVEN
) -> tuple[Array, Any]:
    """Apply any map, warm where it can be started from `state`; the state is None for maps without one.

    Maps that take a channel axis are told it, if it is given.
    """
    said = _keywords(K, channel_axis)
    return K.solve(u, state, **said) if isinstance(K, ProximalMap) else (K(u, **said), None)


def _keywords(K: Operator, channel_axis: int | None) -> dict[str, Any]:
    """What K is told beside its image."""
    takes_it = channel_axis is not NOT_GIVEN and getattr(K, "takes_channel_axis", False) is True
    return {"channel_axis": channel_axis} if takes_it else {}


class Described:
    """A frozen dataclass that a manifest holds by its name and fields."""

    def to_dict(self) -> dict[str, Any]:
        """Name and fields as data for JSON."""
        each = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"operator": type(self).__name__, **each}


class Map(Described):
    """What maps of an image have in common: ``A @ B``, also with filters and other functions."""

    queues: ClassVar[bool] = False
    """Whether it queues its work and never waits for its device, so that a CUDA graph can hold it."""

    takes_channel_axis: ClassVar[bool] = False
    """Whether its call, and `solve` where it has one, take ``channel_axis``; schemes tell it theirs."""

    # Leaves `@` with an array of NumPy to the methods below.
    __array_ufunc__: ClassVar[None] = None

    def __matmul__(self, other: object) -> Composition:
        return Composition((*_parts(self), *_parts(other))) if callable(other) else NotImplemented

    def __rmatmul__(self, other: object) -> Composition:
        return Composition((*_parts(other), *_parts(self))) if callable(other) else NotImplemented


class ChannelMap(Map, ABC):
    """A map that is told by its call which axis holds the channels, and without one has none."""

    takes_channel_axis: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, x: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:
        """Apply the map to the images of `x`.

        Parameters
        ----------
        x
            Shape (..., H, W), finite, of any array library and floating dtype as for filters.
        channel_axis
            The axis that holds channels, any from -ndim to ndim - 1; the last two of the other axes are H and
            W, and all axes before count pictures. None, the default: the last two axes are H and W, and each
            plane is a picture of its own.

        Returns
        -------
        array
            Library, device, shape, dtype and order of axes in memory of `x`.

        Raises
        ------
        InputError
            `x` is no such array, or has no such axis.

        Warns
        -----
        ChangedWarning
            If channels are coupled and nothing is said of them, not even None, for an array of more than two
            axes: the third from the end was coupled up to version 0.1.0.
        AssumptionWarning
            If nothing is said either, and the shape is that of pictures with three or four colours last.
        """

    @property
    def couples(self) -> bool:
        """Whether channels have a say in each other's result."""
        return bool(getattr(self, "coupled", True))

    def _said(self, x: Any, channel_axis: int | None) -> int | None:
        """What the caller has said; a warning where nothing was said, and that meant another axis before."""
        shape = shape_of(x)
        if channel_axis is NOT_GIVEN and self.couples and len(shape) > 2 and shape[-3] > 1:
            warn(
                f"{type(self).__name__} is given no channel_axis, so that each plane (H, W) of the array "
                f"{shape} is a picture of its own. Up to version 0.1.0 the axis before (H, W) was "
                f"coupled: say channel_axis={len(shape) - 3} if it holds colours, channel_axis=None if not.",
                ChangedWarning,
            )
        return channel_axis


class PictureMap(ChannelMap):
    """A map of pictures (N, C, H, W): compiled for the host, and by the operations of NumPy for a device."""

    coupled: bool

    # described by the class above
    def __call__(self, x: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:  # noqa: D102
        with on_stream_of(x):
            batch = Batch.borrow(x, self._said(x, channel_axis), coupled=self.coupled)
            on_host = isinstance(batch.images, np.ndarray)
            return batch.lend(self._compiled(batch.images) if on_host else self.reference(batch.images))  # type: ignore[no-any-return]

    @abstractmethod
    def reference(self, images: Array) -> Array:
        """The map of a stack (N, C, H, W) in NumPy, or in CuPy."""

    @abstractmethod
    def _compiled(self, images: Array) -> Array:
        """The map of a stack (N, C, H, W) of NumPy, which it may write to."""


@dataclass(frozen=True)
class Several(Map):
    """A map that is made of others.

    Parameters
    ----------
    maps : tuple
        Filters, other maps, or functions of an image.
    """

    maps: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.maps, tuple | list):
            checks.refuse(self.maps, f"maps of {type(self).__name__}", "a tuple of maps")
        if not self.maps:
            raise InputError(f"{type(self).__name__} needs at least one map.")
        for K in self.maps:
            if not callable(K):
                raise InputError(
                    f"{type(self).__name__} is made of filters and other functions of an image, got "
                    f"{checks.shown(K)}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Name and fields as data for JSON, of the maps too."""
        return {**super().to_dict(), "maps": [to_dict(K) for K in self.maps]}


@named("operator", "composition")
@dataclass(frozen=True)
class Composition(Several):
    """Several maps one after the other, the last of them first, as in ``A @ B``."""

    takes_channel_axis: ClassVar[bool] = True

    @property
    def queues(self) -> bool:  # type: ignore[override]
        """Whether all of its maps queue their work."""
        return all(getattr(K, "queues", False) for K in self.maps)

    def __call__(self, u: Array, *, channel_axis: int | None = NOT_GIVEN) -> Array:
        """Apply all maps to `u`, from a cold start.

        Parameters
        ----------
        u
            Array of any library that its maps take.
        channel_axis
            The axis that holds channels, any of it, for the maps that take one. Functions of another program
            are given arrays (..., C, H, W) then. What is not given is left to each map.
        """
        return self.solve(u, None, channel_axis=channel_axis)[0]

    def solve(
        self, u: Array, state: StepState | None, *, channel_axis: int | None = NOT_GIVEN
    ) -> tuple[Array, StepState | None]:
        """Apply all maps to `u`, each starting from its own state."""
        said = channel_axis is not NOT_GIVEN and channel_axis is not None
        if not said or (type(channel_axis) is int and channel_axis == -3):
            return self._one_by_one(u, state, channel_axis)
        with on_stream_of(u):
            view = ChannelsFirst.borrow(u, channel_axis, "u")
            if view.images is view.memory:
                return self._one_by_one(u, state, -3)
            moved = restore(namespace(view.images).ascontiguousarray(view.images), u)
            found, state = self._one_by_one(moved, state, -3)
            return view.lend(borrow(found)), state

    def _one_by_one(
        self, u: Array, state: StepState | None, channel_axis: int | None
    ) -> tuple[Array, StepState | None]:
        states = [None] * len(self.maps) if state is None else list(state.memory)
        for i in reversed(range(len(self.maps))):
            u, states[i] = apply(self.maps[i], u, states[i], channel_axis=channel_axis)
        return u, _merged(states)


def to_dict(K: Any) -> dict[str, Any]:
    """A filter, another map or a penalty as data for JSON; other functions by their name."""
    if hasattr(K, "to_dict"):
        return dict(K.to_dict())
    return {"function": getattr(K, "__qualname__", None) or type(K).__qualname__}


def _parts(K: Any) -> tuple[Any, ...]:
    return K.maps if isinstance(K, Composition) else (K,)


def _merged(states: list[Any]) -> StepState | None:
    """One state of several, or None where no map has one."""
    iterative = [state for state in states if isinstance(state, StepState)]
    if not iterative:
        return None
    return StepState(
        states,
        max(state.gap for state in iterative),
        max(state.iterations for state in iterative),
        all(state.converged for state in iterative),
    )
