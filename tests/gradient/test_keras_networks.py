"""Networks of Keras, channels last, as tf2onnx writes them, against TensorFlow's own gradient."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

import sobolevflow as sf
from sobolevflow.errors import InputError, ModelError, UnknownNameError
from sobolevflow.experiments.layer_names import find_layer
from sobolevflow.gradient.engine import Engine
from sobolevflow.gradient.model import gradient_graph
from sobolevflow.models import export
from sobolevflow.objectives import runtime_parameters
from sobolevflow.onnxgrad import IMAGE
from sobolevflow.onnxgrad.float64 import evaluate

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf: Any = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
keras: Any = pytest.importorskip("keras", reason="keras is not installed")
tf2onnx: Any = pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")

SIZE, CLASS, IMAGES = 96, 3, 3
# What each network wants of an image in [0, 1], as scale and shift; exact numbers, for double precision.
NETWORKS: dict[str, tuple[float, float]] = {
    "MobileNetV2": (2, -1),
    "MobileNetV3Small": (255, 0),
    "EfficientNetB0": (255, 0),
    "DenseNet121": (2, -1),
    "Xception": (2, -1),
}


@pytest.fixture(autouse=True)
def _single_precision_after_all() -> Iterator[None]:
    yield
    keras.config.set_floatx("float32")


def build(name: str, dtype: str) -> Any:
    keras.backend.clear_session()
    keras.config.set_floatx(dtype)
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(SIZE, SIZE, 3), classes=10, classifier_activation=None)


def calibrate(network: Any, x: np.ndarray) -> None:
    """Give batch normalization the statistics of `x`, and change them a little."""
    rng = np.random.default_rng(2)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    for layer in norms:
        layer.momentum = 0.0
    network(tf.constant(x), training=True)
    for layer in norms:
        *scales, mean, variance = layer.get_weights()
        # a channel that hardly varies over so few samples would blow up all rounding behind it
        variance = np.maximum(variance, 0.2 * variance.mean())
        mean = mean + 0.1 * np.sqrt(variance) * rng.standard_normal(mean.shape).astype(np.float32)
        scales = [s + 0.1 * rng.standard_normal(s.shape).astype(np.float32) for s in scales]
        layer.set_weights([*scales, mean, variance])


def to_onnx(network: Any, dtype: str) -> onnx.ModelProto:
    signature = (tf.TensorSpec((None, SIZE, SIZE, 3), dtype, name="image_input"),)
    function = tf.function(lambda x: network(x, training=False), input_signature=signature)
    model: onnx.ModelProto = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)[0]
    return model


def gradient_of(network: Any, u: np.ndarray, dtype: str, scale: float, shift: float) -> np.ndarray:
    """TensorFlow's gradient with respect to u, shape (N, C, H, W)."""
    image = tf.constant(u.transpose(0, 2, 3, 1), dtype)
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = network(scale * image + shift, training=False)[0, CLASS]
    return np.asarray(tape.gradient(score, image).numpy().transpose(0, 3, 1, 2), np.float64)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_that_of_tensorflow(name: str) -> None:
    scale, shift = NETWORKS[name]
    rng = np.random.default_rng(1)
    images = rng.random((IMAGES, 1, 3, SIZE, SIZE), np.float32)
    keras.utils.set_random_seed(0)
    single = build(name, "float32")
    calibrate(single, scale * rng.random((4, SIZE, SIZE, 3), np.float32) + np.float32(shift))
    weights, single_model = single.get_weights(), to_onnx(single, "float32")
    theirs = [gradient_of(single, u, "float32", scale, shift) for u in images]
    double = build(name, "float64")
    double.set_weights([w.astype(np.float64) for w in weights])
    expected = [gradient_of(double, u, "float64", scale, shift) for u in images]

    objective, preprocess = sf.Class(CLASS), {"scale": scale, "mean": -shift}
    net = sf.load(to_onnx(double, "float64"), preprocess=preprocess)
    assert net.channels_last
    graph = gradient_graph(net, objective, runtime_parameters(objective, net, 1), 1, dtype=np.float64)
    formula = relative(evaluate(graph)({IMAGE: images[0].astype(np.float64)})[1], expected[0])

    # a rectifier within rounding of its kink may go either way in single precision, which one image in
    # a few meets: the typical image counts
    engine = Engine(sf.load(single_model, preprocess=preprocess), objective)
    ours = np.median([relative(engine(u)[1], g) for u, g in zip(images, expected, strict=True)])
    limit = np.median([relative(g, e) for g, e in zip(theirs, expected, strict=True)])
    print(f"{name}: {formula:.1e} in double, {ours:.1e} in single precision, TensorFlow {limit:.1e}")
    assert formula < 1e-8
    assert ours <= max(3 * limit, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "convention", "layers"),
    [
        ("DenseNet121", 64, "torch", ("conv3_block3_1_bn", "conv5_block12_0_bn")),
        ("ResNet50", 64, "caffe", ()),
        ("MobileNetV2", 96, "tf", ()),
    ],
)
def test_an_export_needs_no_further_options(
    name: str, size: int, convention: str, layers: tuple[str, ...]
) -> None:
    net = sf.load(export.from_keras(name, pretrained=False, size=size))
    matrix, bias = net.preprocess.matrix_and_bias(3)
    expected = sf.Preprocess.named(convention).matrix_and_bias(3)
    np.testing.assert_allclose(matrix, expected[0], rtol=1e-4)
    np.testing.assert_allclose(bias, expected[1], rtol=1e-4, atol=1e-4)

    keras.utils.set_random_seed(0)  # the seed that the exporter draws weights with
    make = getattr(keras.applications, name)
    network = make(weights=None, classifier_activation=None, input_shape=(size, size, 3))
    u = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    x = np.einsum("ij,njhw->nhwi", matrix, u) + bias
    scores = network(x.astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(net.scores(u), scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max())
    for layer in layers:
        inner = keras.Model(network.input, network.get_layer(layer).output)
        theirs = inner(x.astype(np.float32), training=False).numpy()
        (found,) = net.features(u, [find_layer(net, layer)])
        ours = found if found.shape == theirs.shape else np.moveaxis(found, 1, -1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


# --- networks in memory -------------------------------------------------------------------------------


def small(returns: str = "scores") -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((10, 12, 3))
    hidden = keras.layers.Conv2D(4, 3, activation="relu")(image)
    scores = keras.layers.Dense(6)(keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.5)(hidden)))
    outputs = {"scores": scores, "named": {"hidden": hidden, "logits": scores}, "several": [hidden, scores]}
    return keras.Model(image, outputs[returns])


