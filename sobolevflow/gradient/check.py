"""The gradient held against differences of the network in double precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np

from .. import checks
from ..arrays import borrow_numbers, to_host
from ..capacity import check_fits
from ..devices import Device
from ..errors import GradientError, warn
from ..network import Network
from ..objectives import Objective, check_asked, runtime_parameters
from ..onnxgrad import (
    IMAGE,
    RULES,
    VALUE,
    Evaluation,
    Held,
    Node,
    Parameter,
    node_label,
)
from .engine import Engine, at_images, refuse_apart
from .model import gradient_graph

# What rounding may leave in a difference, relative to the gradient; of the value some ten units in its last
# place are rounded.
_ROUNDING, _UNITS = 1e-6, 10
_STEP, _WIDEST, _STEP_IN_SINGLE = 1e-7, 1e-4, 1e-3
# An error from which on a shorter step is tried: the value may bend within the step.
_SUSPICIOUS = 1e-4
# What rounding may leave at most: more would hide the gradient.
_HIDDEN = 0.01
# Pixels along which a direction's sign of the gradient, and its noise, stay what they are.
_SIGNS, _NOISE = 16, 4


def check_gradient(
    net: Network,
    objective: Objective,
    u: np.ndarray | None = None,
    *,
    precision: str = "single",
    device: str | Device = "cpu",
    directions: int = 1,
    step: float | None = None,
    seed: int = 0,
) -> float:
    """Relative error of the gradient against directional differences in double precision.

    The differences are central ones of the objective's value, along the gradient itself and along random
    directions. The value is that of the graph which `value_and_grad` runs, with the same nodes folded, with
    as many images at once, evaluated in float64 by NumPy.

    Parameters
    ----------
    net : Network
    objective : Objective
    u : ndarray, shape (N, C, H, W) or (C, H, W), optional
        Where to check; default mid grey with seeded noise of standard deviation 0.1.
    precision : {"single", "double"}
        "single" checks the gradient that onnxruntime computes in float32. Where a unit lies
        within rounding of the kink of its rectifier, float32 may take the other side: errors
        of 1e-3 are then rounding, not a wrong formula. "double" evaluates the same gradient
        graph in float64 and so checks the formula alone.
    device : str or Device
        Where the gradient that is checked in "single" is computed.
    directions : int
        Number of random directions beside the gradient.
    step : float, optional
        Of the difference, in the unit of u. Default 1e-7, and more only where the value's rounding would
        show: larger steps cross the kinks of rectifiers, as 1e-6 already does in networks with a million of
        them. Where the error along a direction exceeds 1e-4 a shorter step is tried as well, and the smaller
        error counts: a wrong gradient is wrong at every step.
    seed : int

    Returns
    -------
    float
        Largest ``|<g, d> - difference| / |g|`` over the unit directions d.

    Raises
    ------
    GradientError
        The gradient is zero, so that no relative error exists, or so small beside the value that rounding
        hides it; or it or the value is not finite.
    InputError
        An argument is none of those above, or the objective compares images that go one by one.
    ModelError
        NumPy cannot evaluate a node; names it.

    Warns
    -----
    AssumptionWarning
        The gradient passes rounding straight through, and is held against the value with that rounding held
        fixed; or an operator is known to onnxruntime alone, and so computed in single precision.

    Notes
    -----
    What is differenced is the function that the gradient is defined to be the derivative of. It differs from
    the value in three points. The rounding of QuantizeLinear and DynamicQuantizeLinear, through which the
    gradient passes straight, is held fixed at u: the result is x / scale and what it was off from that, and
    what is clipped at u stays. The results of operators at which a part of the gradient stops (rounding,
    comparisons, indices, casts to whole numbers) are held at what they are at u, as are random numbers. And
    where an entry lies on a kink to the last digit, such as a tie in a pool, the side is held that the rule
    takes: a wrong side is not found.

    An error e of the gradient shows along d as ``|<e, d>|``. The gradient as d shows all that is in
    proportion to it: factors, signs, missing parts. What is orthogonal to the gradient is left to the random
    directions, and along white noise only |e| / sqrt(n) of it would show for an image of n numbers, 0.004 |e|
    for 3 x 160 x 160. A direction is therefore one half the gradient with its signs drawn anew for each block
    of 16 x 16 pixels and each channel, which shows swapped channels, flipped kernels and shifts five to ten
    times better than white noise, and one half noise that is constant on 4 x 4 pixels, which shows what is
    wrong where the gradient is small, in a row at the border for instance, as well as white noise does.

    It costs two evaluations in float64 for each direction and one for what is held fixed, five by default,
    and two more for a direction along which a shorter step is tried.
    """
    objective = check_asked(net, objective)
    if not isinstance(precision, str) or precision not in ("single", "double"):
        checks.refuse(precision, "precision", "'single' or 'double'")
    directions = checks.count(directions, "directions", least=0)
    rng = np.random.default_rng(checks.count(seed, "seed", least=0))
    if u is None:
        check_fits(
            16 * math.prod(net.input_shape), "an image of the network's size", "give a smaller input_shape"
        )
        u = np.clip(0.5 + 0.1 * rng.standard_normal((1, *net.input_shape)), 0, 1)
    images = to_host(net.check_image(borrow_numbers(u, "u")))
    near = _Neighbourhood(net, objective, images)
    if precision == "double":
        g = near.gradient()
    else:
        engine = Engine(net, objective, batch=len(images), device=device)
        g = to_host(engine(images)[1]).astype(np.float64)
        near.value()
    size = float(np.linalg.norm(g))
    if not np.isfinite(size):
        bad = np.flatnonzero(~np.isfinite(g.reshape(len(g), -1)).all(axis=1)).tolist()
        of = at_images(objective, bad, len(g))
        raise GradientError(f"{net.name}: {of}: the gradient in double precision is not finite")
    steps = near.steps(size) if step is None else [checks.positive(step, "step")]
    if not size or near.rounding(steps[0], size) > _HIDDEN:
        hint = net.preactivation_hint(objective) or "choose another unit or image"
        small = (
            f"too small beside the value for differences over {steps[0]:g} to show" if size else "zero here"
        )
        raise GradientError(f"{net.name}: {objective}: the gradient is {small}; {hint}")
    for assumption in near.assumptions():
        warn(f"{net.name}: {objective}: {assumption}")
    worst = 0.0
    for d in _directions(g, directions, rng):
        error = math.inf
        for h in steps:
            difference = near.difference(h * d) / (2 * h)
            if not np.isfinite(difference):
                raise GradientError(f"{net.name}: {objective}: the value near the image is not finite")
            error = min(error, abs(float((g * d).sum()) - difference) / size)
            if error <= _SUSPICIOUS:
                break
        worst = max(worst, error)
    return worst


class _Neighbourhood:
    """The objective's value at images and near them, in double precision.

    The graph is that of the engine in another precision, and takes as many images at once.
    """

    def __init__(self, net: Network, objective: Objective, images: np.ndarray) -> None:
        batch = len(images)
        parameters = runtime_parameters(objective, net, batch)
        layers = [leaf.tensor(net) for leaf in objective.leaves()]
        most = net.run_batch(batch, layers)
        at_once = next(n for n in range(most, 0, -1) if batch % n == 0)  # no image in two parts
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

    def value(self) -> None:
        """Evaluate at the images, and hold fixed what has to be."""
        self._run(self._evaluate)

    def gradient(self) -> np.ndarray:
        """The gradient at the images by the graph itself; what has to be is held fixed on the way."""
        return np.concatenate([gradient for _, gradient in self._run(Evaluation(self._graph))])

    def _run(self, evaluate: Evaluation) -> list[list[np.ndarray]]:
        parts = [
            evaluate(self._feeds(self._images, start), held.note)
            for start, held in zip(self._starts, self._held, strict=True)
        ]
        self._size = float(sum(np.abs(part[0]).sum() for part in parts))
        return parts

    def rounding(self, step: float, size: float) -> float:
        """What rounding leaves in a difference over a step, relative to a gradient of that norm."""
        with np.errstate(over="ignore"):
            return float(_UNITS * np.finfo(np.float64).eps * self._size / np.float64(step) / size)

    def steps(self, size: float) -> list[float]:
        """The step to take along a gradient of that norm, and a shorter one between it and the visible."""
        if self._evaluate.single:
            return [_STEP_IN_SINGLE]
        visible = self.rounding(1, size) / _ROUNDING if size else 0.0
        step = float(np.clip(visible, _STEP, _WIDEST))
        return [step, math.sqrt(visible * step)] if 0 < visible < step / 10 else [step]

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

    def assumptions(self) -> Iterator[str]:
        """What the differences are of, where that is not plainly the value in double precision."""
        if straight := self._held[0].straight:
            yield (
                f"the gradient passes the rounding of {_named(straight)} straight through; "
                "it was checked with that rounding held fixed"
            )
        if single := self._evaluate.single:
            yield (
                f"only onnxruntime knows {_named(single)}, in single precision; the differences are good to "
                f"some 1e-3, over a step of {_STEP_IN_SINGLE:g} unless step= says otherwise"
            )


def _named(nodes: Sequence[Node]) -> str:
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"{nodes[0].op} (node {node_label(nodes[0])}){more}"


def _directions(g: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Unit directions: the gradient, then random ones, half of its blocks and half of noise."""
    yield _unit(g)
    for _ in range(count):
        signs = _blocks(np.sign(rng.standard_normal(_coarse(g, _SIGNS))), _SIGNS, g)
        noise = _blocks(rng.standard_normal(_coarse(g, _NOISE)), _NOISE, g)
        yield _unit(_unit(signs * g) + _unit(noise))


def _unit(d: np.ndarray) -> np.ndarray:
    return np.asarray(d / np.linalg.norm(d))


def _coarse(g: np.ndarray, size: int) -> tuple[int, ...]:
    return (*g.shape[:2], *(-(-length // size) for length in g.shape[2:]))


def _blocks(values: np.ndarray, size: int, g: np.ndarray) -> np.ndarray:
    """Each value on a square of pixels, cut to the shape of g."""
    height, width = g.shape[2:]
    return values.repeat(size, 2).repeat(size, 3)[:, :, :height, :width]
