"""The examples of docs/standalone.md: gradient models in the hands of programs that do not know us."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import sobolevflow as sf
from sobolevflow.cli.main import main
from tests.support.gradient_cases import close
from tests.support.paths import DOCS

EXAMPLES = DOCS / "examples"
NETWORK, CLASS = "builtin:shapes-vgg", 2
STEPS, TAU = 10, 0.02

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the documentation is not part of a distribution"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradient model, written for another class than the one that the examples ask for."""
    path = tmp_path_factory.mktemp("standalone") / "grad.onnx"
    assert main(["gradient", NETWORK, "--class", "spiral", "--no-defaults", "-o", str(path)]) == 0
    return path


def output_of(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def check_ascent(printed: str, image: Path) -> None:
    """Compare the values of all steps, and the image, with the same ascent by this package."""
    net = sf.load(NETWORK)
    grad = sf.value_and_grad(net, sf.Class(CLASS))
    u, values = np.full((1, *net.input_shape), 0.5, np.float32), []
    for _ in range(STEPS):
        value, g = grad(u)
        values.append(value[0])
        u = np.clip(u + TAU * g / np.abs(g).mean(), 0, 1).astype(np.float32)
    assert values[-1] > values[0] + 1
    rows = [line.split() for line in printed.splitlines()[1:]]
    assert [int(step) for step, _ in rows] == list(range(STEPS))
    found = np.array([float(value) for _, value in rows])
    close(found[:2], np.array(values[:2]), 1e-5)
    # then a rectifier within rounding of its kink, or two pixels of a pool within rounding of each other, may
    # go another way on another runtime, and the ascents part by a little
    close(found, np.array(values), 1e-3)
    apart = np.fromfile(image, np.float32).reshape(u.shape) - u
    assert np.linalg.norm(apart) < 0.01 * np.linalg.norm(u - 0.5)


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*"))])
def test_the_documentation_shows_the_tested_file(name: str) -> None:
    text = (DOCS / "standalone.md").read_text(encoding="utf-8")
    assert f"\n{(EXAMPLES / name).read_text(encoding='utf-8')}```\n" in text
    assert f"(examples/{name})" in text


@pytest.mark.parametrize("defaults", [True, False])
def test_python_with_nothing_but_onnxruntime_and_numpy(tmp_path: Path, model: Path, defaults: bool) -> None:
    if defaults:
        model = tmp_path / "grad.onnx"
        sf.gradient_model(sf.load(NETWORK), sf.Class("spiral"), path=model)
    without = "import runpy, sys; sys.modules |= dict.fromkeys(('sobolevflow', 'onnx', 'scipy', 'numba'))"
    run = f"{without}; sys.argv.pop(0); runpy.run_path(sys.argv[0])"
    script = str(EXAMPLES / "ascend.py")
    printed = output_of([sys.executable, "-c", run, script, str(model), str(CLASS), "image.raw"], tmp_path)
    assert printed.splitlines()[0] == "class 2, dots"
    check_ascent(printed, tmp_path / "image.raw")


def test_javascript(tmp_path: Path, model: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not installed")
    (tmp_path / "package.json").write_text("{}")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "onnxruntime-web"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot install onnxruntime-web: {done.stderr.strip().splitlines()[0]}")
    shutil.copy(EXAMPLES / "ascend.mjs", tmp_path)
    printed = output_of([node, "ascend.mjs", str(model), str(CLASS), "image.raw"], tmp_path)
    check_ascent(printed, tmp_path / "image.raw")


def test_cpp(tmp_path: Path, model: Path) -> None:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    probe = ["-x", "c++", "-fsyntax-only", "-include", "onnxruntime_cxx_api.h", os.devnull]
    if subprocess.run([compiler, "-std=c++17", *probe], capture_output=True).returncode:
        pytest.skip("the compiler finds no onnxruntime_cxx_api.h (Debian: libonnxruntime-dev)")
    libraries = list(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("the Python package onnxruntime brings no shared library to link with")
    # under the names that linker and loader look for
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tmp_path / name).symlink_to(libraries[0])
    output_of(
        [
            *(
                compiler,
                "-std=c++17",
                "-Wall",
                "-Wextra",
                "-Werror=return-type",
                str(EXAMPLES / "ascend.cpp"),
            ),
            *(f"-L{tmp_path}", "-lonnxruntime", f"-Wl,-rpath,{tmp_path}", "-o", "ascend"),
        ],
        tmp_path,
    )
    printed = output_of(["./ascend", str(model), str(CLASS), "image.raw"], tmp_path)
    check_ascent(printed, tmp_path / "image.raw")
