"""Static types of all tensors of a model: by inference, and by one run where inference gives up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from ...errors import LimitError, ModelError
from ..files.weights import Weights
from ..graph import TensorType, tensor_type
from ..limits import DEFAULT, Limits, available_bytes
from ..runtime import run_within
from ..training import explained
from .ceil_mode import infer_runtime_shapes
from .guarded import below_zero
from .loops import check_loops
from .texts import check_texts


def static_types(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray] | None = None,
    weights: Weights | None = None,
    limits: Limits = DEFAULT,
) -> tuple[dict[str, TensorType], ModelError | None]:
    """Types of all tensors that nodes of `model` make.

    Parameters
    ----------
    model : onnx.ModelProto
        With static shapes of its inputs. Shapes that it claims behind them are dropped, and pools are
        changed as in `infer_runtime_shapes`.
    feeds : mapping of str to ndarray, optional
        Values of inputs for the run; zeros otherwise.
    weights : dict, optional
        The model's detached weights.
    limits : Limits
        Of the run.

    Returns
    -------
    types : dict
    problem : ModelError or None
        Why some types are missing: the model contradicts itself, or does not run on such inputs.

    Raises
    ------
    ModelError
        A loop, a text or the run is over one of the limits.
    """
    check_loops(model.graph, limits)
    check_texts(model.graph, limits)
    del model.graph.value_info[:]  # exporters and the version converter may claim wrong ones
    for output in model.graph.output:
        output.CopyFrom(onnx.ValueInfoProto(name=output.name))
    try:
        inferred = infer_runtime_shapes(model)
    except ModelError as error:
        return {}, error
    known = {
        info.name: kind
        for info in (*inferred.graph.value_info, *inferred.graph.output)
        if (kind := tensor_type(info)) is not None
    }
    problem = below_zero(inferred)
    if problem is not None:
        return known, problem
    missing = [y for node in model.graph.node for y in node.output if y and y not in known]
    if not missing:
        return known, None
    try:
        return {**known, **_seen_in_a_run(model, missing, feeds or {}, weights, known, limits)}, None
    except LimitError:
        raise
    except ModelError as error:
        why = explained(model)
        return known, error if why is None else ModelError(f"{error.full} ({why})")


def _seen_in_a_run(
    model: onnx.ModelProto,
    names: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    weights: Weights | None,
    known: Mapping[str, TensorType],
    limits: Limits,
) -> dict[str, TensorType]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    own = sum(math.prod(kind.shape) * kind.dtype.itemsize for kind in known.values())
    values = run_within(
        limits,
        "a run on an image of zeros, to learn the shapes of tensors,",
        probe,
        names,
        {info.name: _value(info, feeds) for info in probe.graph.input},
        weights,
        min(own, available_bytes() or own),
    )
    return {
        name: TensorType(value.shape, value.dtype)
        for name, value in zip(names, values, strict=True)
        if isinstance(value, np.ndarray)  # not a sequence, and not an absent optional
    }


def _value(info: onnx.ValueInfoProto, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    tensor = info.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if info.name in feeds:
        return np.asarray(feeds[info.name], dtype)
    return np.zeros([d.dim_value for d in tensor.shape.dim], dtype)
