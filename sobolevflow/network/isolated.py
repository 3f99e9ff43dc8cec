"""The process that looks at a model first, ``python -m sobolevflow.network.isolated BYTES SECONDS``.

It reads a pickle of what is asked from the standard input, opens the model, infers its shapes, asks which
layers have a gradient, and runs it once. Its last line of output is what came of that, as JSON.
"""

from __future__ import annotations

import json
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import LimitError, SobolevflowError
from .composition import compose
from .isolation import NO_MEMORY
from .loading import load
from .network import Network

_OPENING: dict[str, Callable[..., Network]] = {"load": load, "compose": compose}


def main(room: int, seconds: float) -> None:
    """Answer what is asked for within limits of memory and time."""
    _limit(room, seconds)
    how, sources, options = pickle.load(sys.stdin.buffer)
    answer: dict[str, Any] = {"opened": True}
    try:
        _look(_OPENING[how](*sources, **options))
    except SobolevflowError as error:
        answer = {"error": type(error).__name__, "message": error.full}
    print(f"\n{json.dumps(answer)}", flush=True)


def _look(net: Network) -> None:
    """Find out all that is of a network before it is used, and its scores once."""
    _ = net.layers, net.shapes
    try:
        net.notes()
        net.features(np.full((1, *net.input_shape), 0.5, np.float32), [net.score_layer])
    except LimitError:
        raise
    except SobolevflowError as error:
        if any(word in str(error) for word in NO_MEMORY):
            raise MemoryError from error
        # what else it cannot do is said by who asks it to do that


def _limit(room: int, seconds: float) -> None:
    """Let the system end this process where it takes more, or is left over."""
    with suppress(ImportError):  # not on Windows, where there is a limit of time alone, kept by who waits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
