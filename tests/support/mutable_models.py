"""Models to start mutants from: bundled networks, a small classifier, and one for each kind of operator."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sobolevflow.models.onnx_file import METADATA_LABELS, METADATA_PREPROCESS
from tests.support.gradient_cases import make_model, node
from tests.support.small_networks import generator, small_model

FLOAT = TensorProto.FLOAT
IMAGE = {"x": ((1, 3, 8, 10), FLOAT)}


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) * 0.5


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _head(features: str, channels: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """From a map to six scores."""
    nodes = [
        node("GlobalAveragePool", features, "gap"),
        node("Flatten", "gap", "flat"),
        node("Gemm", "flat head bias", "scores", transB=1),
        node("Softmax", "scores", "prob"),
    ]
    return nodes, {"head": _random(6, channels), "bias": _random(6)}


def _behind(
    nodes: list[onnx.NodeProto], channels: int, constants: dict[str, np.ndarray], **options: Any
) -> onnx.ModelProto:
    """Nodes from x to a map called y, and a head behind them."""
    head, more = _head("y", channels)
    return make_model([*nodes, *head], IMAGE, ["prob"], {**constants, **more}, **options)


def windows() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1], strides=[1, 1], dilations=[1, 1], group=1),
        node("BatchNormalization", "c1 s1 b2 m1 v1", "n1", epsilon=1e-4),
        node("LeakyRelu", "n1", "r1", alpha=0.1),
        node("MaxPool", "r1", "p1", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        node("Conv", "p1 w2", "c2", auto_pad="SAME_UPPER", group=2),
        node(
            *("AveragePool", "c2", "p2"),
            kernel_shape=[2, 2],
            strides=[2, 2],
            ceil_mode=1,
            count_include_pad=1,
        ),
        node("ConvTranspose", "p2 w3", "c3", strides=[2, 2], output_padding=[0, 0]),
        node("LpPool", "c3", "l1", kernel_shape=[2, 2], p=2),
        node("LRN", "l1", "l2", size=3),
        node("InstanceNormalization", "l2 s2 b3", "y"),
    ]
    weights = {"w1": _random(4, 3, 3, 3), "w2": _random(4, 2, 3, 3), "w3": _random(4, 5, 3, 3)}
    weights |= {"b1": _random(4), "s1": _random(4), "b2": _random(4), "m1": _random(4), "v1": _random(4) ** 2}
    return _behind(nodes, 5, {**weights, "s2": _random(5), "b3": _random(5)}, opset=17)


def moved() -> onnx.ModelProto:
    nodes = [
        node("Pad", "x pads zero", "p", mode="constant"),
        node("Resize", "p - scales", "r", mode="linear", coordinate_transformation_mode="half_pixel"),
        node("Slice", "r starts ends axes steps", "s"),
        node("Transpose", "s", "t", perm=[0, 2, 3, 1]),
        node("Reshape", "t target", "f", allowzero=0),
        node("Split", "f parts", "a b", axis=2),
        node("Concat", "b a", "c", axis=2),
        node("Unsqueeze", "c three", "u"),
        node("Tile", "u times", "i"),
        node("ReduceMax", "i three", "m", keepdims=0),
        node("Transpose", "m", "n", perm=[0, 2, 1]),
        node("Unsqueeze", "n three", "d"),
        node("Expand", "d wide", "y"),
    ]
    constants: dict[str, Any] = {"pads": _ints(0, 0, 1, 1, 0, 0, 1, 1), "zero": np.float32(0)}
    constants |= {"scales": np.array([1, 1, 1.5, 1.5], "f4"), "starts": _ints(1, 0), "ends": _ints(9, 12)}
    constants |= {"axes": _ints(2, 3), "steps": _ints(1, 2)}
    constants |= {"parts": _ints(1, 2), "three": _ints(3), "times": _ints(1, 1, 1, 2)}
    constants |= {"target": _ints(1, -1, 3), "wide": _ints(1, 3, 1, 2)}
    return _behind(nodes, 3, constants, opset=18)


def shapes() -> onnx.ModelProto:
    """Shape arithmetic, constants within nodes, and what is made of them."""
    nodes = [
        node("Shape", "x", "shape"),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(_ints(1))),
        node("Gather", "shape k", "channels"),
        node("Concat", "k channels last", "target", axis=0),
        node("Reshape", "x target", "rows"),
        node("ConstantOfShape", "target2", "zeros", value=numpy_helper.from_array(_random(1))),
        node("Add", "rows zeros", "moved"),
        node("Range", "zero five k0", "count"),
        node("Cast", "count", "number", to=FLOAT),
        node("ReduceMean", "number", "mean", keepdims=0),
        node("Mul", "moved mean", "scaled"),
        node("Reshape", "scaled shape", "y"),
    ]
    constants: dict[str, Any] = {"last": _ints(-1), "target2": _ints(1, 3, 80), "zero": np.int64(0)}
    constants |= {"five": np.int64(5), "k0": np.int64(1)}
    return _behind(nodes, 3, constants, opset=16)


def elementwise() -> onnx.ModelProto:
    ops = ["Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "HardSigmoid", "HardSwish", "Erf", "Abs", "Mish"]
    nodes, at = [], "x"
    for op in ops:
        nodes.append(node(op, at, f"of_{op}"))
        at = f"of_{op}"
    nodes += [
        node("Clip", f"{at} low high", "clipped"),
        node("PRelu", "clipped slope", "sloped"),
        node("Greater", "sloped half", "mask"),
        node("Where", "mask sloped clipped", "chosen"),
        node("Pow", "chosen two", "power"),
        node("TopK", "power k", "top index", axis=3),
        node("ReduceL2", "top last", "norm", keepdims=1),
        node("Max", "norm half", "bounded"),
        node("Einsum", "bounded mixing", "y", equation="nchw,cd->ndhw"),
    ]
    constants: dict[str, Any] = {"low": np.float32(-2), "high": np.float32(2), "slope": _random(3, 1, 1)}
    constants |= {"half": np.float32(0.5), "two": np.float32(2), "k": _ints(4), "mixing": _random(3, 5)}
    return _behind(nodes, 5, {**constants, "last": _ints(3)}, opset=18)


def attention() -> onnx.ModelProto:
    nodes = [
        node("Reshape", "x tokens", "flat_tokens"),
        node("Transpose", "flat_tokens", "t", perm=[0, 2, 1]),
        node("LayerNormalization", "t gain", "n", axis=-1),
        node("MatMul", "n wq", "q"),
        node("MatMul", "n wk", "k"),
        node("MatMul", "n wv", "v"),
        node("Attention", "q k v", "a", q_num_heads=2, kv_num_heads=2),
        node("RMSNormalization", "a gain4", "z"),
        node("Gelu", "z", "g", approximate="tanh"),
        node("Transpose", "g", "back", perm=[0, 2, 1]),
        node("Reshape", "back map", "y"),
    ]
    constants = {
        "tokens": _ints(1, 3, 80),
        "gain": _random(3),
        "gain4": _random(4),
        "map": _ints(1, 4, 8, 10),
    }
    constants |= {name: _random(3, 4) for name in ("wq", "wk", "wv")}
    return _behind(nodes, 4, constants, opset=23, ir_version=10)


def control() -> onnx.ModelProto:
    """If, Loop and Scan."""
    out = [onnx.ValueInfoProto(name="o")]
    then = helper.make_graph([node("Relu", "x", "o")], "then", [], out)
    other = helper.make_graph([node("Neg", "x", "o")], "else", [], out)
    scalars = [helper.make_tensor_value_info(n, k, []) for n, k in (("i", 7), ("go", 9))]
    carried = helper.make_tensor_value_info("c", FLOAT, None)
    body = helper.make_graph(
        [node("Identity", "go", "goes"), node("Mul", "c c", "d")],
        *("body", [*scalars, carried], [onnx.ValueInfoProto(name=n) for n in ("goes", "d")]),
    )
    pair = [helper.make_tensor_value_info(n, FLOAT, None) for n in ("s", "e")]
    scanned = helper.make_graph(
        [node("Add", "s e", "t"), node("Identity", "t", "u")],
        *("scanned", pair, [onnx.ValueInfoProto(name=n) for n in ("t", "u")]),
    )
    nodes = [
        node("Size", "x", "size"),
        node("Greater", "size ten", "big"),
        node("If", "big", "y", then_branch=then, else_branch=other),
        node("Loop", "trips yes w", "grown", body=body),
        node("Scan", "start rows", "last all", body=scanned, num_scan_inputs=1),
        node("ReduceMean", "last", "mean", keepdims=0),
        node("ReduceMean", "grown", "mean2", keepdims=0),
        node("Add", "mean mean2", "both"),
        node("Mul", "prob both", "z"),
    ]
    head, more = _head("y", 3)
    constants: dict[str, Any] = {
        "ten": np.int64(10),
        "trips": np.int64(3),
        "yes": np.array(True),
        "w": _random(4),
    }
    constants |= {"start": _random(2), "rows": _random(3, 2), **more}
    return make_model([*nodes[:3], *head, *nodes[3:]], IMAGE, ["z"], constants, opset=16)


def functions() -> onnx.ModelProto:
    """Functions of its own, one of which calls the other and has an attribute."""
    inner = helper.make_function(
        "own",
        "Steep",
        ["a"],
        ["b"],
        [helper.make_node("LeakyRelu", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
        ["slope"],
    )
    reference = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    inner.node[0].attribute.append(reference)
    outer = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["c"],
        [
            helper.make_node("Steep", ["a"], ["b"], domain="own", slope=0.2),
            helper.make_node("Steep", ["b"], ["c"], domain="own", slope=0.3),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )
    model = _behind(
        [node("Twice", "x", "t", domain="own"), node("Conv", "t w", "y")],
        4,
        {"w": _random(4, 3, 3, 3)},
        opset=17,
    )
    model.functions.extend([inner, outer])
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def quantised() -> onnx.ModelProto:
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "real"),
        node("DequantizeLinear", "wq ws wz", "weight", axis=0),
        node("Conv", "real weight", "c"),
        node("QuantizeLinear", "c s z", "cq"),
        node("QLinearConv", "cq s z wq2 s wz2 s z", "cc"),
        node("DequantizeLinear", "cc s z", "y"),
    ]
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {"s": np.float32(0.05), "z": np.uint8(100)}
    constants |= {"wq": rng.integers(-9, 9, (4, 3, 3, 3)).astype(np.int8), "ws": np.full(4, 0.1, "f4")}
    constants |= {"wz": np.zeros(4, np.int8), "wz2": np.int8(0)}
    constants["wq2"] = rng.integers(-9, 9, (4, 4, 1, 1)).astype(np.int8)
    return _behind(nodes, 4, constants, opset=13)


def old() -> onnx.ModelProto:
    """Of opset 9, with weights among the inputs and what later opsets dropped."""
    nodes = [
        node("Upsample", "x scales", "u", mode="nearest"),
        node("ImageScaler", "u", "i", scale=2.0, bias=[0.1, 0.2, 0.3]),
        node("Slice", "i", "s", axes=[2, 3], starts=[1, 1], ends=[9, 9]),
        node("Pad", "s", "p", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
        node("BatchNormalization", "p a b c d", "n"),
        node("Dropout", "n", "y", ratio=0.5),
    ]
    constants = {"scales": np.array([1, 1, 2, 2], "f4"), **{k: _random(3) ** 2 for k in "abcd"}}
    model = _behind(nodes, 3, constants, opset=9, ir_version=3)
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer
    )
    return model


def fused() -> onnx.ModelProto:
    nodes = [
        node("FusedConv", "x w b", "c", domain="com.microsoft", activation="Relu", pads=[1, 1, 1, 1]),
        node("Gelu", "c", "g", domain="com.microsoft"),
        node("QuickGelu", "g", "y", domain="com.microsoft", alpha=1.7),
    ]
    model = _behind(nodes, 4, {"w": _random(4, 3, 3, 3), "b": _random(4)}, opset=14)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def of_bytes() -> onnx.ModelProto:
    """Takes (N, H, W, C) of uint8, and has a second input, of one number."""
    nodes = [
        node("Cast", "x", "real", to=FLOAT),
        node("Mul", "real gain", "scaled"),
        node("Transpose", "scaled", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "y"),
    ]
    head, more = _head("y", 4)
    inputs = {"x": (("N", 8, 10, 3), TensorProto.UINT8)}
    constants: dict[str, Any] = {"w": _random(4, 3, 3, 3), "gain": np.float32(0.01), **more}
    return make_model([*nodes, *head], inputs, ["prob", "y"], constants, opset=17)


def half() -> onnx.ModelProto:
    model = small_model()
    for info in model.graph.input:
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def described() -> onnx.ModelProto:
    """With class names and pre-processing in its metadata."""
    model = small_model()
    helper.set_model_props(
        model,
        {
            METADATA_LABELS: '["fox", "crab", "crane", "cat", "owl", "elk"]',
            METADATA_PREPROCESS: '{"scale": 255.0, "mean": [1, 2, 3], "std": [4, 5, 6], "order": "bgr"}',
            "names": "{0: 'fox', 1: 'crab', 2: 'crane', 3: 'cat', 4: 'owl', 5: 'elk'}",
        },
    )
    return model


def _bundled(name: str) -> Callable[[], onnx.ModelProto]:
    def read() -> onnx.ModelProto:
        path = resources.files("sobolevflow").joinpath(f"models/{name}.onnx")
        model = onnx.ModelProto()
        model.ParseFromString(path.read_bytes())
        return model

    return read


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "small": small_model,
    **{
        f.__name__: f
        for f in (
            *(windows, moved, shapes, elementwise, attention, control, functions, quantised, old, fused),
            *(of_bytes, half, described),
        )
    },
    "external": small_model,
    "generator": generator,
    "shapes-vgg": _bundled("shapes-vgg"),
    "shapes-dense": _bundled("shapes-dense"),
}
