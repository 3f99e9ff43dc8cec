"""The features of a photograph, to be reproduced: equation (3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..errors import InputError
from ..named import Option, named
from .base import ARRAY, Leaf, as_array, repeated
from .spelling import Images, spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter


def _inversion(given: Sequence[tuple[str, str]], net: Network, images: Images, **options: Any) -> Inversion:
    layers, photos = zip(*given, strict=True)
    if len(set(layers)) > 1:
        raise InputError("--inversion can be repeated for one layer only")
    net.layer(layers[0])  # complains before photographs are read
    return Inversion(layers[0], images(photos, "sf.Inversion"), **options)


@named(
    "objective",
    "inversion",
    Option("p", "exponent of the norm in an inversion, eq. (3) (default: 2)", "count", ("1", "2")),
    **spelled(
        ("LAYER", "PHOTO"),
        "distance of a layer's features to those of a photograph",
        _inversion,
        repeat=True,
        commands=("gradient",),
    ),
)
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
    image: np.ndarray = field(repr=False, metadata=ARRAY)
    p: int = 2
    mask: np.ndarray | None = field(default=None, repr=False, metadata=ARRAY)

    maximize = False

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            checks.refuse(self.p, "p", "1 or 2")

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.p, self.mask is not None)

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        target = emit.parameter("target")
        difference = x - target
        if self.mask is not None:
            difference = difference * emit.parameter("mask")
            target = target * emit.parameter("mask")
        shape = x.shape
        ratio = emit.sum_all(difference * difference, shape) / emit.sum_all(target * target, shape)
        return emit.op("Sqrt", ratio + 1e-12) if self.p == 1 else ratio

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
        return number_of_images(self.image)

    def __str__(self) -> str:
        return f"inversion of {self.layer}"


def number_of_images(image: np.ndarray) -> int:
    """N of (N, C, H, W), 1 of (C, H, W)."""
    return len(image) if np.ndim(image) == 4 else 1


def target_features(net: Network, layer: str, image: np.ndarray, batch: int) -> np.ndarray:
    """A layer's features of the photographs to be matched, one for each image of a batch.

    Raises
    ------
    InputError
        The photographs do not fit the network or the batch, are not in [0, 1], or have no features at all.
    """
    images = net.check_image(image, bounded=False)
    if images.min() < 0 or images.max() > 1:
        raise InputError(
            f"the image to invert holds values from {images.min():g} to {images.max():g}; "
            "they must lie in [0, 1]"
        )
    (target,) = net.features(images, [layer])
    _check_not_zero(target, layer)
    return repeated(target, batch, "target image")


def _check_not_zero(features: np.ndarray, layer: str) -> None:
    if not np.all(np.any(features.reshape(len(features), -1), axis=1)):
        raise InputError(f"the features of the image in layer {layer!r} are all zero; nothing to match")


def _layer_mask(mask: Any, layer: tuple[int, ...], image: tuple[int, ...]) -> np.ndarray:
    """A mask over positions as (1, 1, H', W') of the layer."""
    m = as_array(mask, "mask")
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
