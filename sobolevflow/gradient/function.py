"""The gradient as a plain function of an image, of whatever library its array is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arrays import beside, borrow_or_make, lend, library, on_stream_of
from ..devices import Device
from ..network import Network
from ..objectives import Objective
from .engine import Engine


def value_and_grad(
    net: Network, objective: Objective, *, device: str | Device = "cpu"
) -> Callable[[Any], tuple[Any, Any]]:
    """The objective's value and its gradient as a function of the image.

    Parameters
    ----------
    net : Network
    objective : Objective
    device : str or Device
        Where to compute: "cpu", "cuda", "cuda:1", another provider of onnxruntime, or a `sf.Device`.

    Returns
    -------
    callable
        ``u -> (values, gradient)`` for u of shape (N, C, H, W) or (C, H, W), floating point
        in [0, 1], of NumPy, CuPy, PyTorch, JAX or any library with DLPack; values has shape (N,) and is
        float64, the gradient has the shape of u and is float32, and both are arrays of u's library, where u
        lies. What lies on the device is not copied to the host. It neither clips nor normalises, and every
        call returns new arrays. Operators at which a part of the gradient stops are named by
        `Network.notes` from the first call on.

    Raises
    ------
    SobolevflowError
        As the network, the objective and the device raise.

    Examples
    --------
    >>> grad = value_and_grad(net, Class("king crab"))  # doctest: +SKIP
    >>> value, g = grad(u)                              # doctest: +SKIP
    """
    engines: dict[int, Engine] = {}

    def evaluate_at(u: Any) -> tuple[Any, Any]:
        foreign = library(u) not in (None, "numpy")
        memory = borrow_or_make(u, "u")
        with on_stream_of(u):
            images = net.check_image(memory)
            batch = len(images)
            if batch not in engines:
                engines[batch] = Engine(net, objective, batch=batch, device=device)
            values, gradient = engines[batch](images)
            found = [beside(memory, x.copy()) for x in (values, gradient.reshape(memory.shape))]
        return (lend(found[0], u), lend(found[1], u)) if foreign else (found[0], found[1])

    return evaluate_at
