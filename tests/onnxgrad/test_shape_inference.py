"""Shapes are inferred however many Slices a network has, and though some of its tensors are very long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sobolevflow.onnxgrad.normal_form.guarded import infer_guarded
from sobolevflow.onnxgrad.shape_inference import infer_shapes

SIDE, WIDTH, BLOCKS = 8, 4, 14


def rolled(blocks: int, long: bool, side: int = SIDE) -> onnx.ModelProto:
    """Blocks that norm, pad, roll and window a map, as a shifted-window transformer does."""
    numbers = {
        "one": [1],
        "end": [2**31],
        "zero": [0],
        "axis": [1],
        "pads": [0, 0, 0, 0, 0, 1, 1, 0],
        "windows": [1, side // 2, 2, side // 2, 2, WIDTH],
        "map": [1, side, side, WIDTH],
        "crop": [side, side],
        "axes": [1, 2],
        "zeros": [0, 0],
    }
    weights = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in numbers.items()]
    weights += [
        numpy_helper.from_array(np.ones(WIDTH, np.float64), "scale"),
        numpy_helper.from_array(np.eye(WIDTH), "matrix"),
    ]
    nodes = []
    if long:
        weights.append(numpy_helper.from_array(np.zeros(20_000), "table"))
        nodes += [
            helper.make_node("Add", ["table", "table"], ["twice"]),
            helper.make_node("Slice", ["twice", "zero", "one"], ["few"]),
        ]
    x = "x"
    for k in range(blocks):
        steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
            ("LayerNormalization", [x, "scale"], "normed", {"axis": -1}),
            ("Pad", ["normed", "pads"], "padded", {}),
            ("Slice", ["padded", "zeros", "crop", "axes"], "cropped", {}),
            ("Slice", ["cropped", "one", "end", "axis"], "tail", {}),
            ("Slice", ["cropped", "zero", "one", "axis"], "head", {}),
            ("Concat", ["tail", "head"], "rolled", {"axis": 1}),
            ("Reshape", ["rolled", "windows"], "cut", {}),
            ("Transpose", ["cut"], "turned", {"perm": [0, 1, 3, 2, 4, 5]}),
            ("Reshape", ["turned", "map"], "whole", {}),
            ("MatMul", ["whole", "matrix"], "mixed", {}),
            ("Add", ["mixed", "scale"], "shifted", {}),
            ("Add", [x, "shifted"], "sum", {}),
        ]
        made = {y for _, _, y, _ in steps}
        for op, inputs, output, attrs in steps:
            named = [f"{i}/{k}" if i in made else i for i in inputs]
            nodes.append(helper.make_node(op, named, [f"{output}/{k}"], **attrs))
        x = f"sum/{k}"
    image = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [1, side, side, WIDTH])
    graph = helper.make_graph(nodes, "rolled", [image], [onnx.ValueInfoProto(name=x)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("infer", [infer_guarded, infer_shapes])
@pytest.mark.parametrize("long", [False, True])
def test_every_shape_behind_slices_is_known(
    long: bool, infer: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    model = rolled(BLOCKS, long)
    inferred = infer(model)
    infos = (*inferred.graph.value_info, *inferred.graph.output)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in infos}
    made = {y for node in model.graph.node for y in node.output}
    assert not made - set(shapes)
    assert shapes[f"sum/{BLOCKS - 1}"] == [1, SIDE, SIDE, WIDTH]
    assert shapes[f"tail/{BLOCKS - 1}"] == [1, SIDE - 1, SIDE, WIDTH]
