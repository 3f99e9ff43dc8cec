"""check_gradient: it checks the graph that value_and_grad runs, for every network that it takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import AssumptionWarning, GradientError, InputError
from sobolevflow.gradient import Engine, check
from sobolevflow.objectives import Objective
from sobolevflow.onnxgrad import RULES, Evaluation, Refusal, Step, Value, register
from tests.network.test_constant_inputs import photos, siamese
from tests.network.test_integer_inputs import plain
from tests.support import layouts
from tests.support.gradient_cases import make_model, node
from tests.support.small_networks import generator, images, small_model

SIZE = (3, 8, 8)


@pytest.fixture(autouse=True)
def _rules_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(RULES, "entries", dict(RULES.entries))
    monkeypatch.setattr(RULES, "stops", dict(RULES.stops))


def network(nodes: list[onnx.NodeProto], batch: Any = 1, **constants: Any) -> sf.Network:
    inputs = {"x": ((batch, *SIZE), TensorProto.FLOAT)}
    model = make_model(nodes, inputs, ["y"], constants, opset=17)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return sf.load(model, preprocess="none")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def both(net: sf.Network, objective: Objective, u: np.ndarray | None = None) -> tuple[float, float]:
    """The errors in single and in double precision."""
    return (
        sf.check_gradient(net, objective, u),
        sf.check_gradient(net, objective, u, precision="double"),
    )


# -- constants are folded in double precision


FOLDED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "Resize": (
        [node("Resize", "small - twice", "k", mode="linear")],
        {"twice": np.array([1, 1, 2, 2], np.float32)},
    ),
    "Erf": ([node("Erf", "large", "k")], {}),
    "Conv": ([node("Conv", "large w", "k", pads=[1, 1, 1, 1])], {"w": normal(3, 3, 3, 3)}),
    "DequantizeLinear": (
        [node("DequantizeLinear", "q s", "k")],
        {"q": np.arange(-96, 96).astype(np.int8).reshape(1, 3, 8, 8), "s": np.float32(0.1)},
    ),
    "MaxPool": ([node("MaxPool", "large", "k", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}),
    "AveragePool": ([node("AveragePool", "large", "k", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}),
    "ConvTranspose": (
        [node("ConvTranspose", "small w", "k", strides=[2, 2])],
        {"w": normal(3, 3, 2, 2)},
    ),
    "BatchNormalization": (
        [node("BatchNormalization", "large one one one one", "k")],
        {"one": np.ones(3, np.float32)},
    ),
    "LayerNormalization": ([node("LayerNormalization", "large row", "k")], {"row": normal(8)}),
    "Gelu": ([node("Gelu", "large", "k", domain="com.microsoft")], {}),  # onnxruntime's own
    "Sigmoid": ([node("Sigmoid", "large", "k")], {}),
    "Softmax": ([node("Softmax", "large", "k")], {}),
    "TopK": ([node("TopK", "large eight", "k i")], {"eight": np.array([8], np.int64)}),
    "Where": ([node("Greater", "large zero", "b"), node("Where", "b large zero", "k")], {}),
    "Cast": ([node("Cast", "large", "d", to=11), node("Cast", "d", "k", to=1)], {}),
    "ReduceMean": ([node("ReduceMean", "large", "k", axes=[2])], {}),
}


@pytest.mark.parametrize("op", FOLDED)
def test_constants_that_onnxruntime_folds_in_single_precision_only(op: str) -> None:
    nodes, more = FOLDED[op]
    nodes = [*nodes, node("Add", "x k", "c"), node("Mul", "c c", "y")]
    known: dict[str, Any] = {
        "small": normal(1, 3, 4, 4),
        "large": normal(1, 3, 8, 8),
        "zero": np.float32(0),
        **more,
    }
    used = {name for each in nodes for name in each.input}
    net = network(nodes, **{k: v for k, v in known.items() if k in used})
    single, double = both(net, sf.Layer("y"))
    assert single < 1e-6
    assert double < 1e-7
    # the same nodes are folded, to the same numbers
    plain, _ = net.graph(["y"], 1)
    exact, _ = net.graph(["y"], 1, dtype=np.float64)
    assert [n.op for n in plain.nodes[1:]] == [n.op for n in exact.nodes[1:]]  # the first takes the image in
    for name, value in plain.constants.items():
        np.testing.assert_allclose(exact.constants[name], value, rtol=1e-6, atol=1e-6)


def test_branches_are_in_double_precision_too() -> None:
    def body(name: str, factor: float) -> onnx.GraphProto:
        constant = onnx.numpy_helper.from_array(np.array([factor / 3], np.float32), "f")
        nodes = [node("Constant", "", "f", value=constant), node("Mul", "x f", f"{name}/m")]
        out = helper.make_tensor_value_info(f"{name}/m", TensorProto.FLOAT, None)
        return helper.make_graph([*nodes], name, [], [out])

    nodes = [
        helper.make_node("If", ["yes"], ["m"], then_branch=body("then", 2), else_branch=body("else", 3)),
        node("Mul", "m m", "y"),
    ]
    assert max(both(network(nodes, yes=np.array(True)), sf.Layer("y"))) < 1e-6


# -- images go through as the engine lets them


def test_a_file_of_fixed_batch_size_is_checked_image_by_image() -> None:
    """Its Reshape mixes the images where they go through together."""
    nodes = [
        node("Reshape", "x rows", "r"),
        node("MatMul", "r w", "m"),
        node("Softmax", "m", "p"),
        node("Mul", "p m", "y"),
    ]
    net = network(nodes, rows=np.array([1, 192], np.int64), w=normal(192, 5) / 10)
    u = images(3, size=SIZE)
    single, double = both(net, sf.Channel("y", 2), u)
    assert single < 1e-5
    assert double < 1e-7


def test_a_file_of_open_batch_that_repeats_one_inside() -> None:
    nodes = [node("Reshape", "x rows", "r"), node("ReduceMax", "r", "m", axes=[1]), node("Exp", "m", "y")]
    net = network(nodes, "N", rows=np.array([-1, 3, 64], np.int64))
    assert net.run_batch(2, ["y"]) == 1 or max(both(net, sf.Layer("y"), images(2, size=SIZE))) < 1e-6
    fixed = [node("Reshape", "x rows", "r"), node("ReduceMean", "r", "m", axes=[0]), node("Exp", "m", "y")]
    net = network(fixed, "N", rows=np.array([3, -1], np.int64))
    assert net.run_batch(2, ["y"]) == 1
    assert max(both(net, sf.Layer("y"), images(2, size=SIZE))) < 1e-6


@pytest.mark.parametrize("precision", ["single", "double"])
def test_images_that_are_compared_must_go_together(precision: str) -> None:
    net = sf.load(small_model(1), preprocess="none")
    with pytest.raises(InputError, match="compares the images of a batch"):
        sf.check_gradient(net, sf.Diversity("conv2"), images(2), precision=precision)


def test_whole_batches_parameters_and_several_leaves() -> None:
    net, u = sf.load(small_model(), preprocess="torch"), images(2)
    objective = 2 * sf.Class([1, 2]) - 0.5 * sf.Channel("conv2", [0, 3])
    for each in (objective, sf.Diversity("conv2"), sf.Inversion("conv2", images(2, seed=5))):
        single, double = both(net, each, u)
        assert single < 1e-4
        assert double < 1e-6


# -- quantised networks


SCALES = {"s": np.float32(1 / 255), "z": np.int8(-128), "t": np.float32(0.05), "o": np.int8(3)}


def quantised(form: str) -> sf.Network:
    w = normal(4, 3, 3, 3)
    integers = {"wq": np.clip(np.rint(w * 40), -127, 127).astype(np.int8), "ws": np.float32(1 / 40)}
    if form == "QDQ":
        nodes = [
            node("QuantizeLinear", "x s z", "q"),
            node("DequantizeLinear", "q s z", "d"),
            node("DequantizeLinear", "wq ws wz", "wd"),
            node("Conv", "d wd", "c", pads=[1, 1, 1, 1]),
            node("QuantizeLinear", "c t o", "cq"),
            node("DequantizeLinear", "cq t o", "cd"),
            node("Relu", "cd", "r"),
            node("MaxPool", "r", "y", kernel_shape=[2, 2], strides=[2, 2]),
        ]
    elif form == "QOperator":
        nodes = [
            node("QuantizeLinear", "x s z", "q"),
            node("QLinearConv", "q s z wq ws wz t o", "cq", pads=[1, 1, 1, 1]),
            node("MaxPool", "cq", "m", kernel_shape=[2, 2], strides=[2, 2]),
            node("DequantizeLinear", "m t o", "y"),
        ]
    else:
        nodes = [
            node("DynamicQuantizeLinear", "x", "q qs qz"),
            node("ConvInteger", "q wq qz wz", "i", pads=[1, 1, 1, 1]),
            node("Cast", "i", "f", to=1),
            node("Mul", "f qs", "m"),
            node("Mul", "m ws", "c"),
            node("LeakyRelu", "c", "y"),
        ]
    used = {name for n in nodes for name in n.input}
    known = {**SCALES, **integers, "wz": np.int8(0)}
    return network(nodes, **{k: v for k, v in known.items() if k in used})


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), grey=st.sampled_from([0.0, 0.5, 1.0]))
def test_straight_through_gradients_against_their_own_definition(form: str, seed: int, grey: float) -> None:
    """Also where much is clipped, and where pools and rectifiers meet ties."""
    rng = np.random.default_rng(seed)
    u = np.clip(grey + 0.2 * rng.standard_normal((1, *SIZE)), 0, 1).astype(np.float32)
    net = quantised(form)
    with pytest.warns(AssumptionWarning, match="straight through; it was checked with that rounding held"):
        error = sf.check_gradient(net, sf.Layer("y"), u, precision="double")
    assert error < 1e-6


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
@pytest.mark.filterwarnings("ignore::sobolevflow.errors.AssumptionWarning")
def test_quantised_networks_in_single_precision(form: str) -> None:
    assert sf.check_gradient(quantised(form), sf.Layer("y")) < 1e-4


@pytest.mark.parametrize("weights", ["float", "int8"])
def test_layers_of_a_quantised_network_are_those_that_the_gradient_is_of(weights: str) -> None:
    """Without a backward pass onnxruntime would quantise float weights, and join convolution and rounding."""
    constants: dict[str, Any] = {**SCALES, "b": normal(4, seed=1)}
    if weights == "int8":
        constants |= {"wq": np.rint(40 * normal(4, 3, 3, 3)).clip(-127, 127).astype(np.int8)}
        constants |= {"ws": np.float32(1 / 40), "wz": np.int8(0)}
        made = [node("DequantizeLinear", "wq ws wz", "w")]
    else:
        constants["w"], made = normal(4, 3, 3, 3), []
    nodes = [
        *made,
        *(node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")),
        *(node("Conv", "d w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r")),
        *(node("QuantizeLinear", "r t o", "rq"), node("DequantizeLinear", "rq t o", "y")),
    ]
    net, u = network(nodes, **constants), images(1, size=SIZE)
    (y,) = net.features(u, ["y"])
    values, _ = sf.value_and_grad(net, sf.Layer("y"))(u)
    np.testing.assert_allclose(values, np.mean(y.astype(np.float64) ** 2) / 2, rtol=1e-6)
    assert sf.value_and_grad(net, sf.Inversion("y", u))(u)[0] == 0


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
@pytest.mark.filterwarnings("ignore::sobolevflow.errors.AssumptionWarning")
def test_a_wrong_straight_through_rule_is_found(form: str) -> None:
    op = "DynamicQuantizeLinear" if form == "dynamic" else "QuantizeLinear"
    own = RULES.entries[op].rule

    @register(op)
    def too_large(step: Step, i: int) -> Any:
        g: Any = own(step, i)
        return None if g is None else g * 1.01

    assert sf.check_gradient(quantised(form), sf.Layer("y"), precision="double") > 5e-3


@pytest.mark.filterwarnings("ignore::sobolevflow.errors.AssumptionWarning")
def test_a_rule_that_forgets_the_range_is_found() -> None:
    @register("QuantizeLinear")
    def unclipped(step: Step, i: int) -> Value:
        if i:
            raise Refusal("its scale depends on the image")
        return step.g / step.value(1)

    bright = np.full((1, *SIZE), 0.9, np.float32) + 0.3 * np.abs(
        normal(1, *SIZE)
    )  # 1 is the end of the range
    assert sf.check_gradient(quantised("QDQ"), sf.Layer("y"), bright, precision="double") > 1e-3


@pytest.mark.parametrize("op", ["Round", "Floor", "Ceil"])
def test_rounding_that_a_registered_rule_passes_on(op: str) -> None:
    net = network(
        [node("Mul", "x ten", "m"), node(op, "m", "r"), node("Mul", "r m", "y")], ten=np.float32(10)
    )
    assert max(both(net, sf.Layer("y"))) < 1e-6  # that of m alone, and no warning
    _, without = sf.value_and_grad(net, sf.Layer("y"))(images(1, size=SIZE))
    register(op)(lambda step, i: step.g)
    with pytest.warns(AssumptionWarning, match=op):
        assert sf.check_gradient(net, sf.Layer("y"), precision="double") < 1e-6
    assert np.abs(sf.value_and_grad(sf.load(net.model), sf.Layer("y"))(images(1, size=SIZE))[1]).max() > 0
    assert np.abs(without).max() > 0


# -- what stops, and what is random


STOPPING = {
    "comparison": [node("Greater", "x third", "b"), node("Cast", "b", "m", to=1), node("Mul", "m x", "y")],
    "rounding": [node("Round", "x", "m"), node("Exp", "x", "e"), node("Add", "m e", "y")],
    "indices": [node("ArgMax", "x", "i", axis=3), node("GatherElements", "x i", "y", axis=3)],
    "whole numbers": [node("Cast", "x", "i", to=7), node("Cast", "i", "m", to=1), node("Add", "m x", "y")],
    "random": [node("RandomNormalLike", "x", "m"), node("Mul", "m x", "y")],
}


@pytest.mark.parametrize("kind", STOPPING)
def test_where_the_flow_stops_what_is_there_is_held(kind: str) -> None:
    """The image lies on every step, so that differences of the plain value would be of jumps."""
    constants: dict[str, Any] = {"third": np.float32(1 / 3)} if kind == "comparison" else {}
    net = network(STOPPING[kind], **constants)
    u = np.random.default_rng(0).choice([0.5, 0.25], (1, *SIZE)).astype(np.float32)
    assert sf.check_gradient(net, sf.Layer("y"), u, precision="double") < 1e-6


KINKED = {
    "Relu": [node("Sub", "x half", "c"), node("Relu", "c", "y")],
    "LeakyRelu": [node("Sub", "x half", "c"), node("LeakyRelu", "c", "l"), node("Exp", "l", "y")],
    "PRelu": [node("Sub", "x half", "c"), node("PRelu", "c half", "l"), node("Exp", "l", "y")],
    "Clip": [node("Clip", "x quarter half", "c"), node("Add", "c x", "y")],
    "MaxPool": [node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
    "GlobalMaxPool": [node("GlobalMaxPool", "x", "y")],
    "ReduceMax": [node("ReduceMax", "x", "y", axes=[2])],
    "ReduceMin": [node("ReduceMin", "x", "y", axes=[1, 2], keepdims=0)],
    "Max": [node("Max", "x half quarter", "y")],
    "Min": [node("Min", "x half", "y")],
    "ThresholdedRelu": [node("ThresholdedRelu", "x", "y", alpha=0.25)],
}


@pytest.mark.parametrize("op", KINKED)
def test_on_a_kink_the_side_of_the_rule_is_held(op: str) -> None:
    net = network(KINKED[op], half=np.float32(0.5), quarter=np.float32(0.25))
    u = np.random.default_rng(0).choice([0.5, 0.25, 0.75], (1, *SIZE)).astype(np.float32)
    assert sf.check_gradient(net, sf.Layer("y"), u, precision="double") < 1e-6


def test_a_kink_is_held_only_where_it_is() -> None:
    """A wrong mask is found off the kink."""
    register("Relu")(lambda step, i: step.g)
    net = network(KINKED["Relu"], half=np.float32(0.5))
    assert sf.check_gradient(net, sf.Layer("y"), precision="double") < 1e-6  # y = 0 there in Layer's gradient
    assert sf.check_gradient(net, sf.Channel("y", 0), precision="double") > 0.1


# -- errors that are planted


def planted(kind: str, g: np.ndarray) -> np.ndarray:
    wrong = g.copy()
    if kind == "channels swapped":
        wrong[:, [0, 1]] = wrong[:, [1, 0]]
    elif kind == "border row":
        wrong[:, :, 0] *= -1
    elif kind == "row added":
        wrong[:, :, -1] += np.abs(g).mean()
    elif kind == "factor":
        wrong *= 1.01
    elif kind == "shifted":
        wrong = np.roll(wrong, 1, 3)
    elif kind == "flipped":
        wrong = wrong[:, :, ::-1, ::-1].copy()
    elif kind == "one pixel":
        wrong.flat[np.argmax(np.abs(wrong))] = 0
    return wrong


KINDS = ["channels swapped", "border row", "row added", "factor", "shifted", "flipped", "one pixel"]


@pytest.mark.parametrize("kind", KINDS)
def test_planted_errors_are_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = sf.load("builtin:shapes-vgg")
    own = Engine.__call__

    def wrong(engine: Any, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, g = own(engine, u)
        return values, planted(kind, g)

    assert sf.check_gradient(net, sf.Class(1)) < 1e-5
    monkeypatch.setattr(Engine, "__call__", wrong)
    assert sf.check_gradient(net, sf.Class(1)) > 1e-4


def test_directions_are_better_than_white_noise(rng: np.random.Generator) -> None:
    net = sf.load("builtin:shapes-vgg")
    u = images(1, size=net.input_shape)
    g = sf.value_and_grad(net, sf.Class(1))(u)[1].astype(np.float64)

    def seen(e: np.ndarray, draws: Iterator[np.ndarray]) -> float:
        return float(np.median([abs(float((e * d).sum())) / np.linalg.norm(d) for d in draws]))

    for kind in KINDS:
        e = planted(kind, g) - g
        ours = seen(e, (d for k, d in enumerate(check._directions(g, 60, rng)) if k))
        white = seen(e, (rng.standard_normal(g.shape) for _ in range(60)))
        assert ours > (3 if kind in ("channels swapped", "factor", "shifted", "flipped") else 0.5) * white


def test_directions_fit_images_of_any_size(rng: np.random.Generator) -> None:
    for shape in ((1, 5, 1, 1), (2, 3, 17, 33), (1, 1, 16, 3)):
        g = rng.standard_normal(shape)
        for d in check._directions(g, 2, rng):
            assert d.shape == shape
            assert np.linalg.norm(d) == pytest.approx(1)


# -- how it is called, what it costs


@pytest.mark.parametrize(("precision", "forward"), [("single", 5), ("double", 4)])
def test_it_costs_five_evaluations(precision: str, forward: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision the backward pass brings the first one along."""
    runs, own = [], Evaluation.__call__

    def counted(self: Evaluation, *arguments: Any) -> Any:
        runs.append(len(self._outputs))
        return own(self, *arguments)

    monkeypatch.setattr(Evaluation, "__call__", counted)
    sf.check_gradient(sf.load(small_model(), preprocess="none"), sf.Class(1), precision=precision)
    assert runs.count(1) == forward
    assert runs.count(2) == 5 - forward


