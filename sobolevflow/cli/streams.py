r"""The standard streams: characters that they cannot print, and what is written to one that takes no more.

Names of layers, classes and files are anybody's, and a terminal, or the pipe that stands in its place, may
know ASCII alone. Characters that it cannot print are written as Python writes them in a string, ``\u87ba``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_UNPRINTABLE = "backslashreplace"


@contextmanager
def printable() -> Iterator[None]:
    """Whatever is written to the standard streams is printed, escaped where it cannot be as it is."""
    before = {stream: stream.errors for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")}
    for stream in before:
        stream.reconfigure(errors=_UNPRINTABLE)
    try:
        yield
    finally:
        for stream, errors in before.items():
            with suppress(OSError, ValueError):  # what is left to print was told of already, or it was closed
                stream.reconfigure(errors=errors)


def flush() -> None:
    """Print what waits to be printed, so that a disk that is full is found out here, and not by Python's end.

    Raises
    ------
    OSError
        It cannot be written; BrokenPipeError where the reader went away.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up() -> None:
    """Let whatever is still printed vanish: nobody takes it."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
