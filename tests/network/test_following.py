"""Layouts followed through operators, one by one and through whole networks."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from sobolevflow.network import Network, load
from tests.support.gradient_cases import make_model
from tests.support.layouts import feature_maps
from tests.support.paths import SHARED_MODELS as MODELS

node = helper.make_node
CONSTANTS: dict[str, Any] = {
    "w": np.ones((8, 3, 2, 2), np.float32),
    "v": np.ones((8, 8), np.float32),
    "wide": np.ones((8, 24), np.float32),
    "mix": np.ones((20, 10), np.float32),
    "rows": np.ones((10, 20), np.float32),
    "scale": np.ones(8, np.float32),
    "zero": np.zeros(8, np.float32),
    "class": np.ones((1, 1, 8), np.float32),
    "to_nc_t": np.array([0, 8, -1]),
    "to_heads": np.array([0, -1, 2, 4]),
    "to_packed": np.array([0, -1, 3, 2, 4]),
    "to_tokens": np.array([0, -1, 8]),
    "to_map": np.array([0, 4, 5, 8]),
    "to_rows": np.array([-1, 8]),
    "groups": np.array([0, 2, -1]),
    "two": np.ones(2, np.float32),
    "nought": np.zeros(2, np.float32),
    "first": np.array(0),
    "some": np.array([0, 2]),
    "one": np.array([1]),
    "three": np.array([3]),
    "end": np.array([99]),
    "sizes": np.array([1, 8, 8, 10]),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
}


def built(*nodes: NodeProto, opset: int = 17) -> Network:
    """A network behind (N, 3, 8, 10): "map" (N, 8, 4, 5), "last" (N, 4, 5, 8), "tokens" (N, 20, 8)."""
    before = [
        node("Conv", ["x", "w"], ["map"], strides=[2, 2]),
        node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]),
        node("Reshape", ["last", "to_tokens"], ["tokens"]),
    ]
    used = {name for each in (*before, *nodes) for name in each.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in used}
    model = make_model(
        [*before, *nodes],
        {"x": ((1, 3, 8, 10), TensorProto.FLOAT)},
        [nodes[-1].output[0]],
        constants,
        opset=opset,
    )
    if any(each.domain for each in nodes):
        model.opset_import.add(domain="com.microsoft", version=1)
    return load(model)


@pytest.mark.parametrize(
    ("nodes", "meanings"),
    [
        ([node("Relu", ["last"], ["y"])], "N H W C"),
        ([node("Add", ["last", "scale"], ["y"])], "N H W C"),
        ([node("MaxPool", ["map"], ["y"], kernel_shape=[2, 2])], "N C H W"),
        ([node("Resize", ["map", "", "", "sizes"], ["y"])], "N C H W"),
        ([node("Pad", ["map", "pads"], ["y"])], "N C H W"),
        ([node("DepthToSpace", ["map"], ["y"], blocksize=2)], "N C H W"),
        ([node("GlobalAveragePool", ["map"], ["y"])], "N C H W"),
        ([node("Flatten", ["last"], ["y"])], "N HWC"),
        ([node("ReduceMean", ["last"], ["y"], axes=[1, 2], keepdims=0)], "N C"),
        ([node("ReduceMean", ["last"], ["y"], axes=[-1], keepdims=1)], "N H W C"),
        ([node("ReduceMean", ["last"], ["y"], axes=[1], keepdims=0)], "N W C"),
        ([node("ArgMax", ["last"], ["i"], axis=3, keepdims=0), node("Cast", ["i"], ["y"], to=1)], "N H W"),
        ([node("Unsqueeze", ["tokens", "one"], ["y"])], "N  HW C"),
        ([node("Unsqueeze", ["tokens", "one"], ["u"]), node("Squeeze", ["u", "one"], ["y"])], "N HW C"),
        ([node("Concat", ["class", "tokens"], ["y"], axis=1)], "N P C"),
        ([node("Concat", ["last", "last"], ["y"], axis=3)], "N H W C"),
        (
            [
                node("Concat", ["class", "tokens"], ["t"], axis=1),
                node("Slice", ["t", "one", "end", "one"], ["s"]),
                node("Reshape", ["s", "to_map"], ["y"]),
            ],
            "N P P C",
        ),
        ([node("Gather", ["tokens", "first"], ["y"], axis=1)], "N C"),
        ([node("Gather", ["tokens", "some"], ["y"], axis=1)], "N P C"),
        ([node("MatMul", ["last", "v"], ["y"])], "N H W C"),
        ([node("MatMul", ["tokens", "wide"], ["y"])], "N HW C"),
        ([node("Reshape", ["last", "to_rows"], ["r"]), node("Gemm", ["r", "wide"], ["y"])], "NHW C"),
        (
            [node("Transpose", ["tokens"], ["t"], perm=[0, 2, 1]), node("MatMul", ["t", "mix"], ["y"])],
            "N C M",
        ),
        ([node("MatMul", ["rows", "tokens"], ["y"])], "N M C"),
        ([node("LayerNormalization", ["tokens", "scale"], ["y"])], "N HW C"),
        ([node("Einsum", ["last", "wide"], ["y"], equation="nhwc,cd->nhwd")], "N H W C"),
        ([node("Einsum", ["tokens", "tokens"], ["y"], equation="nic,njc->nij")], "N HW HW"),
        ([node("Reshape", ["map", "groups"], ["g"]), node("Relu", ["g"], ["y"])], "N C CHW"),
        (
            [
                node("Reshape", ["map", "groups"], ["g"]),
                node("InstanceNormalization", ["g", "two", "nought"], ["i"]),
                node("Reshape", ["i", "back"], ["y"]),
            ],
            "N C H W",
        ),
        (
            [
                node("Transpose", ["tokens"], ["t"], perm=[1, 0, 2]),
                node("Relu", ["t"], ["y"]),
            ],
            "HW N C",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(each.op_type for each in v),
)
def test_an_operator_keeps_or_moves_the_axes(nodes: list[NodeProto], meanings: str) -> None:
    CONSTANTS["back"] = np.array([0, 8, 4, 5])
    net = built(*nodes)
    found = net.places.in_file["y"]
    assert found.meanings == tuple(meanings.split(" "))
    assert [int(np.prod([n for _, n in axis])) for axis in found.axes] == list(net.places.types["y"].shape)


CONSTANTS.update(
    {
        "filters": np.ones((6, 8, 3, 3), np.float32),
        "turned": np.ones((6, 8), np.float32),
        "of_tokens": np.ones((1, 20, 10), np.float32),
        "bias": np.ones(24, np.float32),
        "q_wide": np.ones((8, 24), np.uint8),
        "step": np.array(0.1, np.float32),
        "q_zero": np.array(0, np.uint8),
        "theta": np.array([0, 2, 3]),
        "to_theta": np.ones((8, 6), np.float32),
        "grid": np.array([1, 2, 4, 5]),
        "lstm": np.ones((1, 24, 8), np.float32),
        "lstm_again": np.ones((1, 24, 6), np.float32),
        "small": np.array([2, 2]),
    }
)
SCALED = ["step", "q_zero"]


def of_ort(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
    """An operator of onnxruntime's own."""
    return node(op, inputs, outputs, domain="com.microsoft", **attributes)


