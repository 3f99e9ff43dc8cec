"""Random views on a CUDA device: a kernel or two a step, whose draws can change under a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from ..arrays import Array
from ..devices import Memory
from ..kernels.cuda import numba_stream, seen_by_numba
from .linear import Chain, Roll, Window
from .resize import Resize
from .views import RandomView
from .warp import Turn, periods_reached


class DeviceView:
    """What the network sees of the canvas, with the random numbers of `RandomView` and its adjoint.

    Parameters
    ----------
    view : RandomView
    image : array, shape (N, C, h, w)
        What the network is shown; every `apply` overwrites it.
    memory : Memory
    """

    def __init__(self, view: RandomView, image: Array, memory: Memory) -> None:
        self._view, self._image, self._memory = view, image, memory
        batch, channels = image.shape[:2]
        self._turns = bool(view.rotate or view.zoom)
        self._table = memory.empty((batch, _kernels().COLUMNS), np.float64)
        self._enlargement = view.enlargement
        self._canvas = memory.empty((batch, channels, *view.crop.canvas), image.dtype)
        # between the shift and the turn
        self._window = memory.empty(image.shape, image.dtype) if self._turns else image
        self._periods = periods_reached(view.window, 1 + view.zoom)

    def draw(self, rngs: Sequence[Generator]) -> DeviceView:
        """Draw the view of the coming step; returns itself."""
        self._memory.put(self._table, as_table(self._view.draw(rngs), len(self._image)))
        return self

    def apply(self, u: Array) -> Array:
        """What the network is shown of the canvases (N, C, H, W): the image that was given."""
        kernels = _kernels()
        if self._enlargement is not None:
            u = self._enlargement.apply(u)
        with numba_stream(u) as stream:
            u, table, window, image = _seen(u, self._table, self._window, self._image)
            kernels.launch(kernels.shift, (u, table, window), window.size, stream)
            if self._turns:
                kernels.launch(kernels.turn, (window, table, image), image.size, stream)
        return self._image

    def adjoint(self, g: Array) -> Array:
        """Carry a gradient on the image back to the canvases; the next call overwrites it."""
        kernels = _kernels()
        with numba_stream(g) as stream:
            g, table, window, canvas = _seen(g, self._table, self._window, self._canvas)
            if self._turns:
                kernels.launch(kernels.turn_back, (g, table, window, self._periods), window.size, stream)
                g = window
            kernels.launch(kernels.shift_back, (g, table, canvas), canvas.size, stream)
        return self._canvas if self._enlargement is None else self._enlargement.adjoint(self._canvas)


def as_table(chain: Chain, batch: int) -> Array:
    """The draws of a step as the kernels read them, one row an image."""
    kernels = _kernels()
    table = np.zeros((batch, kernels.COLUMNS))
    table[:, kernels.COSINE] = 1
    for one in chain.maps:
        if isinstance(one, Roll):
            table[:, [kernels.ROLL_Y, kernels.ROLL_X]] = one.shifts
        elif isinstance(one, Window):
            table[:, [kernels.CORNER_Y, kernels.CORNER_X]] = one.corners
        elif isinstance(one, Turn):
            table[:, [kernels.COSINE, kernels.SINE]] = one.first_rows()
        elif not isinstance(one, Resize):  # which is the same at every step
            raise TypeError(f"no kernel for {one!r}")
    return table


def _seen(*arrays: Any) -> tuple[Any, ...]:
    return tuple(map(seen_by_numba, arrays))


def _kernels() -> Any:
    from ..kernels.cuda import view

    return view
