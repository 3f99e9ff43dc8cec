"""Photographs with their classes, as the experiments take them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..network import Network
from ..pictures import read_image
from ..transforms import Size

_LEADING_NUMBER = re.compile(r"(\d+)(?=[_\-. ])")


@dataclass(frozen=True)
class Photographs:
    """Paths of photographs, and the class of each where its name tells.

    Parameters
    ----------
    paths : tuple of Path
    classes : tuple of int, or None
        Without a background class, as `Class` counts them; None where a name does not begin with a number.
    """

    paths: tuple[Path, ...]
    classes: tuple[int, ...] | None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: slice) -> Photographs:
        return Photographs(self.paths[which], None if self.classes is None else self.classes[which])

    def read(self, size: Size) -> np.ndarray:
        """The photographs, resized and cut to `size`, (N, 3, H, W) float32 in [0, 1]; read-only."""
        return _read(self.paths, size)

    def seen_by(self, net: Network) -> np.ndarray:
        """The photographs at the size of a network's input."""
        height, width = net.input_shape[1:]
        return self.read((height, width))

    def halves(self) -> tuple[Photographs, Photographs]:
        """Every other photograph, to tune on, and the rest, to report on."""
        return self[::2], self[1::2]


@lru_cache(maxsize=16)
def _read(paths: tuple[Path, ...], size: Size) -> np.ndarray:
    images = np.stack([read_image(path, size=size) for path in paths])
    images.flags.writeable = False
    return images


def find_photographs(folder: str | os.PathLike[str], seed: int = 0) -> Photographs:
    """The pictures of a folder in an order drawn by `seed`, so that the first few are of any class.

    Parameters
    ----------
    folder : path
        Every file in it that Pillow knows by its ending, folders in it left aside. A name that begins with a
        number, as in ``0263_corgi.jpg`` or ``263-7.png``, gives the class.
    seed : int
        Of the order.

    Raises
    ------
    InputError
        There is no such folder, or no picture in it.
    """
    root = Path(folder)
    if not os.path.isdir(root):
        raise InputError(f"{str(root)!r} is no folder; give one with photographs.")
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in endings)
    if not paths:
        raise InputError(f"There are no photographs in {str(root)!r}.")
    mixed = [paths[k] for k in np.random.default_rng(seed).permutation(len(paths))]
    return Photographs(tuple(mixed), _classes(mixed))


def _classes(paths: Sequence[Path]) -> tuple[int, ...] | None:
    numbers = [_LEADING_NUMBER.match(path.name) for path in paths]
    if not all(numbers):
        return None
    return tuple(int(match.group()) for match in numbers if match)