def test_ordinary_networks_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both(sf.load(small_model(), preprocess="none"), sf.Class(1))


def test_an_operator_that_only_onnxruntime_knows() -> None:
    @register("QuickGelu", "com.microsoft")
    def quick_gelu(step: Step, i: int) -> Value:
        gate = step.op("Sigmoid", 1.702 * step.x[0])
        return step.g * (gate + 1.702 * step.y * (1 - gate))

    net = network([node("QuickGelu", "x", "y", domain="com.microsoft", alpha=1.702)])
    with pytest.warns(
        AssumptionWarning, match=r"only onnxruntime knows com.microsoft:QuickGelu \(node 'y'\)"
    ):
        assert max(both(net, sf.Layer("y"))) < 1e-3
    register("QuickGelu", "com.microsoft")(lambda step, i: step.g)
    net = sf.load(net.model, preprocess="none")  # the session of the former rule is not asked again
    with pytest.warns(AssumptionWarning):
        assert sf.check_gradient(net, sf.Layer("y")) > 0.01


@pytest.mark.parametrize("precision", ["single", "double"])
def test_what_is_not_finite_is_an_error(precision: str) -> None:
    net = network([node("Sub", "x half", "c"), node("Log", "c", "y")], half=np.float32(0.5))
    with pytest.raises(GradientError, match="not finite"):
        sf.check_gradient(net, sf.Layer("y"), precision=precision)


