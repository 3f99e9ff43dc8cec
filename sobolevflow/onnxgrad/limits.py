"""How much may be spent on what a file says before its network is run: limits that an own file never meets.

A file of a few hundred bytes can ask for a constant of a terabyte, for functions that call each other until
there are a billion nodes, or for a loop without an end. What is estimated beforehand is refused by number;
what cannot be estimated is run with a limit of memory and time.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, LimitError, as_option

OPTION = "limit"
"""What changes one on the command line."""

_GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What opening a model, and preparing it, may cost beyond what the network itself needs.

    Every one is changed by ``sf.load(model, limits=sf.Limits(nodes=200_000))``, or ``--limit nodes=200_000``.
    The defaults are ten times and more what networks take that are in use.

    Parameters
    ----------
    nodes : int
        Of the model, those in the bodies of control flow included, when its functions have been replaced by
        their bodies.
    iterations : int
        Nodes that loops run whose number of rounds is known: rounds times nodes of the body.
    folded_bytes : int
        Memory for constants that are computed from constants, beyond eight times the model's own, which
        dequantizing may make of them; and, beyond what the network is known to need, for a run that is made
        to learn the types of tensors.
    operations : int
        Multiplications and additions to compute those constants.
    seconds : float
        Time of a single run that computes constants, or types.
    memory : int, optional
        Bytes of tensors that are alive at once when the network itself runs. Default: what the machine has
        available.
    process_bytes : int
        Memory of the process that looks at a model first where ``isolate=True``, beyond ten times its file.
    process_seconds : float
        Time of that process.

    Raises
    ------
    InputError
        One is no positive number.
    """

    nodes: int = 50_000
    iterations: int = 5_000_000
    folded_bytes: int = _GIB
    operations: int = 10**10
    seconds: float = 20.0
    memory: int | None = None
    process_bytes: int = 8 * _GIB
    process_seconds: float = 300.0

    @classmethod
    def of(cls, limits: Limits | None) -> Limits:
        """The limits given, or the defaults; InputError for anything else."""
        if limits is not None and not isinstance(limits, cls):
            raise InputError(f"limits are {type(limits).__name__}; they must be given as sf.Limits(...)")
        return DEFAULT if limits is None else limits

    def __post_init__(self) -> None:
        for each in fields(self):
            value = _plain(getattr(self, each.name))
            if value is None and each.name == "memory":
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and value > 0):  # infinity is no limit, NaN is none at all
                raise InputError(f"limits: {each.name} is {_shown(value)}; it must be a positive number")
            object.__setattr__(self, each.name, value)


def _plain(value: Any) -> Any:
    """A number of NumPy, or of an array without axes, as Python's own; all else as it is."""
    of_numpy = isinstance(value, (np.generic, np.ndarray)) and value.shape == () and value.dtype.kind in "iuf"
    return value.item() if of_numpy else value


def _shown(value: object) -> str:
    return str(value)[:40] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


DEFAULT = Limits()


def refused(what: str, name: str, needed: float, *, spent: bool = False) -> LimitError:
    """The error for what is over a limit: what it is, how much, and how to raise the limit."""
    digits = max(len(str(math.ceil(needed))) - 2, 0)
    enough = f"{-(-math.ceil(needed) // 10**digits) * 10**digits:_}"
    error = LimitError(
        f"{what}. That is over a limit for models of strangers; if the file can be trusted, raise it: "
        f"limits=sf.Limits({name}={enough}) ({as_option(OPTION, f'{name}={enough}')})"
    )
    error.spent = spent
    return error


def in_words(size: float) -> str:
    """A number of bytes, such as "1.5 GB"."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size = size / 1000 if size < 1e300 else size // 1000
    return "more than 1000 PB"


def available_bytes() -> int | None:
    """Memory that this process could still have, of the machine and of its group, if that is known."""
    found = [n for n in (memory_bytes("MemAvailable"), _of_group()) if n is not None]
    return min(found, default=None)


def memory_bytes(*which: str) -> int | None:
    """The sum of what Linux counts under such names; elsewhere all memory of the machine, if it is known."""
    with suppress(OSError, ValueError):
        said = Path("/proc/meminfo").read_text(encoding="ascii")
        counted = re.findall(rf"(?m)^(?:{'|'.join(which)}):\s*(\d+) kB", said)
        if counted:
            return 1024 * sum(map(int, counted))
    with suppress(AttributeError, OSError, ValueError):  # not on Windows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_group() -> int | None:
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # none, or "max"
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    return None
