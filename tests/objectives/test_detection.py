"""The score of a class in a detector's box, against NumPy: layouts, places, what cannot be told."""

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
from sobolevflow.objectives import arrays_of, from_dict, natural_batch, structure
from sobolevflow.objectives.boxes import overlaps
from sobolevflow.objectives.heads import Head
from tests.support.gradient_cases import close
from tests.support.small_networks import DETECTED, OF_DETECTOR, detector, images, small_model

LAYOUTS = ("yolov5", "yolov8", "ssd", "detr")
NETS = {
    kind: sf.load(detector(kind), labels=DETECTED, preprocess="none", background=None) for kind in LAYOUTS
}
U = images(2, seed=1, size=OF_DETECTOR)
BOX = (4.5, 8, 11, 17)  # in pixels, of 16 by 24


def softmax(x: np.ndarray) -> np.ndarray:
    grown = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(grown / grown.sum(-1, keepdims=True))


def scored(kind: str, k: int, u: np.ndarray = U) -> tuple[np.ndarray, np.ndarray]:
    """By hand: the score of a class in each box, and what boxes are ranked by, (N, 24) each."""
    net = NETS[kind]
    if kind in ("yolov5", "yolov8"):
        (rows,) = (x.astype(np.float64) for x in net.features(u, ["joined"]))
        score = rows[..., 4] * rows[..., 5 + k] if kind == "yolov5" else rows[..., 4 + k]
        return score, score
    (logits,) = (x.astype(np.float64) for x in net.features(u, ["logits"]))
    at = k + 1 if kind == "ssd" else k
    return logits[..., at], softmax(logits)[..., at]


def corners(kind: str, u: np.ndarray = U) -> np.ndarray:
    """By hand: y0, x0, y1, x1 of each box, relative."""
    (boxes,) = NETS[kind].features(u, ["places" if kind == "detr" else "boxes"])
    if kind == "ssd":
        return boxes[..., [1, 0, 3, 2]]
    x, y, w, h = np.moveaxis(boxes, -1, 0)
    found = np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    return found if kind == "detr" else found / np.array([16, 24, 16, 24])


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_best_box_is_the_one_with_the_highest_score(kind: str) -> None:
    score, rank = scored(kind, 1)
    values, gradient = sf.value_and_grad(NETS[kind], sf.Detection("bus"))(U)
    close(values, np.take_along_axis(score, rank.argmax(1)[:, None], 1)[:, 0], 1e-5)
    assert gradient.any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize(
    "given", [{}, {"anchor": 7}, {"box": BOX, "image": U[0]}], ids=["best", "anchor", "box"]
)
def test_the_gradient_is_right(kind: str, given: dict[str, Any]) -> None:
    objective = sf.Detection(2, **given)
    assert sf.check_gradient(NETS[kind], objective, U, precision="double", directions=2) < 1e-6
    assert sf.check_gradient(NETS[kind], objective, U, directions=2) < 1e-3


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_box_is_looked_up_once_where_it_was_said(kind: str) -> None:
    """Of the boxes that overlap it almost as much as any the one with the highest score."""
    relative = np.array(BOX) / [16, 24, 16, 24]
    overlap = overlaps(corners(kind)[0], tuple(relative))
    _, rank = scored(kind, 0, U[:1])
    anchor = int(np.where(overlap >= 0.9 * overlap.max(), rank[0], -1).argmax())
    other = sf.value_and_grad(NETS[kind], sf.Detection("dog", anchor=anchor))(U)
    same: list[Any] = [BOX, tuple(relative), np.array(relative), [list(relative)]]
    for box in same:
        found = sf.value_and_grad(NETS[kind], sf.Detection("dog", box=box, image=U[0]))(U)
        np.testing.assert_allclose(found[0], other[0], rtol=1e-6)
        np.testing.assert_array_equal(found[1], other[1])
    close(other[0], scored(kind, 0)[0][:, anchor], 1e-5)


