"""A run made again, beside the one that was saved: the same bytes, or how far apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Array, fingerprint
from ..errors import ImageError
from ..files import arrays_in
from ..pictures import Levels, arranged, encode, read_planes
from .saved import Saved

_LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Comparison:
    """Whether two runs ended in the same images.

    Parameters
    ----------
    identical : bool
        Whether all that could be compared is the same, byte for byte; false where nothing could be.
    found : tuple of str
        What was compared, a sentence for each.
    """

    identical: bool
    found: tuple[str, ...]


def compared(u: Array, levels: Callable[[int], Levels], saved: Saved) -> Comparison:
    """Compare images with those that a manifest was written with, and with the files beside it.

    Parameters
    ----------
    u : (N, C, H, W) array
    levels : callable
        From a number of bits to the pictures of `u`, (N, H, W, C).
    saved : Saved
    """
    found = [_images(u, saved), _array(u, saved), _picture(levels, saved)]
    told = [each for each in found if each is not None]
    known = [same for same, _ in told if same is not None]
    return Comparison(bool(known) and all(known), tuple(text for _, text in told))


Told = tuple[bool | None, str]
"""Whether it is the same, None where that is not known, and a sentence."""


def _images(u: Array, saved: Saved) -> Told | None:
    recorded = saved.manifest.outcome.sha256
    if recorded is None:
        return None
    same = recorded == fingerprint(u)["sha256"]
    return same, f"the images are {'identical' if same else 'others'}, by their SHA-256"


def _array(u: Array, saved: Saved) -> Told | None:
    path = saved.file("array")
    if path is None:
        return None
    if not os.path.isfile(path):
        return None, f"{path} is not there to be compared"
    try:
        before = arrays_in(path)
    except (OSError, ValueError):
        before = {}
    if isinstance(before, dict):  # an archive of several, or nothing
        return False, f"{path} is no array any more"
    if (u.shape, u.dtype, u.tobytes()) == (before.shape, before.dtype, before.tobytes()):
        return True, f"{path} is identical"
    return _differ(path, u, before)


def _picture(levels: Callable[[int], Levels], saved: Saved) -> Told | None:
    path = saved.file("picture")
    if path is None:
        return None
    if not os.path.isfile(path):
        return None, f"{path} is not there to be compared"
    made = arranged(levels(saved.bits))
    if path.read_bytes() == encode(made, path.suffix):
        return True, f"{path} is identical"
    try:
        before = read_planes(path, range=(0.0, 1.0) if saved.bits == 32 else None).values
    except ImageError:
        return False, f"{path} is no picture any more"
    now = _in_unit(made)
    if path.suffix.lower() in _LOSSY:
        return False, f"{path} has other bytes"
    if now.shape == before.shape and np.allclose(now, before, rtol=0, atol=1e-6):
        return False, f"{path} has the same pixels, in other bytes, as another version of Pillow writes them"
    return _differ(path, now, before)


def _in_unit(made: Levels) -> Array:
    """(H, W, C) as (C, H, W), of whole numbers in [0, 1]."""
    most = 1 if made.dtype.kind == "f" else 256**made.dtype.itemsize - 1
    return made.transpose(2, 0, 1).astype(np.float32) / np.float32(most)


def _differ(path: Path, now: Array, before: Array) -> Told:
    if now.shape != before.shape:
        return False, f"{path} has the shape {before.shape}, and it is {now.shape} now"
    largest = float(np.abs(now.astype(np.float64) - before).max())
    return (
        False,
        f"{path} is another one: values differ by up to {largest:.3g}, {255 * largest:.3g} grey levels",
    )
