"""The gradient held against differences of the network in double precision."""

from __future__ import annotations

import numpy as np

from ..arrays import to_host
from ..devices import Device
from ..errors import GradientError, InputError
from ..network import Network
from ..objectives import Objective, runtime_parameters
from ..onnxgrad import IMAGE, VALUE, evaluate
from .engine import Engine
from .model import gradient_graph


def check_gradient(
    net: Network,
    objective: Objective,
    u: np.ndarray | None = None,
    *,
    precision: str = "single",
    device: str | Device = "cpu",
    directions: int = 4,
    step: float = 1e-7,
    seed: int = 0,
) -> float:
    """Relative error of the gradient against directional differences in double precision.

    The differences are central ones of the objective's value, evaluated in float64 by NumPy,
    along the gradient itself and along random directions.

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
    step : float
        Of the difference, in the unit of u. Larger steps cross the kinks of rectifiers: 1e-6
        already does in networks with a million of them.
    seed : int

    Returns
    -------
    float
        Largest ``|<g, d> - difference| / |g|`` over the unit directions d.

    Raises
    ------
    GradientError
        The gradient is zero, so that no relative error exists.
    """
    if precision not in ("single", "double"):
        raise InputError(f"precision must be 'single' or 'double', not {precision!r}")
    rng = np.random.default_rng(seed)
    if u is None:
        u = np.clip(0.5 + 0.1 * rng.standard_normal((1, *net.input_shape)), 0, 1)
    images = net.check_image(np.asarray(u))
    parameters = runtime_parameters(objective, net, len(images))
    graph = gradient_graph(net, objective, parameters, len(images), dtype=np.float64)
    if precision == "double":
        g = evaluate(graph)({IMAGE: images.astype(np.float64)})[1]
    else:
        engine = Engine(net, objective, batch=len(images), device=device)
        g = to_host(engine(images)[1]).astype(np.float64)
    size = float(np.linalg.norm(g))
    if not size:
        hint = net.preactivation_hint(objective) or "choose another unit or image"
        raise GradientError(f"{net.name}: {objective}: the gradient is zero here; {hint}")
    graph.outputs = [VALUE]
    graph.prune()
    value = evaluate(graph)
    worst = 0.0
    for k in range(directions + 1):
        d = g if k == 0 else rng.standard_normal(g.shape)
        d = d / np.linalg.norm(d)
        ahead, behind = (value({IMAGE: images + t * step * d})[0].sum() for t in (1, -1))
        worst = max(worst, abs(float((g * d).sum()) - float(ahead - behind) / (2 * step)) / size)
    return worst
