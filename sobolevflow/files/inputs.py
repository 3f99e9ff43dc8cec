"""What may be read: regular files. A pipe or a device may never end, and to open one may do something."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_NO_FILES = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


def what_else(mode: int) -> str:
    """What it is that has such a mode, where it is no regular file: "is a pipe"; else nothing."""
    return "" if stat.S_ISREG(mode) else _NO_FILES.get(stat.S_IFMT(mode), "is no regular file")


def check_regular(path: str | os.PathLike[str]) -> None:
    """Find out, before it is opened, whether a path is that of a regular file.

    Raises
    ------
    OSError
        It is none, or is not there; ``strerror`` says what it is.
    """
    if other := what_else(os.stat(path).st_mode):
        raise _refused(path, other)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file, opened to be read.

    Raises
    ------
    OSError
        As `check_regular`, or it may not be read.
    """
    check_regular(path)
    with open(path, "rb", opener=_without_waiting) as file:
        if other := what_else(os.fstat(file.fileno()).st_mode):  # it was exchanged meanwhile
            raise _refused(path, other)
        yield file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refused(path: str | os.PathLike[str], other: str) -> OSError:
    number = errno.EISDIR if other == _NO_FILES[stat.S_IFDIR] else errno.EINVAL
    return OSError(number, f"it {other}, and no regular file", os.fspath(path))
