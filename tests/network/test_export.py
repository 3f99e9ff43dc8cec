"""Exports of other libraries' networks: names, labels, pre-processing, and the places the paper names."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import sobolevflow as sf
from sobolevflow.errors import InputError, ModelError, RuntimeMissingError, UnknownNameError
from sobolevflow.experiments.cells import Store
from sobolevflow.experiments.descents import Runner
from sobolevflow.experiments.layer_names import find_layer
from sobolevflow.experiments.photographs import find_photographs
from sobolevflow.experiments.published import PUBLISHED
from sobolevflow.models import described, export, modules
from sobolevflow.models.modules import with_module_names
from sobolevflow.models.shapes import draw
from sobolevflow.pictures import write_image
from tests.support.small_networks import LABELS, small_model

# --- without any of the libraries -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "mean", "std", "order"),
    [
        (1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), "bgr"),
        (1.0, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "rgb"),
        (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "rgb"),
        (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "rgb"),
    ],
)
def test_preprocessing_is_found_by_trying_it(
    scale: float, mean: tuple[float, ...], std: tuple[float, ...], order: str
) -> None:
    def theirs(x: np.ndarray) -> np.ndarray:
        x = x[..., ::-1] if order == "bgr" else x
        return np.asarray((x * scale - np.array(mean)) / np.array(std))

    found = sf.Preprocess.of(export.probed(theirs))
    u = np.random.default_rng(0).random((1, 4, 5, 3))
    matrix, bias = found.matrix_and_bias(3)
    np.testing.assert_allclose(u @ matrix.T + bias, theirs(255 * u), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("strange", [lambda x: x**2, lambda x: x @ np.full((3, 3), 0.5)])
def test_other_preprocessing_is_refused(strange: Any) -> None:
    with pytest.raises(InputError, match="scale and shift"):
        export.probed(strange)


def test_a_described_file_needs_no_further_options(tmp_path: Path) -> None:
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    onnx.save(described(small_model(), LABELS, preprocess, "small"), tmp_path / "small.onnx")
    net = sf.load(tmp_path / "small.onnx")
    assert net.labels == LABELS
    assert net.preprocess == sf.Preprocess(1.0, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    unnamed = described(small_model(), None, preprocess, "small")
    assert sf.load(unnamed).labels is None


def test_the_last_tensor_of_a_module_has_its_name() -> None:
    model = small_model()
    places = {
        "conv1": ["", "features", "features.0", "conv2d"],
        "relu1": ["", "features", "features.1", "relu"],
        "conv2": ["", "block", "block.conv", "conv2d_1"],
        "relu2": ["", "block", "relu_1"],
        "prob": ["", "softmax"],
    }
    for node in model.graph.node:
        if node.name in places:
            entry = node.metadata_props.add()
            entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(places[node.name])
    before = sf.load(small_model(), preprocess="none")
    named = sf.load(with_module_names(model), preprocess="none")
    names = {old.name: new.name for old, new in zip(before.layers, named.layers, strict=True)}
    assert names["conv1"] == "features.0"
    assert names["relu1"] == "features.1"  # not "features": the innermost
    assert names["conv2"] == "block.conv"
    assert names["relu2"] == "block"
    assert names["pool1"] == "pool1"
    u = np.random.default_rng(0).random((2, *before.input_shape)).astype(np.float32)
    for old, new in names.items():
        np.testing.assert_array_equal(before.features(u, [old])[0], named.features(u, [new])[0])


def test_the_command_explains_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("vgg19", "jax:vgg19", "timm:"):
        with pytest.raises(SystemExit):
            export.main([wrong, "-o", str(tmp_path / "x.onnx")])
        assert "LIBRARY:NAME" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [ModelError("timm net cannot be exported"), None])
def test_what_goes_wrong_is_said_in_a_line(
    failure: Exception | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def made(name: str, **options: Any) -> onnx.ModelProto:
        if failure is not None:
            raise failure
        return small_model()

    monkeypatch.setitem(export.EXPORTERS, "timm", made)
    target = tmp_path / "absent" / "net.onnx"
    assert export.main(["timm:net", "-o", str(target)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert (str(failure) if failure else str(target)) in said


def test_an_absent_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(RuntimeMissingError, match="pip install torch"):
        export.from_torchvision("vgg19")


# --- with PyTorch -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="needs the extra bench")
    pytest.importorskip("onnxscript", reason="needs the extra bench")
    from tests.support.torch_networks import torchvision_models

    torchvision_models()
    return torch


@contextlib.contextmanager
def hooked(network: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    """What modules return, by name, on every call of the network."""
    found: dict[str, Any] = {}
    parts = dict(network.named_modules())
    hooks = [
        parts[name].register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out.clone()}))
        for name in names
    ]
    yield found
    for hook in hooks:
        hook.remove()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "name", "size", "layers"),
    [
        ("torchvision", "squeezenet1_1", 64, {"features.3.squeeze": None, "features.11": None}),
        pytest.param(
            "torchvision",
            "densenet121",
            64,
            {
                "features.denseblock2.denselayer3.norm2": "conv3_block3_1_bn",
                "features.denseblock4.denselayer12.norm1": "conv5_block12_0_bn",
            },
            marks=pytest.mark.thorough,
        ),
        ("torchvision", "vgg19", 224, {"features.29": "block5_conv1"}),
        pytest.param("timm", "vgg19", 224, {"features.29": "block5_conv1"}, marks=pytest.mark.thorough),
        (
            "timm",
            "densenet121",
            64,
            {
                "features.denseblock2.denselayer3.norm2": "conv3_block3_1_bn",
                "features.denseblock4.denselayer12.norm1": "conv5_block12_0_bn",
            },
        ),
    ],
)
def test_layers_of_an_export_are_what_modules_compute(
    torch: Any, library: str, name: str, size: int, layers: dict[str, str | None]
) -> None:
    pytest.importorskip(library, reason="needs the extra bench")
    kept: list[Any] = []
    monkeypatch = pytest.MonkeyPatch()
    original = export.from_torch

    def keep(network: Any, n: int) -> onnx.ModelProto:
        kept.append(network)
        return original(network, n)

    with monkeypatch.context() as patch:
        patch.setattr(export, "from_torch", keep)
        model = export.EXPORTERS[library](name, pretrained=False, size=size)
    net, network = sf.load(model), kept[0].eval()
    assert net.preprocess.of("torch") == net.preprocess
    assert net.labels is not None
    assert len(net.labels) == net.classes == 1000
    assert net.labels[0].startswith("tench")
    u = np.random.default_rng(0).random((2, 3, size, size)).astype(np.float32)
    matrix, bias = net.preprocess.matrix_and_bias(3)
    x = np.einsum("ij,njhw->nihw", matrix, u) + bias[:, None, None]
    with torch.no_grad(), hooked(network, list(layers)) as theirs:
        scores = network(torch.from_numpy(x.astype(np.float32))).numpy()
    np.testing.assert_allclose(net.scores(u), scores, rtol=1e-3, atol=1e-4)
    for module, called in layers.items():
        layer = module if called is None else find_layer(net, called)
        expected = theirs[module].numpy()
        (found,) = net.features(u, [layer])
        # timm's normalizations rectify as well: what the paper names is in front of that
        found = found.clip(0) if library == "timm" and "norm" in module else found
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_the_command_writes_a_file_that_visualizes(torch: Any, tmp_path: Path) -> None:
    path = tmp_path / "squeezenet.onnx"
    assert export.main(["torchvision:squeezenet1_1", "--random", "--size", "64", "-o", str(path)]) == 0
    net = sf.load(path)
    result = sf.visualize(net, sf.Class("tench"), steps=2, batch=2, progress=False)
    assert result.u.shape == (2, 3, 64, 64)
    assert json.dumps(result.manifest)


@pytest.mark.slow
def test_an_unknown_network_is_named_with_a_guess(torch: Any) -> None:
    with pytest.raises(UnknownNameError, match="'vgg19'"):
        export.from_torchvision("vgg_19", pretrained=False)


# --- modules of PyTorch in memory -----------------------------------------------------------------------

EXPORTERS = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


@pytest.fixture
def make(torch: Any) -> Callable[..., Any]:
    """A small network, in training mode, that returns what it is told to."""
    nn, F = torch.nn, torch.nn.functional

    class Small(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, returned: Callable[..., Any] | None = None) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
            self.layer1 = nn.Sequential(nn.Sequential(nn.Conv2d(4, 5, 3), nn.Dropout(0.5)))
            self.head = nn.Linear(5, 6)
            self.returned = returned

        def forward(self, x: Any) -> Any:
            hidden = self.layer1(self.features(x))
            scores = self.head(F.relu(hidden).mean((2, 3)))
            return self.returned(scores, hidden) if self.returned else scores

    return Small


def theirs(torch: Any, network: Any, x: np.ndarray) -> Any:
    """What a module computes in evaluation mode; it is put back into the mode it was in."""
    with modules.evaluating(network), torch.no_grad():
        return network(torch.from_numpy(x))


@EXPORTERS
def test_a_module_becomes_a_network_with_its_names(
    torch: Any, make: Any, exporter: str, tmp_path: Path
) -> None:
    network = make()
    network.features.eval()  # half of it, as one that is fine-tuned
    before = [part.training for part in network.modules()]
    path = tmp_path / "small.onnx"
    sf.export(network, (9, 11), path, labels=LABELS, preprocess="torch", exporter=exporter)
    assert [part.training for part in network.modules()] == before
    net = sf.load(path)
    assert (net.labels, net.input_shape) == (LABELS, (3, 9, 11))
    u = np.random.default_rng(0).random((4, 3, 9, 11)).astype(np.float32)
    matrix, bias = net.preprocess.matrix_and_bias(3)
    x = (np.einsum("ij,njhw->nihw", matrix, u) + bias[:, None, None]).astype(np.float32)
    layers = ["features.1", "features.2", "layer1.0.0"]
    with hooked(network, layers) as values:
        np.testing.assert_allclose(net.scores(u), theirs(torch, network, x), rtol=1e-4, atol=1e-5)
    for layer in layers:
        (found,) = net.features(u, [layer])
        np.testing.assert_allclose(found, values[layer], rtol=1e-4, atol=1e-5)


@EXPORTERS
@pytest.mark.parametrize(
    ("returned", "output", "channels"),
    [
        (lambda scores, hidden: {"ids": scores.argmax(1), "logits": scores, "hidden": hidden}, None, 6),
        (lambda scores, hidden: {"ids": scores.argmax(1), "logits": scores, "hidden": hidden}, "hidden", 5),
        (lambda scores, hidden: (scores, [hidden]), "1.0", 5),
    ],
    ids=["first floating", "by name", "nested"],
)
def test_one_of_several_outputs(make: Any, exporter: str, returned: Any, output: Any, channels: int) -> None:
    model = sf.export(make(returned), (9, 11), output=output, exporter=exporter)
    net = sf.load(model, preprocess="none")
    (value,) = net.features(np.zeros((1, 3, 9, 11), np.float32), [model.graph.output[0].name])
    assert value.shape[1] == channels
    assert "features.2" in {info.name for info in net.layers}
    assert not any(tensor.name.startswith("inner") for tensor in model.graph.initializer)


def test_a_module_goes_straight_into_load(torch: Any, make: Any) -> None:
    network = make().requires_grad_(True)
    for example in ((9, 11), torch.rand(3, 9, 11, requires_grad=True), np.zeros((2, 3, 9, 11), np.float32)):
        net = sf.load(network, example, labels=LABELS, preprocess="none")
        assert (net.name, net.class_index("king crab")) == ("Small", 1)
    u = np.random.default_rng(0).random((2, 3, 9, 11)).astype(np.float32)
    value, g = sf.value_and_grad(net, sf.Class("king crab"))(u)
    x = torch.from_numpy(u).requires_grad_(True)
    with modules.evaluating(network):
        scores = network(x)[:, 1]
    scores.sum().backward()
    np.testing.assert_allclose(value, scores.detach(), rtol=1e-5)
    np.testing.assert_allclose(g, x.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("around", ["compile", "both"])
def test_what_is_put_around_a_module_is_not_part_of_it(torch: Any, make: Any, around: str) -> None:
    network = make()
    network.head.weight.data += 1.0
    compiled = torch.compile(network)
    wrapped = compiled if around == "compile" else torch.nn.DataParallel(compiled)
    net = sf.load(wrapped, (9, 11), preprocess="none")
    plain = sf.load(network, (9, 11), preprocess="none")
    assert net.name == "Small"
    assert [info.name for info in net.layers] == [info.name for info in plain.layers]
    u = np.random.default_rng(0).random((2, 3, 9, 11)).astype(np.float32)
    np.testing.assert_array_equal(net.scores(u), plain.scores(u))


def test_an_image_by_its_name_as_hugging_face_has_it(torch: Any, make: Any) -> None:
    inner = make()

    class Classifier(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.vit = inner

        def forward(self, input_ids: Any = None, pixel_values: Any = None) -> Any:
            assert input_ids is None
            return {"logits": self.vit(pixel_values)}

    model = sf.export(Classifier(), (9, 11))
    assert model.graph.output[0].name == "logits"
    assert "vit.features.2" in {info.name for info in sf.load(model).layers}


def test_a_module_that_decides_by_values_is_traced_with_a_note(
    torch: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    class Deciding(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3)) if x.sum() > -1e9 else x.amax((2, 3))

    net = sf.load(Deciding(), (9, 11))
    assert any("torch.export cannot follow Deciding" in note for note in net.notes())
    with pytest.raises(ModelError, match="cannot be exported by torch"):
        sf.export(Deciding(), (9, 11), exporter="dynamo")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_traced_modules_and_half_precision(torch: Any, make: Any) -> None:
    network, u = make().eval(), np.random.default_rng(0).random((1, 3, 9, 11)).astype(np.float32)
    expected = theirs(torch, network, u)
    script = sf.load(torch.jit.trace(network, torch.zeros(1, 3, 9, 11)), (9, 11), preprocess="none")
    assert script.name == "Small"
    np.testing.assert_allclose(script.scores(u), expected, rtol=1e-4, atol=1e-5)
    half = sf.load(network.half(), torch.zeros(3, 9, 11), preprocess="none")
    np.testing.assert_allclose(half.scores(u), expected, rtol=2e-2, atol=2e-2)


@EXPORTERS
def test_a_batch_of_one_where_the_module_takes_no_other(torch: Any, exporter: str) -> None:
    class One(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.reshape(1, 3, 99).mean(2)

    with pytest.raises(ModelError, match="does not run on an example of shape"):
        sf.export(One(), (9, 11), exporter=exporter)
    model = sf.export(One(), (9, 11), exporter=exporter, dynamic_batch=False)
    assert sf.load(model).classes == 3


@EXPORTERS
@pytest.mark.filterwarnings("error:The given NumPy array is not writable:UserWarning")
def test_a_module_that_works_in_place_leaves_the_example_alone(torch: Any, exporter: str) -> None:
    class InPlace(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.mul_(2).mean((2, 3))

    for images in (1, 2):
        example = np.random.default_rng(0).random((images, 3, 9, 11)).astype(np.float32)
        kept, tensor = example.copy(), torch.from_numpy(example)
        for given in (example, tensor, tensor[0]):
            model = sf.export(InPlace(), given, exporter=exporter)
            np.testing.assert_array_equal(example, kept)
        example.flags.writeable = False  # as memory of JAX is
        sf.export(InPlace(), example, exporter=exporter)
        found = sf.load(model, preprocess="none").scores(kept)
        np.testing.assert_allclose(found, 2 * kept.mean((2, 3)), rtol=1e-5)


def test_modules_that_are_refused(torch: Any, make: Any) -> None:
    refused: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (make().to("meta"), {}, InputError, "no weights yet"),
        (make().bfloat16(), {}, InputError, r"pass module.float\(\)"),
        (make(lambda scores, hidden: scores + torch.rand_like(scores)), {}, ModelError, "random numbers"),
        (make(lambda scores, hidden: scores.argmax(1)), {}, ModelError, "no tensor of floating point"),
        (make(lambda scores, hidden: {"logits": scores}), {"output": "logit"}, UnknownNameError, "'logits'"),
        (make().double(), {}, ModelError, r"double precision, .* pass module.float\(\)"),
        (make(), {"exporter": "onnx"}, InputError, "'dynamo' or 'torchscript'"),
        (make(), {"opset": 99}, ModelError, "opset"),
    ]
    for network, options, error, message in refused:
        with pytest.raises(error, match=message):
            sf.export(network, (9, 11), **options)
        assert network.training
    with pytest.raises(ModelError, match=r"does not run on an example of shape \(2, 4, 9, 11\)"):
        sf.export(make(), (4, 9, 11))


# --- the paper's recipes on the paper's networks ------------------------------------------------------


@pytest.fixture(scope="module")
def exported(torch: Any) -> Callable[[str], sf.Network]:
    """The paper's networks with random weights; those that take any size are small."""
    sizes = {"VGG19": 224, "ResNet50": 64, "DenseNet121": 64}

    @functools.cache
    def make(name: str) -> sf.Network:
        return sf.load(export.from_torchvision(name.lower(), pretrained=False, size=sizes[name]))

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_run_on_their_networks(
    exported: Callable[[str], sf.Network], name: str, tmp_path: Path
) -> None:
    entry = PUBLISHED[name]
    net = exported(entry.network)
    recipe = entry.recipes_for(net)["Sobolev fluid-elastic"].in_steps(3)
    runner = Runner(Store(tmp_path / "cells"), batch=1)
    if not entry.layers:
        found = runner.visualize(net, ["daisy"], recipe)
        scale = 1.2 if "/octaves" in name else 1.0
        assert found.pixels.shape[1] == round(scale * net.input_shape[1])
        top, left = (
            (have - want) // 2 for have, want in zip(found.u.shape[2:], net.input_shape[1:], strict=True)
        )
        scores = net.scores(found.u[..., top:, left:][..., : net.input_shape[1], : net.input_shape[2]])
        # the pictures are rounded to 256 levels, the value is that of the images before
        near = 0.1 * np.abs(scores).max()
        np.testing.assert_allclose(found.value, scores[:, net.class_index("daisy")], atol=near)
        assert found.pixels.std() > 0
        return
    photo = draw("spiral", np.random.default_rng(0), 96)
    write_image(tmp_path / "985_spiral.png", photo)
    for layer in entry.layers:
        found = runner.invert(net, find_layer(net, layer), find_photographs(tmp_path), recipe)
        assert 0 < found.value[0] < 3
