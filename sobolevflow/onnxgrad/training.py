"""Files that were exported in training mode, and what to say of them.

A batch normalization then takes its statistics of the batch, so that each image changes what is computed of
the others, and a dropout is random. onnxruntime runs the first as it is written; on the CPU it leaves the
second out.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx.external_data_helper import uses_external_data

from .files.weights import array_of
from .graph import attributes_of, node_label, opset_of

EXPORT_IN_EVAL_MODE = "export the network in eval mode (model.eval(), training=TrainingMode.EVAL)"
MIXES_IMAGES = "it is in training mode: its statistics are those of the batch, which mix the images"
IS_RANDOM = "it is in training mode: it drops at random"

# From this opset on an attribute of BatchNormalization says so; before, the number of its outputs does.
TRAINING_IS_SAID = 14
_ALL_OUTPUTS = 5


def training_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a model that are in training mode, in order."""
    asked = {node.input[2] for node in model.graph.node if node.op_type == "Dropout" and len(node.input) > 2}
    true = {t.name for t in model.graph.initializer if t.name in asked and _is_true(t)}
    true |= {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Constant"
        and node.output[0] in asked
        and any(_is_true(a.t) for a in node.attribute if a.HasField("t"))
    }
    version = opset_of(model)
    for node in list(model.graph.node):
        if node.op_type == "BatchNormalization" and _normalizes_by_batch(node, version):
            yield node
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in true:
            yield node


def explained(model: onnx.ModelProto) -> str | None:
    """That a model is in training mode, and what to do; None where it is not."""
    node = next(training_nodes(model), None)
    if node is None:
        return None
    return f"{node.op_type} node {node_label(node)} is in training mode; {EXPORT_IN_EVAL_MODE}"


def _normalizes_by_batch(node: onnx.NodeProto, version: int) -> bool:
    if version < TRAINING_IS_SAID:
        return len(node.output) == _ALL_OUTPUTS
    return bool(attributes_of(node).get("training_mode", 0))


def _is_true(tensor: onnx.TensorProto) -> bool:
    boolean = tensor.data_type == onnx.TensorProto.BOOL and not uses_external_data(tensor)
    return boolean and bool(array_of(tensor).all())
