"""What becomes of a gradient before it is filtered: plain descent, momentum, Adam.

An optimizer maps (gradient, state) to (direction, state); the scheme then smooths the direction with K_f and
takes the step of length tau. A linear filter commutes with momentum, so that filtering the accumulated
direction equals accumulating filtered gradients; it does not commute with Adam's division, and there the
filter has the last word: what is added to the image is smooth. States are explicit and start as None.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from .arrays import Array, namespace
from .errors import InputError, UnknownNameError, did_you_mean


class Optimizer(Protocol):
    """Turns the gradient of every step into a direction of descent."""

    def __call__(self, g: Array, state: Any = None) -> tuple[Array, Any]:
        """The direction to go down, and the state to hand in with the next gradient."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        ...


@dataclass(frozen=True)
class Descent:
    """Plain gradient descent: the direction is the gradient."""

    def __call__(self, g: Array, state: None = None) -> tuple[Array, None]:
        """Return `g` itself; there is no state."""
        return g, None

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        return {"name": "descent"}


@dataclass(frozen=True)
class Momentum:
    """Heavy-ball momentum (Polyak 1964): v <- decay v + g.

    The velocity is not averaged: under a constant gradient it grows to g / (1 - decay), and tau should be
    chosen smaller than for plain descent by about that factor.

    Parameters
    ----------
    decay : float in [0, 1)
        How much of the velocity survives a step.
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise InputError(f"Momentum decay must lie in [0, 1), got {self.decay}; 0.9 is usual.")

    def __call__(self, g: Array, state: Array | None = None) -> tuple[Array, Array]:
        """Return the new velocity, which is direction and state at once."""
        velocity = namespace(g).zeros_like(g) if state is None else state
        velocity = self.decay * velocity + g
        return velocity, velocity

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        return {"name": "momentum", **asdict(self)}


@dataclass(frozen=True)
class AdamState:
    """First and second moment of the gradients so far, and their number, () float64, where they lie."""

    mean: Array
    square: Array
    count: Array


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015): the bias-corrected mean gradient over its bias-corrected RMS, per pixel.

    Parameters
    ----------
    beta1, beta2 : float in [0, 1)
        Decay of the mean and of the mean square.
    epsilon : float
        Added to the RMS, in the unit of the gradient.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise InputError(f"Adam's betas must lie in [0, 1), got {self.beta1} and {self.beta2}.")
        if not self.epsilon > 0:
            raise InputError(f"Adam's epsilon must be positive, got {self.epsilon}; 1e-8 is usual.")

    def __call__(self, g: Array, state: AdamState | None = None) -> tuple[Array, AdamState]:
        """Return the direction and the moments."""
        xp = namespace(g)
        old = AdamState(xp.zeros_like(g), xp.zeros_like(g), xp.zeros(())) if state is None else state
        new = AdamState(
            mean=self.beta1 * old.mean + (1 - self.beta1) * g,
            square=self.beta2 * old.square + (1 - self.beta2) * g * g,
            count=old.count + 1,
        )
        mean = new.mean / (1 - self.beta1**new.count).astype(g.dtype)
        rms = xp.sqrt(new.square / (1 - self.beta2**new.count).astype(g.dtype))
        return mean / (rms + self.epsilon), new

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        return {"name": "adam", **asdict(self)}


_BY_NAME: dict[str, type[Descent] | type[Momentum] | type[Adam]] = {
    "descent": Descent,
    "momentum": Momentum,
    "adam": Adam,
}


def optimizer(choice: str | Optimizer) -> Optimizer:
    """The optimizer of that name with its default parameters; an optimizer is returned as it is.

    Parameters
    ----------
    choice : {"descent", "momentum", "adam"} or Optimizer

    Raises
    ------
    UnknownNameError
        For any other name.
    InputError
        For anything that is neither a name nor an optimizer.
    """
    if isinstance(choice, str):
        if choice not in _BY_NAME:
            known = ", ".join(repr(name) for name in _BY_NAME)
            raise UnknownNameError(
                f"There is no optimizer {choice!r}; the names are {known}.{did_you_mean(choice, _BY_NAME)}"
            )
        return _BY_NAME[choice]()
    if callable(choice) and hasattr(choice, "to_dict"):
        return choice
    raise InputError(f"optimizer must be a name or an Optimizer such as Momentum(0.95), got {choice!r}.")
