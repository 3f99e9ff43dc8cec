"""Classes are counted alike everywhere: as labels are, without a background class."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.errors import ChangedWarning
from tests.support.command_line import run
from tests.support.small_networks import LABELS, images, small_model


def behind_a_background(**more: Any) -> sf.Network:
    return sf.load(small_model(), preprocess="none", labels=LABELS[:5], **more)


@pytest.mark.filterwarnings("ignore::sobolevflow.errors.ChangedWarning")
def test_the_best_class_is_the_one_that_class_asks_for_and_that_is_named() -> None:
    net, u = behind_a_background(), images(8)
    assert net.class_index("king crab") == (net.labels or []).index("king crab") == 1
    scores = net.scores(u)
    found = net.top(u, 5)
    for image, row, classes in zip(u, scores, found, strict=True):
        for k in classes:
            value, _ = sf.value_and_grad(net, sf.Class(int(k)))(image)
            np.testing.assert_allclose(value, row[net.output_index(int(k))], rtol=1e-4, atol=1e-5)
            assert net.class_name(int(k)) == LABELS[k]
            assert net.class_index(int(k)) == k
        assert list(row[classes + 1]) == sorted(row[1:], reverse=True)
    assert sf.metrics.in_top(net, u, [int(k) for k in found[:, 0]]).all()
    shares = sf.metrics.probability(net, u, [int(k) for k in found[:, 0]])
    exponentials = np.exp(scores.astype(np.float64))
    np.testing.assert_allclose(shares, exponentials[:, 1:].max(axis=1) / exponentials.sum(axis=1), rtol=1e-6)


CALLS: dict[str, Callable[[sf.Network], Any]] = {
    "top": lambda net: net.top(images()),
    "class_index": lambda net: net.class_index("king crab"),
    "class_name": lambda net: net.class_name(1),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_counted_the_background_class_says_that_it_no_longer_does(call: str) -> None:
    with pytest.warns(ChangedWarning, match=f"net.{call} counts classes as sf.Class and labels do"):
        CALLS[call](behind_a_background())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CALLS[call](sf.load(small_model(), preprocess="none", labels=LABELS))


def test_a_network_that_is_said_to_have_no_background_class_says_nothing() -> None:
    net = behind_a_background(background=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert net.class_name(1) == "king crab"


def in_front() -> sf.Network:
    """The network whose background class has the highest score of all."""
    model = small_model()
    bias = next(each for each in model.graph.initializer if each.name == "b3")
    raised = onnx.numpy_helper.to_array(bias) + np.array([100, 0, 0, 0, 0, 0], np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(raised, "b3"))
    return sf.load(model, preprocess="none", labels=LABELS[:5])


def test_measures_leave_a_background_class_aside_and_say_where_that_matters() -> None:
    net, u = in_front(), images(3)
    best = [int(k) for k in net.scores(u)[:, 1:].argmax(axis=1)]
    with pytest.warns(ChangedWarning, match="scores the background class among the 1 best"):
        assert sf.metrics.in_top(net, u, best).all()
    with pytest.raises(sf.errors.InputError, match="has 5 classes"):
        sf.metrics.in_top(net, u, best, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.metrics.in_top(behind_a_background(), u, best, 1)


def test_the_command_reports_the_class_that_it_explains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(small_model(), tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS[:5]))
    Image.fromarray((images()[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    words = [tmp_path / "net.onnx", tmp_path / "photo.png", "--labels", tmp_path / "labels.txt"]
    words += ["--preprocess", "none", "--method", "saliency", "-o", tmp_path / "map.png", "--json"]
    assert run("attribute", *words) == 0
    outcome = json.loads(capsys.readouterr().out)
    best = int(net_scores(tmp_path).argmax())
    assert outcome["classes"] == [LABELS[best]]
    assert outcome["objective"]["which"] == [best]


def net_scores(folder: Path) -> np.ndarray:
    """Those of the photograph, without the background class."""
    net = sf.load(folder / "net.onnx", preprocess="none", labels=LABELS[:5])
    scores: np.ndarray = net.scores(sf.read_image(folder / "photo.png", size=(8, 10)))
    return scores[0, 1:]
