"""A small mutable ONNX graph: nodes, constants, static types.

Differentiation needs four things of a graph that `onnx.ModelProto` makes awkward:
constants by name, static shapes by name, appending a node in one call, and dropping what
nobody reads. Everything else stays plain ONNX, and `to_model` gives it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from ..errors import ModelError
from .files.weights import LARGE, Weights, array_of, stub_of
from .shape_inference import infer_shapes

OPSET = 18  # the newest opset at which every operator we emit has a CUDA kernel in each supported onnxruntime
IR_VERSION = 8  # the oldest that may hold opset 18

Shape = tuple[int, ...]

# Operators that give another result each time.
RANDOM = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"),
}

_SMALL = 64  # entries; equal constants up to this size are one tensor
_Key = tuple[np.dtype[Any], Shape, tuple[Any, ...]]


@dataclass(frozen=True)
class TensorType:
    """Static shape and NumPy dtype of one tensor."""

    shape: Shape
    dtype: np.dtype[Any]

    @property
    def is_float(self) -> bool:
        """Whether a gradient can flow through it."""
        return bool(np.issubdtype(self.dtype, np.floating))


@dataclass
class Node:
    """One operator of domain ''. An absent optional input is the empty string."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""


class Graph:
    """Nodes in topological order, constants and types by tensor name.

    ``inputs`` are fed at run time; an input that also has an entry in ``constants`` is
    optional and that entry is its default. ``stopped`` are the nodes of a gradient graph through
    which the image influences the value without a gradient.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: dict[str, TensorType] = {}
        self.outputs: list[str] = []
        self.types: dict[str, TensorType] = {}
        self.stopped: list[Node] = []
        self._fresh = 0
        self._shared: dict[_Key, str] = {}  # small constants by value, as of the state below
        self._shared_of = (self.constants, 0)

    # -- reading

    def type(self, name: str) -> TensorType:
        """Static type of a tensor, from wherever it is known."""
        if name in self.types:
            return self.types[name]
        if name in self.inputs:
            return self.inputs[name]
        if name in self.constants:
            value = self.constants[name]
            return TensorType(value.shape, value.dtype)
        raise ModelError(f"the shape of tensor {name!r} is not known; give a fixed input shape")

    def shape(self, name: str) -> Shape:
        """Static shape of a tensor."""
        return self.type(name).shape

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a tensor that cannot change at run time, else None."""
        return None if name in self.inputs else self.constants.get(name)

    def maker(self, name: str) -> Node | None:
        """The node that makes a tensor; None for an input, without a search."""
        return (
            None
            if name in self.inputs
            else next((node for node in reversed(self.nodes) if name in node.outputs), None)
        )

    def position(self, node: Node) -> int:
        """Where a node stands; this very one, since to compare what is in nodes takes longer."""
        return next(k for k, each in enumerate(self.nodes) if each is node)

    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor, a node once for each time."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in reads(node):
                readers.setdefault(name, []).append(node)
        return readers

    # -- writing

    def fresh(self, stem: str) -> str:
        """A tensor name that is not in use."""
        while True:
            self._fresh += 1
            name = f"{stem}__{self._fresh}"
            if not any(name in known for known in (self.types, self.constants, self.inputs)):
                return name

    def add(self, op: str, inputs: Sequence[str], *, output: str | None = None, **attrs: Any) -> str:
        """Append a node with one output and return the output's name."""
        name = str(output or self.fresh(f"grad/{op}"))
        self.nodes.append(Node(op, [str(x) for x in inputs], [name], attrs, name))
        return name

    def add_constant(self, value: np.ndarray, stem: str = "const") -> str:
        """A tensor holding `value`; equal small constants share one tensor."""
        key = _key(value) if value.size <= _SMALL else None
        if key is not None and (known := self._known(key)) is not None:
            return known
        name = self.fresh(f"grad/{stem}")
        self.constants[name] = value
        if key is not None:
            self._shared[key] = name
            self._shared_of = self.constants, len(self.constants)
        return name

    def _known(self, key: _Key) -> str | None:
        """The name of an equal constant among those that were added; an input's default is none of them."""
        of, count = self._shared_of
        if of is not self.constants or count != len(self.constants):  # renamed, pruned, assigned to
            self._index()
        name = self._shared.get(key)
        if name is not None and (name in self.inputs or _key(self.constants[name]) != key):
            self._index()
            name = self._shared.get(key)
        return name

    def _index(self) -> None:
        self._shared = {}
        for name, value in self.constants.items():
            if name.startswith("grad/") and value.size <= _SMALL and name not in self.inputs:
                self._shared.setdefault(_key(value), name)
        self._shared_of = self.constants, len(self.constants)

    def rename(self, new_names: Mapping[str, str]) -> None:
        """Rename tensors everywhere."""

        def of(name: str) -> str:
            return new_names.get(name, name)

        for node in self.nodes:
            node.inputs = [of(x) for x in node.inputs]
            node.outputs = [of(y) for y in node.outputs]
            for body in subgraphs(node):
                rename_proto(body, new_names)
        self.constants = {of(k): v for k, v in self.constants.items()}
        self.inputs = {of(k): t for k, t in self.inputs.items()}
        self.types = {of(k): t for k, t in self.types.items()}
        self.outputs = [of(y) for y in self.outputs]

    def prune(self) -> None:
        """Drop every node and constant that no output needs (onnxruntime runs dead nodes)."""
        self.nodes = needed_nodes(self.nodes, self.outputs)
        used = {x for node in self.nodes for x in reads(node)} | set(self.outputs)
        self.constants = {k: v for k, v in self.constants.items() if k in used}
        self.inputs = {k: t for k, t in self.inputs.items() if k in used}

    # -- conversion

    @classmethod
    def from_model(cls, model: onnx.ModelProto, weights: Weights | None = None) -> Graph:
        """Read a model of opset 18, with its detached weights if any; `types` is left to the caller."""
        graph, apart = cls(), weights_of(model, weights or {})
        graph.constants = {
            t.name: apart[t.name] if t.name in apart else array_of(t)
            for t in model.graph.initializer
            if t.name in apart or not uses_external_data(t)  # a stub that nothing reads is no constant
        }
        for info in model.graph.input:
            if (kind := tensor_type(info)) is not None and info.name not in graph.constants:
                graph.inputs[info.name] = kind
        graph.nodes = [read_node(node) for node in model.graph.node]
        graph.outputs = [info.name for info in model.graph.output]
        return graph

    def to_model(self, *, typed_outputs: bool = True) -> onnx.ModelProto:
        """A plain ONNX model of opset 18; of domain '' alone unless the user's own nodes are not."""
        return self._model(typed_outputs, {})

    def detached(self, *, typed_outputs: bool = True) -> tuple[onnx.ModelProto, Weights]:
        """The model with stubs in place of large constants, and those (`files.weights`)."""
        optional = set(self.inputs)  # the default of an input must be in the model itself
        weights = {k: v for k, v in self.constants.items() if v.nbytes >= LARGE and k not in optional}
        return self._model(typed_outputs, weights), weights

    def _model(self, typed_outputs: bool, weights: Weights) -> onnx.ModelProto:
        outputs = [
            value_info(name, self.type(name)) if typed_outputs else onnx.ValueInfoProto(name=name)
            for name in self.outputs
        ]
        proto = helper.make_graph(
            [_write_node(node) for node in self.nodes],
            "sobolevflow",
            [value_info(name, kind) for name, kind in self.inputs.items()],
            outputs,
            [
                stub_of(name, value) if name in weights else numpy_helper.from_array(value, name)
                for name, value in self.constants.items()
            ],
        )
        others = sorted({node.op.rpartition(":")[0] for node in self.nodes} - {""})
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in others)]
        model = helper.make_model(proto, opset_imports=opsets, producer_name="sobolevflow")
        model.ir_version = IR_VERSION
        return model

    def infer_types(self) -> None:
        """Refresh ``types`` by ONNX shape inference over the whole graph."""
        model, _ = self.detached(typed_outputs=False)
        made = [y for node in self.nodes for y in node.outputs if y in self.types]
        model.graph.value_info.extend(value_info(y, self.types[y]) for y in made)
        model = infer_shapes(model)
        for info in (*model.graph.value_info, *model.graph.output):
            if (kind := tensor_type(info)) is not None:
                self.types[info.name] = kind

    def astype(self, dtype: Any) -> Graph:
        """The same graph with every float32 tensor turned into `dtype` (for checks in float64)."""
        target = np.dtype(dtype)
        code = helper.np_dtype_to_tensor_dtype(target)
        single = np.dtype(np.float32)

        def widen(kind: TensorType) -> TensorType:
            return TensorType(kind.shape, target) if kind.dtype == single else kind

        out = Graph()
        out.constants = {k: v.astype(target) if v.dtype == single else v for k, v in self.constants.items()}
        out.inputs = {k: widen(t) for k, t in self.inputs.items()}
        out.types = {k: widen(t) for k, t in self.types.items()}
        out.outputs = list(self.outputs)
        for node in self.nodes:
            given = {**_SINGLE_UNLESS_SAID.get(node.op, {}), **node.attrs}
            attrs = {k: _retyped(v, target) for k, v in given.items()}
            for name in _TYPES:
                if attrs.get(name) == _FLOAT:
                    attrs[name] = code
            out.nodes.append(Node(node.op, list(node.inputs), list(node.outputs), attrs, node.name))
        return out


