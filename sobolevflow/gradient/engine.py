"""u -> (value, gradient): one onnxruntime run of one graph, into buffers bound once."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array, borrow_numbers, to_host
from ..devices import CPU, CUDA, Computation, Device, Memory, Opened, explained, memory_of, open_on
from ..errors import DeviceError, DeviceMemoryError, GradientError, InputError, ModelError, SobolevflowError
from ..network import Network
from ..objectives import Objective, runtime_parameters, structure
from ..onnxgrad import CPU_PROVIDER, IMAGE, Graph, Parameter, peak_bytes, queued, run_bound, weight_bytes
from .model import gradient_graph, stops

_GRAPH_NUMBERS = itertools.count(1)

# The part of the free memory that a network may use; cuDNN's workspace takes some of the rest.
_SHARE = 0.8

# How far a provider's gradient may be from that of the CPU, relative to its largest value: rounding is within
# it, in half precision as well, a wrong formula is not.
_TRUSTED = 0.5


class Engine:
    """Value and gradient of an objective at u, on buffers that are bound once.

    Parameters
    ----------
    net : Network
    objective : Objective
    batch : int
        Number of images N.
    device : str or Device
        Where to compute.
    images : slice, optional
        Only these of the N images; `shape` is theirs.
    wrt : str, optional
        A layer to differentiate with respect to, in place of the image.

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W) of what it takes.
    memory : Memory
        Where its arrays lie.
    image : array, shape (N, C, H, W), float32
        What the network is shown. Handed in itself, nothing is copied.
    activation : array or None
        With `wrt`: that layer at the last image, a buffer like its gradient.
    at_once : int
        How many images go through the network together: all, or as many as fit into the memory of the GPU,
        or as many as the file fixes its batch size to.
    indices : dict
        The integer runtime inputs, such as "class", one entry per image: outputs of the network, counted
        from 0 with a background class included.
    notes : list of str
        What to know of the gradient: what was assumed of the objective's layers, operators at which a part
        of it stops.

    Notes
    -----
    Two engines of the same structure share one onnxruntime session (class, unit, weights and target are
    runtime inputs), each with buffers of its own, and on a GPU with a CUDA graph of its own.
    """

    def __init__(
        self,
        net: Network,
        objective: Objective,
        *,
        batch: int = 1,
        device: str | Device = "cpu",
        images: slice | None = None,
        wrt: str | None = None,
    ) -> None:
        self.net, self.objective, self.device, self.wrt = net, objective, Device.of(device), wrt
        self._asked: dict[str, Any] = {"batch": checks.count(batch, "batch"), "images": images, "wrt": wrt}
        # complains first about layers, classes and units
        parameters = runtime_parameters(objective, net, batch)
        self._numbers = range(batch)  # of its images, in the batch
        if images is not None:
            parameters = [Parameter(p.name, p.default[images]) for p in parameters]
            self._numbers = self._numbers[images]
            batch = len(self._numbers)
        self._own = parameters
        self.shape = (int(batch), *net.input_shape)
        layers = [*(leaf.tensor(net) for leaf in objective.leaves()), *([] if wrt is None else [wrt])]
        self._most = net.run_batch(self.shape[0], layers)
        self.memory = memory_of(self.device)
        with self._explained(), self.memory.turn():
            self.image = self.memory.empty(self.shape, np.float32)
            self._gradient, self.activation = self._outputs()
            self._value = self.memory.empty(self.shape[:1], np.float32)
            self._values = self.memory.empty(self.shape[:1], np.float64)
            self._parameters = {p.name: self._placed(p.default) for p in parameters}
        self._proven = self.device.name in (CPU, CUDA)
        self.indices = {p.name: p.default.tolist() for p in parameters if p.default.dtype == np.int64}
        self._plan(self._most)

    def _outputs(self) -> tuple[Array, Array | None]:
        """Buffers for the gradient, and for the layer that it is with respect to."""
        if self.wrt is None:
            return self.memory.empty(self.shape, np.float32), None
        shape = (self.shape[0], *self.net.layer_shape(self.wrt)[1:])
        own = self.net.places.types[self.wrt].dtype
        # single precision takes the place of half, and of quantised numbers
        own = own if own == np.float64 else np.dtype(np.float32)
        computed = np.dtype(self.device.precision) if own == np.float32 else own
        return self.memory.empty(shape, computed), self.memory.empty(shape, np.float32)

    def _placed(self, value: np.ndarray) -> Any:
        placed = self.memory.empty(value.shape, value.dtype)
        self.memory.put(placed, value)
        return placed

    def _plan(self, most: int) -> None:
        """Open a session for at most so many images at once, and bind the buffers to it."""
        batch = self.shape[0]
        self._computation, self._opened = self._shared(most)
        self.at_once = self._computation.batch
        refuse_apart(self.objective, batch, self.at_once, self._takes())
        self._ends: list[Any] = []
        # the last part overlaps the one before where the images cannot be divided evenly
        starts = [min(k, batch - self.at_once) for k in range(0, batch, self.at_once)]
        self._parts = [(self._bound(k), self._run_options()) for k in starts]

    def _shared(self, most: int) -> tuple[Computation, Opened]:
        """The session of the objective's structure for `most` images at once, or for as many as fit."""
        net, device, layers = self.net, self.device, [] if self.wrt is None else [self.wrt]
        while True:
            of = (structure(self.objective, net), self.wrt)
            computation = Computation("gradient", of, most, device)
            opened = net.sessions.find(computation)
            if opened is not None:
                return computation, opened
            defaults = [Parameter(p.name, p.default[:most]) for p in self._own]
            graph = gradient_graph(
                net, self.objective, defaults, most, layers, wrt=self.wrt, precision=device.precision
            )
            fitting = _fitting(graph, most, self.memory)
            if fitting == most:
                session, of_device = open_on(graph, device, self.memory.stream, net.threads)
                opened = Opened(session, tuple(graph.outputs), (*stops(graph), *of_device))
                return computation, net.sessions.keep(computation, opened)
            most = fitting

    def _takes(self) -> str:
        each = "one at a time" if self.at_once == 1 else f"{self.at_once} at a time"
        return f"{self.net.name} takes {each} of {self.shape[0]} on device {str(self.device)!r}"

    @property
    def notes(self) -> list[str]:
        """What to know of the gradient and of how it is computed."""
        fewer = [f"{self._takes()}: more do not fit"] if self.at_once < self._most else []
        return [*self.objective.notes(self.net), *self._opened.notes, *fewer]

    def _bound(self, start: int) -> Any:
        """An IOBinding of the images from `start` on; it holds raw pointers into our arrays."""
        io, memory = self._opened.session.io_binding(), self.memory
        part = slice(start, start + self.at_once)
        inputs = {IMAGE: self.image, **self._parameters}
        for name, array in inputs.items():
            own = array[part]
            io.bind_input(name, memory.kind, memory.index, own.dtype.type, own.shape, memory.pointer(own))
        outputs = [self._value, self._gradient, *([] if self.activation is None else [self.activation])]
        for name, array in zip(self._opened.outputs, outputs, strict=True):
            own = array[part]
            io.bind_output(name, memory.kind, memory.index, own.dtype.type, own.shape, memory.pointer(own))
        return io

    def _run_options(self) -> Any:
        """Those of runs on a GPU, whose addresses are replayed; None elsewhere."""
        if self.device.on_host:
            return None
        number = next(_GRAPH_NUMBERS)
        if self.device.graphs and hasattr(self._opened.session, "release_captured_graph"):
            ended = weakref.finalize(self, self._opened.session.release_captured_graph, number)
            ended.atexit = False  # the driver may be gone by then
            self._ends.append(ended)
        return queued(number)

    def __call__(self, u: Array) -> tuple[Array, Array]:
        """Value and gradient at `u`.

        Parameters
        ----------
        u : array, shape (N, C, H, W)
            In [0, 1], of any library; not checked for range.

        Returns
        -------
        values : array, shape (N,), float64
        gradient : array, shape (N, C, H, W), float32
            A buffer that the next call overwrites. Both are NumPy's, on a CUDA device CuPy's, where both are
            buffers, and are queued, not waited for.

        Raises
        ------
        InputError
            `u` has another shape.
        GradientError
            The value or the gradient is not finite; names the first layer that is not. On a CUDA device
            values are not looked at: `blame` is for him who does.
        DeviceError
            The device fails; or, at the first call, its gradient is not that of the CPU, which is looked at
            for providers other than CUDA's.
        """
        if type(u) is not np.ndarray:
            u = borrow_numbers(u, "u")
        if u.shape != self.shape:
            raise InputError(f"the engine takes images of shape {self.shape}, not {u.shape}")
        with self._explained(), self.memory.turn():
            if u is not self.image:
                self.memory.put(self.image, u)
            self._run()
            self._values[...] = self._value
        if not self._proven:
            self._prove(u)
        if not self.device.on_host:
            return self._values, self._gradient
        computed = (self._values, self._gradient, *([] if self.activation is None else [self.activation]))
        if not all(np.isfinite(each).all() for each in computed):
            raise GradientError(self.blame(u))
        return self._values.copy(), self._gradient

    def _run(self) -> None:
        """Run all parts, smaller ones where the GPU has no memory for those that were planned."""
        while True:
            try:
                for io, options in self._parts:
                    run_bound(self._opened.session, io, options)
                return
            except ModelError as error:
                failure = None if self.device.provider == CPU_PROVIDER else explained(error, str(self.device))
                if not isinstance(failure, DeviceMemoryError) or self.at_once == 1:
                    raise failure or error from error
            self._shrink()

    def _prove(self, u: Array) -> None:
        """Compare the first gradient of a provider that nobody has tried with that of the CPU.

        Onnxruntime passes graphs on to libraries that are made for networks, not for gradients.
        """
        self._proven = True
        expected = Engine(self.net, self.objective, **self._asked)(u)[1]
        error = largest_error(self._gradient, expected)
        if not error < _TRUSTED:
            raise DeviceError(
                f"{self.net.name}: {self.device.provider} computes another gradient than the CPU: it is off "
                f"by {error:.0%} of the largest value. Use device='cpu', or another version of the provider."
            )

    def _shrink(self) -> None:
        most = (self.at_once + 1) // 2
        self._parts = []
        for end in self._ends:
            end()
        self.net.sessions.drop(self._computation)
        del self._opened  # and the memory that it holds
        self._plan(most)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of a device as ours; on the CPU there are none."""
        try:
            yield
        except (SobolevflowError, KeyboardInterrupt):
            raise
        except Exception as error:
            if self.device.on_host:
                raise
            raise explained(error, str(self.device)) from error

    def blame(self, u: Array) -> str:
        """Why value or gradient at `u` are not finite, for a message that names the images it is about."""
        images = np.asarray(to_host(u), np.float32)
        bad = np.flatnonzero(~self._finite(images))
        of = at_images(self.objective, [self._numbers[k] for k in bad.tolist()], len(images))
        return f"{self.net.name}: {of}: {self._culprit(images[bad] if len(bad) else images)}"

    def _finite(self, images: np.ndarray) -> np.ndarray:
        """Whether value, gradient and activation of each image are finite, and itself, (N,)."""
        computed = (self._value, self._gradient, *([] if self.activation is None else [self.activation]))
        each = [images, *map(to_host, computed)]
        return np.asarray(np.all([np.isfinite(x.reshape(len(x), -1)).all(axis=1) for x in each], axis=0))

    def _culprit(self, u: np.ndarray) -> str:
        if not np.isfinite(u).all():
            return "the image itself is not finite"
        layer = self.net.first_non_finite(u)
        if layer is None:
            half = self.device.precision != "float32"
            remedy = f", in {self.device.precision}; try precision='float32'" if half else ""
            return f"the gradient is not finite although all layers are: the backward pass overflows{remedy}"
        remedy = f"check the pre-processing (net.preprocess){self.net.instead_of(layer)}"
        return f"the value of layer {layer!r} is not finite; {remedy}"


def at_images(objective: Objective, numbers: Sequence[int], count: int) -> str:
    """What a message calls an objective at some of `count` images: by itself where it is none, or all."""
    if not 0 < len(numbers) < count:
        return str(objective)
    listed = ", ".join(map(str, numbers))
    return f"image{'s' * (len(numbers) > 1)} {listed} ({objective.for_images(numbers)})"


def refuse_apart(objective: Objective, batch: int, at_once: int, takes: str) -> None:
    """InputError where an objective compares the images of a batch that does not go through as a whole."""
    if at_once < batch and any(leaf.whole_batch for leaf in objective.leaves()):
        raise InputError(
            f"{objective} compares the images of a batch, but {takes}; export the network "
            f"with a batch size that is left open, or use a smaller batch"
        )


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value expected, or as it is where that is zero."""
    largest = float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / (largest or 1.0)


def _fitting(graph: Graph, batch: int, memory: Memory) -> int:
    """How many images of `batch` fit into the memory that is free, in parts of about the same size."""
    free = memory.available()
    if free is None or batch == 1:
        return batch
    room = max(0.0, _SHARE * free - weight_bytes(graph))
    try:
        most = max(1, int(batch * room / peak_bytes(graph)))
    except ModelError:  # a shape that only the run will tell; then the run will tell what fits
        return batch
    return math.ceil(batch / math.ceil(batch / most))
