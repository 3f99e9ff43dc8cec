"""What has to be written down so that a picture can be explained, and made again."""

from __future__ import annotations

import json
import platform
import sys
from typing import Any, cast

from .._version import __version__

_LIBRARIES = ("numpy", "scipy", "numba", "onnx", "onnxruntime", "cupy")


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that this process has loaded."""
    loaded = {name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules}
    return {"sobolevflow": __version__, "python": platform.python_version(), **loaded}


def model_facts(net: Any) -> dict[str, Any]:
    """Which network it was, down to the bytes of its file."""
    return {
        "name": net.name,
        "sha256": net.sha256,
        "input_shape": [int(n) for n in net.input_shape],
        "preprocess": net.preprocess.to_dict(),
    }


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """The data as JSON gives it back: tuples become lists, so that what is read equals what was written."""
    return cast(dict[str, Any], json.loads(json.dumps(data, allow_nan=False)))


def as_text(manifest: dict[str, Any]) -> str:
    """The manifest as JSON."""
    return json.dumps(manifest, indent=2, allow_nan=False) + "\n"