@pytest.mark.parametrize(
    ("returns", "output"), [("scores", None), ("named", "logits"), ("several", 1), ("several", "1")]
)
def test_a_network_in_memory_is_exported(returns: str, output: str | int | None) -> None:
    network = small(returns)
    model = sf.export(network, labels=list("abcdef"), preprocess="tf", output=output)
    net = sf.load(model)
    assert (net.labels, net.input_shape, net.classes) == (list("abcdef"), (3, 10, 12), 6)
    u = np.random.default_rng(0).random((2, 3, 10, 12)).astype(np.float32)
    theirs = network(2 * u.transpose(0, 2, 3, 1) - 1, training=False)
    expected = {"scores": lambda: theirs, "named": lambda: theirs["logits"], "several": lambda: theirs[1]}
    np.testing.assert_allclose(net.scores(u), expected[returns](), rtol=1e-4, atol=1e-5)


def test_what_a_network_in_memory_needs() -> None:
    network = small()
    for example in (None, (10, 12), (10, 12, 3), tf.zeros((1, 10, 12, 3)), np.zeros((10, 12, 3), np.float32)):
        assert sf.load(network, example, preprocess="none").name == "Functional"
    open_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(InputError, match="needs an example"):
        sf.load(open_size)
    assert sf.load(open_size, (9, 9), input_shape=(9, 9)).layers
    with pytest.raises(ModelError, match="does not run on an example"):
        sf.load(network, (10, 12, 4))
    with pytest.raises(UnknownNameError, match="has no output 'logit'"):
        sf.export(small("named"), output="logit")
