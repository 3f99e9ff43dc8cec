"""Mutants of models: what a broken exporter, a torn download or an attacker could make of them.

A mutant follows from its seed alone. One to three mutations of the message are made, and now and then one of
its bytes behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sobolevflow.models.onnx_file import METADATA_LABELS, METADATA_PREPROCESS
from tests.support.mutable_models import MODELS

EXTERNAL = "external"  # the model whose weights lie beside it
_BUNDLED = ("shapes-vgg", "shapes-dense")  # large, so that they are taken less often
_NO_TEXT = "NoUtf8NoUtf8"  # becomes bytes that no text has, on the wire
_NUMBERS = (0, -1, 1, 2, 3, 7, 16, 100_000, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
_DIMS = (0, -1, 1, 2, 3, 5, 100_000, 2**31, 2**62)
_REALS = (0.0, -1.0, 1e-38, 1e38, float("inf"), float("nan"))
_WORDS = (
    *(
        "linear",
        "cubic",
        "nearest",
        "reflect",
        "edge",
        "wrap",
        "constant",
        "SAME_UPPER",
        "SAME_LOWER",
        "VALID",
    ),
    *(
        "NOTSET",
        "DCR",
        "CRD",
        "tanh",
        "none",
        "half_pixel",
        "asymmetric",
        "align_corners",
        "tf_crop_and_resize",
    ),
    *(
        "floor",
        "ceil",
        "round_prefer_ceil",
        "sum",
        "mean",
        "mul",
        "a,b->ab",
        "nchw->nc",
        "...->",
        "ii->i",
        "->",
    ),
)
_KIND = onnx.AttributeProto
_DIGITS = "9" * 400
_JSON = (
    *("[]", "{}", "null", "3", '"torch"', '"/etc/passwd"', '"preprocess.json"', "NaN", "{", ""),
    *("[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, _DIGITS, f"[{_DIGITS}]"),
    *(f'{{"scale": {_DIGITS}}}', f'{{"mean": [{_DIGITS}]}}', '{"std": [0, 0, 0]}', '{"mean": {"a": 1}}'),
    *('{"scale": NaN}', '{"scale": 1e999}', '{"order": 3}', '{"layout": null}', '{"image_mean": 3}'),
    *('{"mean": [1, 2, 3, 4, 5]}', '{"order": []}', '{"pretrained_cfg": {"mean": 1}}', '{"scale": true}'),
    *('{"rescale_factor": ' + _DIGITS + "}", '{"rescale_factor": "a"}', "{0: " * 200, "-" * 100_000 + "1"),
    *('{"0": "a"}', '[["a"], ["b"]]', "[1, 2, 3, 4, 5, 6]", f"{{{_DIGITS}: 'a'}}", '{"a": 1e400, "b": 0}'),
    *("{'a': [" + "(" * 5000, "{0: 'fox', -1: 'crab'}", "[null, null, null, null, null, null]", "\x00"),
)
_KEYS = (METADATA_LABELS, METADATA_PREPROCESS, "names", "id2label", "classes")


@dataclass(frozen=True)
class Mutant:
    """A model gone wrong: its file, the files beside it, and how it came to be."""

    seed: int
    start: str
    data: bytes
    beside: dict[str, bytes] = field(default_factory=dict)
    done: tuple[str, ...] = ()


def mutant(seed: int) -> Mutant:
    """The mutant of a seed."""
    rng = np.random.default_rng(seed)
    names = [name for name in MODELS for _ in range(1 if name in _BUNDLED else 3)]
    start = str(rng.choice(names))
    model, beside = _start(start)
    done = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
        change = _CHANGES[int(rng.integers(len(_CHANGES)))]
        try:
            change(model, rng)
        except (ValueError, TypeError, LookupError, OverflowError):  # a message that does not hold it
            continue
        done.append(change.__name__.strip("_"))
    data = bytearray(model.SerializeToString().replace(_NO_TEXT.encode(), b"\xff\xfe\xc0\x80" * 3))
    if rng.random() < 0.1 or not done:
        done.append(_change_bytes(data, rng))
    if beside and rng.random() < 0.3:
        name = next(iter(beside))
        beside[name] = beside[name][: int(rng.integers(len(beside[name])))]
        done.append("weights_cut")
    return Mutant(seed, start, bytes(data), beside, tuple(done))


def _start(name: str) -> tuple[onnx.ModelProto, dict[str, bytes]]:
    model = onnx.ModelProto()
    model.ParseFromString(_serialised(name))
    if name != EXTERNAL:
        return model, {}
    content = b""
    for tensor in model.graph.initializer:
        data = numpy_helper.to_array(tensor).tobytes()
        for key in ("raw_data", "float_data"):
            tensor.ClearField(key)
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": "weights.bin", "offset": str(len(content)), "length": str(len(data))}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        content += data
    return model, {"weights.bin": content}


@cache
def _serialised(name: str) -> bytes:
    return bytes(MODELS[name]().SerializeToString())


# -- choosing


def _one(rng: np.random.Generator, among: Any) -> Any:
    return among[int(rng.integers(len(among)))]


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    inner = [node for graph in _graphs(model.graph) for node in graph.node]
    return [*inner, *(node for function in model.functions for node in function.node)]


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    held = [tensor for graph in _graphs(model.graph) for tensor in graph.initializer]
    return held + [a.t for node in _nodes(model) for a in node.attribute if a.HasField("t")]


def _messages(message: Any) -> Iterator[Any]:
    """A message and all that are in it."""
    yield message
    for kind, value in message.ListFields():
        if kind.type == kind.TYPE_MESSAGE:
            for inner in value if kind.is_repeated else [value]:
                yield from _messages(inner)


# -- mutations of the message, each in place


def _any_field(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Something about one field, wherever it is."""
    message = _one(rng, list(_messages(model)))
    kind = _one(rng, list(message.DESCRIPTOR.fields))
    if rng.random() < 0.7 and message.ListFields():  # rather one that is there
        kind = _one(rng, message.ListFields())[0]
    if rng.random() < 0.15:
        message.ClearField(kind.name)
    elif kind.is_repeated:
        _change_list(getattr(message, kind.name), kind, model, rng)
    elif kind.type == kind.TYPE_MESSAGE:
        others = [m for m in _messages(model) if m.DESCRIPTOR is kind.message_type]
        chosen = _copied(
            _one(rng, [*others, kind.message_type._concrete_class()])
        )  # it may hold this message
        getattr(message, kind.name).CopyFrom(chosen)
    else:
        setattr(message, kind.name, _value(kind, getattr(message, kind.name), model, rng))