def test_values_that_are_finite_at_the_image_alone() -> None:
    net = network(
        [node("Sub", "x half", "c"), node("Sqrt", "c", "q"), node("Add", "q x", "y")], half=np.float32(0.5)
    )
    u = np.full((1, *SIZE), 0.5 + 1e-7, np.float32)
    with pytest.raises(GradientError, match="near the image is not finite"):
        sf.check_gradient(net, sf.Layer("y"), u, precision="double", step=1e-2)


@pytest.mark.parametrize(
    ("option", "value"), [("directions", -1), ("directions", 1.5), ("step", 0), ("step", float("nan"))]
)
def test_options_that_are_none(option: str, value: Any) -> None:
    net = sf.load(small_model(), preprocess="none")
    with pytest.raises(InputError, match=option):
        sf.check_gradient(net, sf.Class(1), **{option: value})


def test_a_large_value_widens_the_step_rather_than_drown_in_rounding() -> None:
    net = network(
        [node("Mul", "x small", "a"), node("Exp", "a", "e"), node("Add", "e large", "y")],
        small=np.float32(1e-2),
        large=np.float32(1e2),
    )
    assert sf.check_gradient(net, sf.Channel("y", 0), precision="double") < 1e-5


def test_a_value_that_bends_within_the_step_is_checked_over_a_shorter_one() -> None:
    net = network([node("Mul", "x steep", "m"), node("Sin", "m", "y")], steep=np.float32(3e6))
    assert sf.check_gradient(net, sf.Neuron("y", 0, 1, 1), precision="double") < 1e-4
    assert sf.check_gradient(net, sf.Neuron("y", 0, 1, 1), precision="double", step=1e-7) > 1e-3
    register("Sin")(lambda step, i: step.g * step.op("Cos", step.x[0]) * 1.01)
    assert sf.check_gradient(net, sf.Neuron("y", 0, 1, 1), precision="double") > 5e-3


