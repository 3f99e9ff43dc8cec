"""Values of layers: the session that computes them, kept, and images that go through it in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..devices import Computation, Device, Opened
from ..onnxgrad import IMAGE, graph_session, run, session_bytes, session_options
from .classes import Classes
from .protocol import NetworkLike

_AT_ONCE = 16  # images that go through together, however many there are


def values_of(net: NetworkLike, u: np.ndarray, layers: Sequence[str]) -> list[np.ndarray]:
    """Values of `layers` at images that have been checked; see `Network.features`."""
    step = net.run_batch(len(u), layers)
    forward = _session(net, tuple(layers), step)
    names = list(forward.outputs)
    return _in_parts(lambda part: run(forward.session, names, {IMAGE: part}), u, step)


def scores_of(net: NetworkLike, classes: Classes, u: np.ndarray) -> np.ndarray:
    """Class scores at any number of images that have been checked, (N, outputs), float64."""
    parts = [values_of(net, u[k : k + _AT_ONCE], [classes.layer])[0] for k in range(0, len(u), _AT_ONCE)]
    return np.concatenate(parts).astype(np.float64).reshape(len(u), classes.count)


def _session(net: NetworkLike, layers: tuple[str, ...], batch: int) -> Opened:
    """The session from so many images to layers, which are its outputs."""
    computation = Computation("features", layers, batch, Device())
    opened = net.sessions.find(computation)
    if opened is not None:
        return opened
    with net.sessions.opening:  # another thread may have opened it while this one waited
        return net.sessions.find(computation) or _opened(net, computation, layers)


def _opened(net: NetworkLike, computation: Computation, layers: tuple[str, ...]) -> Opened:
    graph, names = net.graph(layers, computation.batch)
    graph.outputs = list(dict.fromkeys(names.values()))
    size = session_bytes(graph)
    net.sessions.make_room(size)
    session = graph_session(graph, session_options(net.threads))
    outputs = tuple(names[layer] for layer in layers)
    return net.sessions.keep(computation, Opened(session, outputs, bytes=size))


def _in_parts(
    compute: Callable[[np.ndarray], list[np.ndarray]], u: np.ndarray, step: int
) -> list[np.ndarray]:
    """What is computed of `step` images at once, of all; the last part may overlap the one before."""
    found: list[list[np.ndarray]] = []
    for k in range(0, len(u), step):
        start = min(k, len(u) - step)
        found.append([values[k - start :] for values in compute(u[start : start + step])])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]
