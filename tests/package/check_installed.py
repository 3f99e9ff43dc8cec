"""What must hold where sobolevflow was installed from an archive and no onnxruntime is there.

A script, run by ``check_distributions.py`` with the Python of an empty environment and the path of the
archive.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import sobolevflow as sf
from sobolevflow.errors import RuntimeMissingError


def check_origin() -> None:
    """The package is the installed one, whole, and knows its version."""
    package = Path(sf.__file__).parent
    assert package.is_relative_to(sys.prefix), f"imported from {package}, not from the environment"
    assert (package / "py.typed").is_file()
    assert Path(sf.kernels.__file__ or "").parent == package / "kernels"
    assert Path(sf.models.__file__ or "").parent == package / "models"
    assert sf.__version__ == importlib.metadata.version("sobolevflow")


def check_command() -> None:
    """The command is on the path of the environment, and starts without a runtime."""
    command = Path(sys.executable).with_name("sobolevflow")
    subprocess.run([command, "--help"], stdout=subprocess.DEVNULL, check=True)


def check_filter() -> None:
    """A filter needs no network: it runs, and keeps constants."""
    smoothed = sf.filters.Sobolev(size=11)(np.ones((32, 32), np.float32))
    np.testing.assert_allclose(smoothed, 1, atol=1e-5)


def check_picture() -> None:
    """What reads pictures of 16 bits came along."""
    from sobolevflow.pictures import write_planes

    planes = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5) * 1000
    with tempfile.TemporaryDirectory() as folder:
        found = sf.read_image(write_planes(Path(folder) / "a.tif", planes))
    np.testing.assert_allclose(found, planes / 65535, atol=1e-6)


def check_missing_runtime(archive: str) -> None:
    """A gradient needs a runtime: the error says how to install one from what was installed."""
    assert importlib.util.find_spec("onnxruntime") is None, "the environment is not empty"
    grey = np.full((1, 3, 96, 96), 0.5, np.float32)
    try:
        sf.value_and_grad(sf.load("builtin:shapes-vgg"), sf.Class(0))(grey)
    except RuntimeMissingError as error:
        assert f'pip install "{archive}[cpu]"' in error.full, error.full
    else:
        raise AssertionError("a gradient without onnxruntime raised nothing")


if __name__ == "__main__":
    check_origin()
    check_command()
    check_filter()
    check_picture()
    check_missing_runtime(sys.argv[1])
