"""A channel in a part of a map against NumPy: boxes, masks, classes of a segmentation, the command line."""

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
from tests.support.gradient_cases import close
from tests.support.small_networks import DETECTED, OF_DETECTOR, SIZE, detector, images, small_model

NET = sf.load(small_model(), preprocess="none")  # conv1 is a map of 8x10, conv2 of 2x3
DENSE = sf.load(detector("dense"), labels=DETECTED, preprocess="none")  # a map of 4x6 of an image of 16x24
U, V = images(2, seed=1), images(2, seed=2, size=OF_DETECTOR)
MASK = np.array([[1, 0.5, 0], [0, 1, 0.25]], np.float32)
OF_IMAGE = np.zeros((8, 10), np.float32)
OF_IMAGE[4:, :5] = 1


def phi(layer: str, net: sf.Network = NET, u: np.ndarray = U) -> np.ndarray:
    return net.features(u, [layer])[0].astype(np.float64)


VALUES: dict[str, tuple[sf.Region, Any]] = {
    "pixels": (sf.Region("conv1", 2, (1, 3, 5, 9)), lambda: phi("conv1")[:, 2, 1:5, 3:9].mean((1, 2))),
    "a part": (
        sf.Region("conv1", 2, (0, 0.5, 0.25, 1)),
        lambda: phi("conv1")[:, 2, :2, 5:].mean((1, 2)),
    ),
    "the sum": (
        sf.Region("conv1", 1, (0, 0.5, 0.25, 1), reduce="sum"),
        lambda: phi("conv1")[:, 1, :2, 5:].sum((1, 2)),
    ),
    "the maximum": (
        sf.Region("conv1", 1, (0, 0.5, 0.25, 1), reduce="max"),
        lambda: phi("conv1")[:, 1, :2, 5:].max((1, 2)),
    ),
    "cells in part": (
        sf.Region("conv2", 3, (0, 0, 0.75, 1), reduce="sum"),
        lambda: (phi("conv2")[:, 3] * [[[1], [0.5]]]).sum((1, 2)),
    ),
    "beyond the edge": (
        sf.Region("conv1", 0, (-0.5, 0.5, 0.5, 1.5)),
        lambda: phi("conv1")[:, 0, :4, 5:].mean((1, 2)),
    ),
    "all of it": (sf.Region("conv1", 0), lambda: phi("conv1")[:, 0].mean((1, 2))),
    "a mask of the map": (
        sf.Region("conv2", 4, mask=MASK),
        lambda: (phi("conv2")[:, 4] * MASK).sum((1, 2)) / MASK.sum(),
    ),
    "a mask of the image": (
        sf.Region("conv2", 4, mask=OF_IMAGE),
        lambda: (phi("conv2")[:, 4, 1] * [1, 0.5, 0]).sum(1) / 1.5,
    ),
    "boxes of a batch": (
        sf.Region("conv1", [2, 0], [(1, 3, 5, 9), (0, 0, 4, 4)]),
        lambda: [phi("conv1")[0, 2, 1:5, 3:9].mean(), phi("conv1")[1, 0, :4, :4].mean()],
    ),
    "masks of a batch": (
        sf.Region("conv2", 1, mask=np.stack([MASK, MASK[::-1]])),
        lambda: (phi("conv2")[:, 1] * np.stack([MASK, MASK[::-1]])).sum((1, 2)) / MASK.sum(),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_value_is_the_one_computed_by_hand(name: str) -> None:
    objective, by_hand = VALUES[name]
    close(sf.value_and_grad(NET, objective)(U)[0], np.array(by_hand()), 1e-5)


@pytest.mark.parametrize("name", ["pixels", "the maximum", "cells in part", "masks of a batch"])
def test_the_gradient_is_right(name: str) -> None:
    assert sf.check_gradient(NET, VALUES[name][0], U, precision="double", directions=2) < 1e-6
    assert sf.check_gradient(NET, VALUES[name][0], U, directions=2) < 1e-3


def test_without_a_layer_it_is_a_class_of_the_segmentation() -> None:
    scores = phi("map", DENSE, V)
    box = (4, 8, 12, 20)
    for which in ("kite", 2):
        found = sf.value_and_grad(DENSE, sf.Region(None, which, box))(V)[0]
        close(found, scores[:, 2, 1:3, 2:5].mean((1, 2)), 1e-5)
    assert sf.check_gradient(DENSE, sf.Region(None, "kite", box), V, directions=2) < 1e-3
    saved = sf.value_and_grad(DENSE, sf.Region("out", "kite", box))  # named, it is what it holds
    close(saved(V)[0], phi("out", DENSE, V)[:, 2, 1:3, 2:5].mean((1, 2)), 1e-5)
    assert any("Softmax" in note and "sf.Region('map', 2, box=" in note for note in saved.notes)
    with pytest.raises(InputError, match=r"no output has scores at each position.*'prob' of shape \(1, 6\)"):
        sf.value_and_grad(NET, sf.Region(None, 1))(U)
    with pytest.raises(UnknownNameError, match=r"no class 'kiet'.*'kite'"):
        sf.value_and_grad(DENSE, sf.Region(None, "kiet"))(V)


def test_a_map_with_its_channels_last_has_the_same_regions() -> None:
    last = sf.load(detector("dense", last=True), labels=DETECTED, preprocess="none")
    each: list[dict[str, Any]] = [
        {"box": (4, 8, 12, 20)},
        {"mask": np.eye(16, 24, dtype=np.float32)},
        {"box": (0, 0, 1, 0.2)},
    ]
    for given in each:
        first = sf.value_and_grad(DENSE, sf.Region("out", 1, **given))(V)
        found = sf.value_and_grad(last, sf.Region("last", 1, **given))(V)
        np.testing.assert_allclose(found[0], first[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], first[1], rtol=1e-4, atol=1e-7)


def test_tokens_lie_where_the_map_was() -> None:
    box = (4, 8, 12, 20)
    net = sf.load(detector("yolov5"), preprocess="none")
    rows, shape = phi("rows", net, V), (2, 4, 6)
    close(
        sf.value_and_grad(net, sf.Region("rows", 5, box))(V)[0],
        rows[..., 5].reshape(shape)[:, 1:3, 2:5].mean((1, 2)),
        1e-5,
    )


def test_another_region_builds_nothing_anew() -> None:
    regions = [sf.Region("conv1", k, (0, 0, 0.5, 0.1 + k / 4)) for k in range(3)]
    assert len({structure(region, NET) for region in regions}) == 1
    assert structure(sf.Region("conv1", 0, reduce="max"), NET) != structure(regions[0], NET)


def test_batches_are_taken_apart() -> None:
    both, _ = VALUES["boxes of a batch"]
    assert natural_batch(both) == 2
    values = sf.value_and_grad(NET, both)(U)[0]
    for k in range(2):
        np.testing.assert_allclose(
            sf.value_and_grad(NET, both.for_images([k], NET))(U[k])[0], values[k : k + 1], rtol=1e-6
        )
    masks, _ = VALUES["masks of a batch"]
    assert natural_batch(masks) == 2
    one = sf.value_and_grad(NET, masks.for_images([1], NET))(U[1])[0]
    np.testing.assert_allclose(one, sf.value_and_grad(NET, masks)(U)[0][1:], rtol=1e-6)
    single = sf.Region("conv1", [0, 1, 2, 3], (1, 3, 5, 9)).for_images([2], NET)
    assert (single.channel, single.box) == (2, ((1, 3, 5, 9),))


def test_a_description_makes_it_again() -> None:
    objective = 2 * sf.Region("conv2", 4, mask=MASK) - sf.Region("conv1", 1, (0, 0, 4, 4), reduce="max")
    found = arrays_of(objective)
    told = json.loads(json.dumps(objective.to_dict()))
    again = from_dict(told, lambda what, fingerprint: found[fingerprint["sha256"]])
    np.testing.assert_array_equal(
        sf.value_and_grad(NET, again)(U)[1], sf.value_and_grad(NET, objective)(U)[1]
    )


def test_what_is_no_region_is_refused() -> None:
    for objective, message in {
        sf.Region("logits", 0, (0, 0, 1, 1)): r"needs a layer with positions, but its shape is \(1, 6\)",
        sf.Region("conv1", 4): "channel of 'conv1' is 4; it must lie in 0 to 3",
        sf.Region("conv1", 0, (9, 0, 12, 4)): r"box 9,0,12,4 lies outside of the image of 8x10; .*y0, x0",
        sf.Region("conv2", 0, mask=np.zeros((2, 3))): "is empty: its weights are zero",
        sf.Region("conv2", 0, mask=np.ones((3, 2))): r"the layer's size \(2, 3\) or the image's \(8, 10\)",
        sf.Region("conv2", 0, mask=2 * MASK): r"weights in \[0, 1\], not from 0 to 2",
        sf.Region("conv2", 0, [(0, 0, 1, 1)] * 3): "3 entries of regions were given for a batch of 2",
    }.items():
        with pytest.raises(InputError, match=message):
            sf.value_and_grad(NET, objective)(U)
    with pytest.raises(InputError, match="leave out one of them"):
        sf.Region("conv2", 0, (0, 0, 1, 1), MASK)
    with pytest.raises(UnknownNameError, match="reduce is 'median'; known are 'mean', 'sum', 'max'"):
        sf.Region("conv2", 0, reduce="median")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mask of a region"):
        sf.Region("conv2", 0, mask=np.ones(3))


def test_the_command_line_spells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, dense, photo = (str(tmp_path / name) for name in ("net.onnx", "dense.onnx", "photo.png"))
    Path(model).write_bytes(small_model().SerializeToString())
    Path(dense).write_bytes(detector("dense").SerializeToString())
    Image.fromarray((U[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(photo)
    array = str(tmp_path / "map.npy")
    out = ["--preprocess", "none", "-o", str(tmp_path / "map.png"), "--npy", array, "--method", "saliency"]
    assert main(["attribute", model, photo, "--region", "conv1:2@1,3,5,9", *out]) == 0
    u = sf.read_image(photo, SIZE[1:])
    expected = sf.attribution.saliency(NET, sf.Region("conv1", 2, (1, 3, 5, 9)), u)
    np.testing.assert_array_equal(np.load(array)[0], expected)
    assert main(["attribute", model, photo, "--region", "conv1:2", "--region-mask", photo, *out]) == 0
    exported = ["--preprocess", "none", "-o", str(tmp_path / "grad.onnx")]
    assert main(["gradient", dense, "--region", "2@0,0,0.5,1", "--reduce", "max", *exported]) == 0
    both = ["--region", "conv1:2@0,0,1,1", "--region", "conv1:0@0,0,4,4"]
    assert main(["gradient", model, *both, *exported]) == 0
    assert "2 x 1 x 8 x 10" in capsys.readouterr().out
    assert main(["gradient", model, "--region", "conv1:2@0,0,1,1", "--region", "conv1:0", *exported]) == 2
    assert "several --region have a box each" in capsys.readouterr().err
    assert main(["gradient", dense, "--region", "1", "--region", "map:0", *exported]) == 2
    assert "of one layer, or all of classes" in capsys.readouterr().err
