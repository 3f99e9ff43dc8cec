"""What a gradient model takes and gives, for people and programs that only have the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper

from ..errors import ModelError
from ..models import METADATA_LABELS
from ..network import Network
from ..onnxgrad import array_of

_MOST_VALUES = 64  # of a default that is spelled out; a target of an inversion is too long to be read


def signature(model: onnx.ModelProto, layers: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs of a gradient model, JSON-able.

    Parameters
    ----------
    model : onnx.ModelProto
        As `gradient_model` returns it.
    layers : sequence of str
        The layers whose activations are its further outputs, in order.

    Returns
    -------
    dict
        "inputs": name, shape, dtype, "optional", and the "default" (as nested lists; None where the input
        must be fed, or the default is long). "outputs": name, shape, dtype, and the "layer" of an activation.
    """
    defaults = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = [
        {**_described(info), "optional": info.name in defaults, "default": _default(defaults.get(info.name))}
        for info in model.graph.input
    ]
    outputs = [_described(info) for info in model.graph.output]
    for output, layer in zip(outputs[2:], layers, strict=True):
        output["layer"] = layer
    return {"inputs": inputs, "outputs": outputs}


def record_labels(model: onnx.ModelProto, net: Network) -> None:
    """Put the class names, where they are known, into the metadata, in the order of the input "class"."""
    try:
        classes = net.classes
    except ModelError:
        return
    if net.labels is not None and len(net.labels) + net.offset == classes:
        names = net.classes_of().output_names()
        helper.set_model_props(model, {METADATA_LABELS: json.dumps(names, ensure_ascii=False)})


def _described(info: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = info.type.tensor_type
    return {
        "name": info.name,
        "shape": [dim.dim_value for dim in tensor.shape.dim],
        "dtype": str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
    }


def _default(tensor: onnx.TensorProto | None) -> Any:
    if tensor is None:
        return None
    value = array_of(tensor)
    return value.tolist() if value.size <= _MOST_VALUES else None
