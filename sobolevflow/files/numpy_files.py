"""Arrays out of NumPy's own files, .npy and .npz: no more is reserved in memory than the file can fill."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from numpy.lib import format as npy
from numpy.typing import NDArray

from .inputs import opened

_ARCHIVE = b"PK\x03\x04"
_MOST_UNPACKED = 2**31  # bytes of what is compressed: a thousand times as many as there are may be promised


def arrays_in(path: str | os.PathLike[str]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of a .npy file, or all arrays of an archive, .npz, by their names.

    Raises
    ------
    OSError
        The file is absent, no regular one, or may not be read.
    ValueError
        It is none of NumPy's, is damaged, holds objects, or promises more than it has; says which.
    """
    with opened(path) as file:
        is_archive = file.read(len(_ARCHIVE)) == _ARCHIVE
        file.seek(0)
        try:
            return _archive(file) if is_archive else _array(file, os.fstat(file.fileno()).st_size)
        except (OSError, ValueError):
            raise
        except MemoryError:
            raise ValueError("it does not fit into the memory that is free") from None
        except Exception as error:  # what zipfile and NumPy raise at damaged files is of any class
            raise ValueError(
                f"it is damaged ({' '.join(str(error).split()) or type(error).__name__})"
            ) from None


def _archive(file: BinaryIO) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        found = {}
        for about in archive.infolist():
            if about.compress_type != zipfile.ZIP_STORED and about.file_size > _MOST_UNPACKED:
                raise ValueError(
                    f"{about.filename} in it has {about.file_size} bytes when unpacked, and at most "
                    f"{_MOST_UNPACKED} are read of what is compressed; write it as .npy"
                )
            with archive.open(about) as member:
                if member.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                    raise ValueError(f"it holds {about.filename!r}, which is no array")
                member.seek(0)
                found[Path(about.filename).stem] = _array(member, about.file_size)  # type: ignore[arg-type]
        return found


def _array(file: BinaryIO, size: int) -> NDArray[Any]:
    """The array in a file of so many bytes."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    promised, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if any(length < 0 for length in shape) or promised > left:
        raise ValueError(f"its header promises {promised} bytes, but {left} follow")
    file.seek(0)
    found: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return found
