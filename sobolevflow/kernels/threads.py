"""Sharing out a kernel's work among threads.

The kernels release the interpreter's lock, so that threads of Python run them side by side: no
second runtime of threads, nothing that spins, nothing that a fork leaves broken. How many there are
is Numba's number, `numba.set_num_threads` or the variable NUMBA_NUM_THREADS.

Linux often starts a thread that has slept on the CPU of the thread that woke it. Here that one goes on
computing, so that the two would take turns on one CPU for milliseconds before either is moved, longer
than most filters take. Workers are therefore kept off the caller's CPU while they work for it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numba

_pool: ThreadPoolExecutor | None = None
_workers: list[int] = []  # the system's numbers of the pool's threads


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
    with _workers_elsewhere():
        others = [_threads().submit(work, *bounds[i : i + 2]) for i in range(1, parts)]
        return [work(*bounds[:2]), *(other.result() for other in others)]


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        most = int(numba.config.NUMBA_NUM_THREADS)
        _pool = ThreadPoolExecutor(most, thread_name_prefix="sobolevflow", initializer=_register)
    return _pool


def _register() -> None:
    _workers.append(threading.get_native_id())


def _linux_getcpu() -> Callable[[], int] | None:
    """The call that tells which CPU the calling thread is on, where threads can be kept off CPUs."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


_getcpu = _linux_getcpu()


@contextmanager
def _workers_elsewhere() -> Iterator[None]:
    """Keep the pool's threads off the CPU of the caller; afterwards they may run wherever it may."""
    if _getcpu is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    elsewhere = allowed - {_getcpu()}
    _run_on(elsewhere or allowed)
    try:
        yield
    finally:
        _run_on(allowed)


def _run_on(cpus: set[int]) -> None:
    for worker in _workers:
        try:
            os.sched_setaffinity(worker, cpus)
        except OSError:  # a sandbox forbids it, or the CPU was taken away: as good as before
            return


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _pool
    _pool = None
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
