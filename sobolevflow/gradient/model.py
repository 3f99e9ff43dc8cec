"""The gradient of an objective as an ordinary ONNX model, in memory or in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from .. import checks
from ..capacity import check_fits
from ..devices import Precision
from ..errors import GradientError, InputError, ModelError, UnsupportedOpError
from ..files import check_output, destination
from ..network import MODELS, Network, differentiable_at, untold
from ..objectives import Objective, check_asked, chooses, emit_objective, natural_batch, runtime_parameters
from ..onnxgrad import (
    FILE_LIMIT,
    IMAGE,
    RULES,
    Graph,
    Parameter,
    add_parameters,
    describe_stops,
    differentiate,
    scatter_in_single,
    write_model,
)
from .file_signature import record_labels

_PROTO_LIMIT = 2_000_000_000  # bytes of weights in memory; protobuf ends at 2 GiB

# What the backward pass is scaled by in half precision, whose smallest number is 6e-8.
_HALF_SCALE = 1024.0


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
        net.check_layer(name)
    graph, names = net.graph(kept, batch, [p.name for p in parameters], dtype, precision)
    at = IMAGE
    if wrt is not None:
        place = net.places.place(wrt)
        if place is None:
            raise untold(net.name, wrt)
        at = differentiable_at(graph, names[wrt], place, batch)
    used = {name: names[name] for name in layers} | ({} if wrt is None else {wrt: at})
    if whole := [name for name, tensor in used.items() if not graph.type(tensor).is_float]:
        raise net.of_whole_numbers(whole[0])
    add_parameters(graph, [p.astype(dtype) for p in parameters])
    try:
        graph = differentiate(
            graph,
            lambda g: emit_objective(objective, net, g, names),
            activations=[names[name] for name in activations],
            dtype=dtype,
            wrt=at,
            scale=1.0 if precision == "float32" else _HALF_SCALE,
        )
    except UnsupportedOpError as error:
        raise net.unsupported(error.full) from None
    except GradientError as error:
        raise net.unreached(error.full) from None
    if precision != "float32":
        scatter_in_single(graph)
        graph.prune()
    return graph


def stops(graph: Graph) -> list[str]:
    """What to know of a gradient graph: the operators at which a part of the gradient stops."""
    stopped = [node for node in graph.stopped if not chooses(node)]
    if not stopped:
        return []
    named = describe_stops(stopped, RULES)
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
        Number of images N; fixed in the model. Where the network's file fixes another, it is filled up to
        that inside the model, with black images.
    activations : sequence of str
        Layers to offer as further outputs, each once, in this order.
    defaults : bool
        Whether the runtime parameters have the values of `objective` unless they are fed. Without,
        they are ordinary inputs: onnxruntime for JavaScript takes no others.
    path : path, optional
        Also write it there, into a file that ends in .onnx; weights go to ``path + ".data"`` where they
        exceed one gigabyte, and the model then refers to that file.

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
    InputError
        More images than one, and their values would be made of several; or more than the file takes at once.
    OutputError
        `path` cannot be written, or is one of the files that `net` was read from.
    """
    return gradient_model_and_notes(
        net, objective, batch=batch, activations=activations, defaults=defaults, path=path
    )[0]


def gradient_model_and_notes(
    net: Network,
    objective: Objective,
    *,
    batch: int = 1,
    activations: Sequence[str] = (),
    defaults: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> tuple[onnx.ModelProto, list[str]]:
    """As `gradient_model`, with what to know of it: see `Engine.notes`."""
    objective = check_asked(net, objective)
    batch, defaults = checks.count(batch, "batch"), checks.flag(defaults, "defaults")
    activations = checks.entries(activations, "activations", "a list of names of layers")
    activations = [net.layer_name(name) for name in activations]
    if path is not None:
        path = check_output(checks.path(path, "path"), MODELS, net.files)
    _check_fits(net, objective, batch, path is not None)
    parameters = runtime_parameters(objective, net, batch)
    layers = list(dict.fromkeys(activations))
    _check_apart(net, [*(leaf.tensor(net) for leaf in objective.leaves()), *layers], batch)
    graph = gradient_graph(net, objective, parameters, batch, layers)
    if not defaults:
        graph.constants = {k: v for k, v in graph.constants.items() if k not in graph.inputs}
    size = sum(value.nbytes for value in graph.constants.values())
    if path is None and size > _PROTO_LIMIT:
        raise _too_large(net, size, "weights")
    apart = path is not None and size > FILE_LIMIT
    model, weights = graph.detached() if apart else (graph.to_model(), {})
    about = f"value and image gradient of {objective} of {net.name}"
    # the name of a file may be no Unicode
    model.doc_string = about.encode(errors="backslashreplace").decode()
    record_labels(model, net)
    if path is not None:
        if weights:
            check_output(f"{os.fspath(path)}.data", inputs=net.files)
        write_model(model, weights, destination(path, net.files))
    return model, [*objective.notes(net), *stops(graph)]


def _check_fits(net: Network, objective: Objective, batch: int, in_file: bool) -> None:
    """Refuse a batch whose runtime parameters nothing could hold, before they are made."""
    few = min(batch, max(natural_batch(objective), 2))  # of which there is one for all, or one for each
    each = sum(p.default.nbytes for p in runtime_parameters(objective, net, few)) / few
    check_fits(each * batch, f"a batch of {batch} with its runtime parameters", "use a smaller batch")
    if each * batch > _PROTO_LIMIT and not in_file:
        raise _too_large(net, each * batch, "values")


def _too_large(net: Network, size: float, what: str) -> ModelError:
    return ModelError(
        f"{net.name}: {size / 1e9:.1f} GB of {what} are more than an ONNX model in memory can hold; "
        "give a path, beside which they are written"
    )


def _check_apart(net: Network, layers: Sequence[str], batch: int) -> None:
    """Refuse a batch whose images the network would mix."""
    fixed = net.image_input.fixed
    if batch == 1 and fixed in (None, 1):
        return
    if fixed not in (None, 1):
        net.run_batch(min(batch, fixed), layers)  # complains about values of several images
    elif not net.stay_apart(layers):
        raise InputError(
            f"{net.name} takes one image at a time, since it would mix those of a batch; use batch=1"
        )
