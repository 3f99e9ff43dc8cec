"""What a network says of photographs, and which pre-processing it wants where nobody says."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from scipy.special import expit, softmax

import sobolevflow as sf
from sobolevflow.errors import AssumptionWarning, ImageError, InputError, ModelError
from sobolevflow.network.presets import USUAL, support
from tests.support.gradient_cases import make_model
from tests.support.small_networks import LABELS, images, small_model

BUNDLED = Path(sf.models.__file__).parent / "shapes-vgg.onnx"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(5).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def named(**more: Any) -> sf.Network:
    return sf.load(small_model(), **{"preprocess": "none", "labels": LABELS, **more})


def test_a_prediction_is_the_softmax_of_the_scores_by_name(photo: Path) -> None:
    net, u = named(), sf.read_image(photo, size=(8, 10))
    scores = net.scores(u)[0].astype(np.float64)
    found = net.predict(photo, top=3)
    order = np.argsort(-scores)[:3]
    assert found.classes == (tuple(order),)
    assert found.names == (tuple(LABELS[k] for k in order),)
    np.testing.assert_allclose(found.probabilities[0], softmax(scores)[order], rtol=1e-6)
    assert (found.photos, found.background, found.tried, found.proposed) == ((str(photo),), None, (), None)
    assert len(net.predict(u).classes[0]) == 5
    assert len(net.predict(u, top=50).classes[0]) == 6


def test_paths_arrays_and_lists_of_them_are_photographs(photo: Path) -> None:
    net, u = named(), images(2)
    one, whole = net.predict(photo), sf.read_image(photo)
    assert net.predict(whole).probabilities == one.probabilities  # fitted as the file is
    mixed = net.predict([photo, whole, u])
    assert mixed.photos == (str(photo), "image 1", "image 2", "image 3")
    np.testing.assert_allclose(mixed.probabilities[0], one.probabilities[0], rtol=1e-5)
    np.testing.assert_allclose(mixed.probabilities[2], net.predict(u[0]).probabilities[0], rtol=1e-5)
    assert net.predict(u[0].tolist()).classes == net.predict(u[0]).classes
    many = net.predict(np.concatenate([u] * 20))
    assert many.classes == net.predict(u).classes * 20


def test_a_background_class_is_told_apart() -> None:
    net, u = named(labels=LABELS[:5]), images(3)
    found = net.predict(u)
    shares = softmax(net.scores(u).astype(np.float64), axis=1)
    np.testing.assert_allclose(found.background or (), shares[:, 0], rtol=1e-6)
    for k in range(3):
        assert {LABELS[c] for c in found.classes[k]} == set(found.names[k]) == set(LABELS[:5])
        np.testing.assert_allclose(
            found.probabilities[k], [shares[k, 1 + c] for c in found.classes[k]], rtol=1e-6
        )
    assert str(found).count("background") == 3


def test_scores_before_a_sigmoid_are_probabilities_each_by_itself() -> None:
    model = small_model()
    model.graph.node[-1].op_type = "Sigmoid"
    net, u = sf.load(model, preprocess="none"), images()
    scores = net.scores(u)[0].astype(np.float64)
    found = net.predict(u)
    np.testing.assert_allclose(found.probabilities[0], np.sort(expit(scores))[::-1][:5], rtol=1e-6)


def test_a_prediction_prints_as_a_table_and_does_not_change(photo: Path) -> None:
    found = named().predict(photo, top=2)
    first, *rows = str(found).splitlines()
    assert first == str(photo)
    for row, name, share in zip(rows, found.names[0], found.probabilities[0], strict=True):
        assert name in row
        assert f"{100 * share:.1f} %" in row
    assert repr(found) == str(found)
    assert json.loads(json.dumps(found.to_dict()))["names"] == [list(found.names[0])]
    with pytest.raises(FrozenInstanceError):
        found.network = "another"  # type: ignore[misc]


def test_names_of_a_file_are_printed_harmless() -> None:
    labels = ["\x1b[2J<b>x", "\u202eevil", *LABELS[2:]]
    found = named(labels=labels).predict(images(), top=6)
    assert "\x1b" not in str(found)
    assert "\u202e" not in str(found)
    assert "<b>" not in found._repr_html_()
    assert set(found.names[0]) == set(labels)


@pytest.mark.parametrize(
    ("photo", "error", "says"),
    [
        ("missing.png", ImageError, "missing.png"),
        (np.zeros((8, 10, 3), np.float32), InputError, "8 channels"),
        (np.zeros((3, 8, 10), np.uint8), InputError, "divide by 255"),
        (np.full((3, 30, 40), 200.0), InputError, "30x40"),
        ([], InputError, "empty"),
    ],
    ids=["no file", "channels last", "bytes", "0 to 255 of another size", "none"],
)
def test_what_is_no_photograph_is_refused(photo: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        named().predict(photo)


def test_a_range_is_of_files_and_a_map_has_no_classes(photo: Path) -> None:
    with pytest.raises(InputError, match="range and page are of picture files"):
        named().predict(images(), page=0)
    with pytest.warns(AssumptionWarning, match="were clipped"):
        brighter = named().predict(photo, range=(0, 128))
    assert brighter.probabilities != named().predict(photo).probabilities
    node = helper.make_node("Relu", ["x"], ["y"])
    a_map = make_model([node], {"x": (("N", 3, 4, 4), TensorProto.FLOAT)}, ["y"], {}, opset=13)
    with pytest.raises(ModelError, match="not one score per class"):
        sf.load(a_map).predict(images(size=(3, 4, 4)))


def trained_with(right: str, **more: Any) -> sf.Network:
    """A bundled network as if it had been trained on images of a pre-processing, which nothing records."""
    model, own = onnx.load(BUNDLED), sf.load(BUNDLED)
    wanted = [own.preprocess.matrix_and_bias(3), sf.Preprocess.of(right).matrix_and_bias(3)]
    (a, b), (c, d) = ((np.diag(matrix), bias) for matrix, bias in wanted)
    constants = {"gain": a / c, "shift": b - d * a / c}  # from c u + d to a u + b
    shape = (1, 3, 1, 1)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value.astype(np.float32).reshape(shape), name)
        for name, value in constants.items()
    )
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["as trained" if each == name else each for each in node.input]
    model.graph.node.insert(0, helper.make_node("Mul", [name, "gain"], ["scaled"]))
    model.graph.node.insert(1, helper.make_node("Add", ["scaled", "shift"], ["as trained"]))
    del model.metadata_props[:]
    return sf.load(model, labels=own.labels, **more)


def drawn(count: int) -> list[np.ndarray]:
    """Pictures of what the bundled networks know."""
    names = sf.load(BUNDLED).labels or []
    return [sf.models.draw(name, np.random.default_rng(k), 96) for k, name in enumerate(names[:count])]


RIGHT = ["torch", "tf", '{"scale": 255}']


@pytest.mark.parametrize("right", RIGHT)
def test_the_pre_processing_that_a_network_was_trained_with_is_proposed(right: str) -> None:
    net, pictures = trained_with(right), drawn(6)
    found = net.predict(pictures)
    assert found.proposed == right
    assert f"preprocess={right!r}" in str(found)
    assert "net.predict(photo) (sobolevflow classify) proposes one" in " ".join(net.notes())
    given = trained_with(right, preprocess=found.proposed)
    assert given.predict(pictures).tried == ()


@pytest.mark.parametrize("right", RIGHT)
def test_each_pre_processing_that_is_tried_says_what_it_would_say_if_it_were_given(right: str) -> None:
    bare, pictures = trained_with("tf"), drawn(3)
    tried = next(each for each in bare.predict(pictures).tried if each.preprocess == right)
    given = trained_with("tf", preprocess=right).predict(pictures)
    assert tried.classes == tuple(row[0] for row in given.classes)
    assert tried.names == tuple(row[0] for row in given.names)
    np.testing.assert_allclose(tried.probabilities, [row[0] for row in given.probabilities], rtol=1e-3)


def test_the_support_of_several_photographs_is_the_geometric_mean() -> None:
    net, pictures = trained_with("torch"), drawn(4)
    single = [{t.preprocess: t.support for t in net.predict(each).tried} for each in pictures]
    for each in net.predict(pictures).tried:
        mean = np.exp(np.mean([np.log(one[each.preprocess]) for one in single]))
        np.testing.assert_allclose(each.support, mean, rtol=1e-3)


def test_support_falls_with_entropy_and_where_scores_lie_too_far_apart() -> None:
    classes = named().classes_of()
    even, sure, absurd = (np.full((2, 1, 6), 0.0) for _ in range(3))
    sure[..., 2], absurd[..., 2] = 12.0, 1200.0
    assert support(classes, even) == pytest.approx(1 / 6)
    assert support(classes, sure) == pytest.approx(1, abs=1e-3)
    spread = absurd[0].std() / 6
    assert support(classes, absurd) == pytest.approx(np.exp(-(np.log(spread) ** 2)))
    other = sure.copy()
    other[1] = np.roll(sure[1], 1)  # the second view is taken for something else
    assert support(classes, other) == pytest.approx(1 / 2, abs=1e-3)


def test_presets_that_do_not_fit_the_channels_are_not_tried() -> None:
    grey = sf.load(small_model(size=(3, 8, 10)), labels=LABELS)
    assert {each.preprocess for each in grey.predict(images()).tried} == set(USUAL)
    node = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    one = make_model(node, {"x": (("N", 1, 4, 4), TensorProto.FLOAT)}, ["y"], {}, opset=13)
    found = sf.load(one).predict(np.full((1, 1, 4, 4), 0.25, np.float32))
    assert {each.preprocess for each in found.tried} == {"tf", "none", '{"scale": 255}'}
    np.testing.assert_allclose(found.probabilities, [[expit(0.25)]], rtol=1e-6)  # a single score
