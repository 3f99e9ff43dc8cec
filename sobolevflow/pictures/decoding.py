"""From a path to a picture as the file has it; what goes wrong with files is said here, once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import asides, checks
from ..errors import ImageError, SobolevflowError
from . import by_numpy, by_pillow, tiff
from .raster import Raster

_LARGEST = 2**31  # bytes


def decode(file: str | os.PathLike[str], page: int | None = None, channels: int | None = None) -> Raster:
    """A page of a picture file, of which so many channels are wanted.

    Raises
    ------
    ImageError
        The file is missing, is no picture, is damaged, or is too large.
    InputError
        It has no such page, or `file` is no path.
    """
    if not isinstance(file, (str, os.PathLike)):
        checks.refuse(file, "path", "the name of a picture file")
    path = Path(file)
    name = repr(str(path))
    with _as_image_errors(name):
        if path.is_dir():
            raise ImageError(f"{name} is a folder; name a picture in it.")
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device, which may never end
            raise ImageError(f"{name} is no regular file; save the picture to one.")
        with asides.heard(name):
            raster = _read(path, page, name, channels)
    if not raster.values.size:
        raise ImageError(f"{name} has no pixels.")
    return raster


def _read(path: Path, page: int | None, name: str, channels: int | None) -> Raster:
    if by_numpy.is_numpy(path):
        return by_numpy.read(path, page, name, channels)
    if tiff.is_tiff(path):
        return tiff.read(path, page, name)
    if path.stat().st_size > _LARGEST:  # some formats are read as a whole before anything is known of them
        raise ImageError(f"{name} has more than {_LARGEST >> 30} GiB, and only TIFF and .npy files may.")
    return by_pillow.read(path, page, name)


@contextmanager
def within_memory(file: str | os.PathLike[str]) -> Iterator[None]:
    """A context in which a picture that needs more memory than there is becomes an ImageError."""
    try:
        yield
    except MemoryError:
        raise ImageError(
            f"{str(file)!r} does not fit into the memory that is free; make it smaller."
        ) from None


@contextmanager
def _as_image_errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"There is no file {name}; check the path.") from None
    except PermissionError:
        raise ImageError(f"{name} may not be read; check its permissions.") from None
    except (SobolevflowError, Warning, MemoryError):
        raise
    except Exception as error:  # what decoders raise at damaged files is of any class
        raise _of_decoder(error, name) from None


def _of_decoder(error: Exception, name: str) -> ImageError:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{name} is not a picture that Pillow can read.")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"{name} is too large to be read safely: {error}")
    said = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name} cannot be read: {said}. The file may be damaged.")
