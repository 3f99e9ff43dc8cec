"""The whole way: an ONNX model, its gradient on onnxruntime, the descent, the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow.arrays import Array
from sobolevflow.errors import GradientError, InputError, UnknownNameError


@pytest.fixture(scope="module")
def net() -> sf.Network:
    """Two convolutions with ReLU and a linear head; channel 3 of relu1 is always silent."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        fan_in = int(np.prod(shape[1:]))
        values = rng.standard_normal(shape) / np.sqrt(fan_in)
        return numpy_helper.from_array(values.astype(np.float32), name)

    bias = np.array([0, 0.1, 0, -100, 0, 0.1], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["conv1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["conv1"], ["relu1"]),
            helper.make_node("Conv", ["relu1", "w2"], ["conv2"], kernel_shape=[3, 3], strides=[2, 2]),
            helper.make_node("Relu", ["conv2"], ["relu2"]),
            helper.make_node("GlobalAveragePool", ["relu2"], ["pool"]),
            helper.make_node("Flatten", ["pool"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w3"], ["scores"], transB=1),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4])],
        [
            weights("w1", 6, 3, 3, 3),
            numpy_helper.from_array(bias, "b1"),
            weights("w2", 8, 6, 3, 3),
            weights("w3", 4, 8),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return sf.load(model, preprocess="torch", labels=["circle", "square", "star", "ring"], threads=1)


def photograph(seed: int = 0, batch: int = 1) -> Array:
    smooth = sf.filters.Gaussian(sigma=1.5)
    noise = np.random.default_rng(seed).standard_normal((batch, 3, 16, 16), dtype=np.float32)
    image: Array = np.clip(0.5 + smooth(noise), 0, 1)
    return image


@pytest.mark.parametrize(
    "scheme",
    [
        None,
        sf.fluid(sf.filters.Gaussian(size=7)),
        sf.elastic(sf.filters.Sobolev(size=7)),
        sf.proximal_tv(0.01),
        sf.gradient_descent(sf.schemes.SmoothedTV(0.1, 0.05)),
    ],
    ids=["default", "fluid", "elastic", "tv", "explicit"],
)
def test_class_score_rises(net: sf.Network, scheme: sf.schemes.Scheme | None) -> None:
    result = sf.visualize(net, sf.Class("star"), scheme=scheme, steps=60, progress=False)
    assert result.value is not None
    assert (result.value > result.history.value[0] + 0.1).all()
    # The value is the network's own score of the final image.
    np.testing.assert_allclose(net.features(result.u, ["scores"])[0][:, 2], result.value, rtol=1e-4)


def test_every_target_of_a_list_gets_its_image(net: sf.Network) -> None:
    result = sf.visualize(net, sf.Class(["circle", "ring"]), steps=30, progress=False)
    assert result.u.shape[0] == 2
    scores = net.features(result.u, ["scores"])[0]
    start = net.features(np.full((1, 3, 16, 16), 0.5, np.float32), ["scores"])[0][0]
    assert scores[0, 0] > start[0]
    assert scores[1, 3] > start[3]


@pytest.mark.parametrize(
    ("scheme", "left", "apart"),
    [(None, 0.3, 1.0), (sf.fluid(sf.filters.Sobolev(gamma=20.0)), 0.01, 0.25)],
    ids=["default", "fluid"],
)
def test_inversion_reproduces_the_features(
    net: sf.Network, scheme: sf.schemes.Scheme | None, left: float, apart: float
) -> None:
    x = photograph(batch=2)
    result = sf.invert(net, sf.Inversion("relu1", x), scheme=scheme, steps=150, progress=False)
    assert result.value is not None
    assert (result.value < left * result.history.value[0]).all()
    assert result.manifest["parameters"]["schedule"] == "cosine"
    # Few features are lost in relu1: the photographs themselves come back, though by default in colours that
    # are not theirs, since these are no natural ones.
    assert np.abs(result.u - x).mean() < apart * np.abs(0.5 - x).mean()


def test_dead_unit_is_answered_with_its_preactivation(net: sf.Network) -> None:
    with pytest.raises(GradientError, match="conv1"):
        sf.visualize(net, sf.Channel("relu1", 3), steps=3, progress=False)
    result = sf.visualize(net, sf.Channel("conv1", 3), steps=3, jitter=0, rotate=0, zoom=0, progress=False)
    assert result.stopped_by == "steps"
    values = [*result.history.value[:, 0], *(result.value if result.value is not None else ())]
    assert len(values) == 4
    assert (np.diff(values) > 0).all()


def test_canvas_and_octaves_are_larger_than_the_network(net: sf.Network) -> None:
    wide = sf.visualize(net, sf.Class(1), canvas=(20, 40), steps=60, progress=False)
    assert wide.image.shape == (1, 20, 40, 3)
    large = sf.visualize(net, sf.Class(1), octaves=3, steps=60, progress=False)
    assert large.image.shape == (1, 19, 19, 3)
    start = net.features(np.full((1, 3, 16, 16), 0.5, np.float32), ["scores"])[0][0, 1]
    for result in (wide, large):
        assert result.value is not None
        h, w = result.u.shape[-2:]
        # the network looks at the middle in the end, and was shown every part on the way
        middle = result.u[..., (h - 16) // 2 :, (w - 16) // 2 :][..., :16, :16]
        assert net.features(middle, ["scores"])[0][0, 1] == pytest.approx(result.value[0], rel=1e-4)
        for part in (result.u[..., :16, :16], result.u[..., -16:, -16:]):
            assert net.features(part, ["scores"])[0][0, 1] > start + 0.01


def test_same_seed_same_file(net: sf.Network, tmp_path: Path) -> None:
    for name in ("a", "b"):
        sf.visualize(net, sf.Channel("conv2", 5), steps=10, octaves=2, seed=3, progress=False).save(
            tmp_path / f"{name}.png"
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    manifests = [json.loads((tmp_path / f"{name}.manifest.json").read_text()) for name in ("a", "b")]
    for manifest in manifests:
        del manifest["timings"], manifest["written"]
    assert manifests[0] == manifests[1]


def test_manifest_names_the_network_and_the_objective(net: sf.Network, tmp_path: Path) -> None:
    result = sf.visualize(net, sf.Class("star"), steps=2, progress=False)
    assert result.manifest["model"]["sha256"] == net.sha256
    assert result.manifest["objective"]["type"] == "Class"
    assert "star" in result.manifest["objective"]["label"]
    assert result.report(tmp_path / "star.html").stat().st_size > 4000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"device": "tpu"}, UnknownNameError, "no device 'tpu'"),
        ({"canvas": (10, 40)}, InputError, "canvas of 10x40 .* smaller than .* 16x16"),
        ({"batch": -1}, InputError, "batch .*whole number of at least 1"),
        ({"optimizer": "sgd"}, UnknownNameError, "no optimizer 'sgd'"),
        ({"start": np.zeros((3, 8, 8))}, InputError, r"\(3, 8, 8\)"),
    ],
)
def test_wrong_arguments_are_errors_of_the_package(
    net: sf.Network, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sf.visualize(net, sf.Class(0), progress=False, **arguments)  # type: ignore[arg-type]


def test_an_elastic_scheme_whose_tau_fades_says_so() -> None:
    net = sf.load("builtin:shapes-vgg")
    options = {"steps": 12, "schedule": "cosine", "progress": False}
    scheme = sf.elastic(sf.filters.Sobolev(size=11))
    elastic = sf.visualize(net, sf.Class(0), scheme=scheme, **options)  # type: ignore[arg-type]
    fluid = sf.visualize(net, sf.Class(0), scheme=sf.fluid(sf.filters.Sobolev()), **options)  # type: ignore[arg-type]
    assert any("elastic K_e" in note for note in elastic.notes)
    assert not fluid.notes


@pytest.mark.parametrize("kind", [bool, np.float32])
def test_a_mask_keeps_what_it_covers(net: sf.Network, kind: type) -> None:
    photo = photograph()
    mask: Array = np.zeros((16, 16), kind)
    mask[4:12, 5:13] = 1
    result = sf.visualize(net, sf.Class("star"), start=photo, mask=mask, steps=10, progress=False)
    inside = np.asarray(mask, bool)
    np.testing.assert_array_equal(result.u[..., ~inside], photo[..., ~inside])
    assert np.abs(result.u - photo)[..., inside].mean() > 0.01
    assert result.manifest["parameters"]["mask"]["shape"] == [16, 16]


def test_a_mask_of_weights_blends(net: sf.Network) -> None:
    photo = photograph()
    half = np.full((16, 16), 0.5, np.float32)
    scheme = sf.gradient_descent()
    options = {"start": photo, "steps": 1, "jitter": 0, "scheme": scheme, "progress": False, "clip": False}
    whole = sf.visualize(net, sf.Class("star"), **options)  # type: ignore[arg-type]
    blended = sf.visualize(net, sf.Class("star"), mask=half, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(blended.u - photo, (whole.u - photo) / 2, atol=1e-6)


def test_a_mask_grows_with_the_octaves(net: sf.Network) -> None:
    photo = photograph()
    mask = np.zeros((16, 16), np.float32)
    mask[:, :8] = 1
    octaves = [sf.Octave(1.0, 3), sf.Octave(1.5, 3)]
    result = sf.visualize(net, sf.Class(0), start=photo, mask=mask, octaves=octaves, progress=False)
    kept = sf.transforms.Resize((16, 16), (24, 24)).apply(photo)
    np.testing.assert_allclose(result.u[..., 16:], kept[..., 16:].clip(0, 1), atol=0.02)
    assert np.abs(result.u - kept)[..., :8].mean() > 0.005


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((3, 16, 16)), r"\(H, W\)"),
        (np.ones((16, 16), int), "booleans"),
        (np.zeros((16, 16)), "not all of them 0"),
        (np.full((16, 16), 2.0), "from 0 to 1"),
        (np.eye(16) - 0.5, "from 0 to 1"),
        (np.where(np.eye(16), np.nan, 1), "from 0 to 1"),
        (np.ones((8, 16)), r"shape \(8, 16\)"),
    ],
)
def test_a_mask_that_makes_no_sense_is_refused(net: sf.Network, mask: Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sf.visualize(net, sf.Class(0), mask=mask, progress=False)


def test_a_mask_of_pixels_needs_a_descent_of_pixels(net: sf.Network) -> None:
    with pytest.raises(InputError, match="mask keeps pixels, but the descent is in other coordinates"):
        sf.visualize(net, sf.Class(0), mask=np.ones((16, 16)), parametrization=sf.Fourier(), progress=False)
