"""How the kernels are compiled by Numba.

`kernel` is `numba.njit` with what all of them share: cached on disk, the interpreter's lock released,
division without checks, products that may be fused with sums (but no reordering of sums).

It also promises the compiler that the arrays which a kernel is given do not overlap. Without that
promise a loop with many input and output rows is guarded by comparisons of all pairs of them, or not
vectorised at all, which costs a factor of two to four. Numba has a flag for it but no option of
`njit`, so that a pipeline of our own sets it: the default one in everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core import event
from numba.core.compiler import CompilerBase, DefaultPassBuilder

from .announcing import announce

Function = TypeVar("Function", bound=Callable[..., Any])


class _Announcing(event.Listener):  # type: ignore[misc]  # numba ships no types
    """Says that a kernel is compiled; of one that is read from the cache Numba makes no such event."""

    def on_start(self, event: Any) -> None:
        announce()

    def on_end(self, event: Any) -> None:
        """Nothing is said of the end."""


event.register("numba:compile", _Announcing())


class _ArraysApart(CompilerBase):  # type: ignore[misc]  # numba ships no types
    """The default pipeline, with the promise that no two array arguments overlap."""

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def kernel(function: Function, *, fastmath: frozenset[str] = frozenset({"contract"})) -> Function:
    """Compile `function` on its first call; no two of its array arguments may overlap.

    Parameters
    ----------
    function
        A function in the subset of Python that Numba compiles.
    fastmath
        LLVM's fast-math flags. "reassoc" lets a sum be vectorised.
    """
    compiled: Function = njit(
        cache=True,
        nogil=True,
        error_model="numpy",
        fastmath=set(fastmath),
        pipeline_class=_ArraysApart,
    )(function)
    return compiled
