"""What is opened as a model, or as its external data: regular files, of no more than a size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LARGEST_MESSAGE = (1 << 31) - 1
"""Bytes of the largest message that Protocol Buffers read, and so of a model that is read as a whole."""


def check_regular(path: Path, most: int | None = None) -> None:
    """Find out, before it is opened, whether a path is that of a regular file of at most so many bytes.

    A pipe or a device may never end, and to open one may do something.

    Raises
    ------
    OSError
        It is none, or larger; ``strerror`` says which.
    """
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no regular file", str(path))
    if most is not None and about.st_size > most:
        said = f"it has {about.st_size} bytes, and an ONNX model in one message at most {most}"
        raise OSError(errno.EFBIG, said, str(path))
