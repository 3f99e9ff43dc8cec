"""u -> (value, gradient): one onnxruntime run of one graph, into buffers bound once.

`gradient_model` gives that graph as an ordinary ONNX model; `Engine` runs it for the descent;
`value_and_grad` is the plain function of u for everybody else; `check_gradient` compares it
with differences of the network evaluated in double precision.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .errors import GradientError, InputError, ModelError, OutputError, UnsupportedOpError
from .network import Network, uncast
from .objectives import Objective, emit_objective, runtime_parameters, structure
from .onnxgrad import (
    GRADIENT,
    IMAGE,
    RULES,
    VALUE,
    Graph,
    Parameter,
    add_parameters,
    describe_stops,
    differentiate,
)
from .onnxgrad.float64 import evaluate
from .onnxgrad.runtime import graph_session, run_bound, session_options
from .onnxgrad.weights import Weights, write_apart
from .signature import record_labels

_DEVICES = ("cpu",)


def gradient_graph(
    net: Network,
    objective: Objective,
    parameters: Sequence[Parameter],
    batch: int,
    activations: Sequence[str] = (),
    dtype: Any = np.float32,
    wrt: str | None = None,
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
    graph, names = net.graph(kept, batch, [p.name for p in parameters], dtype)
    add_parameters(graph, [p.astype(dtype) for p in parameters])
    try:
        graph = differentiate(
            graph,
            lambda g: emit_objective(objective, net, g, names),
            activations=[names[name] for name in activations],
            dtype=dtype,
            wrt=IMAGE if wrt is None else uncast(graph, names[wrt]),
        )
    except UnsupportedOpError as error:
        raise net.unsupported(str(error)) from None
    except GradientError as error:
        raise net.unreached(str(error)) from None
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
    device : {"cpu"}

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W) of what it takes.
    indices : dict
        The integer runtime inputs, such as "class", one entry per image: outputs of the network, counted
        from 0 with a background class included.
    notes : list of str
        What to know of the gradient: operators at which a part of it stops.

    Notes
    -----
    A network whose file fixes the batch size to one is run image by image. Two engines of
    the same structure share one onnxruntime session (class, unit, weights and target are
    runtime inputs), each with buffers of its own.
    """

    def __init__(self, net: Network, objective: Objective, *, batch: int = 1, device: str = "cpu") -> None:
        if device not in _DEVICES:
            raise InputError(f"device {device!r} is not available; available: {', '.join(_DEVICES)}")
        self.net, self.objective, self.device = net, objective, device
        batch = _positive(batch)
        self.shape = (batch, *net.input_shape)
        # complains first about layers, classes and units
        parameters = runtime_parameters(objective, net, batch)
        self._step = net.run_batch(batch, [leaf.tensor(net) for leaf in objective.leaves()])
        if self._step < batch and any(leaf.whole_batch for leaf in objective.leaves()):
            raise InputError(
                f"{objective} compares the images of a batch, but {net.name} takes one at a time; export it "
                f"with a batch size that is left open"
            )
        self._session, self.notes = _shared_session(net, objective, parameters, self._step)
        self._values = np.empty(batch, np.float64)
        self._gradient = np.empty(self.shape, np.float32)
        self._image = np.empty((self._step, *net.input_shape), np.float32)
        self._value = np.empty(self._step, np.float32)
        self._parameters = {p.name: np.ascontiguousarray(p.default) for p in parameters}
        self.indices = {p.name: p.default.tolist() for p in parameters if p.default.dtype == np.int64}
        chunks = range(0, batch, self._step)
        self._bindings = [(slice(k, k + self._step), self._bind(k)) for k in chunks]

    def _bind(self, start: int) -> Any:
        """An IOBinding of the images from `start` on; it holds raw pointers into our arrays."""
        io = self._session.io_binding()
        part = slice(start, start + self._step)
        for name, array in {IMAGE: self._image, **{k: v[part] for k, v in self._parameters.items()}}.items():
            io.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in ((VALUE, self._value), (GRADIENT, self._gradient[part])):
            io.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return io

    def __call__(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and gradient at `u`.

        Parameters
        ----------
        u : ndarray, shape (N, C, H, W)
            In [0, 1]; not checked for range.

        Returns
        -------
        values : ndarray, shape (N,), float64
        gradient : ndarray, shape (N, C, H, W), float32
            A buffer that the next call overwrites.

        Raises
        ------
        InputError
            `u` has another shape.
        GradientError
            The value or the gradient is not finite; names the first layer that is not.
        """
        if u.shape != self.shape:
            raise InputError(f"the engine takes images of shape {self.shape}, not {u.shape}")
        for part, io in self._bindings:
            np.copyto(self._image, u[part], casting="same_kind")
            run_bound(self._session, io)
            self._values[part] = self._value
        if not (np.isfinite(self._values).all() and np.isfinite(self._gradient).all()):
            raise GradientError(f"{self.net.name}: {self.objective}: {self._blame(u)}")
        return self._values.copy(), self._gradient

    def _blame(self, u: np.ndarray) -> str:
        if not np.isfinite(u).all():
            return "the image itself is not finite"
        layer = self.net.first_non_finite(np.asarray(u, np.float32))
        if layer is None:
            return "the gradient is not finite although all layers are: the backward pass overflows"
        return f"the value of layer {layer!r} is not finite; check the pre-processing (net.preprocess)"


def _shared_session(
    net: Network, objective: Objective, parameters: Sequence[Parameter], batch: int
) -> tuple[Any, list[str]]:
    key = ("gradient", structure(objective, net), batch)
    if key not in net.sessions:
        defaults = [Parameter(p.name, p.default[:batch]) for p in parameters]
        graph = gradient_graph(net, objective, defaults, batch)
        net.sessions[key] = graph_session(graph, session_options(net.threads)), _notes(graph)
    session_and_notes: tuple[Any, list[str]] = net.sessions[key]
    return session_and_notes


def value_and_grad(
    net: Network, objective: Objective, *, device: str = "cpu"
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The objective's value and its gradient as a function of the image.

    Parameters
    ----------
    net : Network
    objective : Objective
    device : {"cpu"}

    Returns
    -------
    callable
        ``u -> (values, gradient)`` for u of shape (N, C, H, W) or (C, H, W), floating point
        in [0, 1]; values has shape (N,), the gradient the shape of u, float32. It neither
        clips nor normalises, and every call returns new arrays. Operators at which a part of the
        gradient stops are named by `Network.notes` from the first call on.

    Examples
    --------
    >>> grad = value_and_grad(net, Class("king crab"))  # doctest: +SKIP
    >>> value, g = grad(u)                              # doctest: +SKIP
    """
    engines: dict[int, Engine] = {}

    def evaluate_at(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = net.check_image(u)
        batch = len(images)
        if batch not in engines:
            engines[batch] = Engine(net, objective, batch=batch, device=device)
        values, gradient = engines[batch](images)
        return values, gradient.reshape(np.shape(u)).copy()

    return evaluate_at


def check_gradient(
    net: Network,
    objective: Objective,
    u: np.ndarray | None = None,
    *,
    precision: str = "single",
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
        g = Engine(net, objective, batch=len(images))(images)[1].astype(np.float64)
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
