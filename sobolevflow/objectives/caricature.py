"""Caricature: exaggerate what a layer sees in a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..arrays import shape_of
from ..errors import as_option
from ..named import Option, named
from .base import ARRAY, Leaf
from .inversion import number_of_images, target_features
from .spelling import Images, spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter


_LEAST_COSINE = 0.1  # below it the cosine counts as this much, so that a start that points elsewhere moves


def _caricature(given: Sequence[tuple[str, str]], net: Network, images: Images, **options: Any) -> Caricature:
    layer, photo = given[0]
    return Caricature(layer, images([photo], "sf.Caricature"), **options)


@named(
    "objective",
    "caricature",
    Option("power", "of the cosine; 0 for the plain inner product (default: 1)", "number"),
    **spelled(
        ("LAYER", "PHOTO"),
        "exaggerate what a layer sees in a photograph",
        _caricature,
        commands=("visualize",),
    ),
)
@dataclass(frozen=True, eq=False)
class Caricature(Leaf):
    """How far a layer's features go in the direction of a photograph's, to be maximised.

    ``<Phi(u), Phi_0> / |Phi_0|^2 * max(cos, 0.1)^power``, where cos is the cosine between Phi(u) and Phi_0,
    over the whole layer and for each image. The photograph itself has the value 1; more than that is an
    exaggeration. The power keeps the direction, at the cost of length (Olah, Distill 2018, "dot x cosine
    similarity").

    Parameters
    ----------
    layer : str
    image : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1], of any library; Phi_0 are its features.
    power : float
        0 for the plain inner product.
    """

    layer: str
    image: Any = field(metadata=ARRAY)
    power: float = 1.0

    __repr__ = checks.summary

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "power", checks.single(checks.nonnegative(self.power, "power"), "power"))

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.power)

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        target = emit.parameter("target")

        def inner(a: Value, b: Value) -> Value:
            return emit.sum_all(a * b, x.shape)

        dot, reference = inner(x, target), inner(target, target)
        share = dot / reference
        if self.power == 0:
            return share
        lengths = emit.op("Sqrt", inner(x, x) * reference + 1e-12)
        cosine = emit.op("Max", dot / lengths, _LEAST_COSINE)
        return share * emit.op("Pow", cosine, self.power)

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        return {"target": target_features(net, self.layer, self.image, batch)}

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        return f"sf.Caricature({layer!r}, image)", f"{as_option('caricature', layer)} PHOTO"

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        return ("image",) if len(shape_of(self.image)) == 4 else ()

    @property
    def natural_batch(self) -> int:
        return number_of_images(self.image)

    def __str__(self) -> str:
        return f"caricature in {self.layer}"
