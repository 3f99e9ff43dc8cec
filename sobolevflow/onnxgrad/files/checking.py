"""A model checked once, when it is opened, so that what comes behind may rely on its structure.

Refused is what onnxruntime would refuse, or fail at, and what cannot be read at all. Operators of other
domains, and what no output depends on, pass as far as names and tensors can be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx
from onnx import AttributeProto, checker, helper
from onnx.external_data_helper import uses_external_data

from ...errors import ModelError
from .weights import LARGE, array_of

_OWN = ("", "ai.onnx")
_DEFINED = range(7, 25)  # opsets; of others it is said elsewhere that they are not supported

# What is written into files of opsets that do not define it, and run all the same, is no mistake in a node.
_UNDEFINED = ("No Op registered", "No opset import", "Op registered for")

# Attributes that are counts or lengths, of every operator that has them.
_AT_LEAST_ONE = frozenset(("kernel_shape", "strides", "dilations", "group", "blocksize"))
_NAMING_TYPES = frozenset(("to", "dtype", "output_dtype"))  # 0 where they leave it open, as a Cast cannot
_INTEGERS = frozenset((AttributeProto.INT, AttributeProto.INTS))
_REALS = frozenset((AttributeProto.FLOAT, AttributeProto.FLOATS))
_TEXTS = frozenset((AttributeProto.STRING, AttributeProto.STRINGS))

# The bytes of an element, by its type.
_BYTES = {
    kind: helper.tensor_dtype_to_np_dtype(kind).itemsize
    for kind in helper.get_all_tensor_dtypes()
    if kind != onnx.TensorProto.UNDEFINED
}


def check_model(model: onnx.ModelProto, where: str) -> None:
    """Refuse a model that is none, by the node or tensor that is wrong.

    Parameters
    ----------
    model : onnx.ModelProto
        Its large weights, and those in other files, are not looked at: what reads them does so.
    where : str
        What messages call it, its path for instance.

    Raises
    ------
    ModelError
    """
    try:
        _check_ends(model.graph)
        _check_made_once(model.graph)
        nodes = _Nodes(model)
        nodes.check(model.graph.node)
        for function in model.functions:
            nodes.check(function.node, within_function=True)
        for tensor in model.graph.initializer:
            _check_tensor(tensor, "weight", values=tensor.name in nodes.read and not _is_large(tensor))
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None


def _check_ends(graph: onnx.GraphProto) -> None:
    """The names and types of inputs and outputs."""
    if not graph.output:
        raise ModelError("the graph has no outputs; export the model again, with its scores as output")
    for what, infos in (("input", graph.input), ("output", graph.output)):
        for info in infos:
            _check_text(info.name, f"the name of an {what}")
            for axis in info.type.tensor_type.shape.dim:
                _check_text(axis.dim_param, f"the name of an axis of {what} {info.name!r}")
            kind = info.type.tensor_type.elem_type
            untyped = not kind and not (what == "input" and info.type.HasField("tensor_type"))
            if kind not in _BYTES and not untyped:
                raise ModelError(
                    f"{what} {info.name!r} is of element type {kind}, which ONNX does not define"
                )


def _check_made_once(graph: onnx.GraphProto) -> None:
    made = set[str]()
    for info in graph.input:
        if info.name in made:
            raise ModelError(f"two inputs are named {info.name!r}")
        made.add(info.name)
    made.update(tensor.name for tensor in graph.initializer)
    for node in graph.node:
        for name in node.output:
            if name in made and name:
                raise ModelError(f"{_called(node)} makes tensor {_shown(name)!r}, which is there already")
            made.add(name)


class _Nodes:
    """Checks the nodes of a model, those of its sub-graphs and functions included."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.read = {info.name for info in model.graph.output}
        self._functions = {(f.domain, f.name): f for f in model.functions}
        version = next((o.version for o in reversed(model.opset_import) if o.domain in _OWN), 0)
        self._defined = version in _DEFINED
        self._context = checker.C.CheckerContext()
        self._context.ir_version = onnx.IR_VERSION
        self._context.opset_imports = dict.fromkeys(_OWN, version) if self._defined else {}
        self._scope = checker.C.LexicalScopeContext()

    def check(self, nodes: Iterable[onnx.NodeProto], *, within_function: bool = False) -> None:
        for node in nodes:
            for name in (node.op_type, node.domain, node.name, *node.input, *node.output):
                if name.__class__ is not str:
                    _check_text(name, f"a name in {_called(node)}")
            self.read.update(node.input)
            simple = True
            for attribute in node.attribute:
                if attribute.ref_attr_name and not within_function:
                    raise _refused(node, attribute, "refers to that of a function, and is in none")
                simple &= self._check_attribute(node, attribute)
            function = self._functions.get((node.domain, node.op_type))
            if function is not None:
                _check_call(node, function)
            elif self._defined and node.domain in _OWN:
                self._check_schema(node if simple else _outlined(node))

    def _check_attribute(self, node: onnx.NodeProto, attribute: AttributeProto) -> bool:
        """Its values; whether it may go through onnx's checker: bodies and what is large may not."""
        kind = attribute.type
        if kind in _REALS:
            return True
        if kind in _INTEGERS:
            if attribute.name in _AT_LEAST_ONE:
                _check_positive(node, attribute)
            elif _names_no_type(node, attribute):
                raise _refused(node, attribute, f"names the type {attribute.i}, which ONNX does not define")
            return True
        if kind in _TEXTS:
            _check_encoding(node, attribute)
            return True
        if attribute.HasField("t"):
            _check_tensor(attribute.t, f"{_called(node)}: its attribute {_shown(attribute.name)!r},")
        body = attribute.g
        for tensor in body.initializer:
            _check_tensor(tensor, f"{_called(node)}: weight")
        self.check(body.node)
        self.read.update(info.name for info in body.output)
        return not (attribute.HasField("g") or _is_large(attribute.t))

    def _check_schema(self, node: onnx.NodeProto) -> None:
        """Number of inputs and outputs, and names and types of attributes, as the operator has them."""
        try:
            checker.check_node(node, self._context, self._scope)
        except checker.ValidationError as error:
            reason = str(error).partition("\n")[0]
            if not reason.startswith(_UNDEFINED):
                raise ModelError(f"{_called(node)} is not valid: {reason}") from None
        except UnicodeDecodeError:
            raise ModelError(f"{_called(node)} holds text that is not in UTF-8") from None