def test_attributions_look_a_box_up_in_their_image() -> None:
    net, waiting = NETS["yolov5"], sf.Detection("kite", box=BOX)
    told = waiting.at(U)
    assert waiting.at(U).at(U[0]).image is told.image
    with pytest.raises(InputError, match=r"4.5,8,11,17 depends on the image: say image= .*anchor="):
        sf.value_and_grad(net, waiting)(U)
    attribution = sf.attribution
    np.testing.assert_array_equal(attribution.saliency(net, waiting, U), attribution.saliency(net, told, U))
    for method in (attribution.grad_cam, attribution.smooth_grad, attribution.integrated_gradients):
        np.testing.assert_array_equal(method(net, waiting, U[1]), method(net, waiting.at(U[1]), U[1]))
    whole = attribution.integrated_gradients(net, 2 * waiting + sf.Detection("dog", anchor=3), U)
    error = attribution.completeness_error(net, 2 * waiting + sf.Detection("dog", anchor=3), U, whole)
    assert np.abs(error).max() < 1e-4


def test_a_batch_has_classes_boxes_and_anchors_of_its_own() -> None:
    net = NETS["yolov8"]
    both = sf.Detection(["dog", "kite"], box=[BOX, (0, 0, 0.5, 0.5)], image=U)
    first, second = (
        sf.Detection("dog", box=BOX, image=U[0]),
        sf.Detection("kite", box=(0, 0, 0.5, 0.5), image=U[1]),
    )
    assert natural_batch(both) == 2
    values = sf.value_and_grad(net, both)(U)[0]
    each = [sf.value_and_grad(net, of)(U[k])[0][0] for k, of in enumerate((first, second))]
    np.testing.assert_allclose(values, each, rtol=1e-6)
    alone = both.for_images([1], net)
    np.testing.assert_allclose(sf.value_and_grad(net, alone)(U[1])[0], each[1:], rtol=1e-6)
    one_box = sf.Detection(["dog", "kite", "bus", "dog"], box=BOX, image=U[0]).for_images([2], net)
    assert one_box.box == (BOX,)
    numbered = sf.value_and_grad(net, sf.Detection(1, anchor=[3, 20]))(U)[0]
    close(numbered, scored("yolov8", 1)[0][[0, 1], [3, 20]], 1e-5)
    with pytest.raises(InputError, match="3 entries of anchors were given for a batch of 2"):
        sf.value_and_grad(net, sf.Detection(1, anchor=[3, 4, 5]))(U)
    with pytest.raises(InputError, match="2 of the classes, boxes and images of a detection do not fit 3"):
        sf.value_and_grad(net, sf.Detection([0, 1, 2], box=[BOX, BOX], image=U[0]))(np.stack([U[0]] * 3))


def test_another_class_or_box_builds_nothing_anew() -> None:
    net = NETS["yolov5"]
    chosen = {structure(sf.Detection(k, anchor=k), net) for k in range(3)}
    chosen.add(structure(sf.Detection(0, box=BOX, image=U[0]), net))
    assert len(chosen) == 1
    assert structure(sf.Detection(0), net) not in chosen


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts_are_told_by_shapes(kind: str) -> None:
    described = sf.Detection(0).describe(NETS[kind])
    assert f"is read as {kind}: 24 boxes" in described
    notes = sf.Detection(0).notes(NETS[kind])
    assert any("layout= (--detector)" in note for note in notes)
    said = sf.Detection(0, layout=kind)  # type: ignore[arg-type]
    assert structure(said, NETS[kind]) == structure(sf.Detection(0), NETS[kind])
    assert any("Sigmoid" in note for note in notes) == kind.startswith("yolo")
    gradient = sf.value_and_grad(NETS[kind], sf.Detection(0))
    gradient(U)
    assert gradient.notes == notes  # and none of the choice of a box


def test_what_stands_behind_the_classes_is_no_class() -> None:
    """Coefficients of masks, points and angles, as many as the labels leave."""
    net = sf.load(detector("yolov8"), labels=DETECTED[:2], preprocess="none")
    close(sf.value_and_grad(net, sf.Detection("bus"))(U)[0], scored("yolov8", 1)[0].max(1), 1e-5)
    with pytest.raises(InputError, match="there are 2 classes"):
        sf.value_and_grad(net, sf.Detection(2))(U)


