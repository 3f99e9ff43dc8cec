"""The package as a whole: what importing it costs, and that its doors and its metadata agree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest

import sobolevflow
from sobolevflow.errors import RuntimeMissingError, how_to_install
from tests.support.paths import ROOT

PUBLIC = """
    Bilateral Caricature Channel Class Cosine Detection Device Direction Diversity Fourier Inversion Layer
    LayerInfo Multiscale NaturalColour Network Neuron Octave PeronaMalik Phase Preprocess Reconstruction
    Region Result SobolevflowError __version__
    attribution check_gradient compose elastic errors filters fluid fluid_elastic gradient_descent
    gradient_model invert kernels load metrics models objectives onnxgrad optimizers proximal proximal_tv
    read_image schemes total_variation transforms value_and_grad visualize
"""
HEAVY = ("numba", "onnx", "onnxruntime", "scipy", "PIL", "rich", "tifffile")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_takes_less_than_three_tenths_of_a_second() -> None:
    code = "import time; t = time.perf_counter(); import sobolevflow; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.3


def test_import_loads_nothing_heavy() -> None:
    loaded = run_python(f"import sys, sobolevflow; print(*(m for m in {HEAVY} if m in sys.modules))")
    assert loaded.split() == []


@pytest.mark.parametrize("name", dir(sobolevflow))
def test_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(sobolevflow, name)
    assert name == "__version__" or value.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(sobolevflow, name)


def test_no_public_name_is_lost() -> None:
    """What a program may have imported; a name that is added goes into `__init__.pyi` alone."""
    assert set(dir(sobolevflow)) >= set(PUBLIC.split())


def test_version_is_that_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sobolevflow.__version__ == project["version"]


@pytest.mark.parametrize("door", ["kernels", "models"])
def test_top_level_door_is_a_link_that_a_clone_keeps(door: str) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not in a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "--stage", door], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert listing.startswith("120000 ")
    assert (ROOT / door).resolve() == ROOT / "sobolevflow" / door


def test_without_a_runtime_the_first_network_call_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    grey = np.full((1, 3, 96, 96), 0.5, np.float32)
    with pytest.raises(RuntimeMissingError) as raised:
        sobolevflow.value_and_grad(sobolevflow.load("builtin:shapes-vgg"), sobolevflow.Class(0))(grey)
    assert how_to_install("cpu") in str(raised.value)
