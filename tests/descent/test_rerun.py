"""Runs made again from their manifests: the same bytes, or an error in one line that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.descent import Settings
from sobolevflow.errors import InputError, InputFileError
from tests.support.command_line import run
from tests.support.sampling import sampled
from tests.support.small_networks import LABELS, generator, images, small_model

# What a run can consist of, by the options that ask for it; ``PHOTO`` and others are files in the folder.
ASKED = {
    "default": "--class 1",
    "fluid": "--class 1 --scheme fluid --size 5",
    "elastic": "--class 1 --scheme elastic --filter gaussian --sigma 1",
    "fluid-elastic": "--class 1 --scheme fluid-elastic --gamma 0.4",
    "natural colours": "--class 1 --scheme fluid --natural-colour",
    "no scheme": "--class 1 --scheme none --penalty dirichlet --penalty-weight 0.01",
    "smoothed variation": "--class 1 --penalty smoothed-tv --penalty-weight 0.001 --tau 1/1000",
    "total variation": "--class 1 --tv-weight 0.01",
    "octaves": "--class 1 --octaves 3",
    "coarse octaves": "--class 1 --octaves 0.5:2,1:3:1/255",
    "canvas": "--class 1 --canvas 12x14 --crops normal",
    "classes": "--class 1 --class 4 --class 0 --seed 7",
    "names": "--class crab --labels labels.txt",
    "channels": "--channel relu1:2 --channel relu1:0",
    "axis": "--channel relu1:2 --axis -1",
    "neuron": "--neuron conv2:2",
    "index": "--neuron conv2:2:1:1",
    "layer": "--layer relu2",
    "direction": "--direction conv2 direction.npy",
    "caricature": "--caricature relu1 photo.png --power 0.5",
    "cosine": "--cosine conv2 photo.png",
    "momentum": "--class 1 --optimizer momentum --momentum-decay 0.8",
    "adam": "--class 1 --optimizer adam --normalise none --tau 0.01",
    "fourier": "--class 1 --parametrization fourier --spectrum-decay 0.7",
    "phase": "--class 1 --parametrization phase",
    "start and mask": "--class 1 --start photo.png --mask mask.png",
    "several starts": "--class 1 --start photo.png --start photo.png",
    "views": "--class 1 --jitter 2 --rotate 5 --zoom 0.1 --schedule cosine --noise 0.1",
    "no clip": "--class 1 --no-clip --bits 32 -o a.tif",
    "snapshots": "--class 1 --snapshots 2 --bits 16",
    "a budget": "--class 1 --octaves 2 --steps 400 --seconds 0.001",
    "patience": "--class 1 --steps 50 --patience 1 --scheme fluid",
    "half precision": "--class 1 --precision float16",
    "pre-processing": "--class 1 --preprocess caffe --background 0",
}
INVERTED = {
    "inversion": "photo.png",
    "inversions": "photo.png other.png --p 1",
    "masked": "photo.png --feature-mask mask.png --start photo.png --tv-weight 0.01",
}


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands name, in the folder that they run in."""
    monkeypatch.chdir(tmp_path)
    onnx.save(small_model(), "model.onnx")
    for name in ("photo.png", "other.png"):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(name)
    Image.fromarray(np.pad(np.full((4, 5), 255, np.uint8), ((2, 2), (2, 3)))).save("mask.png")
    np.save("direction.npy", rng.random(5))
    Path("labels.txt").write_text("\n".join(name.split(",")[0].replace("king ", "") for name in LABELS))
    return tmp_path


def rerun(*words: object) -> int:
    return run("rerun", "a.manifest.json", *words)


def check_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert rerun("--verify") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "identical"
    assert [line.split()[-1] for line in told[:-1]] == ["SHA-256", "identical", "identical"]


def words_of(options: str) -> list[str]:
    words = options.split()
    given = [*([] if "--steps" in words else ["--steps", "5"]), *([] if "-o" in words else ["-o", "a.png"])]
    return [*words, *given, "--npy", "a.npy", "--threads", "1"]


