"""The paper's experiments on the bundled networks: cells, recipes, tables, and what a kill leaves behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import sobolevflow as sf
from sobolevflow import metrics
from sobolevflow.cli.main import main
from sobolevflow.errors import AssumptionWarning, InputError, UnknownNameError
from sobolevflow.experiments import figure1, figure2, figure4, matched, sweep, table1
from sobolevflow.experiments.cells import Store
from sobolevflow.experiments.descents import Runner, fitted
from sobolevflow.experiments.folder import Folder
from sobolevflow.experiments.layer_names import PLACES, find_layer
from sobolevflow.experiments.photographs import Photographs, find_photographs
from sobolevflow.experiments.published import PUBLISHED, in_units_of, published
from sobolevflow.experiments.recipes import INVERT, METHODS, Recipe
from sobolevflow.experiments.work import Subject, Work
from sobolevflow.filters import Sobolev
from sobolevflow.models.shapes import CLASSES, draw
from tests.support.command_line import run
from tests.support.gradient_cases import make_model
from tests.support.small_networks import small_model

VGG, DENSE = "builtin:shapes-vgg", "builtin:shapes-dense"


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawings, one of a class each, named by their class."""
    folder = tmp_path_factory.mktemp("photographs")
    for k, name in enumerate(CLASSES[:12]):
        u = draw(name, np.random.default_rng(k), 96)
        Image.fromarray(np.uint8(np.moveaxis(u, 0, -1) * 255)).save(folder / f"{k:04d}_{name}.png")
    return folder


@pytest.fixture(scope="module")
def photographs(photo_folder: Path) -> Photographs:
    return find_photographs(photo_folder)


@pytest.fixture(scope="module")
def networks() -> tuple[sf.Network, sf.Network]:
    return sf.load(VGG), sf.load(DENSE)


@pytest.fixture(scope="module")
def subjects(networks: tuple[sf.Network, sf.Network]) -> list[Subject]:
    return [Subject(net, (_rectified(net)[1],)) for net in networks]


def _rectified(net: sf.Network) -> list[str]:
    return [info.name for info in net.layers if info.op == "Relu" and info.differentiable]


def work(folder: Path, **more: Any) -> Work:
    return Work(Folder(folder), **{"steps": 2, "batch": 4, "progress": False, **more})


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


# --- cells --------------------------------------------------------------------------------------


def test_a_cell_is_computed_once_and_read_as_it_was(tmp_path: Path) -> None:
    arrays = {"u": np.arange(6, dtype=np.uint8).reshape(2, 3), "value": np.array([0.1, -3e-300])}
    store, key = Store(tmp_path / "cells"), {"b": 1, "a": [1, 2.5, "x"]}
    assert key not in store
    first = store.get(key, lambda: arrays)
    again = Store(tmp_path / "cells").get({"a": [1, 2.5, "x"], "b": 1}, _fail)
    assert store.computed == 1
    assert key in store
    for name, expected in arrays.items():
        for found in (first, again):
            assert found[name].dtype == expected.dtype
            np.testing.assert_array_equal(found[name], expected)


def _fail() -> dict[str, np.ndarray]:
    raise AssertionError("computed again")


