"""The error of an autoencoder against NumPy, its gradient through both sides against differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.cli.main import main
from sobolevflow.errors import InputError, UnknownNameError
from tests.support.autoencoders import SIZE, autoencoder, reconstructed
from tests.support.small_networks import images, small_model

MEAN, STD = (0.2, 0.4, 0.7), (0.3, 0.5, 0.25)
PREPROCESS: dict[str, dict[str, Any]] = {
    "none": {},
    "rgb": {"mean": MEAN, "std": STD},
    "bgr": {"scale": 2.0, "mean": MEAN, "std": STD, "order": "bgr"},
}
U = images(2, seed=6, size=SIZE)


def as_input(u: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """x (N, C, H, W) by hand."""
    if not how:
        return u.astype(np.float64)
    mean, std = (np.array(how[k]).reshape(3, 1, 1) for k in ("mean", "std"))
    turned = u[:, ::-1] if how.get("order") == "bgr" else u
    return np.asarray((turned * how.get("scale", 1.0) - mean) / std)


@pytest.mark.parametrize("of", ["input", "image"])
@pytest.mark.parametrize("how", PREPROCESS)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("flat", [False, True], ids=["maps", "flat"])
def test_value_and_gradient_are_those_of_the_formula(how: str, last: bool, flat: bool, of: Any) -> None:
    net = sf.load(autoencoder(last=last, flat=flat), preprocess=PREPROCESS[how])
    objective = sf.Reconstruction(of=of)
    values, gradient = sf.value_and_grad(net, objective)(U)
    x = as_input(U, PREPROCESS[how])
    target = U.astype(np.float64) if of == "image" else x
    if last:
        x, target = (a.transpose(0, 2, 3, 1) for a in (x, target))
    expected = ((reconstructed(x) - target) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert gradient.shape == U.shape
    assert sf.check_gradient(net, objective, U, precision="double", directions=2) < 1e-6
    assert sf.check_gradient(net, objective, U, directions=2) < 1e-4


def test_it_is_asked_for_in_a_layer_of_the_shape_of_the_image_alone() -> None:
    net = sf.load(autoencoder(), preprocess="none")
    objective = sf.Reconstruction("y", of="image")
    assert objective.nearest_at("long", net) == (
        "sf.Reconstruction('long', of='image')",
        "--reconstruction long --of image",
    )
    assert objective.nearest_at("code", net) == ("sf.Layer('code')", "--layer code")


def test_the_gradient_goes_through_the_image_itself() -> None:
    """A network whose output is 0 wherever it looks: |0 - u|^2 has the gradient 2 u."""
    model = autoencoder()
    for constant in model.graph.initializer:
        if constant.name in ("up", "bias"):
            constant.CopyFrom(_zeros_like(constant))
    values, gradient = sf.value_and_grad(sf.load(model), sf.Reconstruction())(U)
    np.testing.assert_allclose(values, (U.astype(np.float64) ** 2).sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * U, atol=1e-6)


def _zeros_like(constant: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(constant)), constant.name)


def test_it_is_minimised_unless_told_otherwise() -> None:
    net = sf.load(autoencoder())
    given: dict[str, Any] = {"scheme": sf.gradient_descent(), "steps": 30, "jitter": 0, "progress": False}
    down = sf.visualize(net, sf.Reconstruction(), start=U, batch=2, **given)
    up = sf.visualize(net, sf.objectives.maximize(sf.Reconstruction()), start=U, batch=2, **given)
    before, _ = sf.value_and_grad(net, sf.Reconstruction())(U)
    assert down.value is not None
    assert up.value is not None
    assert (down.value < 0.7 * before).all()
    assert (up.value > 1.2 * before).all()
    assert down.manifest["objective"]["maximize"] is False


def test_any_layer_can_be_the_reconstruction() -> None:
    net = sf.load(autoencoder())
    by_name, flat = sf.Reconstruction("y"), sf.Reconstruction("long")
    evaluated = [sf.value_and_grad(net, o)(U) for o in (sf.Reconstruction(), by_name, flat)]
    for values, gradient in evaluated[1:]:
        np.testing.assert_allclose(values, evaluated[0][0], rtol=1e-6)
        np.testing.assert_allclose(gradient, evaluated[0][1], atol=1e-5)
    assert (str(sf.Reconstruction()), str(by_name)) == ("reconstruction error", "reconstruction error of y")
    assert json.loads(json.dumps(by_name.to_dict())) == {
        "type": "Reconstruction",
        "layer": "y",
        "of": "input",
    }


def test_it_adds_to_other_objectives() -> None:
    net = sf.load(autoencoder(), preprocess=PREPROCESS["rgb"])
    parts = [sf.Reconstruction(), sf.Layer("bounded")]
    (first, g), (second, h) = (sf.value_and_grad(net, part)(U) for part in parts)
    values, gradient = sf.value_and_grad(net, 2 * parts[0] - 3 * parts[1])(U)
    np.testing.assert_allclose(values, 2 * first - 3 * second, rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * g - 3 * h, atol=1e-5 * np.abs(g).max())


def test_a_map_of_the_error_is_where_the_error_is() -> None:
    net = sf.load(autoencoder())
    photo = U[:1].copy()
    photo[0, :, 1, 2] = 1.0
    expected = np.abs(sf.value_and_grad(net, sf.Reconstruction())(photo)[1]).max(axis=1)
    maps = sf.attribution.saliency(net, sf.Reconstruction(), photo)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_a_network_that_reproduces_no_image_is_refused() -> None:
    net = sf.load(small_model())
    with pytest.raises(InputError, match=r"'prob' of shape \(1, 6\) is no reconstruction .* \(1, 3, 8, 10\)"):
        sf.value_and_grad(net, sf.Reconstruction())(images())
    with pytest.raises(InputError, match=r"'conv1' of shape .* is no reconstruction of the image"):
        sf.value_and_grad(net, sf.Reconstruction("conv1"))(images())
    with pytest.raises(UnknownNameError, match="no layer 'decoded'"):
        sf.value_and_grad(net, sf.Reconstruction("decoded"))(images())
    with pytest.raises(UnknownNameError, match="of is 'picture'; known are 'input', 'image'"):
        sf.Reconstruction(of="picture")  # type: ignore[arg-type]


def test_an_output_in_another_unit_than_the_input_is_noted() -> None:
    net = sf.load(autoencoder(squash=True), preprocess=PREPROCESS["rgb"])
    (note,) = sf.Reconstruction().notes(net)
    assert "lies in [0, 1], behind a sigmoid" in note
    assert "from -2.8 to 2.67" in note
    assert 'say of="image" (--of image)' in note
    assert sf.Reconstruction(of="image").notes(net) == []
    assert sf.Reconstruction().notes(sf.load(autoencoder(squash=True))) == []
    assert sf.Reconstruction().notes(sf.load(autoencoder(), preprocess=PREPROCESS["rgb"])) == []
    values, _ = sf.value_and_grad(net, sf.Reconstruction(of="image"))(U)
    expected = (reconstructed(as_input(U, PREPROCESS["rgb"]), squash=True) - U) ** 2
    np.testing.assert_allclose(values, expected.sum(axis=(1, 2, 3)), rtol=1e-5)


def test_the_command_line_offers_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, photo = tmp_path / "m.onnx", tmp_path / "photo.png"
    model.write_bytes(autoencoder().SerializeToString())
    Image.fromarray((255 * U[0].transpose(1, 2, 0)).astype(np.uint8)).save(photo)
    out = ["--preprocess", "none", "--json", "-o", str(tmp_path / "map.png")]
    asked = ["attribute", str(model), str(photo), "--method", "saliency", "--reconstruction"]
    assert main([*asked, "output", *out]) == 0
    assert json.loads(capsys.readouterr().out)["objective"]["layer"] is None
    assert main([*asked, "y", "--of", "image", *out]) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == sf.Reconstruction("y", "image").to_dict()
    visualize = ["visualize", str(model), "--reconstruction", "output", "--steps", "3", *out]
    assert main(visualize) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 3


def test_its_gradient_is_a_model_of_its_own() -> None:
    import onnxruntime as ort

    net = sf.load(autoencoder(last=True), preprocess=PREPROCESS["bgr"])
    model = sf.gradient_model(net, sf.Reconstruction(), batch=2)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    value, gradient = session.run(None, {"image": U})
    expected = sf.value_and_grad(net, sf.Reconstruction())(U)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-5)
