"""u -> (value, gradient): one onnxruntime run of one graph, into buffers bound once.

`gradient_model` gives that graph as an ordinary ONNX model; `Engine` runs it for the descent;
`value_and_grad` is the plain function of u for everybody else; `check_gradient` compares it
with differences of the network evaluated in double precision.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .arrays import Array, beside, borrow_or_make, lend, library, on_stream_of, to_host
from .devices import CPU, CUDA, Device, Precision
from .errors import (
    DeviceError,
    DeviceMemoryError,
    GradientError,
    InputError,
    ModelError,
    OutputError,
    SobolevflowError,
    UnsupportedOpError,
)
from .failures import explained
from .memory import Memory, memory_of
from .network import Network, uncast
from .objectives import Objective, emit_objective, runtime_parameters, structure
from .onnxgrad import (
    CPU_PROVIDER,
    GRADIENT,
    IMAGE,
    RULES,
    VALUE,
    Graph,
    Parameter,
    Weights,
    add_parameters,
    describe_stops,
    differentiate,
    evaluate,
    peak_bytes,
    queued,
    run_bound,
    scatter_in_single,
    weight_bytes,
    write_apart,
)
from .sessions import open_on
from .signature import record_labels


def gradient_graph(
    net: Network,
    objective: Objective,
    parameters: Sequence[Parameter],
    batch: int,
    activations: Sequence[str] = (),
    dtype: Any = np.float32,
    wrt: str | None = None,
    precision: Precision = "float32",
) -> Graph:
    """The graph from image and runtime parameters to value, gradient and activations, in this order.

    The gradient is with respect to the image, or to the layer `wrt`.

    Raises
    ------
    UnsupportedOpError
        An operator on the path has no gradient rule; names it, the opset, and layers with a gradient.
    GradientError
        The objective depends on the image only through operators without a derivative; names them.
    UnknownNameError
        The objective names a layer that does not exist.
    """
    layers = [leaf.tensor(net) for leaf in objective.leaves()]
    kept = [*layers, *activations, *([] if wrt is None else [wrt])]
    for name in kept:
        net.layer(name)
    graph, names = net.graph(kept, batch, [p.name for p in parameters], dtype, precision)
    add_parameters(graph, [p.astype(dtype) for p in parameters])
    try:
        graph = differentiate(
            graph,
            lambda g: emit_objective(objective, net, g, names),
            activations=[names[name] for name in activations],
            dtype=dtype,
            wrt=IMAGE if wrt is None else uncast(graph, names[wrt]),
            scale=1.0 if precision == "float32" else _HALF_SCALE,
        )
    except UnsupportedOpError as error:
        raise net.unsupported(str(error)) from None
    except GradientError as error:
        raise net.unreached(str(error)) from None
    if precision != "float32":
        scatter_in_single(graph)
        graph.prune()
    net.add_notes(_notes(graph))
    return graph


def _notes(graph: Graph) -> list[str]:
    if not graph.stopped:
        return []
    named = describe_stops(graph.stopped, RULES)
    return [f"a part of the gradient stops at {named}; what is computed is the gradient of the rest"]


def gradient_model(
    net: Network,
    objective: Objective,
    *,
    batch: int = 1,
    activations: Sequence[str] = (),
    defaults: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> onnx.ModelProto:
    """The gradient of an objective with respect to the image, as a plain ONNX model.

    Parameters
    ----------
    net : Network
    objective : Objective
    batch : int
        Number of images N; fixed in the model.
    activations : sequence of str
        Layers to offer as further outputs, each once, in this order.
    defaults : bool
        Whether the runtime parameters have the values of `objective` unless they are fed. Without,
        they are ordinary inputs: onnxruntime for JavaScript takes no others.
    path : path, optional
        Also write it there; weights go to ``path + ".data"`` where they exceed one gigabyte, and
        the model then refers to that file.

    Returns
    -------
    onnx.ModelProto
        Opset 18, operators of domain '' only. Input "image" (N, C, H, W) float32 in [0, 1],
        pre-processing included, and the runtime parameters of the objective, each (N, ...)
        and, by default, optional: ``session.run(None, {"image": u})`` works. Outputs "value" (N,) and
        "gradient" (N, C, H, W), then the activations. Its metadata "sobolevflow.labels" holds
        the class names, where they are known, as a JSON list in the order of the input "class".

    Raises
    ------
    UnsupportedOpError
        An operator on the path has no gradient rule.
    GradientError
        The objective depends on the image only through operators without a derivative.
    ModelError
        The weights exceed 2 GB, and no path is given.
    OutputError
        `path` cannot be written.
    """
    batch = _positive(batch)
    parameters = runtime_parameters(objective, net, batch)
    layers = list(dict.fromkeys(activations))
    graph = gradient_graph(net, objective, parameters, batch, layers)
    if not defaults:
        graph.constants = {k: v for k, v in graph.constants.items() if k not in graph.inputs}
    size = sum(value.nbytes for value in graph.constants.values())
    if path is None and size > _PROTO_LIMIT:
        raise ModelError(
            f"{net.name}: {size / 1e9:.1f} GB of weights are more than an ONNX model in memory can hold; "
            "give a path, beside which they are written"
        )
    apart = path is not None and size > _FILE_LIMIT
    model, weights = graph.detached() if apart else (graph.to_model(), {})
    model.doc_string = f"value and image gradient of {objective} of {net.name}"
    record_labels(model, net)
    if path is not None:
        _write_model(model, weights, Path(path))
    return model


_FILE_LIMIT = 1 << 30  # bytes of weights that are written into the model's own file
_PROTO_LIMIT = 2_000_000_000  # bytes of weights in memory; protobuf ends at 2 GiB


def _write_model(model: onnx.ModelProto, weights: Weights, path: Path) -> None:
    """Write into a folder beside the target and move into place, so that no half-written file is left."""
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; name a file in it")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as folder:
            partial = Path(folder, path.name)
            if weights:
                data = Path(folder, path.name + ".data")
                with data.open("wb") as file:
                    write_apart(model, weights, file, data.name)
                os.replace(data, path.with_name(data.name))
            partial.write_bytes(model.SerializeToString())
            os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None


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

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W) of what it takes.
    memory : Memory
        Where its arrays lie.
    image : array, shape (N, C, H, W), float32
        What the network is shown. Handed in itself, nothing is copied.
    at_once : int
        How many images go through the network together: all, or as many as fit into the memory of the GPU,
        or one at a time, where the file fixes the batch size to one.
    indices : dict
        The integer runtime inputs, such as "class", one entry per image: outputs of the network, counted
        from 0 with a background class included.
    notes : list of str
        What to know of the gradient: operators at which a part of it stops.

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
    ) -> None:
        self.net, self.objective, self.device = net, objective, Device.of(device)
        self._asked: dict[str, Any] = {"batch": _positive(batch), "images": images}
        # complains first about layers, classes and units
        parameters = runtime_parameters(objective, net, batch)
        if images is not None:
            parameters = [Parameter(p.name, p.default[images]) for p in parameters]
            batch = len(range(batch)[images])
        self._own = parameters
        self.shape = (int(batch), *net.input_shape)
        self._most = net.run_batch(self.shape[0], [leaf.tensor(net) for leaf in objective.leaves()])
        self.memory = memory_of(self.device)
        with self._explained(), self.memory.turn():
            self.image = self.memory.empty(self.shape, np.float32)
            self._gradient = self.memory.empty(self.shape, np.float32)
            self._value = self.memory.empty(self.shape[:1], np.float32)
            self._values = self.memory.empty(self.shape[:1], np.float64)
            self._parameters = {p.name: self._placed(p.default) for p in parameters}
        self._proven = self.device.name in (CPU, CUDA)
        self.indices = {p.name: p.default.tolist() for p in parameters if p.default.dtype == np.int64}
        self._plan(self._most)

    def _placed(self, value: np.ndarray) -> Any:
        placed = self.memory.empty(value.shape, value.dtype)
        self.memory.put(placed, value)
        return placed

    def _plan(self, most: int) -> None:
        """Open a session for at most so many images at once, and bind the buffers to it."""
        batch = self.shape[0]
        self._compiled = _shared(self.net, self.objective, self._own, most, self.device, self.memory)
        self.at_once = self._compiled.at_once
        if self.at_once < batch and any(leaf.whole_batch for leaf in self.objective.leaves()):
            raise InputError(
                f"{self.objective} compares the images of a batch, but {self._takes()}; export the network "
                f"with a batch size that is left open, or use a smaller batch"
            )
        self._ends: list[Any] = []
        # the last part overlaps the one before where the images cannot be divided evenly
        starts = [min(k, batch - self.at_once) for k in range(0, batch, self.at_once)]
        self._parts = [(self._bound(k), self._run_options()) for k in starts]

    def _takes(self) -> str:
        each = "one at a time" if self.at_once == 1 else f"{self.at_once} at a time"
        return f"{self.net.name} takes {each} of {self.shape[0]} on device {str(self.device)!r}"

    @property
    def notes(self) -> list[str]:
        """What to know of the gradient and of how it is computed."""
        fewer = [f"{self._takes()}: more do not fit"] if self.at_once < self._most else []
        return [*self._compiled.notes, *fewer]

    def _bound(self, start: int) -> Any:
        """An IOBinding of the images from `start` on; it holds raw pointers into our arrays."""
        io, memory = self._compiled.session.io_binding(), self.memory
        part = slice(start, start + self.at_once)
        inputs = {IMAGE: self.image, **self._parameters}
        for name, array in inputs.items():
            own = array[part]
            io.bind_input(name, memory.kind, memory.index, own.dtype.type, own.shape, memory.pointer(own))
        for name, array in ((VALUE, self._value), (GRADIENT, self._gradient)):
            own = array[part]
            io.bind_output(name, memory.kind, memory.index, own.dtype.type, own.shape, memory.pointer(own))
        return io

    def _run_options(self) -> Any:
        """Those of runs on a GPU, whose addresses are replayed; None elsewhere."""
        if self.device.on_host:
            return None
        number = next(_GRAPH_NUMBERS)
        if self.device.graphs and hasattr(self._compiled.session, "release_captured_graph"):
            ended = weakref.finalize(self, self._compiled.session.release_captured_graph, number)
            ended.atexit = False  # the driver may be gone by then
            self._ends.append(ended)
        return queued(number)

    def __call__(self, u: Array) -> tuple[Array, Array]:
        """Value and gradient at `u`.

        Parameters
        ----------
        u : array, shape (N, C, H, W)
            In [0, 1], of NumPy or CuPy; not checked for range.

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
        if not (np.isfinite(self._values).all() and np.isfinite(self._gradient).all()):
            raise GradientError(self.blame(u))
        return self._values.copy(), self._gradient

    def _run(self) -> None:
        """Run all parts, smaller ones where the GPU has no memory for those that were planned."""
        while True:
            try:
                for io, options in self._parts:
                    run_bound(self._compiled.session, io, options)
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
        del self.net.sessions[self._compiled.key], self._compiled  # and the memory that they hold
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
        """Why value or gradient at `u` are not finite, for a message."""
        return f"{self.net.name}: {self.objective}: {self._culprit(np.asarray(to_host(u), np.float32))}"

    def _culprit(self, u: np.ndarray) -> str:
        if not np.isfinite(u).all():
            return "the image itself is not finite"
        layer = self.net.first_non_finite(u)
        if layer is None:
            half = self.device.precision != "float32"
            remedy = f", in {self.device.precision}; try precision='float32'" if half else ""
            return f"the gradient is not finite although all layers are: the backward pass overflows{remedy}"
        return f"the value of layer {layer!r} is not finite; check the pre-processing (net.preprocess)"


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value expected, or as it is where that is zero."""
    largest = float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / (largest or 1.0)


_GRAPH_NUMBERS = itertools.count(1)

# The part of the free memory that a network may use; cuDNN's workspace takes some of the rest.
_SHARE = 0.8
# How far a provider's gradient may be from that of the CPU, relative to its largest value: rounding is within
# it, in half precision as well, a wrong formula is not.
_TRUSTED = 0.5
# What the backward pass is scaled by in half precision, whose smallest number is 6e-8.
_HALF_SCALE = 1024.0


@dataclass(frozen=True)
class _Compiled:
    """A session of a gradient graph, where it is kept, and how many images it takes."""

    session: Any
    key: tuple[Any, ...]
    notes: list[str]
    at_once: int


def _shared(
    net: Network,
    objective: Objective,
    parameters: Sequence[Parameter],
    most: int,
    device: Device,
    memory: Memory,
) -> _Compiled:
    """The session of an objective's structure for `most` images at once, or for as many as fit."""
    while True:
        key = ("gradient", structure(objective, net), most, device)
        if key in net.sessions:
            found: _Compiled = net.sessions[key]
            return found
        defaults = [Parameter(p.name, p.default[:most]) for p in parameters]
        graph = gradient_graph(net, objective, defaults, most, precision=device.precision)
        fitting = _fitting(graph, most, memory)
        if fitting == most:
            opened, of_device = open_on(graph, device, memory.stream, net.threads)
            net.sessions[key] = _Compiled(opened, key, [*_notes(graph), *of_device], most)
        most = fitting


