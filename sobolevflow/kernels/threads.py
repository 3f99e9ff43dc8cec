"""Sharing out a kernel's work among threads.

The kernels release the interpreter's lock, so that threads of Python run them side by side: no
second runtime of threads, nothing that spins, nothing that a fork leaves broken. How many there are
is Numba's number, `numba.set_num_threads` or the variable NUMBA_NUM_THREADS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba

_pool: ThreadPoolExecutor | None = None


def count() -> int:
    """Threads to use."""
    return int(numba.get_num_threads())


def share(work: Callable[[int, int], object], total: int, least: int = 1) -> list[object]:
    """Call ``work(start, stop)`` on parts of range(total), all at once, and wait.

    Parameters
    ----------
    work
        Takes the beginning and the end of its part. One part runs in the calling thread.
    total
        How much there is to do.
    least
        A part is at least this large, so that little work is not shared out at all.

    Returns
    -------
    list
        What the calls returned, in order.
    """
    parts = max(1, min(count(), total // max(1, least)))
    bounds = [total * i // parts for i in range(parts + 1)]
    if parts == 1:
        return [work(0, total)]
    others = [_threads().submit(work, *bounds[i : i + 2]) for i in range(1, parts)]
    return [work(*bounds[:2]), *(other.result() for other in others)]


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="sobolevflow")
    return _pool


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
