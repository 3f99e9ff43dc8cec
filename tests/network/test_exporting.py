"""Modules in memory, without their libraries: what is said of them, which output counts, what is compared."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import sobolevflow as sf
from sobolevflow.errors import InputError, ModelError, OutputError, RuntimeMissingError, UnknownNameError
from sobolevflow.models import Converted, modules
from sobolevflow.network import exporting
from sobolevflow.onnxgrad.files import weights
from tests.support.small_networks import LABELS, images, small_model


class Module:
    """What a module of PyTorch looks like from outside."""

    __module__ = "torch.nn.modules.module"


class SmallNet(Module):
    pass


class Layer:
    __module__ = "keras.src.layers.layer"


class Functional(Layer):
    input_shape = (None, 8, 10, 3)


def probabilities(u: np.ndarray) -> np.ndarray:
    (found,) = sf.load(small_model(), preprocess="none").features(u, ["prob"])
    return found


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `convert` gives in the place of a library, to be changed, and what it was asked."""
    state: dict[str, Any] = {
        "model": small_model(),
        "examples": [(u, probabilities(u)) for u in (images(2), images(1))],
        "notes": [],
    }

    def convert(module: Any, image: np.ndarray, **options: Any) -> Converted:
        state.update(image=image, options=options)
        return Converted(state["model"], state["examples"], state["notes"])

    monkeypatch.setattr(exporting, "convert", convert)
    return state


# --- what comes out ---------------------------------------------------------------------------------


def test_an_export_needs_no_further_explanation(converted: dict[str, Any], tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"id2label": dict(enumerate(LABELS))}))
    config = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    path = tmp_path / "net.onnx"
    model = sf.export(SmallNet(), images(1), path, labels=labels, preprocess=config, opset=13)
    for source in (model, path):
        net = sf.load(source)
        assert net.labels == LABELS
        assert net.preprocess == sf.Preprocess(1.0, (0.5,) * 3, (0.25,) * 3)
    assert onnx.load(path) == model
    assert model.doc_string.startswith("SmallNet: exported from SmallNet; differs from it by at most")


def test_labels_that_do_not_fit_are_refused_before_anything_is_written(
    converted: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(InputError, match="SmallNet: 1 labels do not fit 6 classes"):
        sf.export(SmallNet(), images(1), path, labels=["a"], opset=13)
    assert not path.exists()
    sf.export(SmallNet(), images(1), path, labels=LABELS[1:], opset=13)
    assert sf.load(path).labels == LABELS[1:]
    gaps = {2 * k: name for k, name in enumerate(LABELS)}
    assert sf.load(sf.export(SmallNet(), images(1), labels=gaps, opset=13)).labels == LABELS


def test_large_weights_go_to_a_second_file(
    converted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "FILE_LIMIT", 100)
    monkeypatch.setattr(weights, "LARGE", 200)
    sf.export(SmallNet(), (8, 10), tmp_path / "net.onnx", opset=13)
    assert (tmp_path / "net.onnx.data").stat().st_size > 1000
    found = sf.load(tmp_path / "net.onnx", preprocess="none").scores(images(2))
    np.testing.assert_array_equal(found, sf.load(small_model(), preprocess="none").scores(images(2)))


def test_load_takes_a_module_and_an_example(converted: dict[str, Any]) -> None:
    converted["notes"] = ["it was traced"]
    converted["model"].opset_import[0].version = 18
    net = sf.load(SmallNet(), images(1)[0], labels=LABELS, preprocess="torch")
    assert (net.name, net.labels, net.preprocess) == ("SmallNet", LABELS, sf.Preprocess.named("torch"))
    np.testing.assert_array_equal(converted["image"], images(1))
    notes = net.notes()
    assert "it was traced" in notes
    assert any("exported from SmallNet; differs from it by at most" in note for note in notes)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((8, 10), (1, 3, 8, 10)), ([4, 8, 10], (1, 4, 8, 10)), ((2, 3, 8, 10), (2, 3, 8, 10))],
)
def test_a_size_stands_for_noise_of_it(converted: dict[str, Any], size: Any, shape: tuple[int, ...]) -> None:
    sf.export(SmallNet(), size, opset=13)
    assert converted["image"].shape == shape
    assert converted["image"].dtype == np.float32
    assert converted["image"].std() > 0.5


def test_keras_knows_its_size_and_has_channels_last(converted: dict[str, Any]) -> None:
    sf.export(Functional(), opset=13)
    assert converted["image"].shape == (1, 8, 10, 3)
    sf.export(Functional(), (6, 7), opset=13)
    assert converted["image"].shape == (1, 6, 7, 3)


