"""What the network is shown of the canvas: rolls, crops and changes of size, each with its exact adjoint.

A gradient that comes back from a transformed image belongs to the transformed image; the adjoint carries it
home: <T u, g> = <u, T* g>. `Jitter` and `Crop` are random and draw, for every step, a fixed linear map
(`Roll`, `Window`); each image of the batch has its own random generator, so that an image does not depend on
its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .arrays import Array, beside, namespace
from .errors import InputError, UnknownNameError
from .warp import Warp

Distribution = Literal["uniform", "normal"]
Size = tuple[int, int]

_NORMAL_SPREAD = 0.3  # of the room to move


class LinearMap(Protocol):
    """A linear map between batches of images, with its adjoint."""

    def apply(self, u: Array) -> Array:
        """Map (N, C, H, W) to (N, C, H', W')."""
        ...

    def adjoint(self, g: Array) -> Array:
        """Map (N, C, H', W') back: <apply(u), g> = <u, adjoint(g)>."""
        ...


@dataclass(frozen=True)
class Roll:
    """Cyclic shift, image by image; the adjoint rolls back and is the inverse.

    Parameters
    ----------
    shifts : sequence of (dy, dx)
        One shift in pixels for each image of the batch.
    """

    shifts: tuple[Size, ...]

    def apply(self, u: Array) -> Array:
        """Move every image down by dy and right by dx, around the edges."""
        return self._rolled(u, +1)

    def adjoint(self, g: Array) -> Array:
        """Move every image back."""
        return self._rolled(g, -1)

    def _rolled(self, x: Array, sign: int) -> Array:
        xp = namespace(x)
        out: Array = xp.empty_like(x)
        for image, (dy, dx), target in zip(x, self.shifts, out, strict=True):
            target[...] = xp.roll(image, (sign * dy, sign * dx), axis=(-2, -1))
        return out


@dataclass(frozen=True)
class Jitter:
    """Random roll by at most `amount` pixels, uniform over the integers of [-amount, amount].

    Parameters
    ----------
    amount : (int, int)
        The largest shift along y and x, in pixels.
    """

    amount: Size

    def draw(self, rngs: Sequence[Generator]) -> Roll:
        """One roll for the coming step, each image's from its own generator."""
        reach = np.asarray(self.amount)
        drawn = [rng.integers(-reach, reach, endpoint=True) for rng in rngs]
        return Roll(tuple((int(dy), int(dx)) for dy, dx in drawn))


@dataclass(frozen=True)
class Window:
    """Cut a window out of each canvas; the adjoint puts it back into zeros.

    Parameters
    ----------
    canvas, window : (int, int)
        Height and width of the canvas and of the window, in pixels.
    corners : sequence of (y, x)
        The window's upper left corner, one for each image of the batch.
    """

    canvas: Size
    window: Size
    corners: tuple[Size, ...]

    def apply(self, u: Array) -> Array:
        """Return the windows, (N, C, h, w)."""
        windows = [image[self._cut(at)] for image, at in zip(u, self.corners, strict=True)]
        stacked: Array = namespace(u).stack(windows)
        return stacked

    def adjoint(self, g: Array) -> Array:
        """Return canvases, (N, C, H, W), that are zero outside the windows."""
        out: Array = namespace(g).zeros((*g.shape[:2], *self.canvas), g.dtype)
        for image, at, target in zip(g, self.corners, out, strict=True):
            target[self._cut(at)] = image
        return out

    def _cut(self, corner: Size) -> tuple[Any, ...]:
        (y, x), (h, w) = corner, self.window
        return (..., slice(y, y + h), slice(x, x + w))


