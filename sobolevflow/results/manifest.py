"""What has to be written down so that a picture can be explained, and made again."""

from __future__ import annotations

import json
import platform
import sys
from typing import Any, cast

import numpy as np

from .._version import __version__
from ..settings import Settings
from .history import History

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


def effective_weight(settings: Settings, history: History) -> dict[str, Any] | None:
    """The variational problem that the descent approached, judged by its last step; None where it has none.

    With normalised gradients the weight is multiplied by their mean absolute value, averaged over the batch
    and the last tenth of the steps. Momentum multiplies the gradient by 1 / (1 - decay). There is no such
    problem behind Adam, behind gradients normalised after K_f, or behind random crops, which reach a pixel
    only now and then.
    """
    optimizer = settings.direction.to_dict()
    if optimizer["name"] not in ("descent", "momentum") or settings.normalise == "after":
        return None
    if not len(history) or settings.canvas is not None or settings.octaves is not None:
        return None
    last = history.mean_abs_gradient[-max(1, len(history) // 10) :]
    scale = 1.0 if settings.normalise is None else float(np.mean(last))
    scale *= 1 - optimizer.get("decay", 0.0)
    found = settings.scheme.effective_weight(float(history.tau[-1]), scale)
    if found is None:
        return None
    return {
        "weight": found.weight,
        "regulariser": found.regulariser,
        "meaning": "fixed points at the last tau minimise D(u) + weight * sum(regulariser), where "
        "nothing is clipped",
    }


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """The data as JSON gives it back: tuples become lists, so that what is read equals what was written."""
    return cast(dict[str, Any], json.loads(json.dumps(data, allow_nan=False)))


def as_text(manifest: dict[str, Any]) -> str:
    """The manifest as JSON."""
    return json.dumps(manifest, indent=2, allow_nan=False) + "\n"
