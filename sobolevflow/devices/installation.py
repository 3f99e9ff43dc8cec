"""What is installed to compute with, what of it does not go together, and what helps.

Each check looks at one thing and says what it found. Nothing here opens a network, and nothing of CUDA is
started but the driver, which is asked for its version.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from .._version import __version__
from ..errors import RuntimeMissingError, how_to_install
from ..onnxgrad import onnxruntime
from .device import CUDA, PROVIDERS
from .failures import LIBRARIES, explained

Verdict = Literal["ok", "warning", "trouble"]

# The first onnxruntime-gpu on PyPI that was built for CUDA 13; those before are for CUDA 12.
_FIRST_OF_CUDA_13 = (1, 27)


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Parameters
    ----------
    subject : str
        What was looked at.
    state : {"ok", "warning", "trouble"}
        A warning is in the way of some things, trouble of everything that needs the subject.
    said : str
        What was found, in a sentence.
    remedy : str
        What helps; empty where nothing is amiss.
    """

    subject: str
    state: Verdict
    said: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.said} {self.remedy}".strip()


def check_python() -> Finding:
    """Python, this package and the machine."""
    said = f"sobolevflow {__version__} on Python {platform.python_version()}, {platform.platform()}."
    return Finding("Python", "ok", said)


def check_runtime() -> Finding:
    """The wheels of onnxruntime: there should be one."""
    wheels = _installed("onnxruntime")
    try:
        ort = onnxruntime()
    except RuntimeMissingError as error:
        return Finding("onnxruntime", "trouble", f"It cannot be imported: {error}.")
    if len(wheels) > 1:
        both = ", ".join(f"{name} {version}" for name, version in wheels.items())
        return Finding(
            "onnxruntime",
            "warning" if PROVIDERS[CUDA] in ort.get_available_providers() else "trouble",
            f"{both} are installed over each other: they share a folder, the last one wins, and providers go "
            "missing.",
            f"Keep one: pip uninstall {' '.join(wheels)}, then {how_to_install('cpu')}.",
        )
    providers = ", ".join(ort.get_available_providers())
    return Finding("onnxruntime", "ok", f"Version {ort.__version__} with {providers}.")


def check_driver() -> Finding:
    """NVIDIA's driver, and whether it is new enough for the wheel of onnxruntime."""
    version = driver_version()
    if version is None:
        return Finding(
            "driver",
            "trouble",
            "There is no driver of NVIDIA, or it cannot be started.",
            "Install it (Linux: the package nvidia-driver of the distribution); in a container, start that "
            "with the GPU (docker run --gpus all).",
        )
    said = f"It offers CUDA {version[0]}.{version[1]}."
    wanted = _cuda_of_wheel()
    if wanted is not None and version[0] < wanted:
        return Finding(
            "driver",
            "trouble",
            f"{said} The onnxruntime-gpu that is installed is built for CUDA {wanted}.",
            f"Update the driver, or pip uninstall onnxruntime-gpu, then {how_to_install('cuda12')}.",
        )
    return Finding("driver", "ok", said)


def check_provider() -> Finding:
    """Whether onnxruntime's provider for CUDA can be loaded with the libraries that it needs."""
    try:
        ort = onnxruntime()
    except RuntimeMissingError as error:
        return Finding("provider", "trouble", error.full)
    if PROVIDERS[CUDA] not in ort.get_available_providers():
        return Finding(
            "provider",
            "trouble",
            "This onnxruntime was built without CUDA.",
            f"pip uninstall onnxruntime, then {how_to_install('cuda13')}.",
        )
    preload_libraries(ort)
    failed = _load_error(Path(str(ort.__file__)).parent / "capi")
    if failed:
        return Finding(
            "provider",
            "trouble",
            f"A library that it needs is missing: {failed}.",
            f"{LIBRARIES} brings them all.",
        )
    return Finding("provider", "ok", "The provider for CUDA can be loaded.")


def check_cupy() -> Finding:
    """CuPy, which holds the arrays on a GPU, and the GPUs that it sees."""
    wheels = {name: v for name, v in _installed("cupy").items() if name != "cupy-xarray"}
    try:
        cupy: Any = importlib.import_module("cupy")
    except ImportError as error:
        return Finding(
            "CuPy",
            "trouble",
            f"It cannot be imported ({error}).",
            f"{how_to_install('cuda13')}.",
        )
    if len(wheels) > 1:
        both = ", ".join(wheels)
        return Finding(
            "CuPy",
            "trouble",
            f"{both} are installed over each other.",
            f"pip uninstall {' '.join(wheels)}, then install one.",
        )
    try:
        found = [_described(cupy, k) for k in range(cupy.cuda.runtime.getDeviceCount())]
    except Exception as error:  # CuPy's errors of CUDA have no public base class
        return Finding("CuPy", "trouble", f"Version {cupy.__version__}: {explained(error, CUDA)}")
    return Finding("CuPy", "ok", f"Version {cupy.__version__} sees {'; '.join(found)}.")


def check_numba() -> Finding:
    """Numba's compiler for CUDA, for the kernels of filters and total variation."""
    wheels = _installed("numba-cuda")
    if not wheels:
        return Finding(
            "numba-cuda",
            "trouble",
            "It is not installed, and Numba's own compiler for CUDA is no longer kept up.",
            'pip install "numba-cuda[cu13]", or "numba-cuda[cu12]".',
        )
    return Finding("numba-cuda", "ok", f"Version {wheels['numba-cuda']}.")


GENERAL = (check_python, check_runtime)
FOR_CUDA = (check_driver, check_provider, check_cupy, check_numba)


def findings(checks: tuple[Callable[[], Finding], ...]) -> Iterator[Finding]:
    """What the checks find, one after the other."""
    return (check() for check in checks)


def cuda_trouble() -> str:
    """The first trouble with CUDA and its remedy; empty where there is none."""
    return next((str(f) for f in findings((check_runtime, *FOR_CUDA)) if f.state == "trouble"), "")


def preload_libraries(ort: Any) -> None:
    """Load the CUDA libraries that pip installed, which no loader would find."""
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that NVIDIA's driver offers, or None without a driver that works."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return version.value // 1000, version.value % 1000 // 10


def _installed(prefix: str) -> dict[str, str]:
    """Versions of the distributions whose names are `prefix` or begin with it and a hyphen."""
    found = {}
    for each in metadata.distributions():
        name = (each.metadata["Name"] or "").lower().replace("_", "-")
        if name == prefix or name.startswith(f"{prefix}-"):
            found[name] = each.version
    return dict(sorted(found.items()))


def _cuda_of_wheel() -> int | None:
    version = _installed("onnxruntime").get("onnxruntime-gpu")
    if version is None:
        return None
    return 13 if tuple(map(int, version.split(".")[:2])) >= _FIRST_OF_CUDA_13 else 12


def _load_error(folder: Path) -> str:
    """What the loader says of the provider's library; empty where it loads, or is not a file of its own."""
    pattern = "onnxruntime_providers_{}.dll" if sys.platform == "win32" else "libonnxruntime_providers_{}.so"
    shared, provider = (folder / pattern.format(part) for part in ("shared", "cuda"))
    if not provider.exists():
        return ""
    try:
        ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(provider))
    except OSError as error:
        return str(error)
    return ""


def _described(cupy: Any, index: int) -> str:
    facts = cupy.cuda.runtime.getDeviceProperties(index)
    name = facts["name"].decode()
    memory = facts["totalGlobalMem"] / (1 << 30)
    return f"cuda:{index}, {name}, compute capability {facts['major']}.{facts['minor']}, {memory:.0f} GiB"
