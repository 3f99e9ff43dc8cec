"""The way to the normal form, step by step.

Afterwards: opset 18, domain '' only, float32 instead of float16, static shapes, constants
folded, inference BatchNormalization folded into convolutions, explicit pads, and only the
nodes that the wanted tensors need. Tensors in `keep` survive under their own names, because
an objective may refer to them; nothing is folded across them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from ...errors import MissingInputError, ModelError, as_option
from ..files.checking import check_model
from ..files.weights import Weights, array_of, detach
from ..geometry import explicit_pads
from ..graph import IR_VERSION, Graph, Shape, needed_nodes, reads, subgraphs, weights_of
from ..limits import DEFAULT, Limits
from ..raised import as_model_error
from .as_loaded import as_loaded
from .bodies import check_bodies
from .branches import take_branches
from .fold import fold, inline_constant_nodes
from .for_backward import rewrite_for_backward
from .fused import FUSED, unfuse
from .guarded import check_slices
from .legacy import LEGACY, lower_legacy_ops
from .loops import check_loops
from .opset import FUNCTIONS, check_operators, to_opset_18
from .quantized import LOWERED, lower_quantized
from .static_types import static_types

# What is rewritten into operators with a rule before the rules are asked; If, where it can be, besides.
REWRITTEN = frozenset({"Upsample", "CastLike", *LEGACY, *FUNCTIONS, *LOWERED, *FUSED})

_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def normalize(
    model: onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Shape],
    keep: Sequence[str],
    feeds: Mapping[str, np.ndarray] | None = None,
    weights: Weights | None = None,
    dtype: Any = np.float32,
    limits: Limits = DEFAULT,
) -> Graph:
    """The normal form of `model`, cut after the tensors in `keep`, which become its outputs.

    Parameters
    ----------
    model : onnx.ModelProto
        Opset 7 to 24. Not modified.
    input_shapes : mapping of str to tuple of int
        The static shape of every input that stays an input.
    keep : sequence of str
        Tensors to keep under their names.
    feeds : mapping of str to ndarray, optional
        Other inputs, fixed to a constant.
    weights : dict, optional
        The weights of `model`, if they are detached from it (`files.weights`).
    dtype : dtype
        float64 for a graph whose float32 tensors are widened before anything is folded, so that
        nothing is rounded to single precision on the way; `float64` evaluates it.
    limits : Limits
        What all of this may cost.

    Raises
    ------
    ModelError
        The opset is out of range, onnxruntime cannot run the model, or it is over one of the limits.
    """
    if weights is None:
        model, weights = detach(model)
        check_model(model, "the given ModelProto")
    model = as_loaded(model, limits)
    check_operators(model)
    with as_model_error("an operator of an older opset cannot be written in today's"):
        model = widen_float16(lower_legacy_ops(model))
    _fix_inputs(model, feeds or {})
    _cut(model, keep)  # before the conversion, which keeps the names of outputs but not of all other tensors
    weights = {name: _widened(value) for name, value in weights_of(model, weights).items()}
    _freeze(model, input_shapes)
    check_slices(model)
    model = to_opset_18(model, weights, limits)
    model.ir_version = max(model.ir_version, IR_VERSION)
    types, problem = static_types(model, weights=weights, limits=limits)
    if problem is not None:
        raise problem
    graph = Graph.from_model(model, weights)
    graph.types = types
    inline_constant_nodes(graph)
    if dtype != np.float32:
        graph = graph.astype(dtype)
    double = np.dtype(dtype) == np.float64
    fold(graph, keep, double=double, limits=limits)
    take_branches(graph, list(keep), double=double, limits=limits)
    check_loops(graph, limits)
    check_bodies(graph, limits)
    unfuse(graph)
    lower_quantized(graph)
    for node in graph.nodes:
        explicit_pads(graph, node)
    rewrite_for_backward(graph, keep)
    return graph


def widen_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn float16 and bfloat16 into float32 everywhere, in place: the CPU has no such convolutions."""
    _widen_graph(model.graph)
    return model


def _widen_graph(graph: onnx.GraphProto) -> None:
    single = onnx.TensorProto.FLOAT
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen_tensor(attribute.t)
            if attribute.name in ("to", "dtype") and attribute.i in _HALF:
                attribute.i = single
        for body in subgraphs(node):
            _widen_graph(body)
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.type.tensor_type.elem_type in _HALF:
            info.type.tensor_type.elem_type = single


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _HALF and uses_external_data(tensor):
        tensor.data_type = onnx.TensorProto.FLOAT
    elif tensor.data_type in _HALF:
        value = array_of(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _widened(value: np.ndarray) -> np.ndarray:
    """A detached weight, float32 where it is float16 or bfloat16."""
    half = helper.np_dtype_to_tensor_dtype(value.dtype) in _HALF
    return value.astype(np.float32) if half else value


def _fix_inputs(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> None:
    """Turn inputs with a given value into constants."""
    fixed = [info for info in model.graph.input if info.name in feeds]
    kept = [info for info in model.graph.input if info.name not in feeds]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for info in fixed:
        dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        value = np.asarray(feeds[info.name], dtype)
        model.graph.initializer.append(numpy_helper.from_array(value, info.name))


def _cut(model: onnx.ModelProto, keep: Sequence[str]) -> None:
    """Leave only what `keep` depends on, and make `keep` the outputs."""
    nodes = needed_nodes(model.graph.node, keep)
    made = {name for node in nodes for name in node.output} | {info.name for info in model.graph.input}
    missing = [name for name in keep if name not in made]
    if missing:
        raise ModelError(f"there is no tensor {missing[0]!r}")
    used = {name for node in nodes for name in reads(node)}
    weights = [t for t in model.graph.initializer if t.name in used]
    inputs = [info for info in model.graph.input if info.name in used or info.name in keep]
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:], model.graph.output[:]
    del model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    model.graph.input.extend(inputs)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in keep)


def _freeze(model: onnx.ModelProto, input_shapes: Mapping[str, Shape]) -> None:
    """Give every input its static shape."""
    for info in model.graph.input:
        if info.name not in input_shapes:
            raise MissingInputError(describe_missing(info))
        elem = info.type.tensor_type.elem_type
        info.CopyFrom(helper.make_tensor_value_info(info.name, elem, input_shapes[info.name]))


def describe_missing(info: onnx.ValueInfoProto) -> str:
    """What to say of an input that has no value: its name, type and shape, and how to give it one."""
    name, tensor = info.name, info.type.tensor_type
    text = tensor.elem_type == onnx.TensorProto.STRING
    kind = "string" if text else str(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    sizes = [d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?") for d in tensor.shape.dim]
    what = f"{kind} of shape ({', '.join(sizes)})" if sizes else f"a single {kind}"
    if not tensor.HasField("shape"):
        what = f"{kind} of any shape"
    value = "True" if kind == "bool" and not sizes else "array"
    return (
        f"input {name!r} needs a value, {what}; pass it as inputs={{{name!r}: {value}}} "
        f"({as_option('input', name + '=FILE')})"
    )
