"""Who is told that Numba compiles a kernel, which takes seconds. It imports no numba."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_told: list[Callable[[], None]] = []


@contextmanager
def told_of_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` once, when the first kernel is compiled meanwhile."""
    _told.append(tell)
    try:
        yield
    finally:
        if tell in _told:
            _told.remove(tell)


def announce() -> None:
    """Tell whoever has not been told that a kernel is compiled."""
    while _told:
        _told.pop()()
