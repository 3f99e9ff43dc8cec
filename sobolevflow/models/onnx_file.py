"""Write a trained node list as an ONNX file that carries its labels and pre-processing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .architectures import INPUT, OUTPUT, Node

Array = NDArray[np.float32]

METADATA_LABELS, METADATA_PREPROCESS = "sobolevflow.labels", "sobolevflow.preprocess"
"""The keys of a file's metadata that `sobolevflow.load` reads."""

OPSET = 18
IR_VERSION = 8
"""The oldest IR version that belongs to the opset, so that older runtimes open the file too."""


def to_onnx(
    name: str,
    nodes: Sequence[Node],
    parameters: Mapping[str, Array],
    *,
    size: int,
    labels: Sequence[str],
    preprocess: Mapping[str, Any],
    doc: str,
) -> onnx.ModelProto:
    """Build the model.

    Parameters
    ----------
    name : str
        Name of the graph.
    nodes : sequence of Node
        The architecture, in order of execution.
    parameters : mapping of str to numpy.ndarray
        float32 arrays by the names that `Node` gives them.
    size : int
        Edge length of the input picture.
    labels : sequence of str
        Class names, in the order of the logits.
    preprocess : mapping
        What the caller must do to a picture before the first node; written to the metadata.
    doc : str
        Where the weights come from.

    Returns
    -------
    onnx.ModelProto
        Checked; input ``image`` (N, 3, size, size) and output ``logits`` (N, classes), float32.
    """
    graph = helper.make_graph(
        [_to_onnx_node(node) for node in nodes],
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", len(labels)])],
        [numpy_helper.from_array(np.asarray(array, np.float32), key) for key, array in parameters.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="sobolevflow", doc_string=doc)
    model.ir_version = IR_VERSION
    metadata = {
        METADATA_LABELS: json.dumps(list(labels)),
        METADATA_PREPROCESS: json.dumps(dict(preprocess)),
        "author": "The sobolevflow authors",
        "license": "Apache-2.0",
    }
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def fold_batch_normalization(
    nodes: Sequence[Node], parameters: Mapping[str, Array]
) -> tuple[list[Node], dict[str, Array]]:
    """Absorb each batch normalization that is the only reader of a convolution into that convolution.

    Returns the shorter node list and its parameters; the network computes the same, up to rounding.
    What reads the normalization then reads the convolution.
    """
    readers = Counter(name for node in nodes for name in node.inputs)
    convolutions = {node.output for node in nodes if node.op == "Conv" and readers[node.output] == 1}
    folded, arrays, renamed = [], dict(parameters), {}
    for node in nodes:
        if node.op == "BatchNormalization" and node.inputs[0] in convolutions:
            _absorb(node, arrays)
            renamed[node.output] = node.inputs[0]
        else:
            folded.append(replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)))
    return folded, arrays


def _absorb(norm: Node, arrays: dict[str, Array]) -> None:
    conv = norm.inputs[0]
    scale, bias, mean, variance = (arrays.pop(f"{norm.output}.{name}") for name in norm.parameters)
    factor = scale / np.sqrt(variance + norm.attributes["epsilon"])
    arrays[f"{conv}.weight"] = arrays[f"{conv}.weight"] * factor[:, None, None, None]
    arrays[f"{conv}.bias"] = (arrays[f"{conv}.bias"] - mean) * factor + bias


def _to_onnx_node(node: Node) -> onnx.NodeProto:
    inputs = [*node.inputs, *(f"{node.output}.{parameter}" for parameter in node.parameters)]
    return helper.make_node(node.op, inputs, [node.output], name=node.output, **node.attributes)


def described(
    model: onnx.ModelProto, labels: Sequence[str] | None, preprocess: Mapping[str, Any] | None, doc: str
) -> onnx.ModelProto:
    """Record class names and pre-processing in a model's metadata, in place.

    Parameters
    ----------
    model : onnx.ModelProto
    labels : sequence of str or None
        In the order of the outputs.
    preprocess : mapping or None
        The fields of `sobolevflow.Preprocess`.
    doc : str
        What the network is.
    """
    known = {}
    if preprocess is not None:
        known[METADATA_PREPROCESS] = json.dumps(dict(preprocess))
    if labels is not None:
        known[METADATA_LABELS] = json.dumps(list(labels))
    helper.set_model_props(model, known)
    model.doc_string = doc
    return model
