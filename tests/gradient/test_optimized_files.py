"""Files that onnxruntime saves after its optimisation, at each of its levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import UnsupportedOpError
from tests.support.gradient_cases import close, make_model, node

LEVELS = onnxruntime.GraphOptimizationLevel
SHAPE = (3, 8, 8)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def residual() -> onnx.ModelProto:
    """Convolutions with every activation that is fused into one, and a sum that is as well."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", "x w0 b0", "c0", **same),
        node("Relu", "c0", "r0"),
        node("Conv", "r0 w1 b1", "c1", **same),
        node("Add", "c1 r0", "s1"),
        node("LeakyRelu", "s1", "r1", alpha=0.1),
        node("Conv", "r1 w2", "c2", **same),
        node("Clip", "c2 low high", "r2"),
        node("Conv", "r2 w3", "c3", **same),
        node("HardSigmoid", "c3", "r3"),
        node("Conv", "r3 w4", "c4", **same),
        node("Tanh", "c4", "r4"),
        node("GlobalAveragePool", "r4", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f w5 b5", "g"),
        node("Relu", "g", "y"),
    ]
    constants = {"w0": drawn(0, 8, 3, 3, 3), "b0": drawn(1, 8), "b1": drawn(2, 8), "w5": drawn(7, 8, 5)}
    constants |= {f"w{k}": drawn(2 + k, 8, 8, 3, 3) for k in range(1, 5)}
    constants |= {"b5": drawn(8, 5) + 1, "low": number(0), "high": number(6)}
    return make_model(nodes, {"x": ((1, *SHAPE), TensorProto.FLOAT)}, ["y"], constants, opset=13)


def transformer() -> onnx.ModelProto:
    """Patches, attention, Gelu as exporters write it, layer normalisation of sums."""
    nodes = [
        node("Conv", "x w0 b0", "patches", strides=[2, 2], kernel_shape=[2, 2]),
        node("Reshape", "patches to_rows", "rows"),
        node("Transpose", "rows", "tokens", perm=[0, 2, 1]),
        node("MatMul", "tokens wq", "q"),
        node("MatMul", "tokens wk", "k"),
        node("MatMul", "tokens wv", "v"),
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "scores"),
        node("Mul", "scores scale", "scaled"),
        node("Softmax", "scaled", "weights", axis=-1),
        node("MatMul", "weights v", "mixed"),
        node("MatMul", "mixed wo", "out"),
        node("Add", "out bo", "shifted"),
        node("Add", "tokens shifted", "sum"),
        node("LayerNormalization", "sum gamma beta", "normal", axis=-1),
        node("MatMul", "normal w1", "wide"),
        node("Add", "b1 wide", "wider"),
        node("Div", "wider root", "u"),
        node("Erf", "u", "e"),
        node("Add", "e one", "e1"),
        node("Mul", "wider e1", "m"),
        node("Mul", "m half", "gelu"),
        node("MatMul", "gelu w2", "y"),
    ]
    constants: dict[str, np.ndarray] = {f"w{k}": drawn(i, 8, 8) for i, k in enumerate("qkvo")}
    constants |= {"w0": drawn(5, 8, 3, 2, 2), "b0": drawn(6, 8), "bo": drawn(7, 8), "w1": drawn(8, 8, 16)}
    constants |= {"b1": drawn(9, 16), "w2": drawn(10, 16, 4), "gamma": 1 + drawn(11, 8), "beta": drawn(12, 8)}
    constants |= {"to_rows": np.array([0, 8, -1]), "scale": number(8**-0.5), "one": number(1)}
    constants |= {"root": number(2**0.5), "half": number(0.5)}
    return make_model(nodes, {"x": ((1, *SHAPE), TensorProto.FLOAT)}, ["y"], constants, opset=17)


NETWORKS = {"residual": residual, "transformer": transformer}


def saved(model: onnx.ModelProto, level: str, folder: Path) -> Path:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(LEVELS, level)
    options.optimized_model_filepath = str(folder / f"{level}.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return folder / f"{level}.onnx"


def gradient(source: Path | onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
    net = sf.load(source, preprocess="none")
    u = np.random.default_rng(20).random((1, *SHAPE), dtype=np.float32)
    values, g = sf.value_and_grad(net, sf.Layer("y"))(u)
    return np.asarray(values), np.asarray(g)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
def test_fused_files_have_the_gradient_of_the_original(network: str, level: str, tmp_path: Path) -> None:
    model = NETWORKS[network]()
    path = saved(model, level, tmp_path)
    fused = {n.op_type for n in onnx.load(path).graph.node if n.domain == "com.microsoft"}
    assert bool(fused) == (level != "ORT_ENABLE_BASIC")
    for found, expected in zip(gradient(path), gradient(model), strict=True):
        close(found, expected, 2e-5)
    assert sf.check_gradient(sf.load(path, preprocess="none"), sf.Layer("y")) < 1e-4


@pytest.mark.parametrize("network", NETWORKS)
def test_files_laid_out_for_a_processor_say_how_to_save_them(network: str, tmp_path: Path) -> None:
    path = saved(NETWORKS[network](), "ORT_ENABLE_ALL", tmp_path)
    if not any(n.domain == "com.microsoft.nchwc" for n in onnx.load(path).graph.node):
        pytest.skip("onnxruntime has no layout of its own on this processor")
    with pytest.raises(
        UnsupportedOpError, match=r"com\.microsoft\.nchwc:Conv .*optimiser.*original file.*ORT_ENABLE_BASIC"
    ):
        gradient(path)


def test_other_operators_of_onnxruntime_are_not_blamed_on_its_optimiser() -> None:
    nodes = [helper.make_node("Trilu", ["x"], ["y"], domain="com.microsoft")]
    model = make_model(nodes, {"x": ((1, *SHAPE), TensorProto.FLOAT)}, ["y"])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(UnsupportedOpError) as error:
        gradient(model)
    assert "optimiser" not in str(error.value)
