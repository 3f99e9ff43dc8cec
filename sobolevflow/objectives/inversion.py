"""The features of a photograph, to be reproduced: equation (3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import fingerprint
from ..errors import InputError
from .base import Leaf, _array, _Emitter, _repeat

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True, eq=False)
class Inversion(Leaf):
    """Distance of a layer's features to those of a photograph, to be minimised (eq. 3).

    ``D(u) = ||m (Phi(u) - Phi_0)||^p / ||m Phi_0||^p`` with the Euclidean norm over the
    whole layer, per image; 1 means as far off as all-zero features.

    Parameters
    ----------
    layer : str
    image : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1]; Phi_0 are its features.
    p : {1, 2}
        Exponent of the norm. For p = 1 the root is taken of (ratio of squares + 1e-12), so
        that the gradient stays finite where the features agree.
    mask : array, optional
        Weights m in [0, 1] over positions: of the layer's (H', W'), or of the image's
        (H, W) and then averaged down. Needs a layer (N, C, H', W').
    """

    layer: str
    image: np.ndarray = field(repr=False)
    p: int = 2
    mask: np.ndarray | None = field(default=None, repr=False)

    maximize = False

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            raise InputError(f"p must be 1 or 2, not {self.p!r}")

    def tensor(self, net: Network) -> str:
        return self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.p, self.mask is not None)

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        shape = emit.graph.shape(x)
        target = emit.parameter("target")
        difference = emit("Sub", x, target)
        if self.mask is not None:
            difference = emit("Mul", difference, emit.parameter("mask"))
            target = emit("Mul", target, emit.parameter("mask"))
        ratio = emit(
            "Div",
            emit.sum_all(emit("Mul", difference, difference), shape),
            emit.sum_all(emit("Mul", target, target), shape),
        )
        return emit("Sqrt", emit("Add", ratio, emit.const(1e-12))) if self.p == 1 else ratio

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        target = target_features(net, self.layer, self.image, batch)
        out = {"target": target}
        weighted = target
        if self.mask is not None:
            mask = _layer_mask(self.mask, target.shape, net.input_shape[1:])
            out["mask"] = np.broadcast_to(mask, (batch, *mask.shape[1:])).copy()
            weighted = target * mask
            _check_not_zero(weighted, self.layer)
        return out

    @property
    def natural_batch(self) -> int:
        return len(self.image) if np.ndim(self.image) == 4 else 1

    def to_dict(self) -> dict[str, Any]:
        mask = None if self.mask is None else fingerprint(self.mask)
        return {
            "type": "Inversion",
            "layer": self.layer,
            "image": fingerprint(self.image),
            "p": self.p,
            "mask": mask,
        }

    def __str__(self) -> str:
        return f"inversion of {self.layer}"


def target_features(net: Network, layer: str, image: np.ndarray, batch: int) -> np.ndarray:
    """A layer's features of the photographs to be matched, one for each image of a batch.

    Raises
    ------
    InputError
        The photographs do not fit the network or the batch, are not in [0, 1], or have no features at all.
    """
    images = net.check_image(image)
    if images.min() < 0 or images.max() > 1:
        raise InputError(
            f"the image to invert holds values from {images.min():g} to {images.max():g}; "
            "they must lie in [0, 1]"
        )
    (target,) = net.features(images, [layer])
    _check_not_zero(target, layer)
    return _repeat(target, batch, "target image")


def _check_not_zero(features: np.ndarray, layer: str) -> None:
    if not np.all(np.any(features.reshape(len(features), -1), axis=1)):
        raise InputError(f"the features of the image in layer {layer!r} are all zero; nothing to match")


def _layer_mask(mask: Any, layer: tuple[int, ...], image: tuple[int, ...]) -> np.ndarray:
    """A mask over positions as (1, 1, H', W') of the layer."""
    m = _array(mask, "mask")
    if m.min() < 0 or m.max() > 1:
        raise InputError(f"a mask holds weights in [0, 1], not from {m.min():g} to {m.max():g}")
    if len(layer) != 4:
        raise InputError(f"a mask needs a layer with positions, but its shape is {layer}")
    if m.shape == layer[2:]:
        return m[None, None]
    if m.shape != image:
        raise InputError(f"a mask has the layer's size {layer[2:]} or the image's {image}, not {m.shape}")
    rows = _averaging(image[0], layer[2])
    columns = _averaging(image[1], layer[3])
    return np.asarray(rows @ m @ columns.T, np.float32)[None, None]


def _averaging(size: int, out: int) -> np.ndarray:
    """Matrix (out, size) whose rows average equal shares of an axis."""
    edges = np.linspace(0, size, out + 1)
    lo, hi = edges[:-1, None], edges[1:, None]
    cell = np.arange(size)[None, :]
    overlap = np.clip(np.minimum(hi, cell + 1) - np.maximum(lo, cell), 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))
