"""Calls made by several threads at once, and what their results are, byte for byte."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def at_once(calls: Sequence[Callable[[], Any]], seconds: float = 60.0) -> list[Any]:
    """What calls return that start together, each in a thread of its own; the first error is raised.

    The interpreter changes from one to the other as often as it can.
    """
    barrier = threading.Barrier(len(calls))
    found: list[Any] = [None] * len(calls)
    failed: list[BaseException] = []

    def work(k: int) -> None:
        barrier.wait(seconds)
        try:
            found[k] = calls[k]()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(len(calls))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds)
            assert not thread.is_alive(), "a thread waits for ever"
    finally:
        sys.setswitchinterval(interval)
    if failed:
        raise failed[0]
    return found


def content(found: Any) -> Any:
    """What a result holds, such that equal contents are equal byte for byte."""
    if isinstance(found, np.ndarray | np.generic):
        return found.dtype.str, found.shape, found.tobytes()
    if isinstance(found, dict):
        return {key: content(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [content(each) for each in found]
    if is_dataclass(found) and not isinstance(found, type):
        return [type(found).__name__, *(content(getattr(found, f.name)) for f in fields(found))]
    if hasattr(found, "SerializeToString"):
        return found.SerializeToString(deterministic=True)
    return found