@pytest.mark.parametrize("options", sampled(ASKED.values()), ids=list(ASKED))
def test_images_made_again_are_the_same_bytes(
    options: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("visualize", "model.onnx", *words_of(options)) == 0
    capsys.readouterr()
    check_made_again(capsys)


@pytest.mark.parametrize("options", INVERTED.values(), ids=list(INVERTED))
def test_inversions_made_again_are_the_same_bytes(
    options: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("invert", "model.onnx", *words_of(options), "--layer", "relu1") == 0
    capsys.readouterr()
    Path("photo.png").unlink()  # its pixels lie beside the manifest
    check_made_again(capsys)


@pytest.mark.parametrize("network", ["builtin:shapes-vgg", "builtin:shapes-dense"])
def test_a_bundled_network_is_found_by_its_name(
    network: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("visualize", network, "--class", "spiral", *words_of("--steps 3")) == 0
    capsys.readouterr()
    check_made_again(capsys)


def test_codes_of_a_generator_are_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(generator(), "generator.onnx")
    assert run("visualize", "model.onnx", "--generator", "generator.onnx", *words_of("--class 1")) == 0
    capsys.readouterr()
    check_made_again(capsys)


def saved(**given: Any) -> dict[str, Any]:
    """The manifest of a run in Python, which is written too."""
    net = sf.load("model.onnx", threads=1)
    usual: dict[str, Any] = {"steps": 3, "progress": False}
    sf.visualize(net, given.pop("objective", sf.Class(1)), **usual, **given).save("a.png")
    return manifest()


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("a.manifest.json").read_text())
    return found


def write(changed: object) -> None:
    Path("a.manifest.json").write_text(json.dumps(changed))


def test_a_manifest_says_what_the_bytes_depend_on(folder: Path) -> None:
    words = ["visualize", "model.onnx", "--caricature", "relu1", "photo.png", *words_of("")]
    assert run(*words) == 0
    told = manifest()
    assert told["format"] == 2
    assert told["source"]["path"] == {"given": "model.onnx", "full": str(folder / "model.onnx")}
    assert told["source"]["threads"] == 1
    assert told["model"]["sha256"] == sf.load("model.onnx").sha256
    assert {"sobolevflow", "numpy", "onnx", "onnxruntime"} <= told["versions"].keys()
    assert set(told["environment"]) == {"system", "machine", "cpu", "cores"}
    assert told["asked"]["command"] == ["sobolevflow", *words]
    assert list(told["asked"]["files"]) == ["photo.png"]
    assert told["written"] == {"picture": "a.png", "bits": 8, "array": "a.npy", "arrays": "a.arrays.npz"}
    assert told["outcome"]["steps_of_octaves"] == [5]
    assert not told["not_repeatable"]


def test_what_is_no_longer_the_same_is_said_with_the_largest_difference(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("visualize", "model.onnx", *words_of("--class 1")) == 0
    array, picture = np.load("a.npy"), np.asarray(Image.open("a.png")).copy()
    array[0, 1, 2, 3] += 0.25
    picture[3, 4, 0] += 51
    np.save("a.npy", array)
    Image.fromarray(picture).save("a.png")
    capsys.readouterr()
    assert rerun("--verify", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["identical"] is False
    assert told["compared"][0] == "the images are identical, by their SHA-256"
    assert "values differ by up to 0.25" in told["compared"][1]
    assert "51 grey levels" in told["compared"][2]


def test_another_seed_is_not_identical(folder: Path) -> None:
    told = saved()
    told["parameters"]["seed"] = 5
    write(told)
    comparison = sf.rerun("a.manifest.json", progress=False).compare("a.manifest.json")
    assert not comparison.identical
    assert len(comparison.found) == 2


def test_the_network_is_looked_for_where_it_was_and_beside_the_manifest(folder: Path) -> None:
    saved()
    there = folder / "elsewhere"
    there.mkdir()
    for name in ("model.onnx", "a.manifest.json", "a.png"):
        Path(name).rename(there / name)
    assert sf.rerun(there / "a.manifest.json", progress=False).compare(there / "a.manifest.json").identical
    (there / "model.onnx").rename(folder / "renamed.onnx")
    with pytest.raises(InputFileError, match=r"the network .*model\.onnx is not there"):
        sf.rerun(there / "a.manifest.json")
    assert run("rerun", there / "a.manifest.json", "--verify", "--model", "renamed.onnx") == 0


def test_a_network_of_another_content_is_refused_with_both_hashes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = saved()["model"]["sha256"]
    model = small_model()
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, "model.onnx")
    assert rerun("--verify") == 2
    error = capsys.readouterr().err
    assert before in error
    assert sf.load("model.onnx").sha256 in error
    assert "--any-model" in error
    assert rerun("--verify", "--any-model") == 1


def test_names_given_to_an_open_network_are_written_down(folder: Path) -> None:
    net = sf.load("model.onnx")
    net.name_classes(list("abcdef"))
    result = sf.visualize(net, sf.Class("b"), steps=2, progress=False)
    result.save("named.png")
    assert sf.rerun("named.manifest.json", progress=False).compare("named.manifest.json").identical


def test_labels_that_changed_are_refused(folder: Path) -> None:
    assert run("visualize", "model.onnx", *words_of("--class crab --labels labels.txt")) == 0
    Path("labels.txt").write_text("\n".join("abcdef"))
    with pytest.raises(InputError, match=r"class names in .*labels\.txt: another SHA-256 now"):
        sf.rerun("a.manifest.json")


def test_the_run_itself_is_not_written_over_unless_that_is_asked_for(folder: Path) -> None:
    saved()
    before = Path("a.png").stat().st_mtime_ns
    assert rerun("-o", "a.png") == 2
    assert Path("a.png").stat().st_mtime_ns == before
    assert rerun("-o", "b.png", "--quiet") == 0
    assert Path("b.png").read_bytes() == Path("a.png").read_bytes()
    assert rerun("-o", "a.png", "--overwrite") == 0
    assert Path("a.png").stat().st_mtime_ns != before
    assert rerun() == 2


def halve(step: int, steps: int) -> float:
    return 0.5


class Sign:
    """An optimizer that nobody has entered by a name."""

    def __call__(self, g: Any, state: Any = None) -> tuple[Any, Any]:
        return np.sign(g), state

    def to_dict(self) -> dict[str, Any]:
        return {"name": "sign"}


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"schedule": halve}, "schedule"),
        ({"optimizer": Sign()}, "optimizer"),
        ({"scheme": sf.fluid(lambda g: g)}, "scheme"),
    ],
)
def test_what_is_no_more_than_named_is_refused_by_its_name(
    given: dict[str, Any], part: str, folder: Path
) -> None:
    assert saved(**given)["not_repeatable"] == [part]
    with pytest.raises(InputError, match=f"the {part} of the run cannot be made"):
        sf.rerun("a.manifest.json")


