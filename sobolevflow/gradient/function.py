"""The gradient as a plain function of an image, of whatever library its array is."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..arrays import AnyArray, beside, borrow_numbers, hand_back, on_stream_of
from ..devices import Device
from ..network import Network
from ..objectives import Objective, check_asked
from .engine import Engine

_MOST_ENGINES = 4  # sizes of batch


class GradientFunction:
    """``u -> (values, gradient)``, with an engine for each size of batch that it has met last.

    Threads may share it, see `value_and_grad`; a pickle of it is as good as new.

    Parameters
    ----------
    net, objective, device
        As of `value_and_grad`.
    bounded : bool
        Whether to warn of images far outside of [0, 1]; not of noisy copies, for example.
    """

    def __init__(
        self, net: Network, objective: Objective, device: str | Device, bounded: bool = True
    ) -> None:
        self._net, self._objective, self._device = net, objective, device
        self._bounded = bounded
        self._engines: OrderedDict[int, Engine] = OrderedDict()
        self._lock = Lock()

    @overload
    def __call__(self, u: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float32]]: ...

    @overload
    def __call__(self, u: AnyArray) -> tuple[AnyArray, AnyArray]: ...

    def __call__(self, u: Any) -> tuple[Any, Any]:
        """Values and gradient at u; see `value_and_grad`."""
        memory = borrow_numbers(u, "u")
        with on_stream_of(u):
            images = self._net.check_image(memory, bounded=self._bounded)
            engine = self._engine(len(images))
            with engine.memory.turn():  # copied before another thread has the device
                values, gradient = engine(images)
                copies = values.copy(), gradient.reshape(memory.shape).copy()
            computed = [beside(memory, x) for x in copies]
            return hand_back(computed[0], u), hand_back(computed[1], u)

    def _engine(self, batch: int) -> Engine:
        """That for so many images; of two that threads make at once the first is kept."""
        with self._lock:
            known = self._engines.get(batch)
            if known is not None:
                self._engines.move_to_end(batch)
                return known
        engine = Engine(self._net, self._objective, batch=batch, device=self._device)
        with self._lock:
            engine = self._engines.setdefault(batch, engine)
            self._engines.move_to_end(batch)
            ended = self._engines.popitem(last=False)[1] if len(self._engines) > _MOST_ENGINES else None
        del ended
        return engine

    def __reduce__(self) -> Any:
        return GradientFunction, (self._net, self._objective, self._device, self._bounded)

    @property
    def notes(self) -> list[str]:
        """What to know of the gradients that it has computed: operators at which a part of them stops."""
        with self._lock:
            engines = list(self._engines.values())
        return list(dict.fromkeys(note for engine in engines for note in engine.notes))


def value_and_grad(net: Network, objective: Objective, *, device: str | Device = "cpu") -> GradientFunction:
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
        ``u -> (values, gradient)`` for u of shape (N, C, H, W) or (C, H, W), floating point in [0, 1], of
        NumPy, CuPy, PyTorch, JAX, TensorFlow or any library with DLPack; values has shape (N,) and is
        float64, the gradient has the shape of u and is float32 whatever the dtype of u, and both are arrays
        of u's library, where u lies. What lies on the device is not copied to the host. It neither clips nor
        normalises, and every call returns new arrays. Operators at which a part of the gradient stops are
        named by its ``notes`` from the first call on. An AssumptionWarning says where values on the host lie
        far outside of [0, 1]. Threads may call it at the same time, as `asyncio.to_thread` does: each has
        buffers of its own, and on the CPU they compute side by side.

    Raises
    ------
    SobolevflowError
        As the network, the objective and the device raise.

    Examples
    --------
    >>> grad = value_and_grad(net, Class("king crab"))  # doctest: +SKIP
    >>> value, g = grad(u)                              # doctest: +SKIP
    """
    objective = check_asked(net, objective)
    return GradientFunction(net, objective, Device.of(device))
