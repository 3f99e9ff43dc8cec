"""The sessions of a network that are kept for whoever computes the same again, and how much memory they take.

Whoever computes asks for its session at every run, and holds it only while it runs. So what is kept here is
all there is, however many objectives there are, and closing them frees the memory.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Any, Literal
from weakref import WeakKeyDictionary

from .. import checks
from ..onnxgrad import CPU_PROVIDER
from .device import Device

LEAST_BYTES = 1 << 30
"""What the sessions of a network may take together unless it is told otherwise, at least."""

# Each has threads of its own, which are asleep, but counted by the system.
_MOST_KEPT = 64


@dataclass(frozen=True)
class Computation:
    """What a session computes; equal ones share it.

    Parameters
    ----------
    kind : {"features", "gradient"}
    of : hashable
        The names of layers; or the structure of an objective, and what it is differentiated by.
    batch : int
        How many images at once.
    device : Device
    """

    kind: Literal["features", "gradient"]
    of: Hashable
    batch: int
    device: Device

    def __post_init__(self) -> None:
        # once, since every step of a descent looks for its session
        object.__setattr__(self, "_hash", hash((self.kind, self.of, self.batch, self.device)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined,no-any-return]


@dataclass(frozen=True, eq=False)
class Opened:
    """A session, and what is bound to it.

    Attributes
    ----------
    session
        Of onnxruntime.
    outputs : tuple of str
        The names of its outputs, in order.
    notes : tuple of str
        What to know of what it computes, and where.
    bytes : int
        About how much memory it takes.
    turn : context manager
        What a run is within: nothing on the CPU, whose sessions may be run by several threads at once; a lock
        on other devices.
    bound : WeakKeyDictionary
        Bindings by the buffers that are bound: they end with the session, or with the buffers.
    ended : deque of int
        The numbers of CUDA graphs whose buffers are gone; see `release_ended`.
    """

    session: Any
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    bytes: int = 0
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext)
    bound: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary, repr=False)
    ended: deque[int] = field(default_factory=deque, repr=False)

    def release_ended(self) -> None:
        """Let go of graphs whose buffers are gone; within a turn, as a run looks up its own in that table."""
        while self.ended:
            self.session.release_captured_graph(self.ended.popleft())


def turn_on(device: Device) -> AbstractContextManager[Any]:
    """What runs of one session on a device are within; see `Opened`."""
    return nullcontext() if device.provider == CPU_PROVIDER else RLock()


class Sessions:
    """The sessions of a network that were used last, for whoever computes the same again.

    Parameters
    ----------
    most_bytes : int
        How much memory they may take together, as far as it can be told: each holds the weights once more,
        packed as the kernels of its device read them, and its activations, so that without a bound a walk
        through the layers of a network would fill the memory. The one that was used last is kept whatever it
        takes. May be set at any time.
    most : int
        How many are kept at most.

    Attributes
    ----------
    opening : RLock
        Held while one is opened, so that two threads that want the same do not open two.

    Notes
    -----
    The one that was not used for longest is dropped for a new one, and is closed as soon as no run of it is
    under way. Threads may share it; a pickle of it is empty, since no other process can use a session.
    """

    def __init__(self, most_bytes: int = LEAST_BYTES, most: int = _MOST_KEPT) -> None:
        self._most_bytes, self._most = checks.count(most_bytes, "most_bytes", least=0), most
        self._kept: OrderedDict[Computation, Opened] = OrderedDict()
        self._lock = Lock()
        self.opening = RLock()

    @property
    def most_bytes(self) -> int:
        """How much memory they may take together."""
        return self._most_bytes

    @most_bytes.setter
    def most_bytes(self, most: int) -> None:
        with self._lock:
            self._most_bytes = checks.count(most, "most_bytes", least=0)
            dropped = self._dropped(0, 1)
        del dropped

    @property
    def bytes(self) -> int:
        """About how much memory they take together."""
        return sum(opened.bytes for opened in self)

    def find(self, computation: Computation) -> Opened | None:
        """The session for it, if it is still there."""
        with self._lock:
            opened = self._kept.get(computation)
            if opened is not None:
                self._kept.move_to_end(computation)
            return opened

    def keep(self, computation: Computation, opened: Opened) -> Opened:
        """Keep a new session, and return it; or the one that another thread has opened meanwhile."""
        with self._lock:
            opened = self._kept.setdefault(computation, opened)
            self._kept.move_to_end(computation)
            dropped = self._dropped(0, 1)
        del dropped  # outside of the lock, since closing takes a while
        return opened

    def make_room(self, size: int) -> None:
        """Drop those that were not used for longest until another one of that many bytes fits."""
        with self._lock:
            dropped = self._dropped(size, 0)
        del dropped

    def _dropped(self, size: int, least: int) -> list[Opened]:
        """Those that are kept no longer, all but `least` at most, since they and another do not fit."""
        kept, dropped = self._kept, list[Opened]()
        taken = size + sum(opened.bytes for opened in kept.values())
        while len(kept) > least and (taken > self._most_bytes or len(kept) > self._most):
            dropped.append(kept.popitem(last=False)[1])
            taken -= dropped[-1].bytes
        return dropped

    def drop(self, computation: Computation) -> None:
        """Keep a session no longer."""
        with self._lock:
            dropped = self._kept.pop(computation, None)
        del dropped

    def clear(self) -> None:
        """Keep none of them any longer."""
        with self._lock:
            dropped, self._kept = self._kept, OrderedDict()
        del dropped

    def __iter__(self) -> Iterator[Opened]:
        with self._lock:
            return iter(list(self._kept.values()))

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[type[Sessions], tuple[int, int]]:
        return Sessions, (self._most_bytes, self._most)