def test_layers_are_named_where_the_file_does_not_give_them_out() -> None:
    net = sf.load(detector("ssd", selected=True), labels=DETECTED, preprocess="none")
    with pytest.raises(
        InputError,
        match=r"cannot be told: 'chosen'.* NonMaxSuppression.*scores='by_class', boxes='boxes', layout='ssd'",
    ):
        sf.value_and_grad(net, sf.Detection(0))(U)
    objective = sf.Detection("bus", scores="by_class", boxes="boxes", layout="ssd")
    best = softmax(net.features(U, ["logits"])[0].astype(np.float64))[..., 2].max(1)
    close(sf.value_and_grad(net, objective)(U)[0], best, 1e-5)
    by_logits = sf.value_and_grad(net, sf.Detection("bus", scores="logits", layout="ssd"))(U)[0]
    close(by_logits, net.features(U, ["logits"])[0][..., 2].max(1), 1e-5)
    with pytest.raises(InputError, match="no layer with the boxes that belong to 'logits' is known"):
        sf.value_and_grad(net, sf.Detection("bus", box=BOX, image=U[0], scores="logits", layout="ssd"))(U)


def test_no_detector_is_refused_with_what_its_outputs_are() -> None:
    net = sf.load(small_model(), preprocess="none")
    with pytest.raises(InputError, match=r"cannot be told: 'prob' of shape \(1, 6\)\. Name them: scores="):
        sf.Detection(0).describe(net)
    with pytest.raises(
        InputError, match=r"which their scores, cannot be told.* sf\.Region\('out', channel\)"
    ):
        sf.Detection(0).describe(sf.load(detector("dense"), preprocess="none"))
    with pytest.raises(InputError, match=r"three axes.*'conv1' is of shape \(1, 4, 8, 10\).*sf\.Neuron"):
        sf.Detection(0, scores="conv1").describe(net)
    with pytest.raises(InputError, match=r"boxes lie in a layer \(N, boxes, 4\); 'map'"):
        sf.Detection(0, scores="rows", boxes="map").describe(NETS["yolov5"])
    with pytest.raises(UnknownNameError, match=r"no class 'dgo'.*'dog'"):
        sf.value_and_grad(NETS["yolov5"], sf.Detection("dgo"))(U)
    with pytest.raises(InputError, match="class 4 is out of range; there are 4 classes"):
        sf.value_and_grad(NETS["detr"], sf.Detection(4))(U)
    with pytest.raises(InputError, match="anchor of 'out' is 24; it must lie in 0 to 23"):
        sf.value_and_grad(NETS["yolov5"], sf.Detection(0, anchor=24))(U)
    with pytest.raises(InputError, match=r"no box of model overlaps 30,0,31,1 at all|lies outside"):
        sf.value_and_grad(NETS["yolov5"], sf.Detection(0, box=(30, 0, 31, 1), image=U[0]))(U)
    with pytest.raises(InputError, match="leave out one of them"):
        sf.Detection(0, box=BOX, anchor=1)
    with pytest.raises(InputError, match="is where a box is looked up; say box="):
        sf.Detection(0, image=U[0])
    wrong: list[Any] = [(1, 0, 0, 1), (0, 0, 1), (0, 0, 1, np.nan), "0,0,1,1", [], 3, np.zeros((2, 2, 2))]
    for box in wrong:
        with pytest.raises(InputError, match=r"\(y0, x0, y1, x1\) with y0 < y1"):
            sf.Detection(0, box=box)


def test_boxes_of_all_forms_are_read() -> None:
    size, rng = (64, 96), np.random.default_rng(3)
    cells = 8 * 12 + 4 * 6 + 2 * 3
    low = rng.random((1, cells, 2)) * [40, 60]
    high = low + 4 + rng.random((1, cells, 2)) * 16
    expected = np.concatenate([low[..., ::-1], high[..., ::-1]], -1) / [64, 96, 64, 96]
    centre, sides = (low + high) / 2, high - low
    stride = np.repeat([8, 16, 32], [96, 24, 6])[:, None]
    corner = np.concatenate(
        [np.mgrid[:h, :w].reshape(2, -1).T[:, ::-1] for h, w in ((8, 12), (4, 6), (2, 3))]
    )
    written: dict[str, Any] = {
        "xyxy": np.concatenate([low, high], -1),
        "yxyx": np.concatenate([low[..., ::-1], high[..., ::-1]], -1),
        "cxcywh": np.concatenate([centre, sides], -1),
        "grid": np.concatenate([centre / stride - corner, np.log(sides / stride)], -1),
    }
    for form, boxes in written.items():
        head = Head("ssd", "scores", "boxes", cells, 3, 2, False, form)  # type: ignore[arg-type]
        np.testing.assert_allclose(head.corners(boxes, size), expected, rtol=1e-9)
        np.testing.assert_allclose(head.corners(np.swapaxes(boxes, 1, 2), size), expected, rtol=1e-9)
        if form != "grid":
            scale = [64, 96] * 2 if form == "yxyx" else [96, 64] * 2
            np.testing.assert_allclose(head.corners(boxes / scale, size), expected, rtol=1e-9)
    unsaid = Head("yolov5", "out", "out", cells, 85, 2, False, "cxcywh")
    np.testing.assert_allclose(unsaid.corners(written["grid"], size), expected, rtol=1e-9)


def test_a_description_makes_it_again() -> None:
    net, objective = NETS["yolov8"], sf.Detection("kite", box=BOX, image=U[0])
    found = arrays_of(objective)
    told = json.loads(json.dumps((objective - 0.5 * sf.Detection(0)).to_dict()))
    again = from_dict(told, lambda what, fingerprint: found[fingerprint["sha256"]])
    for a, b in zip(
        sf.value_and_grad(net, again)(U),
        sf.value_and_grad(net, objective - 0.5 * sf.Detection(0))(U),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_run_is_made_again_from_its_manifest(tmp_path: Path) -> None:
    net = sf.load(detector("yolov5"), labels=DETECTED, preprocess="none")
    objective = sf.Detection("dog", box=BOX, image=U[0]) + sf.Region("map", 2, mask=np.eye(4, 6, k=1))
    sf.visualize(net, objective, steps=3, progress=False).save(tmp_path / "a.png")
    manifest = tmp_path / "a.manifest.json"
    again = sf.rerun(manifest, model=detector("yolov5"), progress=False)
    assert again.compare(manifest).identical


def test_a_descent_raises_it() -> None:
    net = NETS["yolov5"]
    for objective in (sf.Detection("dog"), sf.Detection("dog", box=BOX, image=U[0])):
        before = sf.value_and_grad(net, objective)(U[0])[0]
        result = sf.visualize(net, objective, start=U[0], steps=20, recipe="paper", progress=False)
        assert result.value is not None
        assert result.value[0] > before[0]


def test_the_command_line_spells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, photo, labels = (str(tmp_path / name) for name in ("net.onnx", "photo.png", "labels.txt"))
    Path(model).write_bytes(detector("yolov5").SerializeToString())
    Path(labels).write_text("\n".join(DETECTED), encoding="utf-8")
    Image.fromarray((U[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(photo)
    given = ["--labels", labels, "--preprocess", "none"]
    array, picture = str(tmp_path / "map.npy"), str(tmp_path / "map.png")
    of_map = ["-o", picture, "--npy", array, "--method", "saliency", "--size", "network"]
    asked = ["--detection", "dog@4.5,8,11,17"]
    assert main(["attribute", model, photo, *given, *asked, *of_map]) == 0
    assert "class dog in the box at 4.5,8,11,17" in capsys.readouterr().out
    u = sf.read_image(photo)
    net = sf.load(model, labels=labels, preprocess="none")
    np.testing.assert_array_equal(
        np.load(array)[0], sf.attribution.saliency(net, sf.Detection("dog", box=BOX), u)
    )
    assert main(["attribute", model, photo, *given, *asked, "-o", picture]) == 0
    told = capsys.readouterr()
    assert "sobolev-saliency" in told.out
    assert "Grad-CAM" in told.err
    several = [model, *[photo] * 3, *given, *asked, *asked, "-o", picture]
    assert main(["attribute", *several]) == 2
    assert "2 targets were given for 3 photographs" in capsys.readouterr().err
    exported = str(tmp_path / "grad.onnx")
    looked_up = [*asked, "--box-photo", photo, "-o", exported]
    assert main(["gradient", model, *given, *looked_up]) == 0
    assert "anchor" in capsys.readouterr().out
    assert main(["gradient", model, *given, "--detection", "1", "--anchor", "5", "-o", exported]) == 0
    assert main(["gradient", model, *given, *asked, "-o", exported]) == 2
    assert "--box-photo" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["gradient", model, *given, "--detection", "dog@4,3,2,1", "-o", exported])
    assert "'4,3,2,1' is no box" in capsys.readouterr().err
