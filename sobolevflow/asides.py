"""What decoders in C write to the standard error by themselves: heard where somebody listens to it.

libtiff tells of damage in a file on the standard error of the process, past Python and all of its handlers.
The command makes notes of that. For anybody else nothing is done: the stream belongs to the whole process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

Listener = Callable[[str], None]

_STANDARD_ERROR = 2
_MOST = 1 << 16  # bytes that are listened to: a decoder may complain of every line

_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """A context in which the listener is told, in one text, what is said in a context of `heard`."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def heard(about: str) -> Iterator[None]:
    """A context for code that may write to the standard error by itself; if it raises, that says enough.

    Parameters
    ----------
    about : str
        What it works on, for the listener.
    """
    aside = _aside() if _listeners else None
    if aside is None:
        yield
        return
    with aside:
        with _instead_of(_STANDARD_ERROR, aside):
            yield
        aside.seek(0)
        lines = aside.read(_MOST).decode(errors="replace").split("\n")
    # a progress bar that another thread draws meanwhile is full of escapes
    said = [line.strip() for line in lines if line.strip() and "\x1b" not in line]
    if said:
        _listeners[-1](f"{about}: {' '.join(said)}")


def _aside() -> IO[bytes] | None:
    """A file to write to; None where there is no place for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return None


@contextmanager
def _instead_of(descriptor: int, file: IO[bytes]) -> Iterator[None]:
    """A context in which the file takes what is written to a descriptor, if that is open."""
    try:
        kept = os.dup(descriptor)
    except OSError:
        yield
        return
    try:
        os.dup2(file.fileno(), descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
