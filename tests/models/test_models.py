"""The bundled networks and the pictures they were trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import numpy_helper

from sobolevflow import models
from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.models import shapes
from sobolevflow.models.architectures import ARCHITECTURES
from sobolevflow.models.onnx_file import fold_batch_normalization, to_onnx

FOLDER = Path(models.__file__).parent
LOG = json.loads((FOLDER / "training-log.json").read_text())
UNSEEN_SEED = 7_654_321

both = pytest.mark.parametrize("name", models.BUILTIN)
every_class = pytest.mark.parametrize("name", shapes.CLASSES)


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def logits(model: Path | bytes, images: np.ndarray, preprocess: dict[str, Any]) -> np.ndarray:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    mean, std = (np.asarray(preprocess[key], np.float32)[:, None, None] for key in ("mean", "std"))
    inputs = (images * np.float32(preprocess["scale"]) - mean) / std
    return np.concatenate(
        [session.run(["logits"], {"image": part})[0] for part in np.array_split(inputs, 16)]
    )


# --- the files ---------------------------------------------------------------------------------


@both
def test_file_is_small_and_self_contained(name: str) -> None:
    model = onnx.load(models.path(name), load_external_data=False)
    assert models.path(name).stat().st_size < 2_000_000
    assert [entry.domain for entry in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


@both
def test_input_and_output_are_as_documented(name: str) -> None:
    graph = onnx.load(models.path(name)).graph

    def signature(value: onnx.ValueInfoProto) -> tuple[Any, ...]:
        shape = value.type.tensor_type.shape.dim
        return value.name, [d.dim_param or d.dim_value for d in shape]

    assert [signature(v) for v in graph.input] == [("image", ["N", 3, 96, 96])]
    assert [signature(v) for v in graph.output] == [("logits", ["N", len(shapes.CLASSES)])]
    assert graph.node[-1].op_type == "Gemm"


@both
def test_metadata_names_the_classes_and_the_preprocessing(name: str) -> None:
    entries = metadata(onnx.load(models.path(name)))
    assert tuple(json.loads(entries["sobolevflow.labels"])) == shapes.CLASSES
    assert json.loads(entries["sobolevflow.preprocess"]) == {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "scale": 1.0,
        "order": "rgb",
    }
    assert entries["license"] == "Apache-2.0"


def test_the_two_networks_are_built_from_different_operators() -> None:
    vgg, dense = ({n.op_type for n in onnx.load(models.path(name)).graph.node} for name in models.BUILTIN)
    assert vgg == {"Conv", "Relu", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm"}
    assert dense == {"Conv", "BatchNormalization", "Relu", "Concat", "AveragePool"} | {
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    }


@both
def test_graph_is_the_described_architecture(name: str) -> None:
    nodes = ARCHITECTURES[name](len(shapes.CLASSES))
    arrays = {f"{n.output}.{key}": np.ones(s, np.float32) for n in nodes for key, s in n.parameters.items()}
    folded, _ = fold_batch_normalization(nodes, arrays)
    graph = onnx.load(models.path(name)).graph
    assert [(n.op_type, n.output[0]) for n in graph.node] == [(n.op, n.output) for n in folded]


@both
def test_accuracy_on_fresh_pictures(name: str) -> None:
    images, labels = shapes.generate(1024, np.random.default_rng(UNSEEN_SEED))
    preprocess = json.loads(metadata(onnx.load(models.path(name)))["sobolevflow.preprocess"])
    predicted = logits(models.path(name), images, preprocess).argmax(1)
    assert (predicted == labels).mean() > 0.97


@both
def test_log_and_readme_report_the_network_that_is_here(name: str) -> None:
    entry = LOG[name]
    stored = sum(numpy_helper.to_array(t).size for t in onnx.load(models.path(name)).graph.initializer)
    assert entry["weights"] == stored
    plain, augmented, attacked = (entry["test"]["accuracy"][k] for k in ("plain", "augmented", "attacked"))
    (row,) = re.findall(rf"^\| `{name}` \|.*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert [f"{100 * value:.1f} %" for value in (plain, augmented, attacked)] == re.findall(r"[\d.]+ %", row)
    assert UNSEEN_SEED not in {entry["recipe"]["seed"], entry["test"]["seed"]}


def test_unknown_network_is_named_with_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"'shapes-vg'.*Did you mean 'shapes-vgg'"):
        models.path("shapes-vg")


# --- folding -----------------------------------------------------------------------------------


def test_folding_changes_the_graph_but_not_the_function() -> None:
    rng = np.random.default_rng(5)
    nodes = ARCHITECTURES["shapes-vgg"](4)
    arrays = {
        f"{n.output}.{key}": rng.uniform(0.5, 1.5, s).astype(np.float32)
        if key in ("scale", "variance")
        else (rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32)
        for n in nodes
        for key, s in n.parameters.items()
    }
    options: dict[str, Any] = {"size": 32, "labels": list("abcd"), "preprocess": {}, "doc": ""}
    folded = fold_batch_normalization(nodes, arrays)
    assert {n.op for n in nodes} - {n.op for n in folded[0]} == {"BatchNormalization"}
    before, after = (to_onnx("net", *net, **options) for net in ((nodes, arrays), folded))
    images = rng.uniform(0, 1, (3, 3, 32, 32)).astype(np.float32)
    identity = {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1}
    expected, actual = (logits(m.SerializeToString(), images, identity) for m in (before, after))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_normalization_whose_input_has_other_readers_stays() -> None:
    nodes = ARCHITECTURES["shapes-dense"](4)
    arrays = {f"{n.output}.{key}": np.ones(s, np.float32) for n in nodes for key, s in n.parameters.items()}
    folded, kept = fold_batch_normalization(nodes, arrays)
    assert folded == nodes
    assert kept == arrays


# --- the pictures ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(shapes.CLASSES), seed=st.integers(0, 2**63), size=st.sampled_from([1, 2, 17, 64, 96])
)
def test_pictures_lie_in_the_unit_range(name: str, seed: int, size: int) -> None:
    picture = shapes.draw(name, np.random.default_rng(seed), size)
    assert picture.shape == (3, size, size)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_equal_seeds_give_equal_pictures_and_others_do_not(seed: int) -> None:
    draws = [shapes.generate(6, np.random.default_rng(s)) for s in (seed, seed, seed + 1)]
    for first, second in zip(draws[0], draws[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.abs(draws[0][0] - draws[2][0]).mean() > 0.01


@every_class
def test_both_colours_cover_a_visible_part_of_the_picture(name: str) -> None:
    """The guaranteed contrast must show: the luma of shape and ground differ, and neither is a speck."""
    for seed in range(12):
        luma = np.tensordot([0.299, 0.587, 0.114], shapes.draw(name, np.random.default_rng(seed)), 1)
        low, high = np.quantile(luma, [0.04, 0.96])
        assert high - low > 0.2


def test_classes_differ_although_everything_else_is_equal() -> None:
    """One seed fixes place, angle and scale of the first pattern drawn; the pictures must still differ."""
    pictures = [shapes.draw(name, np.random.default_rng(3)) for name in shapes.CLASSES]
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert np.abs(first - second).mean() > 0.02


def test_all_classes_are_equally_frequent_and_labels_index_the_full_list() -> None:
    _, labels = shapes.generate(3 * len(shapes.CLASSES), np.random.default_rng(0), size=4)
    assert np.bincount(labels).tolist() == [3] * len(shapes.CLASSES)
    _, some = shapes.generate(10, np.random.default_rng(0), size=4, classes=["moons", "dots"])
    assert {shapes.CLASSES[label] for label in some} == {"moons", "dots"}


def test_a_larger_picture_shows_the_same_shapes() -> None:
    """Lengths scale with the size: the large picture, reduced, is the small one up to noise and edges."""
    small, large = (shapes.draw("checkers", np.random.default_rng(8), size) for size in (48, 192))
    reduced = large.reshape(3, 48, 4, 48, 4).mean((2, 4))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.9


def test_mistakes_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownNameError, match=r"'heart'.*Did you mean 'hearts'"):
        shapes.draw("heart", rng)
    with pytest.raises(InputError, match="size is 0"):
        shapes.draw("hearts", rng, 0)
    with pytest.raises(InputError, match="Cannot draw -1"):
        shapes.generate(-1, rng)
