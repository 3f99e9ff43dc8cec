"""The demons schemes: how a gradient changes the image, equation (18) and its special cases.

=================  ===========================================  ==========================================
scheme             step                                         equation
=================  ===========================================  ==========================================
gradient_descent   u <- u - tau (grad D(u) + weight grad R(u))  (5): the regulariser as a gradient
fluid              u <- u - tau K_f * grad D(u)                 (17): smooth updates
elastic            u <- K_e * (u - tau grad D(u))               (8): a smooth solution
fluid_elastic      u <- K_e * (u - tau K_f * grad D(u))         (18)
proximal_tv        u <- prox_TV(u - tau K_f * grad D(u))        (7), with K_f the identity unless asked
=================  ===========================================  ==========================================

All of them are one class, `Scheme`, and one line, in `Scheme.step`. An elastic filter is a proximal map: the
Sobolev filter of order one is exactly the prox of (gamma / 2) |grad u|^2, which is why K_e and total
variation share a place. K_e acts once a step, whatever tau is, so that its strength relative to the data is
gamma / (2 tau), or weight / tau for total variation: `Scheme.effective_weight`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

import numpy as np

from . import checks, filters, proximal, total_variation
from .arrays import Array, lending, to_host
from .errors import InputError
from .maps import Described, Operator, Several, StepState, to_dict, told
from .named import Family, by_class, entry_of, named
from .proximal import Box, GeneralisedVariation, Sum, TotalVariation
from .total_variation import differences


class Penalty(Protocol):
    """A regulariser that enters by its gradient, equation (5)."""

    @property
    def weight(self) -> float:
        """lambda of equations (2) and (5)."""
        ...

    def energy(self, u: Array) -> Array:
        """weight * R(u), for each image of the batch."""
        ...

    def gradient(self, u: Array) -> Array:
        """weight * grad R(u), of the shape of `u`."""
        ...


@named("penalty", "dirichlet")
@dataclass(frozen=True)
class Dirichlet(Described):
    """The Dirichlet energy, weight * sum |grad u|^2: large slopes cost most, so that edges blur.

    Forward differences, zero flux at the border; the unit of the pixel is 1 and that of u cancels against D.

    Parameters
    ----------
    weight : float
        lambda of equations (2) and (5).
    """

    queues: ClassVar[bool] = True
    """Whether its gradient never waits for its device, as `maps.Map.queues`."""

    weight: float

    def __post_init__(self) -> None:
        checks.nonnegative(self.weight, "weight")

    @property
    def longest_step(self) -> float:
        """The tau from which on explicit descent oscillates, 2 over the largest curvature, 16 weight."""
        return 1 / (8 * self.weight) if self.weight else math.inf

    @lending("u", axes=2)
    def energy(self, u: Array) -> Array:
        """weight * sum |grad u|^2, (N,) float64."""
        squares = (differences.gradient(u) ** 2).sum(axis=(0, -3, -2, -1), dtype=np.float64)
        return np.asarray(self.weight * to_host(squares))

    @lending("u", axes=2)
    def gradient(self, u: Array) -> Array:
        """-2 weight Laplacian(u)."""
        return -2 * self.weight * differences.divergence(differences.gradient(u))


@named("penalty", "smoothed-tv")
@dataclass(frozen=True)
class SmoothedTV(Described):
    """Total variation with a rounded tip: weight * sum sqrt(|grad u|^2 + epsilon^2), isotropic.

    Differentiable everywhere; a step tau must stay below about epsilon / (4 weight), or the descent
    oscillates. The proximal step of `proximal_tv` knows no such bound and needs no epsilon.

    Parameters
    ----------
    weight : float
        lambda of equations (2) and (5).
    epsilon : float
        The slope below which the penalty is quadratic, in the unit of u.
    coupled : bool
        Couple the colours (vectorial TV: edges of all channels coincide) or treat each channel alone.
    """

    weight: float
    epsilon: float = 1e-2
    coupled: bool = True

    def __post_init__(self) -> None:
        checks.nonnegative(self.weight, "weight")
        checks.positive(self.epsilon, "epsilon", remedy="0.01 is a start.")

    @property
    def longest_step(self) -> float:
        """The tau from which on explicit descent may oscillate, 2 over the largest curvature."""
        return self.epsilon / (4 * self.weight) if self.weight else math.inf

    @lending("u", axes=2)
    def energy(self, u: Array) -> Array:
        """weight * sum sqrt(|grad u|^2 + epsilon^2), (N,) float64."""
        values = to_host(total_variation.value(u, _channel_axis(u), self.epsilon, coupled=self.coupled))
        return np.asarray(self.weight * (values if self.coupled else values.sum(axis=-1)))

    @lending("u", axes=2)
    def gradient(self, u: Array) -> Array:
        """-weight div(grad u / sqrt(|grad u|^2 + epsilon^2))."""
        slope = total_variation.gradient(u, self.epsilon, _channel_axis(u), coupled=self.coupled)
        return self.weight * slope


@dataclass(frozen=True)
class Scheme:
    """One way to take a step: equation (18) with its two operators, and optionally the penalty of (5).

    Parameters
    ----------
    K_f : callable
        Smooths the update (*fluid*). A filter of `sobolevflow.filters`, `Multiscale`, ``NaturalColour() @``
        one of these, or any function from (N, C, H, W) to the same. What takes a ``channel_axis``
        (`maps.Map.takes_channel_axis`) is told it, at every step.
    K_e : callable
        Smooths the solution (*elastic*): a filter, or another map of the image (`sobolevflow.proximal`),
        such as `TotalVariation`, `Bilateral`, or ``Box() @ Sobolev(11)``.
    penalty : Penalty, optional
        `Dirichlet` or `SmoothedTV`, whose gradient is added to that of the data term.
    name : str
        For people.
    """

    K_f: Operator = field(default_factory=filters.Identity)
    K_e: Operator = field(default_factory=filters.Identity)
    penalty: Penalty | None = None
    name: str = "custom"

    def __post_init__(self) -> None:
        for which, operator in (("K_f", self.K_f), ("K_e", self.K_e)):
            if not callable(operator):
                raise InputError(
                    f"{which} must be a filter such as sf.filters.Sobolev(size=11), or another function "
                    f"of an image, got {checks.shown(operator)}."
                )
        if isinstance(self.K_f, TotalVariation | GeneralisedVariation | Box | Sum):
            raise InputError(
                f"{type(self.K_f).__name__} is a map of the image, not of the update; give it as K_e."
            )

    def step(
        self, u: Array, g: Array, tau: float, state: StepState | None = None
    ) -> tuple[Array, StepState | None]:
        """Take one step, equation (18).

        Parameters
        ----------
        u : (N, C, H, W) array
            The images.
        g : (N, C, H, W) array
            grad D(u), or the direction an optimizer made of it. Not changed.
        tau : float
            The length of the step.
        state : optional
            What the last step returned: what an iterative K_e was left with. None starts cold.

        Returns
        -------
        u : (N, C, H, W) array
            The new images; a new array, not clipped.
        state
            For the next step; None for schemes without memory.
        """
        if self.penalty is not None:
            g = g + self.penalty.gradient(u)
        channels = _channel_axis(u)
        K_f, K_e = told(self.K_f, channels), self.K_e
        u, state = proximal.apply(K_e, u - tau * K_f(g), state, channel_axis=channels)
        return u, state

    def effective_weight(self, tau: float, scale: float = 1.0) -> EffectiveWeight | None:
        """The variational problem that the scheme's fixed points solve: min D(u) + weight R(u).

        Elastic Sobolev of order one solves it for R = |grad u|^2 and weight = gamma / (2 tau), total
        variation for R = TV and weight / tau, TGV likewise, an explicit penalty for its own weight; a
        Sobolev K_f beside an elastic Sobolev filter adds gamma_f |Laplacian u|^2 to R. Where a gamma differs
        between the axes, R has a term for each, and the weight is that of |d_y u|^2. It holds as long as
        nothing is clipped and tau is constant.

        Parameters
        ----------
        tau : float
            The length of the step.
        scale : float
            What the gradient is divided by: 1 for raw gradients, its mean absolute value for normalised ones;
            times 1 - decay under momentum, which adds gradients up.

        Returns
        -------
        EffectiveWeight or None
            None where the scheme is no such problem's solver: a K_e other than these, or no K_e, where the
            regularisation lies in stopping early.
        """
        plain = isinstance(self.K_f, filters.Identity)
        for name, value in (("tau", tau), ("scale", scale)):
            if not checks.is_number(value):
                checks.refuse(value, name, "a finite number")
        if tau <= 0:
            return None
        if isinstance(self.K_e, filters.Identity) and self.penalty is not None:
            return EffectiveWeight(self.penalty.weight * scale, type(self.penalty).__name__)
        if isinstance(self.K_e, TotalVariation | GeneralisedVariation) and plain and self.penalty is None:
            return EffectiveWeight(self.K_e.weight * scale / tau, self.K_e.regulariser)
        if not _is_first_order_sobolev(self.K_e) or self.penalty is not None:
            return None
        gamma_e = _gammas(self.K_e)
        weight = gamma_e[0] * scale / (2 * tau)
        if plain:
            return EffectiveWeight(weight, _energy(gamma_e))
        if _is_first_order_sobolev(self.K_f):
            return EffectiveWeight(weight, _energy(gamma_e, _gammas(self.K_f)))
        return None

    def in_words(self) -> str:
        """Its name and the strengths of its operators."""
        strengths = map(_in_words, (self.K_f, self.K_e))
        return " ".join([self.name, *dict.fromkeys(filter(None, strengths))])

    def to_dict(self) -> dict[str, Any]:
        """The scheme as JSON-able data; a function that is no filter of this package appears by its name."""
        return {
            "name": self.name,
            "K_f": to_dict(self.K_f),
            "K_e": to_dict(self.K_e),
            "penalty": None if self.penalty is None else to_dict(self.penalty),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scheme:
        """The scheme that `to_dict` described.

        Raises
        ------
        InputError
            The description holds an operator that is not of this package.
        """
        if not isinstance(data, Mapping) or not {"K_f", "K_e", "name"} <= set(data):
            checks.refuse(data, "data", "a dictionary as Scheme.to_dict writes it")
        penalty = data.get("penalty")
        return cls(
            K_f=_from_dict("operator", data["K_f"]),
            K_e=_from_dict("operator", data["K_e"]),
            penalty=None if penalty is None else _from_dict("penalty", penalty),
            name=data["name"],
        )


@dataclass(frozen=True)
class EffectiveWeight:
    """The weight of the regulariser whose minimisers are the fixed points of a scheme."""

    weight: float
    regulariser: str


def fluid(K_f: Operator) -> Scheme:
    """Fluid demons (17), u <- u - tau K_f * grad D(u): the update is smooth.

    Against a fixed data term the fixed points are those of plain descent; what K_f changes is the way there,
    so that the regularisation lies in the number of steps.

    Examples
    --------
    >>> import sobolevflow as sf
    >>> scheme = sf.fluid(sf.filters.Sobolev(size=11))
    """
    return Scheme(K_f=K_f, name="fluid")


def elastic(K_e: Operator) -> Scheme:
    """Elastic demons (8), u <- K_e * (u - tau grad D(u)): the solution is smooth.

    With a Sobolev filter this is proximal gradient descent on D + gamma / (2 tau) |grad u|^2.
    """
    return Scheme(K_e=K_e, name="elastic")


def fluid_elastic(K_f: Operator, K_e: Operator | None = None) -> Scheme:
    """Fluid-elastic demons (18), u <- K_e * (u - tau K_f * grad D(u)).

    Parameters
    ----------
    K_f : callable
        Smooths the update.
    K_e : callable, optional
        Smooths the solution; the same filter as K_f unless given, as in the paper.
    """
    return Scheme(K_f=K_f, K_e=K_f if K_e is None else K_e, name="fluid-elastic")


def gradient_descent(penalty: Penalty | None = None) -> Scheme:
    """Explicit descent (5), u <- u - tau (grad D(u) + weight grad R(u)).

    Parameters
    ----------
    penalty : Penalty, optional
        `sf.schemes.Dirichlet(weight)` or `sf.schemes.SmoothedTV(weight, epsilon)`; none for (1), plain
        descent.
    """
    return Scheme(penalty=penalty, name="gradient-descent")


def proximal_tv(
    weight: float,
    fluid: Operator | None = None,
    *,
    tol: float = 1e-3,
    max_iterations: int = 500,
    coupled: bool = True,
) -> Scheme:
    """Implicit total variation (7), u <- prox_{weight TV}(u - tau K_f * grad D(u)).

    Parameters
    ----------
    weight : float
        That of one step's prox, tau * lambda, in the unit of u. At tau = 5/255, 0.01 is a moderate weight.
    fluid : callable, optional
        K_f; the identity unless given.
    tol, max_iterations, coupled
        As in `TotalVariation`.
    """
    K_e = TotalVariation(weight, tol, max_iterations, coupled)
    return Scheme(K_f=filters.Identity() if fluid is None else fluid, K_e=K_e, name="tv")


def _channel_axis(u: Array) -> int | None:
    """Where images (N, C, H, W), or one of them, have their channels; a plane has none."""
    return -3 if u.ndim > 2 else None


def _is_first_order_sobolev(K: Operator) -> bool:
    return isinstance(K, filters.Sobolev) and K.order == 1


def _gammas(K: Operator) -> tuple[float, float]:
    """gamma along y and x of a Sobolev filter."""
    gamma = cast(filters.Sobolev, K).gamma
    return gamma if isinstance(gamma, tuple) else (gamma, gamma)


def _energy(e: tuple[float, float], f: tuple[float, float] | None = None) -> str:
    """<L_e u, u> + <L_e u, L_f u> over gamma_e along y, where L_a = -a_y d^2/dy^2 - a_x d^2/dx^2."""
    if e[0] == e[1] and (f is None or f[0] == f[1]):
        return "|grad u|^2" + ("" if f is None else f" + {f[0]:.3g} |Laplacian u|^2")
    ratio = e[1] / e[0]
    first = f"|d_y u|^2 + {ratio:.3g} |d_x u|^2"
    if f is None:
        return first
    mixed = f[1] + ratio * f[0]
    return f"{first} + {f[0]:.3g} |d_yy u|^2 + {mixed:.3g} |d_xy u|^2 + {ratio * f[1]:.3g} |d_xx u|^2"


def _from_dict(family: Family, data: Mapping[str, Any]) -> Any:
    """The operator or penalty that `maps.to_dict` described."""
    if "filter" in data:
        return filters.from_dict(data)
    parameters = dict(data)
    entry = by_class(family, parameters.pop("operator", ""))
    if entry is None:
        raise InputError(
            f"{dict(data)} is no filter, proximal map or penalty of sobolevflow, so it cannot be made "
            f"from its description; build the scheme from the function itself."
        )
    if "maps" in parameters:
        parameters["maps"] = tuple(_from_dict(family, each) for each in parameters["maps"])
    return entry.make(**parameters)


def _in_words(K: Operator) -> str:
    """The strength of an operator, or what it is called; nothing for what has no name."""
    if isinstance(K, Several):
        return " ".join(filter(None, map(_in_words, K.maps)))
    entry = entry_of(K)
    if entry is None or isinstance(K, filters.Identity):
        return ""
    strength = entry.facts.get("strength")
    if strength is None:
        return entry.name.replace("-", " ")
    return f"{strength} " + ", ".join(f"{number:.4g}" for number in np.atleast_1d(getattr(K, strength)))
