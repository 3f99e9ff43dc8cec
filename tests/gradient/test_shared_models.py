"""Real networks, as other people's exporters wrote them. They are kept outside the repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest

from sobolevflow.errors import ModelError
from sobolevflow.gradient.check import check_gradient
from sobolevflow.gradient.function import value_and_grad
from sobolevflow.network import Network, load
from sobolevflow.objectives import Objective
from sobolevflow.objectives.inversion import Inversion
from sobolevflow.objectives.units import Channel, Class, Layer, Neuron
from sobolevflow.onnxgrad import as_loaded, read_model
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import Case, check, close
from tests.support.paths import SHARED_MODELS as MODELS

pytestmark = pytest.mark.skipif(
    not MODELS.is_dir(), reason=f"the networks for evaluation are not there: {MODELS} does not exist"
)


@dataclass(frozen=True)
class Real:
    """A file, how it wants its images, and objectives at which to check its gradient."""

    file: str
    objectives: Sequence[Objective]
    options: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None
    # float32 may take the other side of a kink that lies within rounding; then only float64 tells
    single: float | None = 1e-4

    def load(self) -> Network:
        return load(MODELS / self.file, **self.options)


def photo(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Smooth colours with a little noise, in [0, 1]."""
    c, h, w = shape
    rng = np.random.default_rng(seed)
    rows, columns = np.linspace(0, 6, h)[:, None], np.linspace(0, 5, w)[None, :]
    waves = np.stack([np.sin(rows + k) * np.cos(columns - k) for k in range(c)])
    return np.clip(0.5 + 0.3 * waves + 0.05 * rng.standard_normal(shape), 0, 1).astype(np.float32)


REAL = {
    "squeezenet1_1": Real("squeezenet1_1.onnx", [Class(7)], {"preprocess": "torch"}, 1000),
    "mobilenet_v2": Real("mobilenet_v2.onnx", [Class(7)], {"preprocess": "tf", "background": 1}, 1001, None),
    "cifar10_resnet20": Real("cifar10_resnet20.onnx", [Class(3)], {"preprocess": "torch"}, 10),
    "cifar10_densenet40": Real("cifar10_densenet40.onnx", [Class(3)], {"preprocess": {"scale": 255}}, 10),
    "mnist": Real("exporters/mnist.onnx", [Class(5), Neuron("Plus30_Output_0", 2)], {}, 10),
    "squeezenet_fp16": Real(
        "exporters/squeezenet_fp16.onnx", [Channel("fire5/expand1x1_1", 9)], {"preprocess": "caffe"}, 1000
    ),
    "yolox_nano": Real("exporters/yolox_nano.onnx", [Channel("1207", 3)], {"preprocess": {"scale": 255}}),
    "deeplab_v3": Real(
        "exporters/deeplab_v3.onnx", [Channel("ResizeBilinear_3", 15, axis=-1)], {"preprocess": "tf"}
    ),
    "ch_mobile_v1.1_det": Real(
        "exporters/ch_mobile_v1.1_det.onnx",
        [Channel("nearest_interp_0.tmp_0", 3)],
        {"preprocess": "torch", "input_shape": (160, 160)},
        single=None,
    ),
    "cifar10_imageclassifier": Real("exporters/cifar10_imageclassifier.onnx", [Class(2)], {}, 10),
}


@pytest.mark.parametrize("name", REAL)
def test_the_gradient_is_right(name: str) -> None:
    real = REAL[name]
    net = real.load()
    u = photo(net.input_shape)
    for objective in real.objectives:
        assert check_gradient(net, objective, u, precision="double", directions=1) <= 1e-6
        if real.single is not None:
            assert check_gradient(net, objective, u, directions=0) <= real.single


@pytest.mark.parametrize("name", REAL)
def test_layers_have_the_values_of_the_original_model(name: str) -> None:
    net = REAL[name].load()
    u = photo(net.input_shape)[None]
    usable = [info for info in net.layers if info.differentiable]
    layers = list({info.name: None for info in (usable[len(usable) // 3], usable[-1])})
    found = net.features(u, layers)
    matrix, bias = net.preprocess.matrix_and_bias(net.input_shape[0])
    x = np.einsum("dc,nchw->ndhw", matrix, u) + bias[:, None, None]
    x = x.transpose(0, 2, 3, 1) if net.channels_last else x
    model = as_loaded(read_model(MODELS / REAL[name].file))
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in layers)
    half = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    feeds = {net.input_name: x.astype(np.float16 if half else np.float32)}
    for y, expected in zip(found, session(model).run(None, feeds), strict=True):
        close(y, expected.astype(np.float32), 2e-2 if half else 2e-4)


@pytest.mark.parametrize("name", [name for name, real in REAL.items() if real.classes])
def test_the_class_scores_are_found(name: str) -> None:
    net = REAL[name].load()
    assert net.classes == REAL[name].classes
    assert net.scores(photo(net.input_shape)).shape == (1, net.classes)


def test_every_layer_of_a_real_network_can_be_visualized() -> None:
    net = REAL["cifar10_resnet20"].load()
    u = photo(net.input_shape)
    for info in net.layers:
        _, gradient = value_and_grad(net, Layer(info.name))(u)
        assert gradient.any(), info.name


def test_inversion_of_a_real_layer() -> None:
    net = REAL["cifar10_densenet40"].load()
    objective = Inversion("concat_0_3", photo(net.input_shape, seed=1))
    assert check_gradient(net, objective, photo(net.input_shape), precision="double", directions=1) <= 1e-6


def test_a_style_network_with_legacy_operators_at_a_size_that_can_be_checked() -> None:
    # its own 720 x 720, written into it behind the residual blocks, is checked below in single precision
    model = read_model(MODELS / "exporters" / "fns_candy.onnx")
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="Sequential_53"))
    x = 255 * photo((3, 41, 42))[None]
    check(Case("fns_candy", model, {model.graph.input[0].name: x}, 1e-6))


def test_a_file_that_cannot_run_is_refused_by_its_operators() -> None:
    with pytest.raises(ModelError, match=r"pcb_aoi: .*opset 1.*LegacyPadding") as error:
        load(MODELS / "exporters" / "pcb_aoi.onnx")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_gradient_of_the_whole_style_network_is_right() -> None:
    net = load(MODELS / "exporters" / "fns_candy.onnx", preprocess={"scale": 255})
    assert check_gradient(net, Layer("outputImage"), directions=0) <= 1e-4
