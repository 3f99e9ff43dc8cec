"""Objectives whose value and gradient are written down, in the place of a network's engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from sobolevflow.arrays.borrowing import Array
from sobolevflow.errors import GradientError


class Preprocessing:
    def to_dict(self) -> dict[str, Any]:
        return {"name": "none", "mean": (0.0, 0.0, 0.0)}


@dataclass
class Net:
    """What the descent asks of a network beside its gradient."""

    input_shape: tuple[int, int, int]
    name: str = "analytic"
    sha256: str = "0" * 64
    labels: None = None
    latent: bool = False
    preprocess: Preprocessing = field(default_factory=Preprocessing)

    def preactivation_hint(self, objective: object) -> str | None:
        return "Ask for the pre-activation 'conv1' instead."


@dataclass
class Objective:
    maximize: bool | None = True
    label: str = "analytic objective"

    def __str__(self) -> str:
        return self.label

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Analytic"}


@dataclass
class Quadratic:
    """value = 1/2 sum weight (u - target)^2 per image, to be minimised."""

    target: Array
    weight: Array | float = 1.0
    calls: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target.shape

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.calls += 1
        difference = u.astype(np.float64) - self.target
        value = 0.5 * np.sum(self.weight * difference**2, axis=(1, 2, 3))
        return np.asarray(value), (self.weight * difference).astype(np.float32)


@dataclass
class Linear:
    """value = <direction, u> per image, to be maximised. The gradient is one buffer, as an engine's is."""

    direction: Array
    calls: int = 0

    def __post_init__(self) -> None:
        self._buffer: Array = np.empty(self.direction.shape, np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.direction.shape

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.calls += 1
        self._buffer[...] = self.direction
        return np.asarray(np.sum(self.direction * u, axis=(1, 2, 3), dtype=np.float64)), self._buffer


@dataclass
class Failing:
    """Another engine, which raises on its n-th call (counted from 1)."""

    engine: Any
    call: int
    error: BaseException = field(
        default_factory=lambda: GradientError("the value of layer 'relu3' is not finite")
    )
    calls: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.engine.shape
        return shape

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        value, g = self.engine(u)
        return value, g


def neumann_laplacian(h: int, w: int) -> sp.csr_matrix:
    """The 5-point Laplacian with half-sample reflection on h x w pixels, as a matrix."""

    def second_difference(n: int) -> sp.csr_matrix:
        d = sp.diags([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], [-1, 0, 1]).tolil()
        d[0, 0] = d[n - 1, n - 1] = -1
        return d.tocsr()

    return sp.kron(second_difference(h), sp.eye(w)) + sp.kron(sp.eye(h), second_difference(w))
