"""Smoothing of picture files: read, filter, write.

The values that are filtered are those of the file, sRGB as a rule, divided by 255; no conversion to
linear light is made. The alpha channel passes through as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from ..maps import Operator, apply
from ..pictures import WRITABLE, check_writable, read_planes, to_uint8, write_array, write_planes

_SOLVED = ("gap", "iterations", "converged")  # what an iterative operator says of its result

WITHOUT_ALPHA = (".jpg", ".jpeg", ".bmp")  # formats that cannot hold it, or hardly anything reads


@dataclass(frozen=True)
class Job:
    """One picture to filter, where the result goes, and where its float32 array goes, if anywhere."""

    photo: Path
    picture: Path
    array: Path | None = None


def jobs(photos: Sequence[str], output: str, arrays: str | None = None) -> list[Job]:
    """What to write where, found out before any work.

    Parameters
    ----------
    photos
        Picture files.
    output
        The file to write; for several photos, or where it is one already, a folder, in which every result
        has its photo's name.
    arrays
        The same for float32 arrays in NumPy's format; None writes none.

    Raises
    ------
    InputError
        Two photos have one name, or a photo would be overwritten.
    OutputError
        A file cannot be written.
    """
    pictures = _targets(photos, output, WRITABLE, ".png")
    npys = [None] * len(photos) if arrays is None else _targets(photos, arrays, (".npy",), ".npy")
    return [Job(Path(p), picture, npy) for p, picture, npy in zip(photos, pictures, npys, strict=True)]


def _targets(photos: Sequence[str], output: str, endings: Sequence[str], otherwise: str) -> list[Path]:
    if len(photos) == 1 and not Path(output).is_dir():
        targets = [Path(output)]
    else:
        folder = _folder(output)
        named = [folder / Path(photo).name for photo in photos]
        targets = [t if t.suffix.lower() in endings else t.with_suffix(otherwise) for t in named]
    for target in targets:
        check_writable(target, endings=endings)
        if targets.count(target) > 1:
            raise InputError(f"Two of the photos would be written to {str(target)!r}; rename one of them.")
        if any(target.resolve() == Path(photo).resolve() for photo in photos):
            raise InputError(f"{str(target)!r} is a photo itself and would be overwritten; write elsewhere.")
    return targets


def _folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path!r} cannot be a folder for several photos: {error.strerror}. Name another one."
        ) from None
    return folder


def filter_picture(job: Job, operator: Operator) -> dict[str, Any]:
    """Filter the picture of one job.

    Parameters
    ----------
    job
        What to read and to write.
    operator
        From planes (C, H, W), float32 in [0, 1], to planes of the same shape.

    Returns
    -------
    dict
        ``photo``, ``picture``, ``array`` and ``shape`` (C, H, W); of an iterative operator also ``gap``,
        ``iterations`` and ``converged``.
    """
    planes, alpha = read_planes(job.photo)
    if alpha is not None and job.picture.suffix.lower() in WITHOUT_ALPHA:
        raise InputError(
            f"{str(job.photo)!r} has an alpha channel, which {job.picture.suffix} cannot hold; write a .png."
        )
    found, state = apply(operator, planes, channel_axis=0)
    write_planes(job.picture, to_uint8(found), alpha)
    if job.array is not None:
        write_array(job.array, found)
    return {
        "photo": str(job.photo),
        "picture": str(job.picture),
        "array": job.array and str(job.array),
        "shape": list(planes.shape),
        **({} if state is None else {name: getattr(state, name) for name in _SOLVED}),
    }
