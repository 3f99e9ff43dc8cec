"""Receptive fields, against where the gradient of one entry is not zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow.network import ReceptiveField, receptive_field

SIDE = (40, 48)
Step = tuple[str, dict[str, Any]]


def network(steps: list[Step]) -> sf.Network:
    """Layers one after the other, of 3 channels and positive weights, so that no gradient cancels."""
    nodes, weights, rng, x = [], [], np.random.default_rng(0), "x"
    for k, (op, attrs) in enumerate(steps):
        inputs, attrs = [x], dict(attrs)
        if op in ("Conv", "ConvTranspose"):
            kernel = rng.random((3, 3, *attrs["kernel_shape"])).astype(np.float32) + 0.5
            weights.append(numpy_helper.from_array(kernel, f"w{k}"))
            inputs.append(f"w{k}")
        for name, value in attrs.pop("inputs", {}).items():
            inputs += [""] * name.count("_")
            weights.append(numpy_helper.from_array(np.asarray(value), f"{name.strip('_')}{k}"))
            inputs.append(f"{name.strip('_')}{k}")
        nodes.append(helper.make_node(op, inputs, [f"y{k}"], **attrs))
        x = f"y{k}"
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *SIDE])
    graph = helper.make_graph(nodes, "g", [image], [onnx.ValueInfoProto(name=x)], weights)
    return sf.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), preprocess="none")


def seen(net: sf.Network, layer: str) -> tuple[slice, ...]:
    """The pixels on which the middle entry of the first channel depends."""
    place = sf.Neuron(layer, 0)
    u = np.random.default_rng(1).random((4, 3, *SIDE)).astype(np.float32)
    g = np.abs(np.stack([sf.value_and_grad(net, place)(each[None])[1][0] for each in u])).max(axis=(0, 1))
    rows, columns = np.flatnonzero(g.any(axis=1)), np.flatnonzero(g.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def conv(kernel: tuple[int, int], stride: int = 1, pad: int = 0, dilation: int = 1) -> Step:
    return "Conv", {
        "kernel_shape": kernel,
        "strides": [stride] * 2,
        "pads": [pad] * 4,
        "dilations": [dilation] * 2,
    }


CASES: dict[str, list[Step]] = {
    "one": [conv((3, 5))],
    "strided": [conv((3, 3), 2, 1), conv((5, 3), 2, 2)],
    "dilated": [conv((3, 3), 1, 2, 2), conv((3, 3), 1, 0, 3)],
    "pooled": [conv((3, 3)), ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2]}), conv((3, 3))],
    "transposed": [
        conv((3, 3), 2),
        ("ConvTranspose", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ],
    "padded": [("Pad", {"inputs": {"pads": np.array([0, 0, 3, 1, 0, 0, 0, 2])}}), conv((3, 3), 2)],
    "sliced": [
        conv((3, 3)),
        (
            "Slice",
            {
                "inputs": {
                    "starts": np.array([4, -20]),
                    "ends": np.array([30, -2]),
                    "axes": np.array([2, 3]),
                    "steps": np.array([2, 1]),
                }
            },
        ),
        conv((3, 3)),
    ],
    "turned": [conv((3, 5), 2), ("Transpose", {"perm": [0, 1, 3, 2]}), conv((3, 5))],
    "by depth": [conv((3, 3)), ("DepthToSpace", {"blocksize": 1}), conv((3, 3))],
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_field_is_the_support_of_the_gradient(case: list[Step]) -> None:
    net = network(case)
    layer = net.outputs[0]
    field = receptive_field(net, layer)
    _, _, *size = net.layer_shape(layer)
    middle = [n // 2 for n in size]
    turned = any(op == "Transpose" for op, _ in case)
    middle = middle[::-1] if turned else middle
    for axis, pixels in enumerate(seen(net, layer)):
        first = field.offset[axis] + field.stride[axis] * middle[axis]
        low, high = np.ceil(first), np.floor(first + field.size[axis] - 1)
        assert max(low, 0) <= pixels.start
        assert pixels.stop - 1 <= min(high, SIDE[axis] - 1)
        if not any(op == "ConvTranspose" for op, _ in case):  # where entries see fewer, each in its turn
            assert (pixels.start, pixels.stop - 1) == (max(low, 0), min(high, SIDE[axis] - 1))


def test_what_joins_branches_sees_what_any_of_them_sees() -> None:
    net = sf.load("builtin:shapes-dense")
    sizes = [receptive_field(net, info.name).size for info in net.layers if info.op == "Concat"]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_scores_see_all_of_the_image() -> None:
    net = sf.load("builtin:shapes-vgg")
    field = receptive_field(net, net.score_layer)
    assert field == ReceptiveField((96, 96), (0.0, 0.0), (0.0, 0.0))
    assert field.is_whole


def test_a_gate_counts_unless_it_is_told_not_to() -> None:
    kernel = numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Mul", ["map", "mean"], ["gated"]),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *SIDE])
    graph = helper.make_graph(nodes, "g", [image], [onnx.ValueInfoProto(name="gated")], [kernel])
    net = sf.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), preprocess="none")
    assert receptive_field(net, "gated").is_whole
    assert receptive_field(net, "gated", gates=False).size == (3, 3)