# Attributes that name a type: of Cast; of EyeLike and random numbers; of windows; of DequantizeLinear.
_TYPES = ("to", "dtype", "output_datatype", "output_dtype")
# What makes operators give float32 where they do not say so.
_FLOAT = onnx.TensorProto.FLOAT
_SINGLE_UNLESS_SAID: dict[str, dict[str, Any]] = {
    "ConstantOfShape": {"value": numpy_helper.from_array(np.zeros(1, np.float32))},
    **{op: {"dtype": _FLOAT} for op in ("RandomNormal", "RandomUniform")},
    **{f"{op}Window": {"output_datatype": _FLOAT} for op in ("Hann", "Hamming", "Blackman")},
    "MelWeightMatrix": {"output_datatype": _FLOAT},
}


def _key(value: np.ndarray) -> _Key:
    """What equal constants have in common: 0 equals -0, and NaN nothing, as in `np.array_equal`."""
    return value.dtype, value.shape, tuple(value.ravel().tolist())


def _retyped(attribute: Any, dtype: np.dtype[Any]) -> Any:
    """An attribute of a node, its value converted where it is a float32 tensor (ConstantOfShape has one)."""
    if isinstance(attribute, onnx.TensorProto) and attribute.data_type == onnx.TensorProto.FLOAT:
        return numpy_helper.from_array(array_of(attribute).astype(dtype), attribute.name)
    return attribute


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default operator set that the model imports; of several the last, as in onnxruntime."""
    return next((o.version for o in reversed(model.opset_import) if o.domain in ("", "ai.onnx")), 0)


def weights_of(model: onnx.ModelProto, weights: Weights) -> Weights:
    """The detached weights that a model has: those of `weights` with a stub that something reads.

    A model that was cut, converted or simplified needs fewer than the file it came from, and onnxruntime
    takes no array beyond them: it drops what nothing reads before it looks for the arrays beside the model.
    """
    read = {name for node in model.graph.node for name in reads(node)}
    read.update(info.name for info in model.graph.output)
    stubs = [t.name for t in model.graph.initializer if uses_external_data(t) and t.name in read]
    if absent := [name for name in stubs if name not in weights]:
        raise ModelError(f"the values of weight {absent[0]!r} lie in external data that was not read")
    return {name: weights[name] for name in stubs}


def needed_nodes(nodes: Iterable[Any], outputs: Iterable[str]) -> list[Any]:
    """The nodes that `outputs` depend on, in order. Works for `Node` and for `NodeProto`."""
    wanted, kept = set(outputs), []
    for node in reversed(list(nodes)):
        made = node.outputs if isinstance(node, Node) else node.output
        if wanted.intersection(made):
            wanted.update(reads(node))
            kept.append(node)
    return kept[::-1]


def reads(node: Node | onnx.NodeProto) -> list[str]:
    """Names a node reads, those read inside its sub-graphs (If, Loop) included."""
    names = list(node.inputs if isinstance(node, Node) else node.input)
    for body in subgraphs(node):
        for inner in body.node:
            names += reads(inner)
        names += [info.name for info in body.output]
    return names


def operator_of(node: onnx.NodeProto) -> str:
    """The operator as rules name it: with its domain, unless that is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def node_label(node: Node | onnx.NodeProto) -> str:
    """How a message calls a node: its name, quoted, or that of its first output."""
    return repr(node.name or (node.outputs if isinstance(node, Node) else node.output)[0])