def _fitting(graph: Graph, batch: int, memory: Memory) -> int:
    """How many images of `batch` fit into the memory that is free, in parts of about the same size."""
    free = memory.free()
    if free is None or batch == 1:
        return batch
    room = max(0.0, _SHARE * free - weight_bytes(graph))
    try:
        most = max(1, int(batch * room / peak_bytes(graph)))
    except ModelError:  # a shape that only the run will tell; then the run will tell what fits
        return batch
    return math.ceil(batch / math.ceil(batch / most))


def value_and_grad(
    net: Network, objective: Objective, *, device: str | Device = "cpu"
) -> Callable[[Any], tuple[Any, Any]]:
    """The objective's value and its gradient as a function of the image.

    Parameters
    ----------
    net : Network
    objective : Objective
    device : str or Device
        Where to compute: "cpu", "cuda", "cuda:1", another provider of onnxruntime, or a `sf.Device`.

    Returns
    -------
    callable
        ``u -> (values, gradient)`` for u of shape (N, C, H, W) or (C, H, W), floating point
        in [0, 1], of NumPy, CuPy, PyTorch, JAX or any library with DLPack; values has shape (N,) and is
        float64, the gradient has the shape of u and is float32, and both are arrays of u's library, where u
        lies. What lies on the device is not copied to the host. It neither clips nor normalises, and every
        call returns new arrays. Operators at which a part of the gradient stops are named by
        `Network.notes` from the first call on.

    Raises
    ------
    SobolevflowError
        As the network, the objective and the device raise.

    Examples
    --------
    >>> grad = value_and_grad(net, Class("king crab"))  # doctest: +SKIP
    >>> value, g = grad(u)                              # doctest: +SKIP
    """
    engines: dict[int, Engine] = {}

    def evaluate_at(u: Any) -> tuple[Any, Any]:
        foreign = library(u) not in (None, "numpy")
        memory = borrow_or_make(u, "u")
        with on_stream_of(u):
            images = net.check_image(memory)
            batch = len(images)
            if batch not in engines:
                engines[batch] = Engine(net, objective, batch=batch, device=device)
            values, gradient = engines[batch](images)
            found = [beside(memory, x.copy()) for x in (values, gradient.reshape(memory.shape))]
        return (lend(found[0], u), lend(found[1], u)) if foreign else (found[0], found[1])

    return evaluate_at


