"""The features of a photograph, to be reproduced: equation (3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..arrays import shape_of, to_host
from ..errors import InputError, as_option
from ..named import Option, named
from .base import ARRAY, Leaf, repeated
from .channels import AXIS, channel_axis, unknown_channels, warn_of_another_axis
from .places import as_mask, weights_over_positions
from .spelling import Images, read_weights, spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter


def _inversion(given: Sequence[tuple[str, str]], net: Network, images: Images, **options: Any) -> Inversion:
    layers, photos = zip(*given, strict=True)
    if len(set(layers)) > 1:
        raise InputError("--inversion can be repeated for one layer only")
    net.check_layer(layers[0])  # complains before photographs are read
    if "mask" in options:
        options["mask"] = read_weights(options["mask"], net.input_shape[1:])
    return Inversion(layers[0], images(photos, "sf.Inversion"), **options)


@named(
    "objective",
    "inversion",
    Option("p", "exponent of the norm, eq. (3) (default: 2)", "count", ("1", "2")),
    Option(
        "feature_mask",
        "weights over positions, 0 to 1: a picture, or .npy of the size of the layer or of the image",
        "file",
        keyword="mask",
    ),
    AXIS,
    **spelled(
        ("LAYER", "PHOTO"),
        "distance of a layer's features to those of a photograph",
        _inversion,
        repeat=True,
        commands=("gradient", "attribute"),
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
        Float, in [0, 1], of any library; Phi_0 are its features.
    p : {1, 2}
        Exponent of the norm. For p = 1 the root is taken of (ratio of squares + 1e-12), so
        that the gradient stays finite where the features agree.
    mask : array, optional
        Weights m in [0, 1] over positions: of the layer's (H', W'), or of the image's (H, W) and then
        averaged down. Needs a layer with two axes of positions, channels first or last, or one on which the
        network has put the rows of such a map one after another, as tokens (N, H' W', D).
    axis : int, optional
        Axis of the channels, for the mask; -1 is the last. Default: where the network shows that they are,
        else 1.
    """

    layer: str
    image: Any = field(metadata=ARRAY)
    p: int = 2
    mask: Any = field(default=None, metadata=ARRAY)
    axis: int | None = None

    __repr__ = checks.summary

    maximize = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not checks.is_number(self.p) or checks.plain(self.p) not in (1, 2):
            checks.refuse(self.p, "p", "1 or 2")
        object.__setattr__(self, "p", int(self.p))

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.p, self.mask is not None and self._axis(net))

    def _axis(self, net: Network) -> int:
        return channel_axis(net, self.layer, self.axis)

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
            mask = weights_over_positions(net, self.layer, as_mask(self.mask), self._axis(net))
            if target.ndim == 4 and shape_of(self.mask) in (target.shape[2:], net.input_shape[1:]):
                warn_of_another_axis(net, self)
            out["mask"] = np.broadcast_to(mask, (batch, *mask.shape[1:])).copy()
            weighted = target * mask
            _check_not_zero(weighted, self.layer)
        return out

    def notes(self, net: Network) -> list[str]:
        return [] if self.mask is None else unknown_channels(net, self)

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        return f"sf.Inversion({layer!r}, image)", as_option("layer", layer)

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        return ("image",) if len(shape_of(self.image)) == 4 else ()

    @property
    def natural_batch(self) -> int:
        return number_of_images(self.image)

    def __str__(self) -> str:
        return f"inversion of {self.layer}"


def number_of_images(image: Any) -> int:
    """N of (N, C, H, W), 1 of (C, H, W)."""
    return len(image) if len(shape_of(image)) == 4 else 1


def target_features(net: Network, layer: str, image: Any, batch: int) -> np.ndarray:
    """A layer's features of the photographs to be matched, one for each image of a batch.

    Raises
    ------
    InputError
        The photographs do not fit the network or the batch, are not in [0, 1], or have no features at all.
    """
    net.check_differentiable(layer)
    images = to_host(net.check_image(image, bounded=False))
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