def test_arrays_given_in_python_are_saved_beside(folder: Path) -> None:
    net, rng = sf.load(small_model(), threads=1), np.random.default_rng(3)
    objective = 2 * sf.Direction("conv2", rng.random(5)) - 0.5 * sf.Neuron("conv2", (1, 0, 2))
    start = images(2)
    sf.visualize(net, objective, batch=2, start=start, steps=3, progress=False).save("a.png")
    with pytest.raises(InputError, match="an object of the type ModelProto; give it as model="):
        sf.rerun("a.manifest.json")
    assert sf.rerun("a.manifest.json", model=small_model()).compare("a.manifest.json").identical
    Path("a.arrays.npz").rename("b.npz")
    with pytest.raises(
        InputFileError, match=r"array that is start is missing|vector of Direction is missing"
    ):
        sf.rerun("a.manifest.json", model=small_model())
    np.savez("a.arrays.npz", **{name: value * 0.5 for name, value in np.load("b.npz").items()})
    with pytest.raises(InputFileError, match="not in it as it was"):
        sf.rerun("a.manifest.json", model=small_model())


def test_a_run_that_a_callback_stopped_takes_as_many_steps(folder: Path) -> None:
    told = saved(callback=lambda info: info.step == 2)
    assert told["outcome"]["steps"] == 2
    again = sf.rerun("a.manifest.json", progress=False)
    assert again.compare("a.manifest.json").identical
    assert again.stopped_by == "callback"
    assert "Stopped after 2 of 3 steps" in again.notes[0]


def test_other_versions_and_threads_are_notes(folder: Path) -> None:
    told = saved()
    told["versions"]["numpy"] = "1.0"
    told["environment"]["cpu"] = ["OLD"]
    write(told)
    (note,) = sf.rerun("a.manifest.json", threads=2, progress=False).notes
    assert f"numpy {np.__version__} instead of 1.0" in note
    assert "instead of OLD" in note
    assert "threads 2 instead of 1" in note


def test_a_manifest_of_before_needs_the_network_and_is_made_with_a_note(folder: Path) -> None:
    told = saved()
    for new in ("format", "source", "environment", "not_repeatable", "asked", "written"):
        del told[new]
    del told["outcome"]["sha256"], told["outcome"]["steps_of_octaves"]
    write(told)
    with pytest.raises(InputError, match="does not say where the network was opened from"):
        sf.rerun("a.manifest.json")
    again = sf.rerun("a.manifest.json", model="model.onnx", threads=1, progress=False)
    assert "written before" in again.notes[0]
    np.testing.assert_array_equal(again.image[0], np.asarray(Image.open("a.png")))


