"""What becomes of a gradient before it is filtered: plain descent, momentum, Adam.

An optimizer maps (gradient, state) to (direction, state); the scheme then smooths the direction with K_f and
takes the step of length tau. A linear filter commutes with momentum, so that filtering the accumulated
direction equals accumulating filtered gradients; it does not commute with Adam's division, and there the
filter has the last word: what is added to the image is smooth. States are explicit and start as None.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from . import checks
from .arrays import Array, namespace
from .errors import InputError
from .named import Option, member, name_of, named


class Optimizer(Protocol):
    """Turns the gradient of every step into a direction of descent.

    Two facts may be stated beside, as attributes: ``queues``, that a call looks at no value of an array, so
    that a GPU can be given it as a graph; and ``inverse_gain``, what a constant gradient is of the direction
    that it ends in, for optimizers that are linear. Both are taken for unknown where they are absent.
    """

    def __call__(self, g: Array, state: Any = None) -> tuple[Array, Any]:
        """The direction to go down, and the state to hand in with the next gradient."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        ...


class _Own:
    """What the optimizers of this module have in common; their parameters are their fields."""

    queues: ClassVar[bool] = True

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        return {"name": name_of(self), **asdict(self)}  # type: ignore[call-overload]


@named("optimizer", "descent")
@dataclass(frozen=True)
class Descent(_Own):
    """Plain gradient descent: the direction is the gradient."""

    inverse_gain: ClassVar[float] = 1.0

    def __call__(self, g: Array, state: None = None) -> tuple[Array, None]:
        """Return `g` itself; there is no state."""
        return g, None


@named(
    "optimizer",
    "momentum",
    Option("momentum_decay", "what is left of the velocity after a step (default: 0.9)", keyword="decay"),
)
@dataclass(frozen=True)
class Momentum(_Own):
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
        _check_decay(self.decay, "decay of Momentum", "0.9 is usual.")

    @property
    def inverse_gain(self) -> float:
        """1 - decay: under a constant gradient the velocity grows to the gradient over this."""
        return 1 - self.decay

    def __call__(self, g: Array, state: Array | None = None) -> tuple[Array, Array]:
        """Return the new velocity, which is direction and state at once."""
        velocity = namespace(g).zeros_like(g) if state is None else state
        velocity = self.decay * velocity + g
        return velocity, velocity


@dataclass(frozen=True)
class AdamState:
    """First and second moment of the gradients so far, and their number, () float64, where they lie."""

    mean: Array
    square: Array
    count: Array


@named(
    "optimizer",
    "adam",
    Option("beta1", "what is left of the mean after a step (default: 0.9)"),
    Option("beta2", "what is left of the mean of squares (default: 0.999)"),
)
@dataclass(frozen=True)
class Adam(_Own):
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
        _check_decay(self.beta1, "beta1 of Adam", "0.9 is usual.")
        _check_decay(self.beta2, "beta2 of Adam", "0.999 is usual.")
        checks.positive(self.epsilon, "epsilon of Adam", remedy="1e-8 is usual.")

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


def _check_decay(value: float, name: str, remedy: str) -> None:
    if not (checks.is_number(value) and 0 <= value < 1):
        checks.refuse(value, name, "a number in [0, 1)", remedy)


def optimizer(choice: str | Optimizer) -> Optimizer:
    """The optimizer of that name with its default parameters; an optimizer is returned as it is.

    Parameters
    ----------
    choice : str or Optimizer
        "descent", "momentum", "adam", or another that was entered by `sobolevflow.named`.

    Raises
    ------
    UnknownNameError
        For any other name.
    InputError
        For anything that is neither a name nor an optimizer.
    """
    if isinstance(choice, str):
        made: Optimizer = member("optimizer", choice).make()
        return made
    if callable(choice) and hasattr(choice, "to_dict"):
        return choice
    raise InputError(
        f"optimizer must be a name or an Optimizer such as Momentum(0.95), got {checks.shown(choice)}."
    )
