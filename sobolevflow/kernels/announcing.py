"""Who is told that Numba compiles a kernel, which takes seconds. It imports no numba."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_told: list[Callable[[], None]] = []


@contextmanager
def told_of_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` whenever Numba begins to compile a kernel meanwhile."""
    _told.append(tell)
    try:
        yield
    finally:
        _told.remove(tell)


def announce() -> None:
    """Tell all who want to know that a kernel is about to be compiled."""
    for tell in tuple(_told):
        tell()
