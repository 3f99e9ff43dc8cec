"""What the runs of one thread read and write, and how it is bound to a session."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..devices import Device, Memory, Opened
from ..onnxgrad import IMAGE, Parameter, queued

_GRAPH_NUMBERS = itertools.count(1)


class Buffers:
    """The arrays of one thread.

    Parameters
    ----------
    memory : Memory
        Where they lie.
    shape : tuple of int
        (N, C, H, W) of the images.
    parameters : sequence of Parameter
        The runtime inputs.
    layer : (shape, dtype), optional
        Of the layer that the gradient is with respect to; unless given, that is the image.

    Attributes
    ----------
    image, gradient, activation, value, values
        As of `Engine`; `value` are the values as the session gives them, in single precision.
    """

    def __init__(
        self,
        memory: Memory,
        shape: tuple[int, ...],
        parameters: Sequence[Parameter],
        layer: tuple[tuple[int, ...], Any] | None = None,
    ) -> None:
        of, dtype = (shape, np.float32) if layer is None else layer
        self.image = memory.empty(shape, np.float32)
        self.gradient = memory.empty(of, dtype)
        self.activation = None if layer is None else memory.empty(of, np.float32)
        self.value = memory.empty(shape[:1], np.float32)
        self.values = memory.empty(shape[:1], np.float64)
        self._memory = memory
        self._parameters = {p.name: _placed(memory, p.default) for p in parameters}

    @property
    def computed(self) -> list[Array]:
        """What a run writes: values, gradient and, where there is one, the layer."""
        return [self.value, self.gradient, *([] if self.activation is None else [self.activation])]

    def bound(self, opened: Opened, at_once: int, device: Device) -> list[tuple[Any, Any]]:
        """The runs that compute all images, of so many at once: each a binding, and options or None.

        They are made once for each session, and kept with it.
        """
        found = opened.bound.get(self)
        if found is None:
            found = opened.bound[self] = _Bound(self, opened, at_once, device)
        return found.parts

    def bind(self, opened: Opened, images: slice) -> Any:
        """An IOBinding of some of the images; it holds raw pointers into the arrays."""
        io, memory = opened.session.io_binding(), self._memory
        for name, array in {IMAGE: self.image, **self._parameters}.items():
            own = array[images]
            io.bind_input(name, memory.kind, memory.index, own.dtype.type, own.shape, memory.pointer(own))
        for name, array in zip(opened.outputs, self.computed, strict=True):
            own = array[images]
            io.bind_output(name, memory.kind, memory.index, own.dtype.type, own.shape, memory.pointer(own))
        return io


def _placed(memory: Memory, value: np.ndarray) -> Any:
    placed = memory.empty(value.shape, value.dtype)
    memory.put(placed, value)
    return placed


class _Bound:
    """The bindings of buffers to a session, which on a GPU is told when their CUDA graphs have ended."""

    def __init__(self, buffers: Buffers, opened: Opened, at_once: int, device: Device) -> None:
        batch = len(buffers.image)
        # the last part overlaps the one before where the images cannot be divided evenly
        starts = [min(k, batch - at_once) for k in range(0, batch, at_once)]
        self.parts = [
            (buffers.bind(opened, slice(k, k + at_once)), self._options(opened, device)) for k in starts
        ]

    def _options(self, opened: Opened, device: Device) -> Any:
        """Those of runs on a GPU, whose addresses are replayed; None elsewhere."""
        if device.on_host:
            return None
        number = next(_GRAPH_NUMBERS)
        if device.graphs and hasattr(opened.session, "release_captured_graph"):
            ended = weakref.finalize(self, opened.ended.append, number)
            ended.atexit = False  # the driver may be gone by then
        return queued(number)
