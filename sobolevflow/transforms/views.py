"""Random views of the canvas: jitter, crops, and what they make up together with a turn.

Each draws, for every step, a fixed linear map (`linear`, `warp`); each image of the batch has its own random
generator, so that an image does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError
from .linear import (
    Chain,
    LinearMap,
    Roll,
    Size,
    Window,
    checked_batch,
    checked_generators,
    checked_pairs,
    checked_size,
)
from .resize import Resize
from .warp import Warp

Distribution = Literal["uniform", "normal"]

_FARTHEST = 1 << 31  # pixels of a jitter
_NORMAL_SPREAD = 0.3  # of the room to move


@dataclass(frozen=True)
class Jitter:
    """Random roll by at most `amount` pixels, uniform over the integers of [-amount, amount].

    Parameters
    ----------
    amount : (int, int)
        The largest shift along y and x, in pixels.
    """

    amount: Size

    def __post_init__(self) -> None:
        checked_pairs((self.amount,), "amount")
        for reach in self.amount:
            if not 0 <= reach <= _FARTHEST:
                checks.refuse(reach, "amount", f"from 0 to {_FARTHEST} pixels")

    def draw(self, rngs: Sequence[Generator]) -> Roll:
        """One roll for the coming step, each image's from its own generator."""
        rngs = checked_generators(rngs)
        reach = np.asarray(self.amount)
        drawn = [rng.integers(-reach, reach, endpoint=True) for rng in rngs]
        return Roll(tuple((int(dy), int(dx)) for dy, dx in drawn))


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
        checks.one_of(self.distribution, "distribution", ("uniform", "normal"))
        checked_size(self.canvas, "canvas")
        checked_size(self.window, "window")
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
        excess, rngs = np.asarray(self.excess), checked_generators(rngs)
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
        (y, x), batch = self.excess, checked_batch(batch)
        return Window(self.canvas, self.window, ((y // 2, x // 2),) * batch)


@dataclass(frozen=True)
class RandomView:
    """What the network sees of the canvas in a step: jitter, a crop where the canvas is larger, and a turn.

    Along an axis with room to spare the random crop already moves the image under the network, so jitter
    acts only along the axes without. What is cropped is then turned and enlarged. A canvas that is smaller
    than the window is a coarser grid for the same picture: it is enlarged to the window first, linearly, so
    that the network is shown no value beyond those of the canvas.

    Parameters
    ----------
    canvas, window : (int, int)
        Height and width of the canvas and of the network's input, in pixels.
    jitter : int
        The largest roll, in pixels of what the network is shown.
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

    def __post_init__(self) -> None:
        checked_size(self.canvas, "canvas")
        checked_size(self.window, "window")
        Jitter((checks.count(self.jitter, "jitter", least=0),) * 2)
        checks.one_of(self.distribution, "distribution", ("uniform", "normal"))
        Warp(self.window, self.rotate, self.zoom)

    @cached_property
    def enlargement(self) -> Resize | None:
        """From a coarser canvas to the window; None where the canvas is as fine."""
        smaller = [inner < outer for inner, outer in zip(self.canvas, self.window, strict=True)]
        larger = [inner > outer for inner, outer in zip(self.canvas, self.window, strict=True)]
        coarser = any(smaller) and not any(larger)
        return Resize(self.canvas, self.window, "linear") if coarser else None

    @cached_property
    def crop(self) -> Crop:
        """The crop from the canvas, as fine as the window at least, to the window."""
        return Crop(self.window if self.enlargement else self.canvas, self.window, self.distribution)

    @property
    def seen(self) -> float:
        """The fraction of the canvas that one window covers."""
        height, width = self.crop.canvas
        return (self.window[0] * self.window[1]) / (height * width)

    def draw(self, rngs: Sequence[Generator]) -> Chain:
        """The view of the coming step."""
        rngs = checked_generators(rngs)
        roll = tuple(0 if room else self.jitter for room in self.crop.excess)
        maps: list[LinearMap] = [*self._enlarged()]
        if any(roll):
            maps.append(Jitter((roll[0], roll[1])).draw(rngs))
        if any(self.crop.excess):
            maps.append(self.crop.draw(rngs))
        if self.rotate or self.zoom:
            maps.append(Warp(self.window, self.rotate, self.zoom).draw(rngs))
        return Chain(tuple(maps))

    def still(self, batch: int) -> Chain:
        """The view without chance: no jitter, no turn, the window in the middle."""
        batch = checked_batch(batch)
        centre = (self.crop.centre(batch),) if any(self.crop.excess) else ()
        return Chain((*self._enlarged(), *centre))

    def _enlarged(self) -> tuple[Resize, ...]:
        return () if self.enlargement is None else (self.enlargement,)
