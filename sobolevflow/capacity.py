"""What fits into the memory of this machine: what cannot is refused before the work, with the estimate.

Estimates are of what is certainly held at once, and are compared with all the memory that there is, whoever
uses it now: what might fit is tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .errors import InputError
from .onnxgrad import in_words, memory_bytes

_SMALL = 1 << 28  # bytes that every machine has
_UNKNOWN = 1 << 42  # bytes that a machine is taken to have where nobody says

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def check_fits(needed: float, what: str, remedy: str) -> None:
    """InputError, with the estimate, where the machine has less memory than so many bytes.

    Parameters
    ----------
    needed : float
        Bytes; a whole number of any size.
    what : str
        Begins the sentence: "a batch of 1000000 images".
    remedy : str
        Ends it: "use a smaller batch".
    """
    if needed <= _SMALL:
        return
    there = machine_bytes()
    if needed > there:
        raise InputError(
            f"{what} needs at least {in_words(needed)} of memory, and this machine has {in_words(there)}; "
            f"{remedy}."
        )


def machine_bytes() -> int:
    """Bytes that this process can have: memory and swap, or less where the system limits it."""
    return min(_limits(), default=_UNKNOWN)


def _limits() -> Iterator[int]:
    if (installed := memory_bytes("MemTotal", "SwapTotal")) is not None:
        yield installed
    for path in _LIMITS:  # of a container
        try:
            said = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if said.isdigit():
            yield int(said)
    try:
        import resource
    except ImportError:  # Windows has none
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit
