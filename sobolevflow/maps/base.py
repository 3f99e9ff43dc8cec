"""What an operator on images is, what a proximal map is, and several after one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

from ..arrays import Array
from ..errors import InputError
from ..named import named

Operator = Callable[[Array], Array]


@runtime_checkable
class ProximalMap(Protocol):
    """What the maps with a memory have beside the call; a plain function of an image needs none of it."""

    def __call__(self, u: Array) -> Array:
        """The map of `u`, (N, C, H, W), from a cold start."""
        ...

    def solve(self, u: Array, state: Any) -> tuple[Array, Any]:
        """The map of `u`, starting from what the last call returned beside its result, or from None."""
        ...


@dataclass(frozen=True)
class StepState:
    """What an iterative map carries from step to step, and how well the last step was solved.

    Attributes
    ----------
    memory
        Of the map.
    gap
        The largest duality gap of an image.
    iterations
        The most that an image took.
    converged
        Whether all images did.
    """

    memory: Any
    gap: float
    iterations: int
    converged: bool


def apply(K: Operator, u: Array, state: Any = None) -> tuple[Array, Any]:
    """Apply any map, warm where it can be started from `state`; the state is None for maps without one."""
    return K.solve(u, state) if isinstance(K, ProximalMap) else (K(u), None)


class Described:
    """A frozen dataclass that a manifest holds by its name and fields."""

    def to_dict(self) -> dict[str, Any]:
        """Name and fields as data for JSON."""
        each = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"operator": type(self).__name__, **each}


class Map(Described):
    """What maps of an image have in common: ``A @ B``, also with filters and other functions."""

    queues: ClassVar[bool] = False
    """Whether it queues its work and never waits for its device, so that a CUDA graph can hold it."""

    def __matmul__(self, other: object) -> Composition:
        return Composition((*_parts(self), *_parts(other))) if callable(other) else NotImplemented

    def __rmatmul__(self, other: object) -> Composition:
        return Composition((*_parts(other), *_parts(self))) if callable(other) else NotImplemented


@dataclass(frozen=True)
class Several(Map):
    """A map that is made of others.

    Parameters
    ----------
    maps : tuple
        Filters, other maps, or functions of an image.
    """

    maps: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.maps:
            raise InputError(f"{type(self).__name__} needs at least one map.")
        for K in self.maps:
            if not callable(K):
                raise InputError(
                    f"{type(self).__name__} is made of filters and other functions of an image, got {K!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Name and fields as data for JSON, of the maps too."""
        return {**super().to_dict(), "maps": [to_dict(K) for K in self.maps]}


@named("operator", "composition")
@dataclass(frozen=True)
class Composition(Several):
    """Several maps one after the other, the last of them first, as in ``A @ B``."""

    @property
    def queues(self) -> bool:  # type: ignore[override]
        """Whether all of its maps queue their work."""
        return all(getattr(K, "queues", False) for K in self.maps)

    def __call__(self, u: Array) -> Array:
        """Apply all maps to `u`, from a cold start."""
        return self.solve(u, None)[0]

    def solve(self, u: Array, state: StepState | None) -> tuple[Array, StepState | None]:
        """Apply all maps to `u`, each starting from its own state."""
        states = [None] * len(self.maps) if state is None else list(state.memory)
        for i in reversed(range(len(self.maps))):
            u, states[i] = apply(self.maps[i], u, states[i])
        return u, _merged(states)


def to_dict(K: Any) -> dict[str, Any]:
    """A filter, another map or a penalty as data for JSON; other functions by their name."""
    if hasattr(K, "to_dict"):
        return dict(K.to_dict())
    return {"function": getattr(K, "__qualname__", None) or type(K).__qualname__}


def _parts(K: Any) -> tuple[Any, ...]:
    return K.maps if isinstance(K, Composition) else (K,)


def _merged(states: list[Any]) -> StepState | None:
    """One state of several, or None where no map has one."""
    iterative = [state for state in states if isinstance(state, StepState)]
    if not iterative:
        return None
    return StepState(
        states,
        max(state.gap for state in iterative),
        max(state.iterations for state in iterative),
        all(state.converged for state in iterative),
    )
