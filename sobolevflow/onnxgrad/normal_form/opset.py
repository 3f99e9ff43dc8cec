"""The conversion to opset 18, by onnx's own converter and past what it does not know."""

from __future__ import annotations

import onnx
from onnx import helper, inliner, version_converter

from ...errors import ModelError
from ..files.weights import Weights
from ..graph import OPSET, operator_of, opset_of, value_info
from ..limits import DEFAULT, Limits
from ..raised import as_model_error
from ..shape_inference import infer_shapes
from ..training import TRAINING_IS_SAID, training_nodes
from .dilated_average import lower_dilated_averages
from .fused import FUSED
from .legacy import is_legacy, restore_resampling
from .static_types import static_types

OLDEST_OPSET, NEWEST_OPSET = 7, 24
# Defined by a function body of other operators, and replaced by it.
FUNCTIONS = (
    *("Gelu", "Swish", "GroupNormalization", "RMSNormalization", "Attention", "RotaryEmbedding"),
    *("AffineGrid", "CenterCropPad", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
)

# Newer opsets let them take more types and ranks, and rename modes, but onnx has no converter for them.
_WITHOUT_CONVERTER = ("ConstantOfShape", "GlobalMaxPool", "GridSample")
# What onnxruntime's optimiser writes into files of opsets that do not know it, with the first that does.
_BEFORE_ITS_TIME = {"LayerNormalization": 17}
_ASIDE = "sobolevflow.aside"

# How GridSample calls its modes from opset 20 on, and before.
_MODES = {"linear": "bilinear", "cubic": "bicubic"}


def to_opset_18(
    model: onnx.ModelProto, weights: Weights | None = None, limits: Limits = DEFAULT
) -> onnx.ModelProto:
    """Convert by onnx's own version converter; function operators are replaced by their bodies."""
    version = opset_of(model)
    with as_model_error(f"cannot be converted from opset {version} to {OPSET}"):
        if version > OPSET:  # a newer function has no converter, its body has
            model = _inline_functions(model, weights, limits)
            lower_dilated_averages(model)
        if version != OPSET:
            model = _converted(model)
        return _inline_functions(model, weights, limits)


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    _set_aside(model)
    training = _take_statistics_away(model)
    converted = version_converter.convert_version(model, OPSET)
    _say_training_mode(converted, training)
    _take_back(model)
    _take_back(converted)
    restore_resampling(model, converted)
    _restore_modes(converted)
    return _without_leftovers(converted)


def _take_statistics_away(model: onnx.ModelProto) -> set[str]:
    """Leave batch normalizations in training mode the outputs that newer opsets have, in place; their names.

    The converter refuses the others, which say that mode in old opsets.
    """
    version = opset_of(model)
    names = set()
    for node in training_nodes(model):
        if node.op_type == "BatchNormalization" and version < TRAINING_IS_SAID:
            del node.output[3:]
            names.add(node.output[0])
    return names


def _say_training_mode(model: onnx.ModelProto, names: set[str]) -> None:
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and node.output[0] in names:
            node.attribute.append(helper.make_attribute("training_mode", 1))


def _set_aside(model: onnx.ModelProto) -> None:
    """Move the operators without a converter to a domain that the converter does not touch, in place."""
    known = {op for op, since in _BEFORE_ITS_TIME.items() if opset_of(model) < since}
    without = {*_WITHOUT_CONVERTER, *FUSED, *known}
    aside = [n for n in model.graph.node if n.op_type in without and n.domain in ("", "ai.onnx")]
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


def _inline_functions(model: onnx.ModelProto, weights: Weights | None, limits: Limits) -> onnx.ModelProto:
    """Replace function operators by their bodies; the inliner must see the types of all that they take."""
    if not any(_is_function(node) for node in model.graph.node):
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
        _typed(typed, weights, limits), names, exclude=False, inline_schema_functions=True
    )


def _typed(model: onnx.ModelProto, weights: Weights | None, limits: Limits) -> onnx.ModelProto:
    """The model with the types of its tensors: by inference, and a run where function operators need it."""
    inferred = infer_shapes(model)
    known = {info.name for info in (*inferred.graph.input, *inferred.graph.value_info)}
    needed = {x for node in model.graph.node if _is_function(node) for x in node.input if x}
    if needed - known:
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        types, _ = static_types(probe, weights=weights, limits=limits)
        inferred.graph.value_info.extend(value_info(x, types[x]) for x in needed - known if x in types)
    return inferred


def _is_function(node: onnx.NodeProto) -> bool:
    return node.op_type in FUNCTIONS and node.domain in ("", "ai.onnx")


def _give_defaults(model: onnx.ModelProto) -> None:
    """Write out the attributes that function operators leave to their defaults, in place.

    The inliner drops the default where the body refers to it, as that of Swish does.
    """
    version = opset_of(model)
    for node in model.graph.node:
        if _is_function(node):
            given = {a.name for a in node.attribute}
            known = onnx.defs.get_schema(node.op_type, version, "").attributes
            node.attribute.extend(
                a.default_value for name, a in known.items() if name not in given and a.default_value.name
            )


# Attributes that mean nothing where the converter leaves them, and that opset 18 does not know: trivial
# dilations, and what a Pad would fill in if it did not reflect.
_LEFTOVERS = {"AveragePool": "dilations", "Pad": "value"}


def _without_leftovers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the attributes that the converter should have dropped, in place."""
    for node in model.graph.node:
        for attribute in [a for a in node.attribute if a.name == _LEFTOVERS.get(node.op_type)]:
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
        if not known and not is_legacy(node) and operator_of(node) not in FUSED:
            undefined.setdefault(node.op_type, node.domain)
    return undefined