def test_other_keys_are_other_cells(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for k in range(3):
        store.get({"seed": k}, lambda k=k: {"k": np.array(k)})  # type: ignore[misc]
    assert [int(store.get({"seed": k}, _fail)["k"]) for k in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" + b[2:50]])
def test_a_damaged_cell_is_computed_again(tmp_path: Path, damage: Any) -> None:
    store, key = Store(tmp_path), {"k": 1}
    store.get(key, lambda: {"x": np.ones(99)})
    store.path(key).write_bytes(damage(store.path(key).read_bytes()))
    np.testing.assert_array_equal(store.get(key, lambda: {"x": np.ones(99)})["x"], np.ones(99))
    np.testing.assert_array_equal(store.get(key, _fail)["x"], np.ones(99))


def _rewritten(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("x"),
        lambda a: a.update(x=a["x"][:5]),
        lambda a: a.update(x=a["x"].astype(np.float32)),
        lambda a: a.update(x=a["x"] + 1),
        lambda a: a.update(y=a["x"]),
        lambda a: a.update(x=np.array(["text"])),
        lambda a: a.update(key=np.array("{}")),
        lambda a: a.pop("key"),
        lambda a: [a.pop("x"), a.pop("sums")],
    ],
)
def test_a_whole_archive_of_something_else_is_computed_again(tmp_path: Path, change: Any) -> None:
    store, key = Store(tmp_path), {"k": 1}
    store.get(key, lambda: {"x": np.ones(99)})
    _rewritten(store.path(key), change)
    assert key not in store
    np.testing.assert_array_equal(store.get(key, lambda: {"x": np.ones(99)})["x"], np.ones(99))
    assert store.computed == 2


def test_cells_of_earlier_versions_are_found(tmp_path: Path) -> None:
    store, key = Store(tmp_path), {"k": 1}
    store.get(key, lambda: {"x": np.ones(99)})
    _rewritten(store.path(key), lambda arrays: arrays.pop("sums"))
    np.testing.assert_array_equal(store.get(key, _fail)["x"], np.ones(99))


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(AssertionError):
        store.get({"k": 1}, _fail)
    assert {"k": 1} not in store
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        store.get({"k": 1}, lambda: {"x": np.linspace(0, 1, 50)})
        files.append(store.path({"k": 1}).read_bytes())
        time.sleep(0.01)
    assert files[0] == files[1]


# --- photographs --------------------------------------------------------------------------------


def test_photographs_know_their_classes_and_their_halves_are_apart(photo_folder: Path) -> None:
    found = find_photographs(photo_folder)
    assert len(found) == 12
    assert found.classes is not None
    assert sorted(found.classes) == list(range(12))
    assert [int(path.name[:4]) for path in found.paths] == list(found.classes)
    assert find_photographs(photo_folder) == found
    assert find_photographs(photo_folder, seed=1) != found
    one, other = found.halves()
    assert len(one) == len(other) == 6
    assert not set(one.paths) & set(other.paths)
    u = found[:2].read((96, 96))
    np.testing.assert_array_equal(u[1], sf.read_image(found.paths[1], size=(96, 96)))


def test_photographs_without_numbers_have_no_classes(tmp_path: Path) -> None:
    for name in ("7_fox.png", "crab.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "README.txt").write_text("no picture")
    found = find_photographs(tmp_path)
    assert len(found) == 2
    assert found.classes is None


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photographs"):
        find_photographs(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        find_photographs(tmp_path / "absent")


# --- recipes ------------------------------------------------------------------------------------


def test_every_method_has_as_many_candidates() -> None:
    tuned = {name: candidates for name, candidates in METHODS.items() if name != INVERT}
    assert METHODS.keys() - tuned.keys() == {INVERT}
    assert {len(candidates) for candidates in tuned.values()} == {6}
    for candidates in tuned.values():
        assert len({json.dumps(each.to_dict(), sort_keys=True) for each in candidates}) == 6


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_are_what_the_paper_prints(name: str) -> None:
    recipe, size = PUBLISHED[name].recipe, PUBLISHED[name].size
    assert recipe.normalise == (None if name.endswith("/printed") else "before")
    figure, network = name.split("/")[:2]
    assert size == (9 if figure == "figure2" else 11)
    numbers: dict[str, tuple[list[int], list[float]]] = {
        "figure1/vgg19": ([160], [5]),
        "figure2/vgg19": ([100, 50, 10], [5, 2, 1]),
        "figure2/resnet50": ([160, 60, 16], [60, 20, 5]),
        "figure2/densenet121": ([100, 60, 8], [5, 0.05, 0.02]),
        "table1/vgg19": ([300], [20]),
        "table1/densenet121": ([300], [20]),
        "figure4/densenet121": ([2000], [1]),
    }
    expected = numbers[f"{figure}/{network}"]
    if "/octaves" in name:
        assert [octave.scale for octave in recipe.own_octaves] == [1.0, 1.1, 1.2]
        assert [octave.steps for octave in recipe.own_octaves] == expected[0]
        assert recipe.crops == "normal"
        taus = [octave.tau for octave in recipe.own_octaves]
    else:
        assert recipe.steps == sum(expected[0])
        expected = (expected[0], expected[1][:1])
        taus = [recipe.tau]
    if name.endswith("/printed"):
        assert taus == expected[1]


def test_a_printed_tau_is_a_step_in_the_units_of_the_network() -> None:
    preprocess = sf.Preprocess(255.0, (100.0, 110.0, 120.0), (1.0, 2.0, 4.0), order="bgr")
    net = sf.load(small_model(), preprocess=preprocess)
    plain = sf.load(small_model(), preprocess="none")
    u = np.random.default_rng(3).random((1, *net.input_shape)).astype(np.float32)
    matrix, bias = preprocess.matrix_and_bias(3)
    x = np.einsum("ij,njhw->nihw", matrix, u) + bias[:, None, None]
    tau, scheme = 0.7, sf.fluid(Sobolev(gamma=0.4))
    recipe = in_units_of(net, Recipe(scheme=scheme, tau=tau, normalise=None))

    _, by_u = sf.value_and_grad(net, sf.Class(1))(u)
    stepped, _ = recipe.scheme.step(u, -by_u, recipe.tau)
    with pytest.warns(AssumptionWarning, match="holds values from"):  # in the units of the network
        _, by_x = sf.value_and_grad(plain, sf.Class(1))(x.astype(np.float32))
    x_stepped, _ = scheme.step(x, -by_x.astype(np.float64), tau)

    found = np.einsum("ij,njhw->nihw", matrix, stepped) + bias[:, None, None]
    np.testing.assert_allclose(
        found - x, x_stepped - x, rtol=2e-3, atol=2e-5 * np.abs(x_stepped - x).max() + 1e-5
    )


def test_other_steps_keep_the_shares_of_the_octaves() -> None:
    recipe = published("figure2/vgg19/octaves").recipe.in_steps(32)
    assert [octave.steps for octave in recipe.own_octaves] == [20, 10, 2]
    shared = recipe.but(octaves=(0.5, 1.0)).in_steps(9)
    assert (shared.steps, shared.octaves) == (9, (0.5, 1.0))
    assert published("figure1/vgg19").recipe.in_steps(7).steps == 7


def test_unknown_recipes_are_named_with_a_guess() -> None:
    with pytest.raises(UnknownNameError, match="figure1/vgg19"):
        published("figure1/vgg16")


# --- layer names --------------------------------------------------------------------------------


def chain(convolutions: int, merged: bool, transposed: bool = False) -> onnx.ModelProto:
    """Convolutions, each with a rectifier before it and one after, as DenseNet has them."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {"w": np.ones((1, 1, 1, 1), np.float32)}
    for name in ("s", "b", "m", "v"):
        constants[name] = np.ones(1, np.float32)
    at = "x"
    for k in range(1, convolutions + 1):
        if transposed:
            nodes.append(helper.make_node("Transpose", [at], [f"t{k}"], perm=[0, 1, 2, 3]))
            at = f"t{k}"
        nodes.append(helper.make_node("Conv", [at, "w"], [f"conv{k}"]))
        at = f"conv{k}"
        if not merged:
            nodes.append(helper.make_node("BatchNormalization", [at, *"sbmv"], [f"bn{k}"]))
            at = f"bn{k}"
        nodes.append(helper.make_node("Relu", [at], [f"relu{k}"]))
        at = f"relu{k}"
    return make_model(nodes, {"x": ((1, 1, 4, 4), TensorProto.FLOAT)}, [at], constants, opset=15)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_layers_of_the_paper_are_found_by_their_place(merged: bool, transposed: bool) -> None:
    vgg = sf.load(chain(16, merged, transposed), preprocess="none")
    assert find_layer(vgg, "block5_conv1") == "relu13"
    dense = sf.load(chain(120, merged, transposed), preprocess="none")
    last = "conv" if merged else "bn"
    assert find_layer(dense, "conv3_block3_1_bn") == f"{last}19"
    assert find_layer(dense, "conv5_block12_0_bn") == f"{last}110"
    assert find_layer(dense, "relu7") == "relu7"


def test_a_layer_of_another_architecture_is_refused() -> None:
    net = sf.load(chain(4, merged=True), preprocess="none")
    for name in PLACES:
        with pytest.raises(UnknownNameError, match="convolutions"):
            find_layer(net, name)
    with pytest.raises(UnknownNameError, match="no layer 'relu9'"):
        find_layer(net, "relu9")


# --- descents in batches ------------------------------------------------------------------------


def test_batches_are_what_invert_gives(
    tmp_path: Path, networks: tuple[sf.Network, sf.Network], photographs: Photographs
) -> None:
    net = networks[0]
    layer = _rectified(net)[1]
    recipe = Recipe(scheme=sf.fluid(Sobolev(size=9)), tau=4 / 255, steps=3, jitter=2)
    found = Runner(Store(tmp_path), batch=4, seed=5).invert(net, layer, photographs[:6], recipe)
    u = photographs[:6].read((96, 96))
    for block in (slice(0, 4), slice(4, 6)):
        result = sf.invert(
            net,
            sf.Inversion(layer, u[block]),
            scheme=recipe.scheme,
            tau=4 / 255,
            steps=3,
            jitter=2,
            schedule="constant",
            seed=5 + block.start,
            progress=False,
        )
        np.testing.assert_array_equal(found.pixels[block], result.image)
        np.testing.assert_array_equal(found.value[block], result.value)
    np.testing.assert_allclose(found.u, np.moveaxis(found.pixels, -1, 1) / 255, rtol=1e-6)


def test_pictures_are_fitted_to_another_network() -> None:
    u = np.random.default_rng(0).random((2, 3, 12, 12)).astype(np.float32)
    assert fitted(u, (12, 12)) is u
    flat = np.full((1, 3, 12, 12), 0.25, np.float32)
    np.testing.assert_allclose(fitted(flat, (8, 6)), np.full((1, 3, 8, 6), 0.25), atol=1e-6)


# --- experiments --------------------------------------------------------------------------------

FEW: dict[str, tuple[Recipe, ...]] = {
    name: tuple(METHODS[name][:count]) for name, count in (("none", 1), ("TV", 2), ("Sobolev fluid", 2))
} | {INVERT: ()}


def test_table1_holds_what_its_pictures_say(
    tmp_path: Path, subjects: list[Subject], photographs: Photographs
) -> None:
    rows = table1.run(subjects, photographs, work(tmp_path), count=5, tuned_on=3, methods=FEW)
    assert [row["method"] for row in rows] == ["originals", *FEW] * 2
    assert [row["network"] for row in rows[::5]] == [s.net.name for s in subjects]
    assert len(read(tmp_path / "table1.csv")) == 10
    assert len(read(tmp_path / "tuning.csv")) == 8
    _, half = photographs.halves()
    source, judge = subjects[0].net, subjects[1].net
    runner = Runner(Store(tmp_path / "cells"), batch=4)
    pictures = runner.invert(source, subjects[0].layers[0], half[:5], FEW["none"][0].in_steps(2))
    assert runner.store.computed == 0
    hits = metrics.in_top(judge, pictures.u, half[:5].classes)  # type: ignore[arg-type]
    assert rows[1]["top1"] == pytest.approx(hits.mean())
    assert rows[1]["feature_error"] == pytest.approx(pictures.value.mean())
    assert rows[1]["psnr"] == pytest.approx(metrics.psnr(pictures.u, half[:5].read((96, 96))).mean())
    assert rows[0]["top1"] > rows[1]["top1"]  # the drawings themselves are recognised
    sheets = list(tmp_path.glob("*.png"))
    assert len(sheets) == 2
    assert Image.open(sheets[0]).width > 500


def test_table1_tunes_on_the_other_half(
    tmp_path: Path, subjects: list[Subject], photographs: Photographs
) -> None:
    table1.run(subjects, photographs, work(tmp_path), count=4, tuned_on=4, methods=FEW)
    tried = read(tmp_path / "tuning.csv")
    for network in (s.net.name for s in subjects):
        for method in ("TV", "Sobolev fluid"):
            rows = [row for row in tried if (row["network"], row["method"]) == (network, method)]
            chosen = [row for row in rows if row["chosen"] == "True"]
            assert len(rows) == 2
            assert len(chosen) == 1
            assert float(chosen[0]["probability"]) == max(float(row["probability"]) for row in rows)
            (reported,) = (
                row["recipe"]
                for row in read(tmp_path / "table1.csv")
                if (row["network"], row["method"]) == (network, method)
            )
            assert reported == chosen[0]["recipe"]
    facts = json.loads((tmp_path / "manifest.json").read_text())
    assert not set(facts["tuning"]) & set(facts["report"])


def test_an_experiment_computes_nothing_twice_and_repeats_its_bytes(
    tmp_path: Path, subjects: list[Subject], photographs: Photographs
) -> None:
    def run(folder: Path) -> int:
        one = work(folder)
        table1.run(subjects, photographs, one, count=5, tuned_on=2, methods=FEW)
        return one.folder.store.computed

    assert run(tmp_path / "one") > 0
    assert run(tmp_path / "one") == 0
    run(tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) > 10
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


KILLED = """
import sys
from sobolevflow.cli import main
sys.exit(main(sys.argv[1:]))
"""


def table1_command(photo_folder: Path, out: Path, subjects: list[Subject]) -> list[str]:
    layers = [",".join(s.layers) for s in subjects]
    options = ["--layers", *layers, "--photos", str(photo_folder), "--count", "6", "--tune", "0"]
    return ["experiment", "table1", VGG, DENSE, *options, "--steps", "6", "--batch", "1", "-o", str(out)]


def test_kill_9_loses_no_finished_cell(tmp_path: Path, photo_folder: Path, subjects: list[Subject]) -> None:
    command = table1_command(photo_folder, tmp_path / "killed", subjects)
    cells = tmp_path / "killed/cells"
    for wanted in (3, 12):
        process = subprocess.Popen([sys.executable, "-c", KILLED, *command], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(cells.glob("*/*.npz"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in cells.glob("*/*.npz")}
    assert len(before) >= 12
    assert main(command) == 0
    for path, changed in before.items():
        with np.load(path) as file:  # every file that has its name is whole
            assert json.loads(str(file["key"]))
        assert path.stat().st_mtime_ns == changed
    whole = table1_command(photo_folder, tmp_path / "whole", subjects)
    assert main(whole) == 0
    assert (tmp_path / "killed/table1.csv").read_bytes() == (tmp_path / "whole/table1.csv").read_bytes()


def test_figure1_draws_every_scheme(tmp_path: Path, subjects: list[Subject]) -> None:
    rows = figure1.run(subjects, ["spiral", "rings"], work(tmp_path))
    assert len(rows) == 2 * 7 == len(read(tmp_path / "figure1.csv"))
    assert len(list(tmp_path.glob("figure1-*.png"))) == 4
    judge = subjects[1].net.name
    assert all(0 <= row[f"{judge}_top1"] <= 1 for row in rows[:7])
    recipe = published("figure1/vgg19").recipes_for(subjects[0].net)["TV"].in_steps(2)
    store = Store(tmp_path / "cells")
    found = Runner(store, batch=4).visualize(subjects[0].net, ["spiral", "rings"], recipe)
    assert store.computed == 0
    (row,) = (row for row in rows[:7] if row["scheme"] == "TV")
    assert row["objective"] == pytest.approx(found.value.mean())


def test_figure2_has_octaves_and_none(tmp_path: Path, subjects: list[Subject]) -> None:
    rows = figure2.run(subjects, ["spiral"], work(tmp_path, steps=8))
    assert len(rows) == 2 * 2 * 7
    assert len(list(tmp_path.glob("figure2-*.png"))) == 2
    recipe = published("figure2/vgg19/octaves").recipes_for(subjects[0].net)["TV"].in_steps(8)
    pictures = Runner(Store(tmp_path / "cells"), batch=4).visualize(subjects[0].net, ["spiral"], recipe)
    assert pictures.pixels.shape[1:3] == (115, 115)  # 1.2 times the network's input


def test_figure4_inverts_every_layer(
    tmp_path: Path, networks: tuple[sf.Network, sf.Network], photographs: Photographs
) -> None:
    subjects = [Subject(networks[0], tuple(_rectified(networks[0])[:2])), Subject(networks[1])]
    rows = figure4.run(subjects, photographs, work(tmp_path), count=3)
    assert [row["layer"] for row in rows] == [layer for layer in subjects[0].layers for _ in range(7)]
    assert len(list(tmp_path.glob("figure4-*.png"))) == 2
    assert all(row["feature_error"] > 0 and f"{networks[1].name}_top1" in row for row in rows)
    with pytest.raises(InputError, match="12 photographs"):
        figure4.run(subjects, photographs, work(tmp_path), count=13)


def test_matched_filters_are_equal_in_what_they_are_matched_to(
    tmp_path: Path, subjects: list[Subject]
) -> None:
    rows = matched.run(subjects[:1], ["spiral"], work(tmp_path))
    assert len(rows) == 3 * 4
    by_filter = {row["filter"]: row for row in rows}
    gaussian = by_filter["Gaussian"]
    equal = by_filter["Sobolev, equal variance"]
    assert equal["kernel_std"] == pytest.approx(gaussian["kernel_std"], rel=1e-3)
    assert by_filter["Sobolev, equal noise"]["noise_gain"] == pytest.approx(gaussian["noise_gain"], rel=1e-3)
    support = by_filter["Sobolev, equal support"]
    assert support["parameter"] == pytest.approx(0.375, abs=1e-3)
    assert support["noise_gain"] > 2 * gaussian["noise_gain"]
    assert len(list(tmp_path.glob("matched-*.png"))) == 1


def test_sweep_draws_the_weight_of_the_fixed_point(
    tmp_path: Path, networks: tuple[sf.Network, sf.Network], photographs: Photographs
) -> None:
    subjects = [Subject(networks[0], (_rectified(networks[0])[1],))]
    rows = sweep.run(
        subjects, photographs, work(tmp_path, steps=20), gammas=(0.1, 0.2), taus=(1 / 255, 2 / 255)
    )
    assert [(row["gamma"], row["tau"]) for row in rows] == [
        (gamma, tau) for gamma in (0.1, 0.2) for tau in (1 / 255, 2 / 255)
    ]
    recipe = sweep.recipe(0.2, 1 / 255).in_steps(20)
    u = photographs[:1].read((96, 96))
    result = sf.invert(
        networks[0],
        sf.Inversion(subjects[0].layers[0], u),
        scheme=recipe.scheme,
        tau=recipe.tau,
        steps=20,
        normalise="before",
        schedule="constant",
        progress=False,
    )
    mean_abs = result.history.mean_abs_gradient[-2:].mean()
    assert rows[2]["lambda_eff"] == pytest.approx(0.2 * mean_abs * 255 / 2)
    # more weight on the gradient's energy, less of that energy
    order = np.argsort([row["lambda_eff"] for row in rows])
    energies = [rows[k]["dirichlet_energy"] for k in order]
    assert energies[0] > energies[-1]
    assert len(list(tmp_path.glob("sweep-*.png"))) == 1


# --- the command --------------------------------------------------------------------------------


def test_the_command_lists_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("experiment", "--list") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in PUBLISHED)
    assert run("experiment", "--list", "--json") == 0
    assert json.loads(capsys.readouterr().out).keys() == PUBLISHED.keys()


def test_the_command_runs_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = [
        "experiment",
        "figure1",
        VGG,
        "--class",
        "rings",
        "--steps",
        "1",
        "-o",
        out,
        "--json",
        "--quiet",
    ]
    assert run(*command) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["computed"] > 0
    assert len(first["rows"]) == 7
    assert run(*command) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["computed"] == 0
    assert again["rows"] == first["rows"]
    assert run(*command[:-1], "--recipe", "figure2/vgg19/plain/printed") == 0
    assert "Sobolev fluid-elastic" in capsys.readouterr().out


def test_figure2_takes_a_recipe_of_two_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "experiment",
        "figure2",
        VGG,
        "--class",
        "rings",
        "--steps",
        "3",
        "-o",
        tmp_path / "out",
        "--json",
    ]
    assert run(*command, "--recipe", "figure2/resnet50/printed") == 0
    assert {row["form"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"octaves", "plain"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name an experiment"),
        (["figure1"], "needs --class"),
        (["figure1", "--class", "rings"], "needs at least one MODEL"),
        (["figure1", VGG, "--class", "rings"], "needs -o FOLDER"),
        (
            ["figure1", VGG, "--class", "rings", "--photos", "p", "-o", "o"],
            "--photos belongs to experiment figure4 or table1 or sweep, not to figure1",
        ),
        (["table1", VGG, DENSE, "--photos", "p", "-o", "o"], "needs --layers"),
        (
            ["table1", VGG, DENSE, "--layers", "a", "b", "c", "--photos", "p", "-o", "o"],
            "--layers has 3 values",
        ),
        (["figure1", VGG, VGG, "--class", "rings", "-o", "o"], "two networks are called 'shapes-vgg'"),
        (["sweep", VGG, "--layers", "nowhere", "--photos", "p", "-o", "o"], "no layer 'nowhere'"),
        (["figure1", VGG, "--class", "rings", "--recipe", "figure9", "-o", "o"], "no recipe 'figure9'"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("experiment", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_one_network_cannot_judge_itself(
    tmp_path: Path, subjects: list[Subject], photographs: Photographs
) -> None:
    with pytest.raises(InputError, match="at least two networks"):
        table1.run(subjects[:1], photographs, work(tmp_path), count=2, tuned_on=0, methods=FEW)
    with pytest.raises(InputError, match="There are 6 photographs to report on"):
        table1.run(subjects, photographs, work(tmp_path), count=7, tuned_on=0, methods=FEW)


def test_photographs_of_unknown_class_are_judged_by_what_the_judge_sees(
    tmp_path: Path, subjects: list[Subject], photographs: Photographs
) -> None:
    unnamed = replace(photographs, classes=None)
    rows = table1.run(subjects, unnamed, work(tmp_path), count=4, tuned_on=0, methods={"none": FEW["none"]})
    assert rows[0]["method"] == "originals"
    assert rows[0]["top1"] == 1
