"""Sharing out a kernel's work among threads.

The kernels release the interpreter's lock, so that threads of Python run them side by side: no
second runtime of threads, nothing that spins, nothing that a fork leaves broken. How many there are
is Numba's number, `numba.set_num_threads` or the variable NUMBA_NUM_THREADS.

Linux often starts a thread that has slept on the CPU of the thread that woke it. Here that one goes on
computing, so that the two would take turns on one CPU for milliseconds before either is moved, longer
than most filters take. Workers are therefore kept off the CPU that the caller is on.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..arrays import aligned

_MOST_KEPT = 16 << 20  # bytes of scratch memory

_of_thread = threading.local()
_pool: ThreadPoolExecutor | None = None
_one_pool = threading.Lock()
_workers: dict[int, set[int]] = {}  # the system's number of each thread of the pool, and its CPUs if known


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
    return run(work, bounds(total, least))


def run(work: Callable[[int, int], object], parts: list[tuple[int, int]]) -> list[object]:
    """`share` for parts that are known: those of `bounds`, or others."""
    first, *others = parts
    if not others:
        return [work(*first)]
    _keep_workers_elsewhere()
    running = [_threads().submit(work, *part) for part in others]
    return [work(*first), *(other.result() for other in running)]


def bounds(total: int, least: int = 1) -> list[tuple[int, int]]:
    """Beginning and end of each of the parts that `share` calls `work` for."""
    parts = max(1, min(count(), total // max(1, least)))
    return list(pairwise(total * i // parts for i in range(parts + 1)))


def scratch(count: int, dtype: Any) -> NDArray[Any]:
    """Memory for `count` numbers, of any content, that this thread has until it asks again for that dtype.

    It begins at a multiple of 64 bytes, as vectors want it. Kept from call to call, so that kernels
    allocate nothing; more than 16 MiB are not.
    """
    dtype = np.dtype(dtype)
    if count * dtype.itemsize > _MOST_KEPT:
        return aligned(count, dtype)
    kept: dict[Any, NDArray[Any]] = vars(_of_thread)
    if dtype.name not in kept or kept[dtype.name].size < count:
        kept[dtype.name] = aligned(count, dtype)
    return kept[dtype.name]


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _one_pool:
        if _pool is None:
            most = int(numba.config.NUMBA_NUM_THREADS)
            _pool = ThreadPoolExecutor(most, thread_name_prefix="sobolevflow", initializer=_register)
        return _pool


def _register() -> None:
    _workers[threading.get_native_id()] = set()


def _linux_getcpu() -> Callable[[], int] | None:
    """The call that tells which CPU the calling thread is on, where threads can be kept off CPUs."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


_getcpu = _linux_getcpu()


def _keep_workers_elsewhere() -> None:
    """Let the pool's threads run wherever the caller may, but not on the CPU that it is on."""
    if _getcpu is None:
        return
    allowed = os.sched_getaffinity(0)
    elsewhere = allowed - {_getcpu()} or allowed
    for worker, cpus in list(_workers.items()):
        if cpus != elsewhere:
            try:
                os.sched_setaffinity(worker, elsewhere)
            except OSError:  # a sandbox forbids it: as good as before
                return
            _workers[worker] = elsewhere


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _pool, _one_pool
    _pool, _one_pool = None, threading.Lock()  # another thread may have held it
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