# --- what does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["vgg19", np.zeros(3), None, SmallNet])
def test_other_things_are_no_modules(module: Any) -> None:
    with pytest.raises(InputError, match="a module of PyTorch or Keras in memory is exported, not"):
        sf.export(module, (3, 8, 10))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, r"needs an example of its input, .*sf.load\(module, \(3, 224, 224\)\)"),
        ((3,), "the size of an example"),
        ((3, 0, 4), "the size of an example"),
        ("photo.png", "not one str"),
        (np.zeros((2, 2)), r"not one of shape \(2, 2\)"),
        ([images(1), np.zeros(3)], "several inputs"),
    ],
)
def test_an_example_that_is_none(example: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sf.export(SmallNet(), example)


def test_an_example_is_for_modules_alone() -> None:
    with pytest.raises(InputError, match="input_shape="):
        sf.load(small_model(), (3, 8, 10))


@pytest.mark.parametrize("which", [0, 1])
def test_what_differs_from_the_module_is_refused(converted: dict[str, Any], which: int) -> None:
    image, expected = converted["examples"][which]
    converted["examples"][which] = (image, expected + 5e-4)
    assert "by at most 0.0005" in sf.export(SmallNet(), (8, 10), opset=13).doc_string
    for wrong in (expected + 2e-3, np.full_like(expected, np.nan)):
        converted["examples"][which] = (image, wrong)
        with pytest.raises(
            ModelError, match=rf"example of {2 - which} images?, differs from the module"
        ) as e:
            sf.export(SmallNet(), (8, 10), opset=13)
        # that it holds for several and not for one is a matter of the batch
        assert ("dynamic_batch=False" in str(e.value)) == (which == 1)
    converted["examples"][which] = (image, expected[..., :3])
    with pytest.raises(ModelError, match="has shape"):
        sf.export(SmallNet(), (8, 10), opset=13)


def test_what_does_not_run_for_another_number_of_images_is_refused(converted: dict[str, Any]) -> None:
    converted["model"] = small_model(batch=2)
    with pytest.raises(ModelError, match=r"1 image, does not run: .*dynamic_batch=False"):
        sf.export(SmallNet(), (8, 10), opset=13)


def test_another_opset_than_asked_for_is_refused(converted: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="writes opset 13, and not 17"):
        sf.export(SmallNet(), (8, 10), opset=17)


def test_a_folder_that_is_not_there_is_said(converted: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        sf.export(SmallNet(), (8, 10), tmp_path / "none" / "net.onnx", opset=13)


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(RuntimeMissingError, match="pip install tensorflow"):
        sf.export(Functional())


# --- which output -----------------------------------------------------------------------------------

Pair = namedtuple("Pair", "hidden logits")


@dataclass
class Output:
    ids: Any
    logits: Any


FLOATS, IDS = np.ones(3), np.ones(3, int)


@pytest.mark.parametrize(
    ("returned", "output", "path", "name"),
    [
        (FLOATS, None, (), "scores"),
        ((IDS, FLOATS), None, (1,), "scores"),
        ((FLOATS, FLOATS), 1, (1,), "scores"),
        ((FLOATS, IDS), -1, (1,), "scores"),
        ({"ids": IDS, "logits": FLOATS}, None, ("logits",), "logits"),
        ({"logits": FLOATS, "more": [FLOATS, FLOATS]}, "more.1", ("more", 1), "scores"),
        ({"a": {"b": FLOATS}, "c": FLOATS}, "c", ("c",), "c"),
        (Pair(FLOATS, FLOATS), "logits", ("logits",), "logits"),
        (Output(IDS, FLOATS), None, ("logits",), "logits"),
        ({"none": None, "loss": 3.0, "logits": FLOATS}, None, ("logits",), "logits"),
    ],
)
def test_the_output_is_chosen_by_name_place_or_type(
    returned: Any, output: Any, path: tuple[Any, ...], name: str
) -> None:
    def is_array(value: Any) -> bool:
        return isinstance(value, np.ndarray)

    found = modules.choose(returned, output, is_array, lambda a: a.dtype.kind == "f", SmallNet())
    assert found == (path, name)
    assert is_array(modules.at(returned, path))


@pytest.mark.parametrize("output", ["logit", 2, -3, True, 1.5])
def test_an_output_that_is_not_there_is_named_with_those_that_are(output: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"has no output .* It returns: 'hidden', 'logits'"):
        modules.choose(
            Pair(FLOATS, FLOATS), output, lambda v: isinstance(v, np.ndarray), lambda a: True, SmallNet()
        )


def test_a_module_without_floating_outputs_is_refused() -> None:
    with pytest.raises(ModelError, match="no tensor of floating point"):
        modules.choose(
            (IDS,), None, lambda v: isinstance(v, np.ndarray), lambda a: a.dtype.kind == "f", SmallNet()
        )


# --- names ------------------------------------------------------------------------------------------


def test_traced_tensors_bear_the_names_of_their_modules() -> None:
    model = small_model()
    places = {
        "conv1": "/inner/features/features.0/Conv",
        "relu1": "/inner/features/features.1/Relu",
        "conv2": "/inner/layer1/layer1.0/conv/Conv",
        "flat": "/inner/Flatten",
        "logits": "/inner/head/Gemm",
    }
    moved = {"conv1": "/inner/features/features.0/Conv_output_0", "flat": "/inner/Flatten_output_0"}
    for node in model.graph.node:
        node.name = places.get(node.output[0], node.name)
        for names in (node.input, node.output):
            names[:] = [moved.get(name, {"w1": "inner.features.0.weight"}.get(name, name)) for name in names]
    for tensor in model.graph.initializer:
        tensor.name = {"w1": "inner.features.0.weight"}.get(tensor.name, tensor.name)
    named = modules.with_module_names(model, "inner")
    tensors = [node.output[0] for node in named.graph.node]
    assert tensors[0] == "features.0"
    assert {"features.1", "layer1.0.conv", "/Flatten_output_0", "head"} <= set(tensors)
    assert tensors[-1] == "prob"  # an output keeps its name
    assert named.graph.initializer[0].name == named.graph.node[0].input[1] == "features.0.weight"
    u = images(2)
    np.testing.assert_array_equal(
        sf.load(named, preprocess="none").features(u, ["head"])[0],
        sf.load(small_model(), preprocess="none").features(u, ["logits"])[0],
    )
