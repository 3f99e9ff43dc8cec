"""What a descent asks of the gradient of an objective, and a plain function of images as such a thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..arrays import Array
from ..devices import Device, Host, Memory


class Evaluates(Protocol):
    """The least there can be: images (N, C, H, W) to values (N,) and gradient, arrays of NumPy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W) of the images."""
        ...

    def __call__(self, u: Array, /) -> tuple[Array, Array]:
        """Values (N,), float64, and gradient (N, C, H, W), float32, which the next call may overwrite."""
        ...


@runtime_checkable
class ValueAndGradient(Evaluates, Protocol):
    """What a descent asks of the gradient of an objective; `Engine` is one, `as_engine` makes others."""

    @property
    def device(self) -> Device:
        """Where it computes."""
        ...

    @property
    def memory(self) -> Memory:
        """Where its arrays lie."""
        ...

    @property
    def image(self) -> Array:
        """What the network is shown, of that shape, float32. Handed in itself, nothing is copied."""
        ...

    @property
    def at_once(self) -> int:
        """How many images go through the network together."""
        ...

    @property
    def indices(self) -> Mapping[str, Any]:
        """The integer runtime inputs, such as "class", one entry per image: for the manifest."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What to know of the gradient and of how it is computed."""
        ...

    def blame(self, u: Array, /) -> str:
        """Why value or gradient at `u` are not finite, for a message."""
        ...


@dataclass(frozen=True)
class _OnHost:
    """A function of images on the host, with what it lacks."""

    function: Evaluates
    device: Device = field(default_factory=Device)
    memory: Memory = field(default_factory=Host)
    indices: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.function.shape

    @property
    def at_once(self) -> int:
        return self.shape[0]

    @property
    def image(self) -> Array:
        return np.empty(self.shape, np.float32)

    def __call__(self, u: Array) -> tuple[Array, Array]:
        return self.function(u)

    def blame(self, u: Array) -> str:
        return "value or gradient are not finite"


def as_engine(function: Evaluates) -> ValueAndGradient:
    """A function of images with everything that a descent asks for; what has it all is returned as it is.

    Parameters
    ----------
    function : callable
        From images to values and gradient, arrays of NumPy, with the attribute ``shape``.
    """
    if isinstance(function, ValueAndGradient):
        return function
    return _OnHost(function)
