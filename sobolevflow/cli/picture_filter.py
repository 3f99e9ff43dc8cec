"""Smoothing of picture files: read, filter, write.

The values that are filtered are those of the file in the unit of its range, in sRGB where they are colours;
no conversion to linear light is made. What is clipped for a picture is counted, and arrays are not clipped.

The alpha channel passes through as it is, and weighs the colours: colours times alpha are filtered, and alpha
beside them, and their ratio is the new colour. For a linear filter that is normalised convolution, the mean
of the colours that can be seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, warn
from ..files import check_apart, check_output, is_folder, make_folder
from ..maps import Operator, apply
from ..pictures import (
    HOLD_16_BITS,
    HOLD_ANY_PLANES,
    WRITABLE,
    Planes,
    check_bits,
    to_levels,
    write_array,
    write_planes,
)
from .given import ARRAYS

_SOLVED = ("gap", "iterations", "converged")  # what an iterative operator says of its result

_UNSEEN = 1e-3  # filtered alpha below which the ratio would be one of rounding errors

WITHOUT_ALPHA = (".jpg", ".jpeg", ".bmp")  # formats that cannot hold it, or hardly anything reads


@dataclass(frozen=True)
class Job:
    """One picture to filter, and where the result goes.

    Parameters
    ----------
    photo : path
    picture : path
        The picture that is written.
    array : path, optional
        A file in NumPy's format for the result as float32.
    bits : {8, 16, 32}, optional
        Of a value of the picture; those of the photo where the format holds them, unless given.
    """

    photo: Path
    picture: Path
    array: Path | None = None
    bits: int | None = None


def jobs(photos: Sequence[str], output: str, arrays: str | None = None, bits: int | None = None) -> list[Job]:
    """What to write where, found out before any work.

    Parameters
    ----------
    photos
        Picture files.
    output
        The file to write; for several photos, or where it is one already or ends in a slash, a folder, in
        which every result has its photo's name. It is made unless it is there.
    arrays
        The same for float32 arrays in NumPy's format; None writes none.
    bits
        Of all pictures.

    Raises
    ------
    InputError
        Two photos have one name, a photo would be overwritten, several photos are to go into one file, or the
        format does not hold so many bits.
    OutputError
        A file cannot be written.
    """
    pictures = _targets(photos, output, WRITABLE, ".png")
    npys = [None] * len(photos) if arrays is None else _targets(photos, arrays, ARRAYS, ARRAYS[0])
    check_apart([*pictures, *(npy for npy in npys if npy is not None)])
    for picture in pictures if bits is not None else ():
        check_bits(picture, bits)  # type: ignore[arg-type]
    return [Job(Path(p), picture, npy, bits) for p, picture, npy in zip(photos, pictures, npys, strict=True)]


def _targets(photos: Sequence[str], output: str, endings: Sequence[str], otherwise: str) -> list[Path]:
    if len(photos) == 1 and not is_folder(output):
        targets = [Path(output)]
    else:
        if Path(output).suffix.lower() in endings and not is_folder(output):
            raise InputError(
                f"{len(photos)} photos do not go into one file, {output!r}; name a folder, "
                f"{output + os.sep!r} for one of that name."
            )
        folder = make_folder(output)
        named = [folder / Path(photo).name for photo in photos]
        targets = [t if t.suffix.lower() in endings else t.with_suffix(otherwise) for t in named]
    for target in targets:
        check_output(target, endings, photos)
        if targets.count(target) > 1:
            raise InputError(f"Two of the photos would be written to {str(target)!r}; rename one of them.")
    return targets


def filter_picture(job: Job, picture: Planes, operator: Operator) -> dict[str, Any]:
    """Filter the picture of one job.

    Parameters
    ----------
    job
        What to read and to write.
    picture
        What its photo holds.
    operator
        From planes (C, H, W), float32 in the unit of the picture's range, to planes of the same shape.

    Returns
    -------
    dict
        ``photo``, ``picture``, ``array``, ``shape`` (C, H, W), ``range`` and ``bits`` of the picture that was
        written; of an iterative operator also ``gap``, ``iterations`` and ``converged``.
    """
    _check_holds(job, picture)
    found, state = _filtered(operator, picture)
    bits = _write(job, picture, found)
    if job.array is not None:
        write_array(job.array, found)
    return {
        "photo": str(job.photo),
        "picture": str(job.picture),
        "array": job.array and str(job.array),
        "shape": list(picture.values.shape),
        "range": list(picture.range),
        "bits": bits,
        **({} if state is None else {name: getattr(state, name) for name in _SOLVED}),
    }


def _check_holds(job: Job, picture: Planes) -> None:
    """InputError where the format has no place for what the picture has."""
    ending, count = job.picture.suffix.lower(), len(picture.values)
    if picture.alpha is not None and ending in WITHOUT_ALPHA:
        raise InputError(
            f"{str(job.photo)!r} has an alpha channel, which {job.picture.suffix} cannot hold; write a .png."
        )
    if count not in (1, 3) and ending not in HOLD_ANY_PLANES:
        raise InputError(
            f"{str(job.photo)!r} has {count} planes, which {job.picture.suffix} cannot hold; write a .tif."
        )


def _filtered(operator: Operator, picture: Planes) -> tuple[NDArray[np.float32], Any]:
    """The planes filtered, and the state of an iterative operator."""
    found, state = apply(operator, planes_of(picture), channel_axis=0)
    if len(found) == len(picture.values):
        return found, state
    colours, weight = found[:-1], found[-1]
    return np.divide(colours, weight, where=weight > _UNSEEN, out=picture.values.copy()), state


def planes_of(picture: Planes) -> NDArray[np.float32]:
    """What is filtered: the colours, or where one can see through them, colours times alpha, and alpha."""
    if picture.alpha is None or (picture.alpha == 1).all():
        return picture.values
    return np.concatenate([picture.values * picture.alpha, picture.alpha[None]])


def _write(job: Job, picture: Planes, found: NDArray[np.float32]) -> int:
    """Write the picture with as many bits as it had, where the format holds them; return how many."""
    bits = job.bits or (picture.bits if job.picture.suffix.lower() in HOLD_16_BITS else 8)
    levels, outside = to_levels(found, bits)
    alpha = None if picture.alpha is None else to_levels(picture.alpha, bits)[0]
    write_planes(job.picture, levels, alpha)
    if bits < picture.bits and job.bits is None:
        holding = " and ".join(HOLD_16_BITS[:2])
        warn(f"{str(job.picture)!r} has {bits} bits a value, and the photo had more; {holding} keep 16")
    clipped = np.count_nonzero(outside if picture.alpha is None else outside[:, picture.alpha > 0])
    if clipped:
        low, high = picture.range
        warn(
            f"{clipped} of {found.size} values lie outside of {low:g} to {high:g} and were clipped in "
            f"{str(job.picture)!r}; --npy keeps them, and --range LOW:HIGH shows more"
        )
    return bits
