"""Caricature: exaggerate what a layer sees in a photograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import fingerprint
from ..errors import InputError
from .base import Leaf, _Emitter
from .inversion import target_features

if TYPE_CHECKING:
    from ..network import Network


_LEAST_COSINE = 0.1  # below it the cosine counts as this much, so that a start that points elsewhere moves


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
        Float, in [0, 1]; Phi_0 are its features.
    power : float
        0 for the plain inner product.
    """

    layer: str
    image: np.ndarray = field(repr=False)
    power: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.power) and self.power >= 0):
            raise InputError(f"power must be a number, 0 or above, not {self.power!r}")

    def tensor(self, net: Network) -> str:
        return self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.power)

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        shape, target = emit.graph.shape(x), emit.parameter("target")

        def inner(a: str, b: str) -> str:
            return emit.sum_all(emit("Mul", a, b), shape)

        dot, reference = inner(x, target), inner(target, target)
        share = emit("Div", dot, reference)
        if self.power == 0:
            return share
        lengths = emit("Sqrt", emit("Add", emit("Mul", inner(x, x), reference), emit.const(1e-12)))
        cosine = emit("Max", emit("Div", dot, lengths), emit.const(_LEAST_COSINE))
        return emit("Mul", share, emit("Pow", cosine, emit.const(self.power)))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        return {"target": target_features(net, self.layer, self.image, batch)}

    @property
    def natural_batch(self) -> int:
        return len(self.image) if np.ndim(self.image) == 4 else 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Caricature",
            "layer": self.layer,
            "image": fingerprint(self.image),
            "power": self.power,
        }

    def __str__(self) -> str:
        return f"caricature in {self.layer}"
