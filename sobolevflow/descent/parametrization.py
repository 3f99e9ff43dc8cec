"""Images as functions of other coordinates: Fourier coefficients, and phases of given magnitudes.

Descent in coordinates z of u = P(z) goes along the gradient by z, which is the adjoint of P's derivative
applied to the gradient by u. For linear P = A a plain step moves u by -tau A A^T grad D(u): a change of
coordinates is a preconditioner, as the filter at K_f is. With A = 1/|f| in the Fourier domain, A A^T passes
1/|f|^2, and so does, apart from a factor, the Sobolev filter 1 / (1 + gamma |w|^2) for large gamma: what
lucid and lucent call the Fourier parametrization is the limit of fluid Sobolev demons. What is left of the
difference are Adam, which treats every coefficient by itself, and the sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from .. import checks
from ..arrays import Array, constant_beside, namespace
from ..maps import NaturalColour
from ..named import Option, name_of, named

_SATURATED = 700  # of what a sigmoid takes, whose exponential double precision still holds
_STEEPEST = 20  # power of the frequency, with which double precision is exhausted

_EDGE = 1e-3  # values closer to 0 or 1 count as this far away, where the sigmoid is inverted


@runtime_checkable
class Parametrization(Protocol):
    """Coordinates z of images, arrays of four axes, the first of them the batch."""

    def start(self, u: Array) -> Array:
        """Coordinates of images (N, C, H, W) in [0, 1], or of the nearest that there are."""
        ...

    def image(self, z: Array) -> Array:
        """The images of coordinates, (N, C, H, W) float32."""
        ...

    def adjoint(self, z: Array, g: Array) -> Array:
        """The gradient by z, of the shape of z, from that by u at u = image(z)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Spectral:
    """u = sigmoid(C^{1/2} v) for v with a spectrum of 1 / |f|^decay, C the covariance of natural colours.

    Parameters
    ----------
    decay : float
        1 for the spectrum of photographs.
    natural_colour : bool
        Whether C is that of `NaturalColour`, or the identity, as it is for other than three channels.
    squash : bool
        Whether a sigmoid keeps u in (0, 1). Without it u is linear in v.
    """

    decay: float = 1.0
    natural_colour: bool = True
    squash: bool = True

    queues: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not checks.is_number(self.decay) or abs(checks.plain(self.decay)) > _STEEPEST:
            wanted = f"a number from {-_STEEPEST} to {_STEEPEST}, the power of the frequency"
            checks.refuse(self.decay, "decay", wanted)
        object.__setattr__(self, "decay", checks.plain(self.decay))
        for name in ("natural_colour", "squash"):
            object.__setattr__(self, name, checks.flag(getattr(self, name), name))

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the manifest."""
        return {"name": name_of(self), **vars(self)}

    def _coloured(self, v: Array, power: float) -> Array:
        """C^power v."""
        if not self.natural_colour or v.shape[1] != 3:
            return v
        values, vectors = np.linalg.eigh(NaturalColour().matrix)
        matrix = constant_beside(v, vectors * values**power @ vectors.T)
        coloured: Array = namespace(v).einsum("ij,njhw->nihw", matrix, v)
        return coloured

    def _squashed(self, v: Array) -> Array:
        """u of v."""
        x = self._coloured(v, 0.5)
        u: Array = 1 / (1 + namespace(x).exp(-x.clip(-_SATURATED, _SATURATED))) if self.squash else x
        return u.astype(np.float32)

    def _expanded(self, u: Array) -> Array:
        """v of u."""
        x = u.astype(np.float64)
        if self.squash:
            x = x.clip(_EDGE, 1 - _EDGE)
            x = namespace(x).log(x / (1 - x))
        return self._coloured(x, -0.5)

    def _by_v(self, v: Array, g: Array) -> Array:
        """The gradient by v from that by u."""
        if self.squash:
            u = self._squashed(v).astype(np.float64)
            g = g * u * (1 - u)
        return self._coloured(g.astype(np.float64), 0.5)


_DECAY = Option(
    "spectrum_decay",
    "power of the frequency by which it is damped (default: 1, as in photographs)",
    keyword="decay",
)


@named("parametrization", "fourier", _DECAY)
@dataclass(frozen=True, kw_only=True)
class Fourier(_Spectral):
    """Fourier coefficients of natural colours (Olah, Mordvintsev and Schubert, Distill 2017).

    u = sigmoid(C^{1/2} F s z), where F is the orthonormal transform of Hartley, which has cos and sin in
    real coefficients, and s = 1 / max(|f|, 1 / max(H, W))^decay, scaled to mean square 1, f in cycles per
    pixel. With Adam, as it is meant to be used, tau is the change of a coefficient in a step; 0.05 is a good
    one. The boundary is periodic, z has the shape of u.

    Parameters
    ----------
    decay : float
        1 for the spectrum of photographs.
    natural_colour : bool
        Decorrelate the colours, C the covariance of `NaturalColour`; images of other than three channels are
        left alone.
    squash : bool
        Keep u in (0, 1) by a sigmoid. Without it u is linear in z.

    Examples
    --------
    >>> visualize(net, Class("tabby"), parametrization=Fourier())  # doctest: +SKIP
    """

    def start(self, u: Array) -> Array:
        """The coefficients of images."""
        return (hartley(self._expanded(u)) / self._scale_beside(u)).astype(np.float32)

    def image(self, z: Array) -> Array:
        """The images of coefficients."""
        return self._squashed(self._before(z))

    def adjoint(self, z: Array, g: Array) -> Array:
        """The gradient by the coefficients."""
        return (self._scale_beside(z) * hartley(self._by_v(self._before(z), g))).astype(np.float32)

    def scale(self, height: int, width: int) -> Array:
        """s, (height, width)."""
        f = frequencies(height, width)
        s = 1 / np.maximum(f, 1 / max(height, width)) ** self.decay
        return np.asarray(s / np.sqrt(np.mean(s**2)))

    def _scale_beside(self, z: Array) -> Array:
        """s where z lies, in double precision, as are all transforms."""
        return constant_beside(z, self.scale(*z.shape[-2:]), np.float64)

    def _before(self, z: Array) -> Array:
        return hartley(self._scale_beside(z) * z)


@named(
    "parametrization",
    "phase",
    _DECAY,
    Option("contrast", "standard deviation in front of the colours (default: 1.2)"),
)
@dataclass(frozen=True, kw_only=True)
class Phase(_Spectral):
    """Phases of Fourier coefficients of fixed magnitude: MaCo (Fel et al., arXiv:2306.06805).

    u = sigmoid(C^{1/2} Re F^-1 m exp(i z)) with m = 1 / |f|^decay, and 0 for the constant. The magnitudes
    keep the spectrum natural whatever the objective does; only where things are is descended along. z has the
    shape of u and is in radians.

    Parameters
    ----------
    contrast : float
        Standard deviation in front of colours and sigmoid; photographs have about 1.2.
    decay, natural_colour, squash
        As of `Fourier`.
    """

    contrast: float = 1.2

    def __post_init__(self) -> None:
        super().__post_init__()
        contrast = checks.positive(self.contrast, "contrast", remedy="It is a standard deviation.")
        object.__setattr__(self, "contrast", checks.single(contrast, "contrast"))

    def start(self, u: Array) -> Array:
        """The phases of images; their magnitudes are left behind."""
        phases: Array = namespace(u).angle(_fft_of(u).fft2(self._expanded(u))).astype(np.float32)
        return phases

    def image(self, z: Array) -> Array:
        """The images of phases."""
        return self._squashed(self._before(z))

    def adjoint(self, z: Array, g: Array) -> Array:
        """The gradient by the phases."""
        spectrum = _fft_of(z).fft2(self._by_v(self._before(z), g), norm="ortho")
        turned = 1j * self._magnitude_beside(z) * namespace(z).exp(1j * z)  # the derivative of m exp(i z)
        by_z: Array = (spectrum.conj() * turned).real.astype(np.float32)
        return by_z

    def magnitude(self, height: int, width: int) -> Array:
        """m on the grid of `scipy.fft.fft2`, so that images have the standard deviation `contrast`."""
        f = frequencies(height, width)
        m = np.where(f > 0, 1 / np.where(f > 0, f, 1) ** self.decay, 0)
        return np.asarray(m * self.contrast / np.sqrt(np.mean(m**2)))

    def _magnitude_beside(self, z: Array) -> Array:
        return constant_beside(z, self.magnitude(*z.shape[-2:]), np.float64)

    def _before(self, z: Array) -> Array:
        c = self._magnitude_beside(z) * namespace(z).exp(1j * z.astype(np.float64))
        before: Array = _fft_of(z).ifft2(c, norm="ortho").real
        return before


def frequencies(height: int, width: int) -> Array:
    """|f| in cycles per pixel on the grid of `scipy.fft.fft2`, (height, width)."""
    return np.asarray(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]))


def hartley(x: Array) -> Array:
    """The orthonormal transform of Hartley of the last two axes, its own inverse and adjoint."""
    spectrum = _fft_of(x).fft2(x, norm="ortho")
    transformed: Array = spectrum.real - spectrum.imag
    return transformed


def _fft_of(x: Array) -> Any:
    """SciPy's transforms, or for arrays of CuPy those of cuFFT under the same names."""
    if isinstance(x, np.ndarray):
        from scipy import fft
    else:
        from cupyx.scipy import fft
    return fft
