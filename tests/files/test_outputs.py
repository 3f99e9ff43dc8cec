"""Where results may go: through links, never into inputs, pipes or devices, and whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow import files, models
from sobolevflow.errors import AssumptionWarning, InputError, OutputError, OutputNameError
from sobolevflow.experiments import Folder, Subject, Work, figure4
from sobolevflow.experiments.photographs import find_photographs
from sobolevflow.files import check_apart, check_output, destination, keeping, write_bytes
from tests.support.command_line import run
from tests.support.paths import ROOT
from tests.support.small_networks import small_model

GIVEN = ["--preprocess", "none"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network and photographs, in the folder that is worked in."""
    monkeypatch.chdir(tmp_path)
    onnx.save(small_model(), tmp_path / "net.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    np.save(tmp_path / "start.npy", np.zeros((9, 9)))
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- inputs are kept, by whatever name ------------------------------------------------------------

REPORT = ["--report", "p.html"]

OVERWRITING = [
    ["gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "net.onnx"],
    ["gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "./../{folder}/net.onnx"],
    ["gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "link.onnx"],
    ["gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "hard.onnx"],
    ["gradient", "link.onnx", *GIVEN, "--class", "0", "-o", "net.onnx"],
    ["attribute", "net.onnx", "a.png", *GIVEN, "-o", "a.png"],
    ["attribute", "net.onnx", "a.png", "b.png", *GIVEN, "--size", "network", "-o", "b.png"],
    ["attribute", "net.onnx", "a.png", "--labels", "labels.npy", "-o", "c.png", "--npy", "labels.npy"],
    ["filter", "a.png", "-o", "a.png"],
    ["filter", "a.png", "b.png", "-o", "."],
    ["filter", "a.png", "-o", "hard.png"],
    ["visualize", "net.onnx", *GIVEN, "--class", "0", "--start", "a.png", "-o", "a.png"],
    ["visualize", "net.onnx", *GIVEN, "--class", "0", "--mask", "a.png", "-o", "hard.png"],
    ["visualize", "net.onnx", *GIVEN, "--class", "0", "--start", "c.partial.png", "-o", "c.png"],
    ["visualize", "net.onnx", "--class", "0", "--start", "start.npy", "-o", "c.png", "--npy", "start.npy"],
    ["visualize", "net.onnx", *GIVEN, "--class", "0", "--labels", "c.manifest.json", "-o", "c.png"],
    ["invert", "net.onnx", "a.png", "b.png", *GIVEN, "--layer", "relu1", "-o", "b.png"],
    ["invert", "net.onnx", "a.png", "--preprocess", "p.html", "--layer", "relu1", "-o", "c.png", *REPORT],
]


@pytest.mark.parametrize("words", OVERWRITING)
def test_no_command_overwrites_what_it_reads(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "link.onnx").symlink_to("net.onnx")
    os.link("net.onnx", "hard.onnx")
    os.link("a.png", "hard.png")
    for name in ("c.partial.png", "c.manifest.json", "p.html", "labels.npy"):
        (folder / name).write_bytes(b"whatever")
    before = content(folder)
    assert run(*(word.format(folder=folder.name) for word in words)) == 2
    said = capsys.readouterr().err
    assert "is one of the inputs and would be overwritten; write elsewhere" in said
    assert said.count("\n") == 1
    assert content(folder) == before


def test_external_data_and_generators_are_inputs(folder: Path) -> None:
    onnx.save(small_model(), "net.onnx", save_as_external_data=True, location="w.onnx", size_threshold=0)
    net = sf.load("net.onnx")
    assert set(net.files) == {Path("net.onnx"), Path("w.onnx")}
    before = content(folder)
    for name in ("net.onnx", "w.onnx"):
        with pytest.raises(OutputNameError, match="is one of the inputs"):
            sf.gradient_model(net, sf.Class(0), path=name)
    assert run("gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "w.onnx") == 2
    assert content(folder) == before


def test_the_bundled_networks_are_inputs() -> None:
    with pytest.raises(OutputNameError, match="is one of the inputs"):
        sf.gradient_model(sf.load("builtin:shapes-vgg"), sf.Class(0), path=models.path("shapes-vgg"))


def test_experiments_keep_their_photographs(folder: Path) -> None:
    photographs = find_photographs(folder)
    work = Work(Folder(folder), progress=False)
    with pytest.raises(OutputNameError, match="holds the photographs; name another folder"):
        figure4.run([Subject(sf.load("net.onnx"), ("relu1",))], photographs, work)
    assert not (folder / "manifest.json").exists()


def test_what_a_command_reads_is_kept_to_its_end_and_no_longer(folder: Path) -> None:
    with keeping(["a.png", "no such file", "a name\0 of none"]):
        with pytest.raises(OutputNameError, match="is one of the inputs"):
            write_bytes("a.png", b"")
        with keeping(["b.png"]), pytest.raises(OutputNameError, match="is one of the inputs"):
            write_bytes("b.png", b"")
        write_bytes("b.png", b"new")
    assert write_bytes("a.png", b"new").read_bytes() == b"new"


def test_words_that_name_no_files_keep_none(folder: Path) -> None:
    """A folder called as a class is none that is read, and a second run replaces the result of the first."""
    (folder / "0").mkdir()
    words = ["visualize", "net.onnx", *GIVEN, "--class", "0", "--steps", "1", "--quiet", "-o", "0/c.png"]
    assert [run(*words), run(*words)] == [0, 0]


# --- names, links, pipes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "c.png"],
        ["gradient", "net.onnx", *GIVEN, "--class", "0", "-o", "-"],
        ["visualize", "net.onnx", *GIVEN, "--class", "0", "-o", "/dev/stdout"],
        ["filter", "a.png", "-o", "c.onnx"],
        ["attribute", "net.onnx", "a.png", *GIVEN, "-o", "c.png", "--npy", "c.png"],
    ],
)
def test_a_name_says_what_is_in_it(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(folder)
    assert run(*words) == 2
    assert "has no known ending" in capsys.readouterr().err
    assert content(folder) == before
    with pytest.raises(OutputNameError, match=r"use one of \.onnx"):
        sf.gradient_model(sf.load("net.onnx"), sf.Class(0), path="c.png")


def test_a_link_is_written_through(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "old.png").write_bytes(b"old")
    (folder / "out.png").symlink_to("sub/old.png")
    (folder / "new.onnx").symlink_to("sub/none-yet.onnx")
    assert run("filter", "a.png", "-o", "out.png") == 0
    sf.gradient_model(sf.load("net.onnx"), sf.Class(0), path="new.onnx")
    assert Path("out.png").is_symlink()
    assert Path("new.onnx").is_symlink()
    assert Image.open("sub/old.png").size == (9, 9)
    assert onnx.load("sub/none-yet.onnx").graph.node


def test_pipes_devices_and_loops_are_refused_unopened(folder: Path) -> None:
    os.mkfifo("pipe.png")
    (folder / "full.png").symlink_to("/dev/full")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "folder.png").mkdir()
    for name, said in {
        "pipe.png": "is a pipe",
        "full.png": "is a device",
        "folder.png": "is a folder",
        "loop.png": "cannot be written",
        f"{'x' * 252}.png": "File name too long",
        f"{'d/' * 2050}x.png": "cannot be written",
        "null\0.png": "is no name of a file",
    }.items():
        with pytest.raises(OutputError, match=said):
            check_output(name, (".png",))
        with pytest.raises(OutputError, match=said):
            write_bytes(name, b"")
    assert stat.S_ISFIFO(os.stat("pipe.png").st_mode)


@pytest.mark.parametrize("name", ["x" * 251, "new\nline", "\udcff\udcfe", "x" * 242])
def test_names_that_a_file_can_have_are_written(folder: Path, name: str) -> None:
    assert run("filter", "a.png", "-o", f"{name}.png") == 0
    assert Path(f"{name}.png").is_file()


def test_a_manifest_whose_name_is_too_long_is_found_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["visualize", "net.onnx", *GIVEN, "--class", "0", "-o", f"{'x' * 245}.png"]
    assert run(*words) == 1
    assert "File name too long" in capsys.readouterr().err


def test_permissions_stay_and_a_protected_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    assert stat.S_IMODE(write_bytes(path, b"new").stat().st_mode) == 0o640
    if os.geteuid():  # nothing is protected from root
        path.chmod(0o440)
        with pytest.raises(OutputError, match="is write-protected"):
            write_bytes(path, b"newer")
    assert path.read_bytes() == b"new"


# --- outputs of one run ---------------------------------------------------------------------------


def test_two_results_are_two_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.html").symlink_to("c.png")
    words = ["visualize", "net.onnx", *GIVEN, "--class", "0", "-o", "c.png", "--report", "c.html"]
    assert run(*words) == 2
    assert "would be written to one file" in capsys.readouterr().err
    check_apart(["A.png", "a.png", "sub/../b.png"])


def test_a_folder_blind_to_case_holds_one_of_two(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sobolevflow.files.outputs._is_same", lambda folder, other: True)
    for one, other in (("A.png", "a.png"), (unicodedata.normalize("NFD", "ä.png"), "Ä.png")):
        with pytest.raises(OutputNameError, match="would be written to one file"):
            check_apart([one, other])


# --- disks that are full --------------------------------------------------------------------------

WRITING = """
import resource, sys
import sobolevflow as sf
from sobolevflow.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    {call}
except sf.errors.OutputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ('write_bytes("a.png", bytes(5000))', "a.png"),
        ('sf.gradient_model(sf.load("net.onnx"), sf.Class(0), path="old.onnx")', "old.onnx"),
    ],
)
def test_a_full_disk_loses_nothing(folder: Path, call: str, name: str) -> None:
    (folder / "old.onnx").write_bytes(b"old")
    before = content(folder)
    done = subprocess.run(
        [sys.executable, "-c", WRITING.format(call=call)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "File too large" in done.stdout, done.stderr
    assert name in done.stdout
    assert content(folder) == before


def test_a_descent_outlives_a_folder_that_takes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sobolevflow.descent.autosave.SECONDS", 0.0)
    (folder / "sub").mkdir()

    def remove(info: object) -> None:
        for each in (folder / "sub").glob("*"):
            each.unlink()
        if (folder / "sub").exists():
            (folder / "sub").rmdir()

    with pytest.warns(AssumptionWarning, match="The descent goes on"):
        result = sf.visualize(
            sf.load("net.onnx", preprocess="none"),
            sf.Class(0),
            steps=4,
            progress=False,
            autosave=folder / "sub" / "a.png",
            callback=remove,
        )
    assert result.stopped_by == "steps"


def test_destinations_are_those_that_were_asked_for(folder: Path) -> None:
    assert destination("none.png") == Path("none.png")
    assert destination(Path("a.png")) == Path("a.png")
    with pytest.raises(InputError):
        destination("a.png", ["b.png", "./a.png"])
    assert files.make_folder("x/y") == Path("x/y")
    with pytest.raises(OutputError, match="cannot be made"):
        files.make_folder("a.png/y")
