"""The conversion to opset 18, by onnx's own converter and past what it does not know."""

from __future__ import annotations

import onnx
from onnx import helper, inliner, version_converter

from ...errors import ModelError
from ..graph import OPSET, infer_shapes, opset_of
from .dilated_average import lower_dilated_averages
from .legacy import is_legacy, restore_resampling

OLDEST_OPSET, NEWEST_OPSET = 7, 24
# Defined by a function body of other operators, and replaced by it.
FUNCTIONS = (
    *("Gelu", "Swish", "GroupNormalization", "RMSNormalization", "Attention", "RotaryEmbedding"),
    *("AffineGrid", "CenterCropPad", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
)

# Newer opsets let them take more types and ranks, and rename modes, but onnx has no converter for them.
_WITHOUT_CONVERTER = ("ConstantOfShape", "GlobalMaxPool", "GridSample")
_ASIDE = "sobolevflow.aside"

# How GridSample calls its modes from opset 20 on, and before.
_MODES = {"linear": "bilinear", "cubic": "bicubic"}


def to_opset_18(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert by onnx's own version converter; function operators are replaced by their bodies."""
    version = opset_of(model)
    if model.functions:
        model = inliner.inline_local_functions(model)
    try:
        if version > OPSET:  # a newer function has no converter, its body has
            model = _inline_functions(model)
            lower_dilated_averages(model)
        if version != OPSET:
            model = _converted(model)
        return _inline_functions(model)
    except ModelError:
        raise
    except Exception as error:  # the converter raises bare RuntimeErrors and onnx's own classes alike
        reason = str(error).strip().splitlines()[-1][:200]
        raise ModelError(f"cannot be converted from opset {version} to {OPSET}: {reason}") from error


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    _set_aside(model)
    converted = version_converter.convert_version(model, OPSET)
    _take_back(model)
    _take_back(converted)
    restore_resampling(model, converted)
    _restore_modes(converted)
    return _without_dilated_averages(converted)


def _set_aside(model: onnx.ModelProto) -> None:
    """Move the operators without a converter to a domain that the converter does not touch, in place."""
    aside = [n for n in model.graph.node if n.op_type in _WITHOUT_CONVERTER and n.domain in ("", "ai.onnx")]
    for node in aside:
        node.domain = _ASIDE
    if aside:
        model.opset_import.append(helper.make_opsetid(_ASIDE, 1))


def _take_back(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.domain == _ASIDE:
            node.domain = ""
    for version in [v for v in model.opset_import if v.domain == _ASIDE]:
        model.opset_import.remove(version)


def _restore_modes(model: onnx.ModelProto) -> None:
    """Call the modes of GridSample what they were called at opset 18, in place."""
    for node in model.graph.node:
        if node.op_type == "GridSample":
            for attribute in [a for a in node.attribute if a.name == "mode"]:
                attribute.s = _MODES.get(attribute.s.decode(), attribute.s.decode()).encode()


def _inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace function operators by their bodies; the inliner must see the types of the weights."""
    if not any(node.op_type in FUNCTIONS and node.domain in ("", "ai.onnx") for node in model.graph.node):
        return model
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    _give_defaults(typed)
    known = {info.name for info in (*typed.graph.input, *typed.graph.value_info)}
    typed.graph.value_info.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in typed.graph.initializer
        if t.name not in known
    )
    names = [("", op) for op in FUNCTIONS]
    return inliner.inline_selected_functions(
        infer_shapes(typed), names, exclude=False, inline_schema_functions=True
    )


def _give_defaults(model: onnx.ModelProto) -> None:
    """Write out the attributes that function operators leave to their defaults, in place.

    The inliner drops the default where the body refers to it, as that of Swish does.
    """
    version = opset_of(model)
    for node in model.graph.node:
        if node.op_type in FUNCTIONS and node.domain in ("", "ai.onnx"):
            given = {a.name for a in node.attribute}
            known = onnx.defs.get_schema(node.op_type, version, "").attributes
            node.attribute.extend(
                a.default_value for name, a in known.items() if name not in given and a.default_value.name
            )


def _without_dilated_averages(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the trivial ``dilations`` of AveragePool, which opset 18 does not know; in place."""
    for node in model.graph.node:
        if node.op_type == "AveragePool":
            for attribute in [a for a in node.attribute if a.name == "dilations"]:
                node.attribute.remove(attribute)
    return model


def check_operators(model: onnx.ModelProto) -> None:
    """Refuse a model of an opset out of range, or with operators that ONNX does not define.

    Raises
    ------
    ModelError
        Names the opset and the operators.
    """
    version = opset_of(model)
    undefined = _undefined_operators(model)
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        also = f", and uses operators that ONNX does not define: {', '.join(undefined)}" if undefined else ""
        raise ModelError(
            f"the model is of opset {version}{also}; opsets {OLDEST_OPSET} to {NEWEST_OPSET} are supported. "
            "Export it again with a current exporter"
        )
    # operators of other domains may be runnable and off the path; those of ONNX's own domain must exist
    missing = [label for label, domain in undefined.items() if domain in ("", "ai.onnx")]
    if missing:
        raise ModelError(
            f"the model uses operators that ONNX (opset {version}) does not define: {', '.join(missing)}"
        )


def _undefined_operators(model: onnx.ModelProto) -> dict[str, str]:
    """Operators without an ONNX definition, with their domain, each once."""
    own = {(f.domain, f.name) for f in model.functions}
    undefined: dict[str, str] = {}
    for node in model.graph.node:
        known = onnx.defs.has(node.op_type, node.domain) or (node.domain, node.op_type) in own
        if not known and not is_legacy(node):
            undefined.setdefault(node.op_type, node.domain)
    return undefined
