"""What a network computes from the image: its tensors, their types, whether a gradient reaches them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from ..errors import ModelError
from ..onnxgrad import (
    QUANTIZED,
    REWRITTEN,
    RULES,
    Limits,
    TensorType,
    Weights,
    operator_of,
    reads,
    static_types,
)

# Whose integers, quantised numbers, carry a gradient.
_QUANTISED = RULES.integers | QUANTIZED

# Operators that give a tensor another shape or type, and the same content, but for rounding.
SAME_CONTENT = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast"),
    *("QuantizeLinear", "DequantizeLinear"),
)


@dataclass(frozen=True)
class LayerInfo:
    """One tensor that the network computes from the image.

    Attributes
    ----------
    name : str
        The tensor's name in the user's file; the name to give to objectives.
    op : str
        The operator that makes it.
    shape : tuple of int or None
        Of one image, which comes first: as `Network.features` returns the layer. None where the network does
        not even run at its input size.
    dtype : str
        NumPy name of its type in the file.
    differentiable : bool
        Whether a gradient of this tensor reaches the image, at every operator in between, as it is used.
    """

    name: str
    op: str
    shape: tuple[int, ...] | None
    dtype: str
    differentiable: bool


@dataclass(frozen=True)
class Carried:
    """What carries a gradient to the image, as far as operators and types tell.

    Attributes
    ----------
    names : set of str
        The image and the tensors of real numbers, or of integers that stand for some, that it is linked to.
    blocked : dict
        Those of them that no gradient reaches, each with a node on the way that has no rule.
    """

    names: set[str]
    blocked: dict[str, onnx.NodeProto]


def carried(model: onnx.ModelProto, image: str, types: Mapping[str, TensorType]) -> Carried:
    """Follow the gradient from the input named `image`."""
    names, blocked = {image}, dict[str, onnx.NodeProto]()
    varying = _varying(model, image)
    for node in model.graph.node:
        read = [x for x in reads(node) if x in names]
        if not read or operator_of(node) in RULES.stops:
            continue
        without = None if _has_rule(node, varying) else node
        # what becomes of quantised numbers is known only where there is a rule
        every = without is not None and any(x in types and not _is_real(types[x]) for x in read)
        made = [y for y in node.output if y and (every or _may_carry(node, y, types))]
        names.update(made)
        if (at := next((blocked[x] for x in read if x in blocked), without)) is not None:
            blocked.update(dict.fromkeys(made, at))
    return Carried(names, blocked)


def _may_carry(node: onnx.NodeProto, name: str, types: Mapping[str, TensorType]) -> bool:
    """Whether an output is of real numbers, as far as is known, or of integers that may stand for some."""
    quantised = operator_of(node) in _QUANTISED and name == node.output[0]
    return quantised or name not in types or _is_real(types[name])


def list_layers(
    model: onnx.ModelProto, image: str, types: Mapping[str, TensorType], linked: Carried
) -> list[LayerInfo]:
    """Every tensor computed from the input named `image`, in the file's order.

    They are `differentiable` where operators and types do not rule it out.
    """
    infos, reached = [], {image}
    for node in model.graph.node:
        if reached.isdisjoint(reads(node)):
            continue
        for name in filter(None, node.output):
            kind = types.get(name)
            reached.add(name)
            shape, dtype = (kind.shape, str(kind.dtype)) if kind else (None, "?")
            differentiable = name in linked.names and name not in linked.blocked
            infos.append(LayerInfo(name, node.op_type, shape, dtype, differentiable))
    return infos


def _is_real(kind: TensorType) -> bool:
    """Whether a tensor is of floating point, bfloat16 included, which NumPy does not know as such."""
    return kind.is_float or kind.dtype.name == "bfloat16"


def _has_rule(node: onnx.NodeProto, varying: Collection[str]) -> bool:
    """Whether a gradient may pass through a node; `varying` are the tensors that depend on the image."""
    op = operator_of(node)
    if op == "If":  # its branch takes its place where the condition is known
        return node.input[0] not in varying
    return op in RULES.entries or op in REWRITTEN


def _varying(model: onnx.ModelProto, image: str) -> set[str]:
    """The tensors whose values depend on the image, not on its shape alone."""
    varying = {image}
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and varying.intersection(reads(node)):
            varying.update(node.output)
    return varying


# Operators that look through a window, or resize: what is too small for them leaves nothing.
_SHRINKING = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "Slice", "Resize", "Upsample", "Pad"),
    *("ConvInteger", "QLinearConv", "FusedConv", "QLinearAveragePool", "SpaceToDepth", "Crop"),
)


def emptied(
    nodes: Iterable[onnx.NodeProto], image: str, types: Mapping[str, TensorType]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors that are computed from a map without any place, each with the first such one and its shape.

    That is what is left of an image smaller than the windows of the network.
    """
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    full = {image}
    for node in nodes:
        before = next((found[x] for x in reads(node) if x in found), None)
        for y in filter(None, node.output):
            shape = types[y].shape if y in types else ()
            if before is not None:
                found[y] = before
            elif len(shape) > 2 and 0 in shape and node.op_type in _SHRINKING and node.input[0] in full:
                found[y] = (y, shape)
            elif full.intersection(reads(node)):
                full.add(y)
    return found


def seen_through(
    makers: Mapping[str, onnx.NodeProto], name: str, operators: Collection[str]
) -> onnx.NodeProto | None:
    """The node that a tensor comes from, behind nodes of these operators; None for what no node makes."""
    node = makers.get(name)
    while node is not None and node.op_type in operators:
        node = makers.get(node.input[0])
    return node


def layer_types(
    model: onnx.ModelProto,
    image: str,
    shape: tuple[int, ...],
    feeds: Mapping[str, np.ndarray],
    weights: Weights | None = None,
    limits: Limits | None = None,
) -> tuple[dict[str, TensorType], ModelError | None]:
    """Types of all tensors at a shape of the input `image`, and why some are missing; see `static_types`."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for info in fixed.graph.input:
        if info.name == image:
            elem = info.type.tensor_type.elem_type
            info.CopyFrom(helper.make_tensor_value_info(image, elem, shape))
    return static_types(fixed, feeds, weights, Limits.of(limits))