def part(*keys: str, to: Any) -> Callable[[dict[str, Any]], Any]:
    """A change of a manifest."""

    def change(told: dict[str, Any]) -> Any:
        inner = told
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        return told

    return change


LONG = "x" * 1_000_000
HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda told: [1, 2],
    "a number": lambda told: 5,
    "nothing": lambda told: {},
    "an experiment": lambda told: {"experiment": "table1"},
    "a later format": part("format", to=99),
    "no format": part("format", to="two"),
    "parameters": part("parameters", to=[]),
    "no steps": part("parameters", "steps", to="many"),
    "no scheme": part("parameters", "scheme", to=None),
    "an unknown filter": part("parameters", "scheme", "K_f", to={"filter": "os.system"}),
    "a number for a filter": part("parameters", "scheme", "K_f", to=3),
    "an unknown optimizer": part("parameters", "optimizer", to={"name": "os"}),
    "octaves": part("parameters", "octaves", to=[{"scale": 1, "surprise": 2}]),
    "a device": part("parameters", "device", to=7),
    "a device of files": part("source", "path", to={"given": "/dev/zero", "full": "/dev/zero"}),
    "a path of a million letters": part("source", "path", to={"given": LONG, "full": f"/{LONG}"}),
    "a path with a null": part("source", "path", to={"given": "a\0b", "full": "/a\0b"}),
    "no path": part("source", "path", to={"given": 4}),
    "a source": part("source", to="model.onnx"),
    "labels": part("source", "labels", to={"given": "/dev/zero", "full": "/dev/zero", "sha256": ""}),
    "an objective": part("objective", to={"type": "Leaf"}),
    "no objective": part("objective", to={"type": "SystemExit"}),
    "a class": part("objective", "which", to={"a": 1}),
    "terms": part("objective", to={"type": "Combination", "terms": 3, "maximize": True}),
    "too many steps": part("outcome", to={**dict.fromkeys("ab"), "steps": 3}),
    "stopped": part("outcome", "steps_of_octaves", to=["x"]),
    "an array": part("parameters", "start", to={"sha256": "../../x", "shape": [1], "dtype": "O"}),
    "written": part("written", to=[1]),
    "written with a null": part("written", to={"array": "a\0b"}),
    "written as a number": part("written", to={"picture": 5}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_manifest_is_one_line_of_error(
    change: Callable[[dict[str, Any]], Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = saved(callback=lambda info: info.step == 2)
    write(change(told))
    capsys.readouterr()
    assert rerun("--verify", "--quiet") in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith("sobolevflow: error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_files_of_names_that_no_disk_has_are_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = saved(callback=lambda info: info.step == 2)
    write(part("written", to=dict.fromkeys(("array", "picture", "arrays"), LONG))(told))
    assert rerun("--verify", "--quiet", "-o", "again.png") == 0
    assert "is not there to be compared" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"{" * 5, b"nothing"])
def test_a_file_that_is_no_manifest_is_one_line_of_error(
    content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.manifest.json").write_bytes(content)
    assert rerun("--verify") == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", ".", "absent.json", LONG])
def test_what_is_no_file_is_no_manifest(path: str, folder: Path) -> None:
    with pytest.raises(InputFileError, match="is not there, or is no file"):
        sf.rerun(path)


def test_settings_are_made_from_what_they_write() -> None:
    """With all that is in no command line above."""
    from sobolevflow.descent.rerun import _settings
    from sobolevflow.results import Manifest, Outcome, Saved, Timings

    settings = Settings(
        scheme=sf.proximal_tv(0.02, fluid=sf.filters.Gaussian(sigma=2), tol=1e-4),
        octaves=[sf.Octave(1.0, 3), sf.Octave(1.5, 2, 0.01)],
        parametrization=None,
        optimizer=sf.optimizers.Adam(beta1=0.5),
        snapshots=[0, 2],
        normalise=None,
        tau=0.1,
    )
    outcome, timings = Outcome("steps", 5, None, [], [], None), Timings("", 0, 0, 1)
    written = json.loads(json.dumps(settings.to_dict()))
    record = Manifest({}, {}, {}, written, outcome, timings)
    assert json.loads(json.dumps(_settings(Saved("it", record)).to_dict())) == written