def _outlined(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node with empty bodies and tensors."""
    out = onnx.NodeProto(op_type=node.op_type, name=node.name, domain=node.domain)
    out.input.extend(node.input)
    out.output.extend(node.output)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            body = onnx.GraphProto(name="body")
            out.attribute.add(name=attribute.name, type=attribute.type, g=body)
        elif attribute.HasField("t"):
            values = onnx.TensorProto(data_type=attribute.t.data_type, dims=[0])
            out.attribute.add(name=attribute.name, type=attribute.type, t=values)
        else:
            out.attribute.append(attribute)
    return out


def _is_large(tensor: onnx.TensorProto) -> bool:
    return bool(math.prod(tensor.dims) * _BYTES.get(tensor.data_type, 0) >= LARGE)


def _check_tensor(tensor: onnx.TensorProto, what: str, *, values: bool = True) -> None:
    """Type, shape and, unless they are not to be looked at or lie elsewhere, the number of values."""
    kind, shape = tensor.data_type, list(tensor.dims)
    _check_text(tensor.name, f"the name of {what}")
    if kind not in _BYTES:
        raise _undefined(what, tensor.name, kind)
    if min(shape, default=0) < 0:
        raise ModelError(f"{what} {tensor.name!r} has the shape {tuple(shape)}; sizes are not negative")
    if uses_external_data(tensor):
        for entry in tensor.external_data:
            _check_text(entry.key, f"a key of the external data of {tensor.name!r}")
            _check_text(entry.value, f"where the values of {tensor.name!r} lie")
        return
    if not values:
        return
    count = math.prod(shape)
    if tensor.HasField("raw_data"):
        fits = len(tensor.raw_data) == count * _BYTES[kind]
    else:
        fits = len(getattr(tensor, helper.tensor_dtype_to_field(kind))) == count
    if not fits or tensor.HasField("segment"):  # a mistake, unless elements are packed
        array_of(tensor, f"{what} {tensor.name!r}")


def _check_call(node: onnx.NodeProto, function: onnx.FunctionProto) -> None:
    sides = (("inputs", node.input, function.input), ("outputs", node.output, function.output))
    for what, given, known in sides:
        if len(given) > len(known):
            raise ModelError(
                f"{_called(node)} has {len(given)} {what}, and the function that it calls {len(known)}"
            )


def _check_positive(node: onnx.NodeProto, attribute: AttributeProto) -> None:
    values = [attribute.i] if attribute.type == AttributeProto.INT else attribute.ints
    if not attribute.ref_attr_name and min(values, default=1) < 1:
        raise _refused(node, attribute, f"must be positive, not {', '.join(map(str, values))}")


def _names_no_type(node: onnx.NodeProto, attribute: AttributeProto) -> bool:
    if attribute.name not in _NAMING_TYPES or attribute.ref_attr_name:
        return False
    open_ = attribute.i == 0 and node.op_type != "Cast"
    return attribute.i not in _BYTES and not open_


def _check_encoding(node: onnx.NodeProto, attribute: AttributeProto) -> None:
    try:
        for text in (attribute.s, *attribute.strings):
            text.decode()
    except UnicodeDecodeError:
        if node.op_type != "Constant":  # whose text may be any bytes
            raise _refused(node, attribute, "is no text in UTF-8") from None


def _check_text(text: str | bytes, what: str) -> None:
    """Protocol Buffers give bytes for what is no text."""
    if isinstance(text, bytes):
        raise ModelError(f"{what} is no text in UTF-8: {text[:40]!r}")


def _undefined(what: str, name: str, kind: int) -> ModelError:
    return ModelError(f"{what} {name!r} is of element type {kind}, which ONNX does not define")


def _refused(node: onnx.NodeProto, attribute: AttributeProto, why: str) -> ModelError:
    return ModelError(f"{_called(node)}: its attribute {_shown(attribute.name)!r} {why}")


def _called(node: onnx.NodeProto) -> str:
    """A node as messages name it, even where its names are no text."""
    name = node.name or next(iter(node.output), "")
    return f"{_shown(node.op_type)} node {_shown(name)!r}"


def _shown(name: str | bytes) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
