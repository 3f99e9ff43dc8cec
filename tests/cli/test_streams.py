"""Terminals and pipes that cannot print a name, that are full, or whose reader goes away; and Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from tests.support.command_line import run
from tests.support.gradient_cases import make_model
from tests.support.paths import ROOT

LABELS = ["螺旋", "🦀 crab", "naïve €"]
UNDECODABLE = "\udcff\udcfe.png"  # bytes that are no UTF-8, as Python holds them


def environment(**more: str) -> dict[str, str]:
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHONIO"))}
    return {**usual, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **more}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "sobolevflow", *map(str, words)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network whose layers, and photographs whose names, are of many scripts."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["卷积:0"]),
        helper.make_node("Relu", ["卷积:0"], ["🦀"]),
        helper.make_node("GlobalAveragePool", ["🦀"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["scores"]),
    ]
    w = np.random.default_rng(0).random((3, 3, 1, 1), np.float32)
    model = make_model(nodes, {"x": ((1, 3, 8, 8), 1)}, ["scores"], constants={"w": w})
    onnx.save(model, tmp_path / "网络.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    pixels = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for name in ("写真🦀.png", UNDECODABLE):
        with open(os.fsencode(tmp_path) + b"/" + name.encode("utf-8", "surrogateescape"), "wb") as file:
            Image.fromarray(pixels).save(file, "png")
    return tmp_path


NETWORK = ["网络.onnx", "--preprocess", "none", "--labels", "labels.txt"]
RUN = ["--steps", "1", "-o"]

# Every command, with the exit code that it has.
COMMANDS: list[tuple[int, list[str]]] = [
    (0, ["inspect", *NETWORK]),
    (0, ["inspect", *NETWORK, "--grep", "卷"]),
    (0, ["inspect", *NETWORK, "--grep", "ÿ", "--json"]),
    (0, ["visualize", *NETWORK, "--class", "螺旋", *RUN, "螺.png", "--report", "螺.html"]),
    (
        0,
        [
            "visualize",
            *NETWORK,
            "--channel",
            "卷积:0:1",
            "--start",
            UNDECODABLE,
            *RUN,
            "\udcfd.png",
            "--json",
        ],
    ),
    (0, ["visualize", *NETWORK, "--neuron", "卷积:0:1:2:3", *RUN, "a.png"]),
    (0, ["invert", *NETWORK, UNDECODABLE, "--layer", "🦀", *RUN, "a.png", "--report", "\udcfd.html"]),
    (0, ["gradient", *NETWORK, "--inversion", "🦀", UNDECODABLE, "--activation", "卷积:0", "-o", "螺.onnx"]),
    (0, ["gradient", *NETWORK, "--class", "🦀 crab", "-o", "\udcfd.onnx"]),
    (0, ["attribute", *NETWORK, "写真🦀.png", "--method", "saliency", "-o", "图.png"]),
    (0, ["filter", "写真🦀.png", UNDECODABLE, "-o", "文件夹"]),
    (0, ["filter", UNDECODABLE, "--plan"]),
    (0, ["experiment", "--list"]),
    (0, ["visualize", "--help"]),
    (1, ["inspect", "没有\udcff.onnx"]),
    (1, ["filter", "没有\udcff.png", "-o", "a.png"]),
    (2, ["visualize", *NETWORK, "--layer", "螺", "-o", "a.png"]),
    (2, ["visualize", *NETWORK, "--class", "螺", "-o", "a.png"]),
    (2, ["visualize", *NETWORK, "--螺", "-o", "a.png"]),
    (1, ["demo", "-o", "out", "--network", "螺旋"]),
    (2, ["doctor", "--device", "螺旋"]),
    (2, ["螺旋"]),
]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_command_fails_where_a_name_cannot_be_printed(
    encoding: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed, said = io.BytesIO(), io.BytesIO()
    monkeypatch.chdir(folder)
    with monkeypatch.context() as streams:
        streams.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding))
        streams.setattr(sys, "stderr", io.TextIOWrapper(said, encoding))
        codes = [run(*words) for _, words in COMMANDS]
        sys.stdout.flush()
        sys.stderr.flush()
        out, notes = (stream.getvalue().decode(encoding) for stream in (printed, said))
    assert codes == [code for code, _ in COMMANDS]
    assert "Traceback" not in notes
    layer, file = ("卷积:0", "没有") if encoding == "utf-8" else ("\\u5377\\u79ef:0", "\\u6ca1\\u6709")
    assert layer in out
    assert f"error: {file}" in notes


def test_names_are_read_where_the_locale_knows_ascii_alone(folder: Path) -> None:
    some = random.Random(0).sample(COMMANDS, 10)
    asked = folder / "commands"
    asked.write_text(json.dumps([words for _, words in some]), encoding="ascii")
    script = ROOT / "tests" / "support" / "many_commands.py"
    done = subprocess.run(
        [sys.executable, script, asked],
        cwd=folder,
        env=environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
        capture_output=True,
    )
    said = done.stderr.decode("ascii")
    assert "Traceback" not in said
    assert done.returncode == 0, said
    assert json.loads(Path(f"{asked}.codes").read_text(encoding="ascii")) == [code for code, _ in some]
    assert "\\u5377\\u79ef:0" in done.stdout.decode("ascii")


def test_a_progress_bar_is_drawn_on_a_terminal_of_ascii(folder: Path) -> None:
    ours, theirs = os.openpty()
    words = ["visualize", *NETWORK, "--channel", "卷积:0:1", "--steps", "3", "-o", "a.png"]
    env = environment(PYTHONIOENCODING="ascii", TERM="xterm")
    done = subprocess.run(
        command(*words), cwd=folder, env=env, stdout=subprocess.PIPE, stderr=theirs, check=True
    )
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    assert b"wrote a.png" in done.stdout
    assert b"\\u5377\\u79ef" in said
    assert b"Traceback" not in said


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end is closed
        return b""


FULL = Path("/dev/full")


needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this system")


@needs_full
@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        (["--help"], ""),
        (["--help"], "1"),
        (["filter", "--help"], "1"),
        (["inspect", "builtin:shapes-vgg"], ""),
    ],
)
def test_a_full_disk_is_one_line(words: list[str], unbuffered: str) -> None:
    with FULL.open("w") as full:
        env = environment(PYTHONUNBUFFERED=unbuffered)
        done = subprocess.run(command(*words), stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert done.returncode == 1
    assert done.stderr == "sobolevflow: error: the output cannot be written: No space left on device\n"


@needs_full
def test_notes_that_nobody_takes_are_no_error(folder: Path) -> None:
    words = command("inspect", "网络.onnx")
    noted = subprocess.run(words, capture_output=True, cwd=folder, env=environment())
    assert b"note: " in noted.stderr
    with FULL.open("w") as full:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, cwd=folder, env=environment())
    assert (done.returncode, done.stdout) == (0, noted.stdout)


@pytest.mark.parametrize("shell", ["{} >&-", "{} 2>&-", "{} | head -1", "{} | true"])
def test_closed_streams_and_readers_that_go_away_are_no_error(shell: str) -> None:
    line = shell.format(" ".join(command("inspect", "builtin:shapes-vgg")))
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}} >&2"], capture_output=True, text=True
    )
    assert done.stderr == "0\n" or (shell.endswith("2>&-") and done.returncode == 0)


# Ctrl-C when a module is imported for the first time; Python loads this before all else.
INTERRUPTING = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupts())
"""
IMPORTED = (
    "lazy_loader",
    "sobolevflow.cli",
    "argparse",
    "sobolevflow.cli.inspect",
    "numpy",
    "onnx",
    "onnx.onnx_cpp2py_export",
    "sobolevflow.network",
    "rich.cells",
)


@pytest.mark.parametrize("module", IMPORTED)
def test_ctrl_c_while_it_imports_is_one_line(module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING.format(module=module))
    env = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    done = subprocess.run(command("inspect", "builtin:shapes-vgg"), env=env, capture_output=True, text=True)
    assert done.stderr == "sobolevflow: interrupted\n"
    assert done.returncode == 130


def _listening() -> None:
    """A process that was started in the background of a shell ignores Ctrl-C, and its children do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_of_a_running_command_is_one_line(tmp_path: Path) -> None:
    words = command("bench", "tv", "--shape", "1x1x64x64", "--rounds", "100000")
    running = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=_listening,
    )
    try:
        running.communicate(timeout=3)
        raise AssertionError("it ended by itself")
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=60)
    assert (running.returncode, out, said) == (130, "", "sobolevflow: interrupted\n")
