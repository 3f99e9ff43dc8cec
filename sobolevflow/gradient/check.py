"""The gradient held against differences of the network in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import numpy as np

from .. import checks
from ..arrays import to_host
from ..devices import Device
from ..errors import GradientError
from ..network import Network
from ..objectives import Objective, runtime_parameters
from ..onnxgrad import (
    IMAGE,
    RULES,
    VALUE,
    Evaluation,
    Held,
    Node,
    Parameter,
)
from .engine import Engine, refuse_apart
from .model import gradient_graph


def check_gradient(
    net: Network,
    objective: Objective,
    u: np.ndarray | None = None,
    *,
    precision: str = "single",
    device: str | Device = "cpu",
    directions: int = 1,
    step: float = 1e-7,
    seed: int = 0,
) -> float:
    """X"""
    if precision not in ("single", "double"):
        checks.refuse(precision, "precision", "'single' or 'double'")
    directions = checks.count(directions, "directions", least=0)
    step = checks.positive(step, "step")
    rng = np.random.default_rng(seed)
    if u is None:
        u = np.clip(0.5 + 0.1 * rng.standard_normal((1, *net.input_shape)), 0, 1)
    images = net.check_image(np.asarray(u))
    value = _DoubleValue(net, objective, images)
    if precision == "double":
        g = value.gradient()
    else:
        engine = Engine(net, objective, batch=len(images), device=device)
        g = to_host(engine(images)[1]).astype(np.float64)
        value.note()
    size = float(np.linalg.norm(g))
    if not size:
        hint = net.preactivation_hint(objective) or "choose another unit or image"
        raise GradientError(f"{net.name}: {objective}: the gradient is zero here; {hint}")
    worst = 0.0
    for d in _directions(g, directions, rng):
        difference = value.difference(step * d) / (2 * step)
        worst = max(worst, abs(float((g * d).sum()) - difference) / size)
    return worst


class _DoubleValue:
    """The objective's value at images, in double precision, near which its differences are taken.

    The graph is that of the engine in another precision, and takes as many images at once.
    """

    def __init__(self, net: Network, objective: Objective, images: np.ndarray) -> None:
        batch = len(images)
        parameters = runtime_parameters(objective, net, batch)
        layers = [leaf.tensor(net) for leaf in objective.leaves()]
        at_once = net.run_batch(batch, layers)
        refuse_apart(objective, batch, at_once, f"{net.name} takes one at a time of {batch}")
        self._starts = range(0, batch, at_once)
        own = [Parameter(p.name, p.default[:at_once]) for p in parameters]
        self._graph = gradient_graph(net, objective, own, at_once, dtype=np.float64)
        forward = copy(self._graph)
        forward.outputs = [VALUE]
        forward.prune()
        self._evaluate = Evaluation(forward)
        self._held = [Held(forward, IMAGE, VALUE, RULES) for _ in self._starts]
        self._images = images.astype(np.float64)
        self._parameters = {p.name: p.astype(np.float64).default for p in parameters}
        self._at_once = at_once

    def _feeds(self, images: np.ndarray, start: int) -> dict[str, np.ndarray]:
        part = slice(start, start + self._at_once)
        parameters = {k: v[part] for k, v in self._parameters.items() if k in self._graph.inputs}
        return {IMAGE: images[part], **parameters}

    def note(self) -> None:
        """Evaluate at the images, and hold fixed what has to be."""
        for start, held in zip(self._starts, self._held, strict=True):
            self._evaluate(self._feeds(self._images, start), held.note)

    def gradient(self) -> np.ndarray:
        """The gradient by the graph itself; what has to be held fixed is noted on the way."""
        evaluate = Evaluation(self._graph)
        parts = [
            evaluate(self._feeds(self._images, start), held.note)[1]
            for start, held in zip(self._starts, self._held, strict=True)
        ]
        return np.concatenate(parts)

    def difference(self, change: np.ndarray) -> float:
        """The values at the images plus `change`, minus those at the images minus it, summed."""
        total = 0.0
        for start, held in zip(self._starts, self._held, strict=True):
            ahead, behind = (
                self._evaluate(self._feeds(self._images + sign * change, start), held.keep)[0]
                for sign in (1, -1)
            )
            total += float((ahead - behind).sum())
        return total

    @property
    def held(self) -> Held:
        """What is held fixed."""
        return self._held[0]

    @property
    def single(self) -> list[Node]:
        """The nodes between image and value that NumPy lacks, which are computed in single precision."""
        return self._evaluate.single


def _directions(g: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Unit directions: the gradient, then random ones."""
    yield g / np.linalg.norm(g)
    for _ in range(count):
        d = rng.standard_normal(g.shape)
        yield d / np.linalg.norm(d)
