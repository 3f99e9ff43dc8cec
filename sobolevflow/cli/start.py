"""What a descent starts from, and where the picture may change: from files to arrays of the right size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .given import of_pictures, photographs
from .options import Argument, Given
from .types import Kind

if TYPE_CHECKING:
    import numpy as np

    from ..network import Network
    from ..objectives import Objective

_WORDS = ("natural", "grey", "normal")
_IN_PYTHON = "start="  # which takes any array

START = (
    Argument(
        "--start",
        "photograph to begin with, or array in a .npy file: (C, H, W), or (N, C, H, W), of the size of the "
        "canvas as it is; or grey with white noise, or with natural noise, smooth and of the colours of "
        "photographs, or normal noise; repeat for a batch (default: natural, grey with --scheme and in "
        "invert, normal for the codes of generators)",
        Kind("FILE|natural|grey|normal"),
        repeat=True,
    ),
    Argument(
        "--mask",
        "where the picture may change: a picture, white for yes, or .npy of weights (H, W) in [0, 1]; "
        "elsewhere it stays the start",
        Kind("PHOTO|FILE.npy"),
    ),
    Argument("--no-clip", "let values leave [0, 1]", flag=False, keyword="clip"),
)


def begun(net: Network, objective: Objective, given: Given, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `START` that were given, as parameters of a descent; several starts make a batch.

    Parameters
    ----------
    parameters
        Of the descent, as far as they say how large its canvas is.
    """
    found: dict[str, Any] = {"clip": False} if "no_clip" in given else {}
    if "start" in given:
        from ..objectives import natural_batch

        found["start"] = _start(net, given, _canvas(net, parameters))
        if len(given["start"]) > 1 and "batch" not in given and natural_batch(objective) == 1:
            found["batch"] = len(given["start"])
    if "mask" in given:
        from ..pictures import read_image

        canvas = _canvas(net, parameters)
        found["mask"] = read_image(given["mask"], canvas, channels=1, **of_pictures(given))[0]
    return found


def _canvas(net: Network, parameters: Mapping[str, Any]) -> tuple[int, int]:
    """The size that the descent begins with."""
    from ..descent import Settings
    from ..schemes import gradient_descent

    sizes = {name: parameters[name] for name in ("canvas", "octaves", "steps") if name in parameters}
    first = Settings(scheme=gradient_descent(), **sizes).stages(net.input_shape[1:])[0]
    height, width = first.view.canvas
    return height, width


def _start(net: Network, given: Given, canvas: tuple[int, int]) -> str | np.ndarray:
    import numpy as np

    words: Sequence[str] = given["start"]
    if set(words) & set(_WORDS):
        if len(words) > 1:
            raise InputError(f"--start {words[0]} is given once, without others")
        return words[0]
    images = [_image(net, given, word, canvas) for word in words]
    if len(images) == 1:
        return images[0]
    if any(image.ndim != 3 for image in images):
        raise InputError("--start FILE.npy of several images is given once, without others")
    return np.stack(images)


def _image(net: Network, given: Given, path: str, canvas: tuple[int, int]) -> np.ndarray:
    """An array that fits as it is, or else a picture, brought to the size of the canvas."""
    from ..objectives import holds_array, read_vector

    if holds_array(path):
        array = read_vector(path)
        fits = array.ndim in (3, 4) and array.shape[-3:] == (net.input_shape[0], *canvas)
        if net.latent or (fits and array.dtype.kind == "f"):
            return array.astype("float32")
    if net.latent:
        raise InputError(f"--start {path}: {net.name} begins with the code of its generator; give it as .npy")
    image: np.ndarray = photographs(net, given, [path], _IN_PYTHON, canvas)[0]
    return image