@dataclass(frozen=True)
class Crop:
    """Random window of the canvas.

    Windows drawn uniformly inside the canvas would hardly ever reach its corners. Those of "uniform" are
    drawn uniformly from a range that exceeds the canvas by half a window (by half the room to move, where
    that is less), and those that stick out are pushed back: a pixel at the border is seen about half as
    often as one inside.

    "normal" is what the paper's experiments did, which follow Audun Oygard's deepdraw: about the middle, with
    a standard deviation of 0.3 of the room to move, and pushed back where they stick out. Things gather
    in the middle, and the rim is seen by one window in ten along each side.

    Parameters
    ----------
    canvas, window : (int, int)
        Height and width of the canvas and of the window, in pixels.
    distribution : {"uniform", "normal"}
        Of the window's place.
    """

    canvas: Size
    window: Size
    distribution: Distribution = "uniform"

    def __post_init__(self) -> None:
        if self.distribution not in ("uniform", "normal"):
            raise UnknownNameError(
                f"the distribution of crops is 'uniform' or 'normal', not {self.distribution!r}."
            )
        if any(inner > outer for inner, outer in zip(self.window, self.canvas, strict=True)):
            raise InputError(
                f"A window of {self.window[0]}x{self.window[1]} pixels does not fit into a canvas of "
                f"{self.canvas[0]}x{self.canvas[1]}; enlarge the canvas."
            )

    @property
    def excess(self) -> Size:
        """How far the window can move along y and x, in pixels."""
        return self.canvas[0] - self.window[0], self.canvas[1] - self.window[1]

    def draw(self, rngs: Sequence[Generator]) -> Window:
        """One window for the coming step, each image's from its own generator."""
        excess = np.asarray(self.excess)
        drawn = [self._corner(rng, excess).clip(0, excess) for rng in rngs]
        return Window(self.canvas, self.window, tuple((int(y), int(x)) for y, x in drawn))

    def _corner(self, rng: Generator, excess: NDArray[np.int64]) -> NDArray[np.int64]:
        """The window's corner, which may lie beyond the canvas."""
        if self.distribution == "normal":
            return np.rint(rng.normal(excess / 2, _NORMAL_SPREAD * excess)).astype(np.int64)
        beyond = np.minimum(excess, self.window) // 2
        return rng.integers(-beyond, excess + beyond, endpoint=True)

    def centre(self, batch: int) -> Window:
        """The window in the middle, for every image."""
        y, x = self.excess
        return Window(self.canvas, self.window, ((y // 2, x // 2),) * batch)


@dataclass(frozen=True)
class Chain:
    """Linear maps one after the other; the adjoint runs through them backwards. Empty: the identity."""

    maps: tuple[LinearMap, ...]

    def apply(self, u: Array) -> Array:
        """Apply the first map first."""
        for one in self.maps:
            u = one.apply(u)
        return u

    def adjoint(self, g: Array) -> Array:
        """Apply the adjoints, the last map's first."""
        for one in reversed(self.maps):
            g = one.adjoint(g)
        return g


@dataclass(frozen=True)
class RandomView:
    """What the network sees of the canvas in a step: jitter, a crop where the canvas is larger, and a turn.

    Along an axis with room to spare the random crop already moves the image under the network, so jitter
    acts only along the axes without. What is cropped is then turned and enlarged.

    Parameters
    ----------
    canvas, window : (int, int)
        Height and width of the canvas and of the network's input, in pixels.
    jitter : int
        The largest roll, in pixels.
    distribution : {"uniform", "normal"}
        Of the crops, see `Crop`.
    rotate, zoom : float
        The largest angle and the largest change of size, see `warp.Warp`; 0 leaves them out.
    """

    canvas: Size
    window: Size
    jitter: int = 0
    distribution: Distribution = "uniform"
    rotate: float = 0.0
    zoom: float = 0.0

    @cached_property
    def crop(self) -> Crop:
        """The crop from canvas to window."""
        return Crop(self.canvas, self.window, self.distribution)

    @property
    def seen(self) -> float:
        """The fraction of the canvas that one window covers."""
        return (self.window[0] * self.window[1]) / (self.canvas[0] * self.canvas[1])

    def draw(self, rngs: Sequence[Generator]) -> Chain:
        """The view of the coming step."""
        roll = tuple(0 if room else self.jitter for room in self.crop.excess)
        maps: list[LinearMap] = []
        if any(roll):
            maps.append(Jitter((roll[0], roll[1])).draw(rngs))
        if any(self.crop.excess):
            maps.append(self.crop.draw(rngs))
        if self.rotate or self.zoom:
            maps.append(Warp(self.window, self.rotate, self.zoom).draw(rngs))
        return Chain(tuple(maps))

    def still(self, batch: int) -> Chain:
        """The view without chance: no jitter, no turn, the window in the middle."""
        return Chain((self.crop.centre(batch),) if any(self.crop.excess) else ())


@dataclass(frozen=True)
class Resize:
    """Interpolation to another size, as a pair of matrices: u -> A_y u A_x^T.

    On half-pixel centres; at the borders the kernel is cut off and renormalised, so that constants are kept.
    When an axis shrinks the kernel is stretched by the same factor, which suppresses aliasing.

    Parameters
    ----------
    source, target : (int, int)
        Height and width before and after, in pixels.
    method : {"cubic", "linear"}
        Keys' kernel (a = -1/2, exact for quadratics), which may overshoot the range of its input, or the
        triangle, which never does.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981.
    """

    source: Size
    target: Size
    method: Literal["cubic", "linear"] = "cubic"

    def __post_init__(self) -> None:
        if self.method not in _KERNELS:
            raise UnknownNameError(f"method is {self.method!r}; known are 'cubic' and 'linear'.")

    @cached_property
    def _matrices(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        kernel = _KERNELS[self.method]
        rows, columns = (interpolation(n, m, kernel) for n, m in zip(self.source, self.target, strict=True))
        return rows, columns

    def apply(self, u: Array) -> Array:
        """Interpolate (..., H, W) to (..., H', W')."""
        rows, columns = (beside(u, A.astype(u.dtype, copy=False)) for A in self._matrices)
        resized: Array = rows @ u @ columns.T
        return resized

    def adjoint(self, g: Array) -> Array:
        """Carry a gradient on (..., H', W') back to (..., H, W)."""
        rows, columns = (beside(g, A.astype(g.dtype, copy=False)) for A in self._matrices)
        carried: Array = rows.T @ g @ columns
        return carried


def interpolation(
    source: int, target: int, kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """The (target, source) matrix of one-dimensional interpolation; its rows sum to one."""
    stretch = max(source / target, 1.0)
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    weights = kernel((np.arange(source) - centres[:, None]) / stretch)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _keys(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -1/2: support [-2, 2], 1 at 0, 0 at the other integers."""
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t**2 + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _triangle(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel of linear interpolation, with support [-1, 1]."""
    return np.asarray(np.maximum(1 - np.abs(t), 0))


_KERNELS = {"cubic": _keys, "linear": _triangle}
