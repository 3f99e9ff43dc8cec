"""Pictures as arrays of 8 bits: rounded, made fit to look at, and laid out side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import borrow_numbers, lending, to_host

Pixels = NDArray[np.uint8]
Levels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

BITS = (8, 16, 32)
"""How many a value of a picture has: whole numbers of 8 and 16, floating point of 32."""

Depth = TypeVar("Depth", bound=NDArray[Any])

MODES = {1: "L", 3: "RGB"}  # Pillow's, by the number of channels


@lending("u")
def to_uint8(u: ArrayLike) -> Pixels:
    """Round [0, 1] to 0..255; values outside are clipped. Any shape, any library."""
    return np.rint(np.clip(on_host(u).astype(np.float32, copy=False), 0, 1) * 255).astype(np.uint8)


def on_host(u: Any, name: str = "a picture") -> NDArray[Any]:
    """An array of any library as one of NumPy."""
    return to_host(borrow_numbers(u, name))


@lending("u")
def to_levels(u: ArrayLike, bits: int) -> tuple[Levels, NDArray[np.bool_]]:
    """Round [0, 1] to 0..255, or to 0..65535 of 16 bits; and which values were clipped. Any shape.

    With 32 bits values stay what they are, also outside of [0, 1].
    """
    if bits == 32:
        kept = on_host(u).astype(np.float32)
        return kept, np.zeros(kept.shape, bool)
    most = 2**bits - 1
    levels = np.rint(on_host(u).astype(np.float32, copy=False) * np.float32(most))
    clipped = (levels < 0) | (levels > most)
    return levels.clip(0, most).astype(np.uint16 if bits == 16 else np.uint8), clipped


def viewable(image: Depth) -> Depth:
    """One (H, W, C) image as a picture to look at.

    One channel is grey and three are RGB. With two, or with more than three, no choice of colours would be
    honest: the channels are laid out side by side as grey pictures, row by row.
    """
    channels = image.shape[-1]
    if channels in MODES:
        return image
    planes: list[Depth] = [image[:, :, c, None] for c in range(channels)]  # type: ignore[misc]
    return tiled(planes)


def tiled(images: Sequence[Depth], gap: int = 4, columns: int | None = None) -> Depth:
    """Pictures of one size and type, (H, W, C), side by side on white, as a near-square grid (H', W', C)."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    h, w, c = images[0].shape
    kind: np.dtype[Any] = images[0].dtype
    white = 1 if kind.kind == "f" else 256**kind.itemsize - 1
    sheet: Any = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), white, kind)
    for k, image in enumerate(images):
        y, x = (k // columns) * (h + gap), (k % columns) * (w + gap)
        sheet[y : y + h, x : x + w] = image
    tiles: Depth = sheet
    return tiles


def arranged(images: Depth) -> Depth:
    """Images (N, H, W, C) as one picture: a single one as it is, several in a near-square grid."""
    pictures: list[Depth] = [viewable(image) for image in images]
    return pictures[0] if len(pictures) == 1 else tiled(pictures)