def test_a_gradient_that_is_rounding_alone_is_none() -> None:
    """The mean of a plane that is normalised is its bias, whatever the image."""
    net = network([node("InstanceNormalization", "x s b", "y")], s=normal(3), b=normal(3, seed=1))
    with pytest.raises(GradientError, match="too small beside the value for differences"):
        sf.check_gradient(net, sf.Channel("y", 0), precision="double")
    assert sf.check_gradient(net, sf.Neuron("y", 0, 2, 2), precision="double") < 1e-6


def test_a_step_within_the_rounding_of_the_value_is_refused() -> None:
    net = network([node("Mul", "x x", "y")])
    with pytest.raises(GradientError, match="for differences over 1e-300 to show"):
        sf.check_gradient(net, sf.Channel("y", 0), step=1e-300)


def test_a_softmax_that_is_sure_has_a_gradient_that_no_difference_shows() -> None:
    net = network([node("Mul", "x steep", "m"), node("Softmax", "m", "y", axis=1)], steep=np.float32(100))
    u = np.tile(np.array([0.1, 0.3, 0.9], np.float32)[:, None, None], (1, 8, 8))
    assert np.abs(sf.value_and_grad(net, sf.Channel("y", 2))(u)[1]).max() > 0
    with pytest.raises(GradientError, match="too small beside the value"):
        sf.check_gradient(net, sf.Channel("y", 2), u)


