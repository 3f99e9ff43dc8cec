"""u -> (value, gradient): one onnxruntime run of one graph, into buffers bound once."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array, borrow_numbers, to_host
from ..capacity import check_fits
from ..devices import (
    CPU,
    CUDA,
    Computation,
    Device,
    Memory,
    Opened,
    explained,
    memory_of,
    open_on,
    turn_on,
)
from ..errors import DeviceError, DeviceMemoryError, GradientError, InputError, ModelError, SobolevflowError
from ..network import Network
from ..objectives import Objective, check_asked, runtime_parameters, structure
from ..onnxgrad import CPU_PROVIDER, Graph, Parameter, peak_bytes, run_bound, session_bytes, weight_bytes
from .buffers import Buffers
from .model import gradient_graph, stops

# The part of the free memory that a network may use; cuDNN's workspace takes some of the rest.
_SHARE = 0.8

_SMALLER = "use a smaller batch, or several one after the other"

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
        What the network is shown. Handed in itself, nothing is copied. Each thread has its own.
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

    Threads may share an engine: each has buffers of its own, which end with it, so that what one is given is
    overwritten by its own next call alone. On the CPU they compute at the same time, on a GPU in turn.

    The session is the network's (`Network.sessions`): one that had to make room is opened anew.
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
        objective = check_asked(net, objective)
        wrt = None if wrt is None else net.layer_name(wrt)
        self.net, self.objective, self.device, self.wrt = net, objective, Device.of(device), wrt
        batch = checks.count(batch, "batch")
        if not (images is None or isinstance(images, slice)):
            checks.refuse(images, "images", "a slice of the batch")
        self._asked: dict[str, Any] = {"batch": batch, "images": images, "wrt": wrt}
        self._check_fits(batch if images is None else len(range(batch)[images]))
        # complains first about layers, classes and units
        parameters = runtime_parameters(objective, net, batch)
        self._numbers = range(batch)  # of its images, in the batch
        if images is not None:
            parameters = [Parameter(p.name, p.default[images]) for p in parameters]
            self._numbers = self._numbers[images]
            batch = len(self._numbers)
        self._parameters = parameters
        self.shape = (int(batch), *net.input_shape)
        layers = [*(leaf.tensor(net) for leaf in objective.leaves()), *([] if wrt is None else [wrt])]
        self._most = net.run_batch(self.shape[0], layers)
        self.memory = memory_of(self.device)
        self._of_thread = threading.local()
        with self._explained():
            self._of_thread.buffers = self._allocated()
        self._proven = self.device.name in (CPU, CUDA)
        self.indices = {p.name: p.default.tolist() for p in parameters if p.default.dtype == np.int64}
        self._plan(self._most)

    def _check_fits(self, batch: int) -> None:
        """InputError where the images and their gradient alone are more than the host can hold."""
        if self.device.on_host:
            check_fits(2 * 4 * batch * math.prod(self.net.input_shape), _images(batch), _SMALLER)

    def _allocated(self) -> Buffers:
        with self.memory.turn():
            return Buffers(self.memory, self.shape, self._parameters, self._layer())

    def _layer(self) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
        """Shape and dtype of the gradient by a layer; None where it is by the image."""
        if self.wrt is None:
            return None
        shape = (self.shape[0], *self.net.layer_shape(self.wrt)[1:])
        if self.device.on_host:
            check_fits(2 * 4 * math.prod(shape), f"layer {self.wrt!r} and its gradient", _SMALLER)
        own = self.net.places.types[self.wrt].dtype
        # single precision takes the place of half, and of quantised numbers
        own = own if own == np.float64 else np.dtype(np.float32)
        return shape, np.dtype(self.device.precision) if own == np.float32 else own

    @property
    def _buffers(self) -> Buffers:
        """Those of the calling thread."""
        try:
            return self._of_thread.buffers  # type: ignore[no-any-return]
        except AttributeError:
            own = self._of_thread.buffers = self._allocated()
            return own

    @property
    def image(self) -> Array:
        """What the network is shown by the calling thread."""
        return self._buffers.image

    @property
    def activation(self) -> Array | None:
        """With `wrt`: that layer at the last image that the calling thread gave."""
        return self._buffers.activation

    @property
    def at_once(self) -> int:
        """How many images go through the network together."""
        return self._computation.batch

    def _plan(self, most: int) -> tuple[Computation, Opened]:
        """Have a session for at most so many images at once."""
        # in this order, as whoever runs has the turn already
        with self.memory.turn(), self.net.sessions.opening:
            computation, opened = self._shared(most)
        refuse_apart(self.objective, self.shape[0], computation.batch, self._takes(computation.batch))
        self._computation, self._of_session = computation, opened.notes
        return computation, opened

    def _session(self) -> tuple[Computation, Opened]:
        """The session, opened anew where it had to make room for others."""
        computation = self._computation
        opened = self.net.sessions.find(computation)
        return self._plan(computation.batch) if opened is None else (computation, opened)

    def _shared(self, most: int) -> tuple[Computation, Opened]:
        """The session of the objective's structure for `most` images at once, or for as many as fit."""
        net, device, layers = self.net, self.device, [] if self.wrt is None else [self.wrt]
        while True:
            of = (structure(self.objective, net), self.wrt)
            computation = Computation("gradient", of, most, device)
            opened = net.sessions.find(computation)
            if opened is not None:
                return computation, opened
            defaults = [Parameter(p.name, p.default[:most]) for p in self._parameters]
            graph = gradient_graph(
                net, self.objective, defaults, most, layers, wrt=self.wrt, precision=device.precision
            )
            if device.on_host:
                _check_host(graph, most)
            fitting = _fitting(graph, most, self.memory)
            if fitting == most:
                return computation, net.sessions.keep(computation, self._opened(graph))
            most = fitting

    def _opened(self, graph: Graph) -> Opened:
        device, net = self.device, self.net
        size = session_bytes(graph, device.providers())
        net.sessions.make_room(size)
        session, of_device = open_on(graph, device, self.memory.stream, net.threads)
        notes = (*stops(graph), *of_device)
        return Opened(session, tuple(graph.outputs), notes, size, turn_on(device))

    def _takes(self, at_once: int) -> str:
        each = "one at a time" if at_once == 1 else f"{at_once} at a time"
        return f"{self.net.name} takes {each} of {self.shape[0]} on device {str(self.device)!r}"

    @property
    def notes(self) -> list[str]:
        """What to know of the gradient and of how it is computed."""
        at_once = self.at_once
        fewer = [f"{self._takes(at_once)}: more do not fit"] if at_once < self._most else []
        return [*self.objective.notes(self.net), *self._of_session, *fewer]

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
            A buffer that the thread's next call overwrites. Both are NumPy's, on a CUDA device CuPy's, where
            both are buffers, and are queued, not waited for.

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
        own = self._buffers
        with self._explained(), self.memory.turn():
            if u is not own.image:
                self.memory.put(own.image, u)
            self._run(own)
            own.values[...] = own.value
        if not self._proven:
            self._prove(u)
        if not self.device.on_host:
            return own.values, own.gradient
        if not all(np.isfinite(each).all() for each in (own.values, *own.computed[1:])):
            raise GradientError(self.blame(u))
        return own.values.copy(), own.gradient

    def _run(self, own: Buffers) -> None:
        """Run all parts, smaller ones where the GPU has no memory for those that were planned."""
        while True:
            computation, opened = self._session()
            try:
                with opened.turn:
                    opened.release_ended()
                    for io, options in own.bound(opened, computation.batch, self.device):
                        run_bound(opened.session, io, options)
                return
            except ModelError as error:
                failure = None if self.device.provider == CPU_PROVIDER else explained(error, str(self.device))
                if not isinstance(failure, DeviceMemoryError) or computation.batch == 1:
                    raise failure or error from error
            del opened  # and the memory that it holds
            self.net.sessions.drop(computation)
            self._plan((computation.batch + 1) // 2)

    def _prove(self, u: Array) -> None:
        """Compare the first gradient of a provider that nobody has tried with that of the CPU.

        Onnxruntime passes graphs on to libraries that are made for networks, not for gradients.
        """
        expected = Engine(self.net, self.objective, **self._asked)(u)[1]
        error = largest_error(self._buffers.gradient, expected)
        if not error < _TRUSTED:
            raise DeviceError(
                f"{self.net.name}: {self.device.provider} computes another gradient than the CPU: it is off "
                f"by {error:.0%} of the largest value. Use device='cpu', or another version of the provider."
            )
        self._proven = True

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
        each = [images, *map(to_host, self._buffers.computed)]
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


def _images(batch: int) -> str:
    return f"a batch of {batch} image{'s' * (batch > 1)}"


def _check_host(graph: Graph, batch: int) -> None:
    """InputError where the tensors that are alive at once are more than the host can hold."""
    check_fits(peak_bytes(graph), f"{_images(batch)} on its way through the network", _SMALLER)


def _fitting(graph: Graph, batch: int, memory: Memory) -> int:
    """How many images of `batch` fit into the memory that is free, in parts of about the same size."""
    free = memory.available()
    if free is None or batch == 1:
        return batch
    room = max(0.0, _SHARE * free - weight_bytes(graph))
    most = max(1, int(batch * room / peak_bytes(graph)))
    return math.ceil(batch / math.ceil(batch / most))
