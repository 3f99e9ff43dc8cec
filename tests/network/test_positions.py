"""Which layer says most of where an objective comes from, in networks of many structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sobolevflow.network import Network, gradient_path, last_with_positions, load, positions
from tests.support.gradient_cases import make_model

_RNG = np.random.default_rng(1)


class Sketch:
    """A network drawn node by node, over images of 3x16x16."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def op(self, op: str, inputs: str, output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs.split(), [output], name=output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(_RNG.standard_normal(shape).astype(np.float32) * 0.3)

    def conv(self, x: str, output: str, c: int, into: int, kernel: int = 3, stride: int = 1) -> str:
        pad = [kernel // 2] * 4
        how: dict[str, Any] = {"kernel_shape": [kernel] * 2, "pads": pad, "strides": [stride] * 2}
        return self.op("Conv", f"{x} {self.weights(into, c, kernel, kernel)}", output, **how)

    def block(self, x: str, output: str, c: int, into: int, stride: int = 1) -> str:
        return self.op("Relu", self.conv(x, f"{output}/conv", c, into, 3, stride), output)

    def pooled_scores(self, x: str, c: int) -> None:
        flat = self.op("Flatten", self.op("GlobalAveragePool", x, "gap"), "flat")
        self.op("MatMul", f"{flat} {self.weights(c, 5)}", "scores")

    def net(self, *outputs: str) -> Network:
        inputs: dict[str, Any] = {"x": ((1, 3, 16, 16), TensorProto.FLOAT)}
        return load(make_model(self.nodes, inputs, list(outputs), self.constants, opset=17))


def residual() -> Network:
    s = Sketch()
    s.block("x", "stem", 3, 4, 2)
    s.block("stem", "inner", 4, 4)
    s.conv("inner", "branch", 4, 4)
    s.op("Add", "branch stem", "sum")
    s.op("Relu", "sum", "out")
    s.pooled_scores("out", 4)
    return s.net("scores")


def beside_a_slice() -> Network:
    """A layer of three axes, a shape and a branch of integers stand beside the path, one on it as a gate."""
    s = Sketch()
    s.block("x", "map", 3, 4, 2)
    s.op("ReduceMean", "map", "line", axes=[3], keepdims=0)
    s.op("Slice", f"line {s.constant([0])} {s.constant([4])} {s.constant([2])}", "slice")
    s.op("Sigmoid", "slice", "aside")
    s.op("ReduceMean", "map", "mean", axes=[2, 3], keepdims=1)
    s.op("Mul", f"map {s.op('Sigmoid', 'mean', 'gate')}", "gated")
    s.op("ArgMax", "map", "where", axis=1)
    s.pooled_scores("gated", 4)
    return s.net("scores", "aside", "where")


def squeezed() -> Network:
    """Behind the last map there are two layers of three axes on the path."""
    s = Sketch()
    s.block("x", "map", 3, 4, 2)
    s.op("GlobalAveragePool", "map", "gap")
    s.op("Squeeze", f"gap {s.constant([3])}", "three")
    s.op("Transpose", "three", "turned", perm=[0, 2, 1])
    s.op("MatMul", f"turned {s.weights(4, 5)}", "row")
    s.op("Squeeze", f"row {s.constant([1])}", "scores")
    return s.net("scores")


def of_two_stages() -> Network:
    """The means of an earlier and of the last stage side by side."""
    s = Sketch()
    s.block("x", "early", 3, 4, 2)
    s.block("early", "late", 4, 4, 2)
    both = [s.op("GlobalAveragePool", each, f"{each}/mean") for each in ("early", "late")]
    s.op("Concat", " ".join(both), "means", axis=1)
    s.op("MatMul", f"{s.op('Flatten', 'means', 'flat')} {s.weights(8, 5)}", "scores")
    return s.net("scores")


def of_two_branches() -> Network:
    s = Sketch()
    s.block("x", "trunk", 3, 4, 2)
    both = [s.block("trunk", each, 4, 4) for each in ("left", "right")]
    s.op("Concat", " ".join(s.op("GlobalAveragePool", k, f"{k}/mean") for k in both), "means", axis=1)
    s.op("MatMul", f"{s.op('Flatten', 'means', 'flat')} {s.weights(8, 5)}", "scores")
    return s.net("scores")


def pool_last() -> Network:
    s = Sketch()
    s.block("x", "map", 3, 4)
    s.op("MaxPool", "map", "pool", kernel_shape=[2, 2], strides=[2, 2])
    s.op("Identity", "pool", "passed")
    s.pooled_scores("passed", 4)
    return s.net("scores")


def unet(skip: bool = False) -> Network:
    """Down twice and up twice; the skips may have convolutions of their own, as lateral ones do."""
    s = Sketch()
    s.block("x", "e0", 3, 4)
    s.block("e0", "e1", 4, 4, 2)
    s.block("e1", "e2", 4, 8, 2)
    x = "e2"
    for k, c in ((1, 8), (0, 4)):
        past = s.conv(f"e{k}", f"lateral{k}", 4, 4, 1) if skip else f"e{k}"
        s.op(
            "Resize",
            f"{x}  {s.constant(np.array([1, 1, 2, 2], np.float32))}".replace("  ", " c_roi "),
            f"u{k}",
        )
        s.constants["c_roi"] = np.zeros(0, np.float32)
        s.op("Concat", f"u{k} {past}", f"cat{k}", axis=1)
        x = s.block(f"cat{k}", f"d{k}", c + 4, 4)
    s.conv(x, "out", 4, 2, 1)
    return s.net("out")


def fully_convolutional() -> Network:
    """A head of one pixel behind the trunk, drawn large."""
    s = Sketch()
    s.block("x", "e1", 3, 4, 2)
    s.block("e1", "e2", 4, 8, 2)
    s.block("e2", "head", 8, 4)
    s.conv("head", "small", 4, 2, 1)
    s.constants["c_roi"] = np.zeros(0, np.float32)
    s.op("Resize", f"small c_roi {s.constant(np.array([1, 1, 4, 4], np.float32))}", "out")
    return s.net("out")


def detector() -> Network:
    """Boxes of two scales, from a pyramid, side by side in (N, places, 6)."""
    s = Sketch()
    s.block("x", "c1", 3, 4, 2)
    s.block("c1", "c2", 4, 4, 2)
    s.constants["c_roi"] = np.zeros(0, np.float32)
    s.op("Resize", f"c2 c_roi {s.constant(np.array([1, 1, 2, 2], np.float32))}", "up")
    s.op("Concat", "up c1", "p1", axis=1)
    rows = []
    for name, x, c in (("large", "p1", 8), ("small", "c2", 4)):
        s.block(x, f"{name}/head", c, 4)
        s.conv(f"{name}/head", f"{name}/boxes", 4, 6, 3)
        rows.append(s.op("Reshape", f"{name}/boxes {s.constant([1, 6, -1])}", f"{name}/row"))
    s.op("Concat", " ".join(rows), "joined", axis=2)
    s.op("Transpose", "joined", "out", perm=[0, 2, 1])
    return s.net("out")


def attention(s: Sketch, x: str, name: str, width: int = 6) -> str:
    """A block of a transformer, normalised first: names ``norm``, ``q``, ``k``, ``v``, ``out``."""
    scale = f"{s.constant(np.ones(width, np.float32))} {s.constant(np.zeros(width, np.float32))}"
    norm = s.op("LayerNormalization", f"{x} {scale}", f"{name}/norm")
    q, k, v = (s.op("MatMul", f"{norm} {s.weights(width, width)}", f"{name}/{each}") for each in "qkv")
    turned = s.op("Transpose", k, f"{name}/turned", perm=[0, 2, 1])
    weights = s.op("Softmax", s.op("MatMul", f"{q} {turned}", f"{name}/product"), f"{name}/weights")
    return s.op("Add", f"{s.op('MatMul', f'{weights} {v}', f'{name}/gathered')} {x}", f"{name}/out")


def tokens(s: Sketch) -> str:
    s.op("Conv", f"x {s.weights(6, 3, 4, 4)}", "patches", kernel_shape=[4, 4], strides=[4, 4])
    s.op("Reshape", f"patches {s.constant([1, 6, 16])}", "columns")
    return s.op("Transpose", "columns", "rows", perm=[0, 2, 1])


def vit(*, front: bool = True, mean: bool = False, others: int = 1, cut: str = "") -> Network:
    s = Sketch()
    rows = tokens(s)
    if not mean:
        extra = s.weights(1, others, 6)
        rows = s.op("Concat", f"{extra} {rows}" if front else f"{rows} {extra}", "all", axis=1)
    last = attention(s, attention(s, rows, "one"), "two")
    if cut:
        starts, ends, axes, steps = (s.constant([int(k)]) for k in cut.split(":"))
        last = s.op("Slice", f"{last} {starts} {ends} {axes} {steps}", "cut")
    if mean or cut:
        s.op("ReduceMean", last, "picked", axes=[1], keepdims=0)
    else:
        s.op("Gather", f"{last} {s.constant(0 if front else 16)}", "picked", axis=1)
    s.op("MatMul", f"picked {s.weights(6, 5)}", "scores")
    return s.net("scores")


def shuffled_tokens() -> Network:
    """A transformer over an order of the tokens that the network does not show."""
    s = Sketch()
    rows = tokens(s)
    s.op("Gather", f"{rows} {s.constant([3, 1, 2, 0, 7])}", "some", axis=1)
    last = attention(s, attention(s, "some", "one"), "two")
    s.op("ReduceMean", last, "picked", axes=[1], keepdims=0)
    s.op("MatMul", f"picked {s.weights(6, 5)}", "scores")
    return s.net("scores")


def attention_pool() -> Network:
    """One attention behind the last map, in place of a mean."""
    s = Sketch()
    s.block("x", "map", 3, 6, 4)
    s.op("Reshape", f"map {s.constant([1, 6, 16])}", "columns")
    s.op("Transpose", "columns", "rows", perm=[2, 0, 1])  # (T, N, C), whose first axis is not of images
    s.op("Transpose", "rows", "back", perm=[1, 0, 2])
    s.op("ReduceMean", "back", "mean", axes=[1], keepdims=1)
    s.op("MatMul", f"mean {s.op('Transpose', 'back', 'keys', perm=[0, 2, 1])}", "product")
    s.op("MatMul", f"{s.op('Softmax', 'product', 'weights')} back", "gathered")
    s.op("MatMul", f"{s.op('Squeeze', f'gathered {s.constant([1])}', 'row')} {s.weights(6, 5)}", "scores")
    return s.net("scores")


def beside_attention() -> Network:
    """The mean of a map, and how its positions look at each other."""
    s = Sketch()
    s.block("x", "map", 3, 6, 4)
    s.op("Reshape", f"map {s.constant([0, 6, 16])}", "columns")
    s.op("Transpose", "columns", "rows", perm=[0, 2, 1])
    s.op("MatMul", "rows columns", "product")
    s.op("ReduceMean", s.op("Softmax", "product", "weights"), "looks", axes=[2])
    s.op("ReduceMean", "looks", "look", axes=[1, 2], keepdims=0)
    s.op("Unsqueeze", f"look {s.constant([1])}", "each")
    s.op("ReduceMean", "map", "mean", axes=[2, 3], keepdims=0)
    s.op("MatMul", f"{s.op('Add', 'mean each', 'sum')} {s.weights(6, 5)}", "scores")
    return s.net("scores")


CASES: dict[str, tuple[Network, str, str]] = {
    "residual": (residual(), "scores", "out"),
    "within a branch": (residual(), "branch", "inner"),
    "beside a slice": (beside_a_slice(), "scores", "gated"),
    "squeezed": (squeezed(), "scores", "map"),
    "means of two stages": (of_two_stages(), "scores", "late"),
    "two branches": (of_two_branches(), "scores", "trunk"),
    "a pool last": (pool_last(), "scores", "map"),
    "u-net": (unet(), "out", "e2"),
    "u-net with lateral convolutions": (unet(skip=True), "out", "e2"),
    "a map inside a u-net": (unet(), "d1", "e2"),
    "a map of the encoder": (unet(), "e1/conv", "e0"),
    "fully convolutional": (fully_convolutional(), "out", "e2"),
    "detector": (detector(), "out", "c2"),
    "class token": (vit(), "scores", "two/norm"),
    "two other tokens": (vit(others=2), "scores", "two/norm"),
    "class token behind": (vit(front=False), "scores", "two/norm"),
    "mean of tokens": (vit(mean=True), "scores", "two/out"),
    "class token cut off": (vit(cut="1:99:1:1"), "scores", "cut"),
    "class token behind cut off": (vit(front=False, cut="0:-1:-2:1"), "scores", "cut"),
    "class token counted from behind": (vit(cut="-16:99:1:1"), "scores", "cut"),
    "another token cut off": (vit(cut="0:16:1:1"), "scores", "two/norm"),
    "turned round": (vit(cut="-1:0:1:-1"), "scores", "two/norm"),
    "attention pool": (attention_pool(), "scores", "back"),  # the map in another order
    "a mean beside attention": (beside_attention(), "scores", "map"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_layer_that_says_most_of_where(name: str) -> None:
    net, end, expected = CASES[name]
    assert last_with_positions(net, [end]) == (expected, False)


def test_tokens_whose_places_are_not_shown_leave_only_the_stem() -> None:
    assert last_with_positions(shuffled_tokens(), ["scores"]) == ("rows", True)


def test_what_every_part_of_a_sum_is_computed_from() -> None:
    assert last_with_positions(unet(), ["out", "e2/conv"])[0] == "e1"


def test_the_path_leaves_out_what_carries_no_gradient() -> None:
    net = beside_a_slice()
    path = gradient_path(net, ["scores"])
    assert not {"line", "slice", "aside", "where"} & set(path.names)
    assert {"map", "mean", "gate", "gated", "scores"} < set(path.names)
    assert path.beside(["map", "gated", "gate"], ["map", "gated"]) == []
    two = gradient_path(of_two_branches(), ["scores"])
    assert two.beside(["trunk", "left", "right"], ["left"]) == ["right"]
    assert two.leads_to_all("trunk", ["left", "right"])
    assert not two.leads_to_all("left", ["right"])


@pytest.mark.parametrize(("front", "first"), [(True, 1), (False, 0)])
def test_tokens_are_unfolded_without_those_that_have_no_place(front: bool, first: int) -> None:
    net = vit(front=front)
    place = positions(net, gradient_path(net, ["scores"]))["two/norm"]
    assert (place.channel_axis, place.size, place.first) == (2, (4, 4), first)
    values = _RNG.standard_normal((2, 17, 6))
    np.testing.assert_array_equal(place.unfolded(values), values[:, first : first + 16].reshape(2, 4, 4, 6))
    whole = positions(net, gradient_path(net, ["scores"]))
    assert whole["columns"].channel_axis == 1
    turned = _RNG.standard_normal((2, 6, 16))
    np.testing.assert_array_equal(
        whole["columns"].unfolded(turned), turned.reshape(2, 6, 4, 4).transpose(0, 2, 3, 1)
    )
