"""Pictures as arrays of 8 bits: rounded, made fit to look at, and laid out side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import borrow_numbers, lending, to_host

Pixels = NDArray[np.uint8]
Levels = NDArray[np.uint8] | NDArray[np.uint16]

MODES = {1: "L", 3: "RGB"}  # Pillow's, by the number of channels


@lending("u")
def to_uint8(u: ArrayLike) -> Pixels:
    """Round [0, 1] to 0..255; values outside are clipped. Any shape, any library."""
    return np.rint(np.clip(on_host(u).astype(np.float32), 0, 1) * 255).astype(np.uint8)


def on_host(u: Any, name: str = "a picture") -> NDArray[Any]:
    """An array of any library as one of NumPy."""
    return to_host(borrow_numbers(u, name))


@lending("u")
def to_levels(u: ArrayLike, bits: int) -> tuple[Levels, NDArray[np.bool_]]:
    """Round [0, 1] to 0..255, or to 0..65535 of 16 bits; and which values were clipped. Any shape."""
    most = 2**bits - 1
    levels = np.rint(on_host(u).astype(np.float32) * np.float32(most))
    clipped = (levels < 0) | (levels > most)
    return levels.clip(0, most).astype(np.uint16 if bits == 16 else np.uint8), clipped


def viewable(image: Pixels) -> Pixels:
    """One (H, W, C) image as a picture to look at.

    One channel is grey and three are RGB. With two, or with more than three, no choice of colours would be
    honest: the channels are laid out side by side as grey pictures, row by row.
    """
    channels = image.shape[-1]
    if channels in MODES:
        return image
    return tiled([image[:, :, c, None] for c in range(channels)])


def tiled(images: Sequence[Pixels], gap: int = 4, columns: int | None = None) -> Pixels:
    """Pictures of one size, (H, W, C) uint8, side by side on white in a near-square grid of (H', W', C)."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    h, w, c = images[0].shape
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), 255, np.uint8)
    for k, image in enumerate(images):
        y, x = (k // columns) * (h + gap), (k % columns) * (w + gap)
        sheet[y : y + h, x : x + w] = image
    return sheet


def arranged(images: Pixels) -> Pixels:
    """Images (N, H, W, C) as one picture: a single one as it is, several in a near-square grid."""
    pictures = [viewable(image) for image in images]
    return pictures[0] if len(pictures) == 1 else tiled(pictures)
