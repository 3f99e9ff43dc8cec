"""From numbers in [0, 1] to colours.

Those of one direction begin at nothing; those that diverge have nothing in their middle. The names are
matplotlib's where the colours are; others are asked of matplotlib, where it is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import borrow_numbers, to_host
from ..errors import InputError, UnknownNameError, did_you_mean

# matplotlib's at every 15th of its 256 levels, in hexadecimal: by N. Smith, S. van der Walt and E. Firing,
# who have given them to the public domain (CC0). Mixed linearly they are within 6 levels of the originals.
_PERCEPTUAL = {
    "viridis": "440154 481769 472a7a 433d84 3d4e8a 355e8d 2e6d8e 297b8e 23898e 1f978b 21a585 2eb37c 46c06f "
    "65cb5e 89d548 b0dd2f d8e219 fde725",
    "magma": "000004 090720 1a1042 311165 4a1079 621980 792282 912b81 aa337d c23b75 d9466b ec5860 f7725c "
    "fc8e64 feaa74 fec68a fde2a3 fcfdbf",
    "inferno": "000004 0a0722 1e0c45 380962 510e6c 69166e 801f6c 982766 b0315b c63d4d d94d3d e9612b f47918 "
    "fa9407 fcb014 f8cd37 f2ea69 fcffa4",
    "plasma": "0d0887 2f0596 4903a0 6100a7 7801a8 8e0ca4 a21d9a b42e8d c43e7f d24f71 de6164 e97257 f3854b "
    "f99a3e fdaf31 fdc627 f8df25 f0f921",
}

# The others are straight lines between a few colours, (where, red, green, blue).
_MIXED: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "fire": (
        (0, 0, 0, 0.05),
        (0.25, 0.35, 0.05, 0.45),
        (0.5, 0.80, 0.20, 0.30),
        (0.75, 0.98, 0.60, 0.10),
        (1, 1, 1, 0.70),
    ),
    "gray": ((0, 0, 0, 0), (1, 1, 1, 1)),
    "hot": ((0, 0.0416, 0, 0), (0.365079, 1, 0, 0), (0.746032, 1, 1, 0), (1, 1, 1, 1)),
    "jet": (
        *((0, 0, 0, 0.5), (0.11, 0, 0, 1), (0.125, 0, 0, 1), (0.34, 0, 0.86, 1), (0.35, 0, 0.9, 0.967742)),
        *((0.375, 0.080645, 1, 0.887097), (0.64, 0.935484, 1, 0.032258), (0.65, 0.967742, 0.962963, 0)),
        *((0.66, 1, 0.925926, 0), (0.89, 1, 0.074074, 0), (0.91, 0.909091, 0, 0), (1, 0.5, 0, 0)),
    ),
    "blue-red": (
        (0, 0.05, 0.20, 0.60),
        (0.25, 0.45, 0.65, 0.90),
        (0.5, 1, 1, 1),
        (0.75, 0.95, 0.55, 0.45),
        (1, 0.65, 0.05, 0.10),
    ),
    "bwr": ((0, 0, 0, 1), (0.5, 1, 1, 1), (1, 1, 0, 0)),
    "seismic": ((0, 0, 0, 0.3), (0.25, 0, 0, 1), (0.5, 1, 1, 1), (0.75, 1, 0, 0), (1, 0.5, 0, 0)),
}

_SAME = {"grey": "gray"}

_DIVERGING = ("blue-red", "bwr", "seismic")
_DIVERGING_OF_MATPLOTLIB = (
    *("PiYG", "PRGn", "BrBG", "PuOr", "RdGy", "RdBu", "RdYlBu", "RdYlGn", "Spectral", "coolwarm"),
    *("berlin", "managua", "vanimo"),
)

NAMES = (*_MIXED, *_PERCEPTUAL)
"""The colour maps that need no other package."""


@dataclass(frozen=True, eq=False)
class ColourMap:
    """Colours along [0, 1].

    Attributes
    ----------
    anchors : ndarray, shape (K,)
        Rising from 0 to 1; between them colours are mixed linearly.
    colours : ndarray, shape (K, 3)
        In [0, 1].
    diverging : bool
        Whether nothing is in the middle.
    """

    anchors: NDArray[np.float64]
    colours: NDArray[np.float64]
    diverging: bool

    def __call__(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """The colours at t in [0, 1], of its shape and three more."""
        return np.stack([np.interp(t, self.anchors, channel) for channel in self.colours.T], axis=-1)


def colour_map(asked: str | ArrayLike) -> ColourMap:
    """A colour map by its name, or of colours at equal distances, (K, 3) in [0, 1].

    Raises
    ------
    UnknownNameError
        There is none of that name, here or in matplotlib.
    InputError
        What was given are no colours.
    """
    if not isinstance(asked, str):
        return _of_colours(asked)
    name = _SAME.get(asked, asked)
    if name in _MIXED:
        table = np.asarray(_MIXED[name], np.float64)
        return ColourMap(table[:, 0], table[:, 1:], name in _DIVERGING)
    if name in _PERCEPTUAL:
        return _of_colours([_hexadecimal(word) for word in _PERCEPTUAL[name].split()])
    return _of_matplotlib(name)


def _hexadecimal(word: str) -> list[float]:
    return [byte / 255 for byte in bytes.fromhex(word)]


def _of_colours(given: ArrayLike, diverging: bool = False) -> ColourMap:
    try:
        colours = to_host(borrow_numbers(given, "colormap")).astype(np.float64)
    except InputError:
        colours = np.empty(0)
    if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) < 2 or not _in_unit(colours):
        raise InputError(
            "a colour map is a name, or two colours or more, an array (K, 3) of red, green and blue in [0, 1]"
        )
    return ColourMap(np.linspace(0, 1, len(colours)), colours, diverging)


def _in_unit(colours: NDArray[np.float64]) -> bool:
    return bool(((colours >= 0) & (colours <= 1)).all())


def _of_matplotlib(name: str) -> ColourMap:
    known: Sequence[Any] = ()
    try:
        from matplotlib import colormaps
    except ImportError:
        more = "; those of matplotlib are known where it is installed"
    else:
        known, more = list(colormaps), ", and all of matplotlib"
        if name in known:
            drawn = colormaps[name](np.linspace(0, 1, 256))[:, :3]
            return _of_colours(drawn, name.removesuffix("_r") in _DIVERGING_OF_MATPLOTLIB)
    suggested = did_you_mean(name, [*NAMES, *known])
    raise UnknownNameError(f"no colour map {name!r}.{suggested} There are {', '.join(NAMES)}{more}")
