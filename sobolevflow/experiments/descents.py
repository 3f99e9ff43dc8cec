"""Many descents: in batches, each batch a cell of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..descent import descend
from ..gradient import Engine
from ..network import Network
from ..objectives import Class, Inversion, Objective
from ..pictures import Pixels, resized
from ..results import model_facts
from ..transforms import Size
from .cells import Store
from .photographs import Photographs
from .recipes import Recipe

BATCH = 8
Done = Callable[[float], None]


@dataclass(frozen=True)
class Pictures:
    """What descents ended with.

    Parameters
    ----------
    pixels : (N, H, W, C) uint8 array
        The images as they would be saved; it is these that are judged.
    value : (N,) float64 array
        The objective at the images before they were rounded to 256 levels. For an inversion that is
        |Phi(u) - Phi_0|^2 / |Phi_0|^2.
    weight : float
        lambda of the problem D + lambda R whose solutions are the scheme's fixed points
        (`Scheme.effective_weight`), averaged over the batches; NaN where there is none.
    """

    pixels: Pixels
    value: np.ndarray
    weight: float

    @property
    def u(self) -> np.ndarray:
        """(N, C, H, W) float32 in [0, 1]."""
        return as_images(self.pixels)


@dataclass(frozen=True)
class Runner:
    """Where descents are kept, and how they are run.

    Parameters
    ----------
    store : Store
    batch : int
        Images that go through the network together. It belongs to the address of a cell: networks round
        differently in batches of different sizes.
    seed : int
        The image number i of a set has the seed ``seed + i``.
    device : str
    done : callable
        Called with the mean value reached, once for every batch.
    """

    store: Store
    batch: int = BATCH
    seed: int = 0
    device: str = "cpu"
    done: Done = lambda value: None

    def invert(self, net: Network, layer: str, photographs: Photographs, recipe: Recipe) -> Pictures:
        """Invert a layer's features of photographs."""
        count = len(photographs)
        return self._all(net, count, recipe, lambda block: Inversion(layer, photographs[block].seen_by(net)))

    def visualize(self, net: Network, classes: Sequence[int | str], recipe: Recipe) -> Pictures:
        """Descend to images of classes."""
        return self._all(net, len(classes), recipe, lambda block: Class(list(classes[block])))

    def _all(
        self, net: Network, count: int, recipe: Recipe, objective: Callable[[slice], Objective]
    ) -> Pictures:
        parts = [self._block(net, block, recipe, objective(block)) for block in _slices(count, self.batch)]
        return Pictures(
            pixels=np.concatenate([part["pixels"] for part in parts]),
            value=np.concatenate([part["value"] for part in parts]),
            weight=float(np.mean([part["weight"] for part in parts])),
        )

    def _block(
        self, net: Network, block: slice, recipe: Recipe, objective: Objective
    ) -> dict[str, np.ndarray]:
        settings = recipe.settings(
            batch=block.stop - block.start, seed=self.seed + block.start, device=self.device
        )
        key = {
            "network": model_facts(net),
            "objective": objective.to_dict(),
            "settings": settings.to_dict(),
        }

        def compute() -> dict[str, np.ndarray]:
            engine = Engine(net, objective, batch=settings.batch, device=settings.place)
            result = descend(engine, net, objective, settings, progress=False)
            if result.interrupted:  # by Ctrl-C, which ends a lone descent with what there is
                raise KeyboardInterrupt
            problem = result.manifest["outcome"]["effective_weight"]
            weight = np.array(np.nan if problem is None else problem["weight"])
            return {"pixels": result.image, "value": np.asarray(result.value), "weight": weight}

        arrays = self.store.get(key, compute)
        self.done(float(arrays["value"].mean()))
        return arrays


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(k, min(k + step, count)) for k in range(0, count, step))


def as_images(pixels: Pixels) -> np.ndarray:
    """(N, H, W, C) uint8 to (N, C, H, W) float32 in [0, 1]."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def fitted(u: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Images (N, C, H, W) at another size, bicubic with antialiasing."""
    wanted: Size = (size[0], size[1])
    if u.shape[2:] == wanted:
        return u
    return np.stack([resized(image.transpose(1, 2, 0), wanted).transpose(2, 0, 1) for image in u])