KINDS_OF_INPUT = [
    *(f"channels {layout}" for layout in layouts.ORDERS),
    *("latent", "uint8", "uint8, channels last", "a second picture"),
]


@pytest.mark.parametrize("kind", KINDS_OF_INPUT)
@pytest.mark.filterwarnings("ignore::sobolevflow.errors.ChangedWarning")
def test_networks_whose_input_is_not_the_plain_image(kind: str) -> None:
    objective: Objective = sf.Class(1)
    if kind.startswith("channels"):
        net = sf.load(layouts.network(kind.split()[1]), preprocess="none")
        objective = sf.Class(1) + 0.5 * sf.Channel("map", [2, 4]) + sf.Diversity("map")
    elif kind == "latent":
        net = sf.compose(generator(), small_model(), preprocess="torch")
    elif kind.startswith("uint8"):
        net = sf.load(plain(last="last" in kind))
    else:
        net = sf.load(siamese(), inputs={"b": sf.Image(photos()[1])}, preprocess="torch")
    u = np.random.default_rng(0).random((2, *net.input_shape)).astype(np.float32)
    assert max(both(net, objective, u)) < 1e-6


def test_operators_that_give_single_precision_unless_they_say_so() -> None:
    """Constants that PyTorch's exporter makes for shifted windows are ConstantOfShape, and compared."""
    nodes = [
        node("ConstantOfShape", "shape", "zeros"),
        node("Equal", "zeros nought", "same"),
        node("HannWindow", "eight", "window"),
        node("Where", "same window nought", "w"),
        node("Mul", "x w", "y"),
    ]
    known = {"shape": np.array([8, 8]), "eight": np.array(8), "nought": np.float32(0)}
    assert max(both(network(nodes, **known), sf.Layer("y"))) < 1e-6


def test_files_in_double_and_half_precision(tmp_path: Path) -> None:
    for kind in (TensorProto.FLOAT16, TensorProto.DOUBLE):
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        known = {"w": normal(192, 4).astype(dtype) / 10, "b": normal(4).astype(dtype)}
        nodes = [node("Flatten", "x", "f"), node("Gemm", "f w b", "g"), node("Tanh", "g", "y")]
        model = make_model(nodes, {"x": ((1, *SIZE), kind)}, ["y"], known, opset=17)
        assert max(both(sf.load(model, preprocess="none"), sf.Layer("y"))) < 1e-4