def subgraphs(node: Node | onnx.NodeProto) -> list[onnx.GraphProto]:
    """The bodies of a control-flow node; empty for all others."""
    if isinstance(node, Node):
        return [value for value in node.attrs.values() if isinstance(value, onnx.GraphProto)]
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def rename_proto(body: onnx.GraphProto, new_names: Mapping[str, str]) -> None:
    """Rename tensors in the body of a control-flow node, which sees the names around it."""
    for node in body.node:
        node.input[:] = [new_names.get(x, x) for x in node.input]
        node.output[:] = [new_names.get(y, y) for y in node.output]
        for inner in subgraphs(node):
            rename_proto(inner, new_names)
    for info in (*body.input, *body.output, *body.value_info, *body.initializer):
        info.name = new_names.get(info.name, info.name)


def tensor_type(info: onnx.ValueInfoProto) -> TensorType | None:
    """The static type of a value, or None where a dimension or the dtype is open."""
    tensor = info.type.tensor_type
    if not tensor.elem_type or not tensor.HasField("shape"):
        return None
    if any(not dim.HasField("dim_value") or dim.dim_value < 0 for dim in tensor.shape.dim):
        return None
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return TensorType(tuple(dim.dim_value for dim in tensor.shape.dim), dtype)


def value_info(name: str, kind: TensorType) -> onnx.ValueInfoProto:
    """A tensor of a static type, as models declare it."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind.dtype), kind.shape)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def read_node(node: onnx.NodeProto) -> Node:
    """A node of a model as one of a `Graph`."""
    attrs = attributes_of(node)
    return Node(operator_of(node), list(node.input), list(node.output), attrs, node.name)


def _write_node(node: Node) -> onnx.NodeProto:
    domain, _, op = node.op.rpartition(":")
    said = {name: value for name, value in node.attrs.items() if value != []}  # an empty list says nothing
    return helper.make_node(op, node.inputs, node.outputs, name=node.name, domain=domain, **said)