def quantised(layer: str, op: NodeProto) -> list[NodeProto]:
    """Between a QuantizeLinear of a layer, "q", and a DequantizeLinear of "i"."""
    return [
        node("QuantizeLinear", [layer, *SCALED], ["q"]),
        op,
        node("DequantizeLinear", ["i", *SCALED], ["y"]),
    ]


@pytest.mark.parametrize(
    ("nodes", "meanings"),
    [
        ([of_ort("FusedConv", ["map", "filters"], ["y"], activation="Relu")], "N C H W"),
        (
            [
                node("Reshape", ["last", "to_rows"], ["r"]),
                of_ort("FusedGemm", ["r", "wide"], ["y"], activation="Relu"),
            ],
            "NHW C",
        ),
        ([of_ort("FusedMatMul", ["tokens", "wide"], ["y"])], "N HW C"),
        ([of_ort("FusedMatMul", ["tokens", "turned"], ["y"], transB=1)], "N HW C"),
        ([of_ort("FusedMatMul", ["tokens", "of_tokens"], ["y"], transA=1)], "N C M"),
        ([of_ort("FusedMatMul", ["tokens", "tokens"], ["y"], transB=1)], "N HW HW"),
        ([of_ort("FusedMatMul", ["tokens", "tokens"], ["y"], transA=1)], "N C C"),
        ([of_ort("Attention", ["tokens", "wide", "bias"], ["y"], num_heads=2)], "N HW C"),
        ([of_ort("MultiHeadAttention", ["tokens"] * 3, ["y"], num_heads=2)], "N HW C"),
        ([of_ort("SkipLayerNormalization", ["tokens", "tokens", "scale"], ["y"])], "N HW C"),
        ([of_ort("BiasGelu", ["tokens", "scale"], ["y"])], "N HW C"),
        (
            quantised("tokens", node("QLinearMatMul", ["q", *SCALED, "q_wide", *SCALED, *SCALED], ["i"])),
            "N HW C",
        ),
        (
            [
                node("DynamicQuantizeLinear", ["tokens"], ["q", "s", "z"]),
                node("MatMulInteger", ["q", "q_wide", "z"], ["i"]),
                node("Cast", ["i"], ["y"], to=1),
            ],
            "N HW C",
        ),
        (quantised("last", of_ort("NhwcMaxPool", ["q"], ["i"], kernel_shape=[2, 2])), "N H W C"),
        *(
            (
                quantised(
                    layer,
                    of_ort("QLinearGlobalAveragePool", ["q", *SCALED, *SCALED], ["i"], channels_last=last),
                ),
                meanings,
            )
            for layer, last, meanings in (("map", 0, "N C H W"), ("last", 1, "N H W C"))
        ),
        (
            [
                node("Transpose", ["tokens"], ["t"], perm=[1, 0, 2]),
                node("LSTM", ["t", "lstm", "lstm_again"], ["y"], hidden_size=6),
            ],
            "HW  N C",
        ),
        (
            [
                node("Transpose", ["tokens"], ["t"], perm=[1, 0, 2]),
                node("LSTM", ["t", "lstm", "lstm_again"], ["", "y"], hidden_size=6),
            ],
            " N C",
        ),
        (
            [
                node("ReduceMean", ["tokens", "one"], ["pooled"], keepdims=0),
                node("MatMul", ["pooled", "to_theta"], ["six"]),
                node("Reshape", ["six", "theta"], ["affine"]),
                node("AffineGrid", ["affine", "grid"], ["y"]),
            ],
            "N H W C",
        ),
        ([node("CenterCropPad", ["last", "small"], ["y"], axes=[1, 2])], "N H W C"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(each.op_type for each in v),
)
def test_operators_of_other_runtimes_and_opsets(nodes: list[NodeProto], meanings: str) -> None:
    opset = {"AffineGrid": 20, "CenterCropPad": 18}.get(nodes[-1].op_type, 17)
    net = built(*nodes, opset=opset)
    assert net.places.in_file["y"].meanings == tuple(meanings.split(" "))


def test_a_pool_of_channels_that_come_last_tells_where_they_are() -> None:
    CONSTANTS["shape"] = np.array([1, 4, 5, 8])
    lost = [
        node("Flatten", ["map"], ["flat"]),
        node("GatherND", ["flat", "pick"], ["picked"]),
        node("Reshape", ["picked", "shape"], ["lost"]),
    ]
    pool = of_ort("QLinearGlobalAveragePool", ["q", *SCALED, *SCALED], ["i"], channels_last=1)
    net = built(*lost, *quantised("lost", pool))
    assert net.channel_axis("y") == 3
    assert net.places.in_file["y"].meanings[3] == "C"
    assert "lost" not in net.places.in_file or net.places.in_file["lost"].channel_axes != (1,)


@pytest.mark.parametrize("split", [False, True])
def test_one_operator_of_attention(split: bool) -> None:
    """Its output, the keys and values of each head, and the maps of weights, from (N, T, D) or per head."""
    before = [
        node("Reshape", ["tokens", "to_heads_"], ["cut"]),
        node("Transpose", ["cut"], ["heads"], perm=[0, 2, 1, 3]),
    ]
    CONSTANTS["to_heads_"] = np.array([0, 20, 2, 4])
    given = "heads" if split else "tokens"
    numbers: dict[str, Any] = {} if split else {"q_num_heads": 2, "kv_num_heads": 2}
    outputs = ["y", "keys", "values", "maps"]
    net = built(*(before if split else []), node("Attention", [given] * 3, outputs, **numbers), opset=23)
    found = [" ".join(net.places.in_file[name].meanings) for name in outputs]
    assert found == ["N C HW C" if split else "N HW C", "N C HW C", "N C HW C", "N G HW HW"]
    assert feature_maps(net) == {"map": 1, "last": 3}


def test_the_mask_of_a_dropout_is_no_feature_map() -> None:
    net = built(node("Dropout", ["map"], ["kept", "mask"]), node("Relu", ["kept"], ["y"]))
    assert feature_maps(net) == {"map": 1, "last": 3, "kept": 1, "y": 1}
    assert "mask" not in net.places.in_file


def attention() -> Network:
    """A layer of self-attention with two heads of four channels, packed as exporters do."""
    return built(
        node("MatMul", ["tokens", "wide"], ["qkv"]),
        node("Reshape", ["qkv", "to_packed"], ["packed"]),
        node("Transpose", ["packed"], ["parts"], perm=[2, 0, 3, 1, 4]),
        *(node("Gather", ["parts", name], [to], axis=0) for name, to in (("first", "q"), ("one_", "k"))),
        node("Gather", ["parts", "two_"], ["v_"], axis=0),
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["weights"]),
        node("Softmax", ["weights"], ["soft"], axis=-1),
        node("MatMul", ["soft", "v_"], ["heads"]),
        node("Transpose", ["heads"], ["together"], perm=[0, 2, 1, 3]),
        node("Reshape", ["together", "to_tokens"], ["attended"]),
        node("Add", ["attended", "tokens"], ["sum"]),
        node("Reshape", ["sum", "to_map"], ["grid"]),
    )


def test_attention_has_heads_and_gives_back_channels() -> None:
    CONSTANTS.update({"one_": np.array(1), "two_": np.array(2)})
    net = attention()
    known = {name: " ".join(net.places.in_file[name].meanings) for name in net.places.in_file}
    assert known["qkv"] == "N HW C"
    assert known["q"] == known["k"] == "N C HW C"
    assert known["weights"] == known["soft"] == "N G HW HW"
    assert known["heads"] == "N C HW C"
    assert known["attended"] == known["sum"] == "N HW C"
    assert net.places.in_file["weights"].channel_axes == ()
    assert [net.channel_axis(name) for name in ("packed", "q", "weights", "attended", "grid")] == [
        2,
        1,
        1,
        2,
        3,
    ]
    assert feature_maps(net) == {"map": 1, "last": 3, "grid": 3}


@pytest.mark.parametrize(("rank", "meanings"), [(3, "N C W"), (4, "N C H W"), (5, "N C D H W")])
def test_a_convolution_makes_channels_of_what_was_lost(rank: int, meanings: str) -> None:
    shape = {3: [1, 4, -1], 4: [1, 4, 10, 4], 5: [1, 4, 5, 4, 2]}[rank]
    CONSTANTS["odd"], CONSTANTS["k"] = np.array([7 * 5, -1]), np.ones((2, 4, *[1] * (rank - 2)), np.float32)
    CONSTANTS["shape"] = np.array(shape)
    net = built(
        node("Flatten", ["map"], ["flat"]),
        node("NonZero", ["flat"], ["where"]),
        node("GatherND", ["flat", "pick"], ["picked"]),
        node("Reshape", ["picked", "shape"], ["lost"]),
        node("Relu", ["lost"], ["before"]),
        node("Conv", ["before", "k"], ["y"]),
    )
    assert " ".join(net.places.in_file["y"].meanings) == meanings
    assert " ".join(net.places.in_file["before"].meanings) == meanings, "what takes axis 1 behind it tells"


CONSTANTS["pick"] = np.stack([np.zeros(160, np.int64), np.arange(160)], axis=1)


def test_weights_make_channels_of_what_was_lost() -> None:
    CONSTANTS["shape"] = np.array([1, 20, 8])
    net = built(
        node("Flatten", ["map"], ["flat"]),
        node("GatherND", ["flat", "pick"], ["picked"]),
        node("Reshape", ["picked", "shape"], ["lost"]),
        node("MatMul", ["lost", "v"], ["y"]),
    )
    assert net.places.in_file.get("lost") is None or not net.places.in_file["lost"].channel_axes
    assert net.channel_axis("lost") == 1
    assert net.channel_axis("y") == 2


@pytest.mark.parametrize(("last", "axis"), [(False, 1), (True, 3)])
def test_a_generator_draws_maps_out_of_channels(last: bool, axis: int) -> None:
    rng = np.random.default_rng(0)
    constants = {
        "dense": rng.standard_normal((3 * 8 * 10, 6 * 4 * 5)).astype(np.float32),
        "k": rng.standard_normal((2, 6, 1, 1)).astype(np.float32),
        "shape": np.array([0, 4, 5, 6] if last else [0, 6, 4, 5]),
    }
    nodes = [
        node("Flatten", ["x"], ["flat"]),
        node("MatMul", ["flat", "dense"], ["drawn"]),
        node("Reshape", ["drawn", "shape"], ["seed"]),
        node("Relu", ["seed"], ["open"]),
        *([node("Transpose", ["open"], ["there"], perm=[0, 3, 1, 2])] if last else []),
        node("Conv", ["there" if last else "open", "k"], ["y"]),
    ]
    net = load(make_model(nodes, {"x": ((1, 3, 8, 10), TensorProto.FLOAT)}, ["y"], constants, opset=13))
    assert net.channel_axis("seed") == net.channel_axis("open") == axis
    assert feature_maps(net)["y"] == 1


@pytest.mark.skipif(not MODELS.is_dir(), reason="../shared/models is absent")
@pytest.mark.parametrize(
    ("file", "last"),
    [
        ("exporters/deeplab_v3.onnx", {"ResizeBilinear_3"}),
        ("exporters/yolox_nano.onnx", set()),
        ("exporters/ch_mobile_v1.1_det.onnx", set()),
        ("exporters/fns_candy.onnx", set()),
        ("exporters/squeezenet_fp16.onnx", set()),
        ("mobilenet_v2.onnx", set()),
        ("cifar10_densenet40.onnx", set()),
    ],
)
def test_real_networks(file: str, last: set[str]) -> None:
    """Every layer of four axes is channels first, as their convolutions are, but for those named."""
    options: dict[str, Any] = {"input_shape": (96, 96)} if "ch_mobile" in file else {}
    net = load(MODELS / file, **options)
    layers = [info for info in net.layers if info.differentiable and len(info.shape or ()) == 4]
    assert {info.name for info in layers if net.channel_axis(info.name) == 3} == last
    known = [info for info in layers if info.op != "Dropout" or info.name in net.places.in_file]
    assert len(known) >= len(layers) - 1  # the mask of a Dropout
    assert all(len(net.places.in_file[info.name].channel_axes) == 1 for info in known)
    weights = {t.name: t.dims for t in net.model.graph.initializer}
    for each in net.model.graph.node:
        if each.op_type == "Conv" and each.output[0] in net.places.in_file and each.input[1] in weights:
            shape = net.layer(each.output[0]).shape
            assert shape is not None
            assert shape[net.channel_axis(each.output[0])] == weights[each.input[1]][0]


def test_it_takes_little_time() -> None:
    nodes, name = [], "last"
    for k in range(500):
        nodes += [
            node("MatMul", [name, "v"], [f"m{k}"]),
            node("Add", [f"m{k}", "zero"], [f"a{k}"]),
            node("Transpose", [f"a{k}"], [f"f{k}"], perm=[0, 3, 1, 2]),
            node("Transpose", [f"f{k}"], [f"l{k}"], perm=[0, 2, 3, 1]),
        ]
        name = f"l{k}"
    net = built(*nodes)
    assert net.layers
    times = []
    for _ in range(3):
        start = time.process_time()
        assert net.channel_axis(name) == 3
        times.append(time.process_time() - start)
        del net.places.layouts, net.places.in_file
    assert min(times) < 0.2, "50 ms are measured on an idle machine"