def check_gradient(
    net: Network,
    objective: Objective,
    u: np.ndarray | None = None,
    *,
    precision: str = "single",
    device: str | Device = "cpu",
    directions: int = 4,
    step: float = 1e-7,
    seed: int = 0,
) -> float:
    """Relative error of the gradient against directional differences in double precision.

    The differences are central ones of the objective's value, evaluated in float64 by NumPy,
    along the gradient itself and along random directions.

    Parameters
    ----------
    net : Network
    objective : Objective
    u : ndarray, shape (N, C, H, W) or (C, H, W), optional
        Where to check; default mid grey with seeded noise of standard deviation 0.1.
    precision : {"single", "double"}
        "single" checks the gradient that onnxruntime computes in float32. Where a unit lies
        within rounding of the kink of its rectifier, float32 may take the other side: errors
        of 1e-3 are then rounding, not a wrong formula. "double" evaluates the same gradient
        graph in float64 and so checks the formula alone.
    device : str or Device
        Where the gradient that is checked in "single" is computed.
    directions : int
        Number of random directions beside the gradient.
    step : float
        Of the difference, in the unit of u. Larger steps cross the kinks of rectifiers: 1e-6
        already does in networks with a million of them.
    seed : int

    Returns
    -------
    float
        Largest ``|<g, d> - difference| / |g|`` over the unit directions d.

    Raises
    ------
    GradientError
        The gradient is zero, so that no relative error exists.
    """
    if precision not in ("single", "double"):
        raise InputError(f"precision must be 'single' or 'double', not {precision!r}")
    rng = np.random.default_rng(seed)
    if u is None:
        u = np.clip(0.5 + 0.1 * rng.standard_normal((1, *net.input_shape)), 0, 1)
    images = net.check_image(np.asarray(u))
    parameters = runtime_parameters(objective, net, len(images))
    graph = gradient_graph(net, objective, parameters, len(images), dtype=np.float64)
    if precision == "double":
        g = evaluate(graph)({IMAGE: images.astype(np.float64)})[1]
    else:
        engine = Engine(net, objective, batch=len(images), device=device)
        g = to_host(engine(images)[1]).astype(np.float64)
    size = float(np.linalg.norm(g))
    if not size:
        hint = net.preactivation_hint(objective) or "choose another unit or image"
        raise GradientError(f"{net.name}: {objective}: the gradient is zero here; {hint}")
    graph.outputs = [VALUE]
    graph.prune()
    value = evaluate(graph)
    worst = 0.0
    for k in range(directions + 1):
        d = g if k == 0 else rng.standard_normal(g.shape)
        d = d / np.linalg.norm(d)
        ahead, behind = (value({IMAGE: images + t * step * d})[0].sum() for t in (1, -1))
        worst = max(worst, abs(float((g * d).sum()) - float(ahead - behind) / (2 * step)) / size)
    return worst


def _positive(batch: int) -> int:
    if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1:
        raise InputError(f"batch must be a positive integer, not {batch!r}")
    return int(batch)