def _change_list(values: Any, kind: Any, model: onnx.ModelProto, rng: np.random.Generator) -> None:
    how = int(rng.integers(5))
    if how == 0 and len(values):
        del values[int(rng.integers(len(values)))]
    elif how == 1:
        del values[:]
    elif how == 2 and len(values):
        chosen = values[int(rng.integers(len(values)))]
        values.extend([_copied(chosen) if kind.type == kind.TYPE_MESSAGE else chosen])
    elif how == 3 and len(values) > 1:
        kept = [v if kind.type != kind.TYPE_MESSAGE else _copied(v) for v in values]
        order = rng.permutation(len(kept))
        del values[:]
        values.extend(kept[k] for k in order)
    elif kind.type == kind.TYPE_MESSAGE:
        values.add()
    elif len(values):
        values[int(rng.integers(len(values)))] = _value(kind, values[0], model, rng)
    else:
        values.append(_value(kind, None, model, rng))


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _value(kind: Any, old: Any, model: onnx.ModelProto, rng: np.random.Generator) -> Any:
    """Another value of a field."""
    if kind.type == kind.TYPE_STRING:
        known = [x for node in model.graph.node for x in (*node.input, *node.output)]
        return _one(
            rng, ["", _NO_TEXT, "a\x00b", "x" * 100_000, "../../../etc/passwd", "\n\x1b[2J", *known[:20]]
        )
    if kind.type == kind.TYPE_BYTES:
        old = old or b""
        return _one(
            rng, [b"", old[: len(old) // 2], old + b"\0", old + old, b"\xff\xfe", b"linear", old[:-1]]
        )
    if kind.type in (kind.TYPE_FLOAT, kind.TYPE_DOUBLE):
        return _one(rng, _REALS)
    number = int(_one(rng, [*_NUMBERS, *range(25)]))
    return number if kind.type != kind.TYPE_ENUM else number % 20


def _tensor_data(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Raw data longer or shorter than the dimensions say."""
    tensor = _one(rng, _tensors(model))
    old = bytes(tensor.raw_data)
    tensor.raw_data = _one(rng, [b"", old[:-1], old[: len(old) // 2], old + b"\0" * 4, old * 2, b"\0"])


def _tensor_dims(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = _one(rng, _tensors(model))
    if len(tensor.dims) and rng.random() < 0.7:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _one(rng, _DIMS)
    else:
        tensor.dims.append(_one(rng, _DIMS))


def _tensor_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _one(rng, _tensors(model)).data_type = _one(rng, [*range(26), 77, -1])


def _other_tensor(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """A whole tensor in another's place: another shape, rank or type, or numbers that are none."""
    tensor = _one(rng, _tensors(model))
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError("its values lie elsewhere")
    value = numpy_helper.to_array(tensor)
    made = [
        *(
            value.reshape(-1),
            value[None],
            value[:0],
            value.reshape(-1)[:1],
            value.reshape(-1)[0:1].reshape(()),
        ),
        *(value.astype(np.float64), value.astype(np.int64), value.astype(np.int8), value.astype(bool)),
        *(value * 0, -value, value * np.nan, np.concatenate([value, value]) if value.ndim else value),
        *(value.astype(str).astype(object), np.full(value.shape, _one(rng, _NUMBERS[:9]))),
    ]
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(_one(rng, made)), tensor.name))


def _entry(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Another number in a tensor, of integers rather: shapes, axes, bounds and counts are such."""
    tensors = [t for t in _tensors(model) if t.data_location != TensorProto.EXTERNAL]
    whole = [t for t in tensors if t.data_type == TensorProto.INT64]
    tensor = _one(rng, whole or tensors)
    value = numpy_helper.to_array(tensor).copy()
    number = _one(rng, [*_NUMBERS, *range(-4, 9)])
    place = int(rng.integers(max(value.size, 1)))
    value.reshape(-1)[place] = str(number) if value.dtype == object else number
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _elsewhere(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """A tensor whose values are to lie in another file."""
    tensor = _one(rng, _tensors(model))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    where = _one(
        rng, ["weights.bin", "/etc/passwd", "../../etc/passwd", "", ".", "no.bin", "in-memory", _NO_TEXT]
    )
    entries = {"location": where, "offset": str(_one(rng, _NUMBERS)), "length": str(_one(rng, _NUMBERS))}
    for key, value in entries.items():
        if rng.random() < 0.8:
            tensor.external_data.add(key=key, value=_one(rng, [value, value, value, "x"]))


def _wiring(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """A node that reads, or makes, another tensor: cycles, names made twice, inputs left out."""
    node = _one(rng, _nodes(model))
    names = [x for other in model.graph.node for x in (*other.input, *other.output)]
    names += ["", "nowhere", _NO_TEXT, *(t.name for t in model.graph.initializer)]
    side = _one(rng, [node.input, node.output])
    how = int(rng.integers(4))
    if how == 0 or not side:
        side.append(_one(rng, names))
    elif how == 1:
        del side[int(rng.integers(len(side)))]
    else:
        side[int(rng.integers(len(side)))] = _one(rng, names)


def _operator(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Another operator, of any that there is."""
    node = _one(rng, _nodes(model))
    node.op_type = _one(
        rng, [*sorted({s.name for s in onnx.defs.get_all_schemas()}), "Nonsense", "", _NO_TEXT]
    )


def _attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """One that is given another value or type, is doubled, or is not there at all."""
    node = _one(rng, _nodes(model))
    names = _attribute_names(node.op_type) or ["strides"]
    name = _one(rng, names)
    old = [a for a in node.attribute if a.name == name]
    for each in old if rng.random() < 0.9 else []:
        node.attribute.remove(each)
    count = int(_one(rng, [1, 2, 3, 4, 8]))
    values: dict[int, list[Any]] = {
        _KIND.INT: [*_NUMBERS, 0, 1, 2, 3, -1, -2, -3],
        _KIND.INTS: [[_one(rng, _NUMBERS[:12]) for _ in range(count)], [0] * count, [1] * count, [2] * count],
        _KIND.FLOAT: [*_REALS, 0.5],
        _KIND.FLOATS: [[0.5] * count, [_one(rng, _REALS)] * count],
        _KIND.STRING: [b"\xff\xfe", "", *_WORDS],
        _KIND.STRINGS: [["a"] * count],
        _KIND.TENSOR: [
            numpy_helper.from_array(np.ones(_one(rng, [(), 1, 3, (2, 2)]), _one(rng, ["f4", "i8"])))
        ],
    }
    known: Any = onnx.defs.get_schema(node.op_type).attributes if onnx.defs.has(node.op_type) else {}
    kind = int(known[name].type) if name in known else 0
    if rng.random() < 0.2 or kind not in values:
        kind = int(_one(rng, list(values)))
    if rng.random() < 0.9:
        node.attribute.append(helper.make_attribute(name, _one(rng, values[kind])))


def _attribute_names(op: str) -> list[str]:
    return sorted(onnx.defs.get_schema(op).attributes) if onnx.defs.has(op) else []


def _attribute_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """An attribute that says that it is of another type than its value, or that it is a reference."""
    held = [a for node in _nodes(model) for a in node.attribute]
    attribute = _one(rng, held)
    if rng.random() < 0.3:
        attribute.ref_attr_name = _one(rng, ["alpha", "slope", ""])
    else:
        attribute.type = _one(rng, list(range(15)))


def _opset(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    entry = _one(rng, list(model.opset_import))
    entry.version = _one(rng, [0, -1, 1, 5, 7, 8, 10, 11, 13, 15, 18, 20, 22, 24, 25, 9999, 2**62])
    if rng.random() < 0.2:
        model.opset_import.add(domain=_one(rng, ["", "ai.onnx", "own", "com.microsoft"]), version=9)
    if rng.random() < 0.2:
        model.ir_version = _one(rng, _NUMBERS)


def _input(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """The size or the type of an input."""
    tensor = _one(rng, list(model.graph.input)).type.tensor_type
    if rng.random() < 0.3:
        tensor.elem_type = _one(rng, [*range(26), 99])
    elif tensor.shape.dim and rng.random() < 0.8:
        axis = _one(rng, list(tensor.shape.dim))
        if rng.random() < 0.2:
            axis.dim_param = _one(rng, ["N", "", _NO_TEXT])
        else:
            axis.dim_value = _one(rng, _DIMS)
    else:
        tensor.shape.dim.add(dim_value=_one(rng, _DIMS))


def _outputs(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    names = [y for node in model.graph.node for y in node.output]
    names += [t.name for t in model.graph.initializer] + ["nowhere", ""]
    kept = [_one(rng, names) for _ in range(int(rng.integers(3)))]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in kept)


def _scalar_output(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    made = _one(rng, [y for node in model.graph.node for y in node.output if y])
    op = _one(rng, ["ReduceMean", "Size", "Shape", "IsNaN", "ReduceMax"])
    attrs: dict[str, Any] = {"keepdims": int(rng.integers(2))} if op.startswith("Reduce") else {}
    model.graph.node.append(helper.make_node(op, [made], ["single"], **attrs))
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name="single"))


def _metadata(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    key = _one(rng, _KEYS)
    for entry in [e for e in model.metadata_props if e.key == key and rng.random() < 0.8]:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key=key, value=_one(rng, [*_JSON, _NO_TEXT]))


def _node_order(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Nodes in another order, dropped or doubled."""
    nodes = [_copied(node) for node in model.graph.node]
    how = int(rng.integers(3))
    if how == 0:
        nodes = [nodes[k] for k in rng.permutation(len(nodes))]
    elif how == 1:
        del nodes[int(rng.integers(len(nodes)))]
    else:
        nodes.insert(int(rng.integers(len(nodes))), _one(rng, nodes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _function(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """A function that calls itself, or another that calls it, or has no body."""
    function = model.functions.add(
        name=_one(rng, ["Loopy", "Relu", "", "Twice"]), domain=_one(rng, ["own", ""])
    )
    function.input.append("a")
    function.output.append(_one(rng, ["b", "a", "nowhere"]))
    function.opset_import.add(domain="", version=17)
    calls = _one(rng, [function.name, "Twice", "Relu"])
    if rng.random() < 0.8:
        function.node.append(helper.make_node(calls, ["a"], ["b"], domain=_one(rng, ["own", ""])))
    model.opset_import.add(domain="own", version=1)
    at = _one(rng, list(model.graph.node))
    at.op_type, at.domain = function.name, function.domain


def _windows(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """A window of an odd kind behind the image."""
    image = model.graph.input[0].name
    op = _one(rng, ["MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "DepthToSpace", "Conv", "MaxUnpool"])
    rank = _one(rng, [0, 1, 2, 2, 2, 3])
    attrs: dict[str, Any] = {"kernel_shape": [_one(rng, (1, 2, 0, -1, 2**31, 50))] * rank}
    attrs["strides"] = [_one(rng, (1, 0, 2, -1, 2**40))] * rank
    attrs["pads"] = [_one(rng, (0, 1, -1, 100, 2**40))] * (2 * rank)
    attrs["dilations"] = [_one(rng, (1, 0, 2, -1, 2**40))] * rank
    attrs |= {
        "ceil_mode": 1,
        "group": _one(rng, (1, 0, -1, 3, 2**40)),
        "blocksize": _one(rng, (2, 0, -1, 2**40)),
    }
    known = onnx.defs.get_schema(op, 18).attributes
    chosen = {k: v for k, v in attrs.items() if k in known and v != [] and rng.random() < 0.8}
    weights = ["w"] if op == "Conv" else []
    new = helper.make_node(op, [image, *weights], ["windowed"], **chosen)
    if weights:
        model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w"))
    for node in model.graph.node:
        node.input[:] = ["windowed" if x == image else x for x in node.input]
    model.graph.node.insert(0, new)


_CHANGES: tuple[Callable[[onnx.ModelProto, np.random.Generator], None], ...] = (
    *(_any_field, _any_field, _any_field, _tensor_data, _tensor_dims, _tensor_type, _other_tensor),
    *(
        _other_tensor,
        _entry,
        _entry,
        _elsewhere,
        _wiring,
        _wiring,
        _operator,
        _attribute,
        _attribute,
        _attribute,
    ),
    *(_attribute_type, _opset, _input, _outputs, _scalar_output, _metadata, _node_order, _function, _windows),
)


def _change_bytes(data: bytearray, rng: np.random.Generator) -> str:
    """A mutation of the file itself; half of them within its first part, where the structure is."""
    size = len(data) if rng.random() < 0.5 else min(len(data), 4000)
    if not size:
        return "bytes_none"
    at = int(rng.integers(size))
    length = int(rng.integers(1, 40))
    how = _one(rng, ["flipped", "removed", "inserted", "cut", "doubled", "zeroed"])
    if how == "flipped":
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(size))] ^= 1 << int(rng.integers(8))
    elif how == "removed":
        del data[at : at + length]
    elif how == "inserted":
        data[at:at] = rng.bytes(length)
    elif how == "cut":
        del data[at:]
    elif how == "doubled":
        data[at:at] = data[at : at + length]
    else:
        data[at : at + length] = bytes(len(data[at : at + length]))
    return f"bytes_{how}"
