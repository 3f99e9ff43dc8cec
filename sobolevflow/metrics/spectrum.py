"""How the power of images is spread over frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import AnyArray, beside, lending, namespace, to_host
from ..errors import InputError
from .arguments import Floats, as_images

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of ITU-R BT.709


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Radially averaged power spectra.

    Attributes
    ----------
    frequency
        (K,) cycles per pixel, ascending, up to 1/2.
    power
        (N, K) mean of |FFT|^2 over the frequencies of about that length.

    They are arrays of the library of the images.
    """

    __repr__ = checks.summary

    frequency: Floats
    power: Floats


@lending("u")
def power_spectrum(u: Any) -> Spectrum:
    """Radial mean of the power of the luminance, under a Hann window.

    The window keeps the jump between opposite borders, which the image does not have, out of the spectrum.

    Parameters
    ----------
    u : array, shape (N, C, H, W) or (C, H, W)
        One or three channels, at least 8 x 8 pixels; three are weighted to luminance after BT.709.

    Returns
    -------
    Spectrum
        A ring for each cycle of the shorter side, without the mean.

    Raises
    ------
    InputError
        The images are of another kind.
    """
    return _radial(u)


def _radial(u: Any) -> Spectrum:
    power, frequency = _power(u)
    shorter = min(power.shape[1:])
    ring = np.rint(frequency * shorter).astype(int).ravel()
    kept = (ring >= 1) & (ring <= shorter // 2)
    counts = np.bincount(ring[kept], minlength=shorter // 2 + 1)[1:]
    sums = np.stack(
        [np.bincount(ring[kept], image.ravel()[kept], minlength=shorter // 2 + 1)[1:] for image in power]
    )
    return Spectrum(np.arange(1, shorter // 2 + 1) / shorter, sums / counts)


@overload
def spectrum_slope(u: NDArray[Any], low: float | None = ..., high: float = ...) -> NDArray[np.float64]: ...


@overload
def spectrum_slope(u: AnyArray, low: float | None = ..., high: float = ...) -> AnyArray: ...


@lending("u")
def spectrum_slope(u: Any, low: float | None = None, high: float = 0.25) -> Any:
    """The exponent a of power ~ frequency^a: the slope of a line fitted to logarithms.

    Natural images have about -2 (Field, J. Opt. Soc. Am. A 4, 1987); noise that is white has 0, and what
    gradients of networks leave in an image lies above -2.

    Parameters
    ----------
    u : array, shape (N, C, H, W) or (C, H, W)
        As for `power_spectrum`.
    low, high : float
        The range of frequencies that is fitted, in cycles per pixel; by default from ten cycles along the
        shorter side (four in images of less than 80 pixels) to half of Nyquist's frequency.

    Returns
    -------
    array, shape (N,), float64
        NaN for images without any power in the range.

    Raises
    ------
    InputError
        The images are of another kind, or fewer than two rings lie in the range.
    """
    for name, value in (("low", low), ("high", high)):
        if not checks.is_number(value) and not (value is None and name == "low"):
            checks.refuse(value, name, "a finite number of cycles per pixel")
    spectrum = _radial(u)
    shorter = round(1 / spectrum.frequency[0])
    least = (10 if shorter >= 80 else 4) / shorter if low is None else low
    fitted = (spectrum.frequency >= least - 1e-12) & (spectrum.frequency <= high + 1e-12)
    if fitted.sum() < 2:
        raise InputError(
            f"no two of the frequencies of the image lie between {least:g} and {high:g} cycles per pixel."
        )
    x = np.log(spectrum.frequency[fitted])
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(spectrum.power[:, fitted])
        slope = (y - y.mean(axis=1, keepdims=True)) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return np.asarray(np.where(np.isfinite(slope), slope, np.nan))


@overload
def high_frequency_share(u: NDArray[Any], cutoff: float = ...) -> NDArray[np.float64]: ...


@overload
def high_frequency_share(u: AnyArray, cutoff: float = ...) -> AnyArray: ...


@lending("u")
def high_frequency_share(u: Any, cutoff: float = 0.25) -> Any:
    """Share of the power, the mean apart, above a frequency.

    Parameters
    ----------
    u : array, shape (N, C, H, W) or (C, H, W)
        As for `power_spectrum`.
    cutoff : float
        In cycles per pixel; by default half of Nyquist's frequency. Corners, up to 0.71, take part.

    Returns
    -------
    array, shape (N,), float64
        Within [0, 1]; 0 for constant images.

    Raises
    ------
    InputError
        The images are of another kind, or cutoff is not between 0 and 0.7.
    """
    if not (checks.is_number(cutoff) and 0 < cutoff < 0.7):
        raise InputError(
            f"cutoff is {checks.shown(cutoff)}; it must be above 0 and below 0.7 cycles per pixel."
        )
    power, frequency = _power(u)
    total = power[:, frequency > 0].sum(axis=1)
    above = power[:, frequency > cutoff].sum(axis=1)
    return np.asarray(np.divide(above, total, out=np.zeros_like(total), where=total > 0))


def _power(u: Any) -> tuple[Floats, Floats]:
    """|FFT|^2 (N, H, W) of the luminance without its mean under the window, and the frequencies (H, W).

    The transform is made where the images lie, and what comes of it is on the host.
    """
    images = as_images(u)
    xp: Any = namespace(images)
    _, channels, height, width = images.shape
    if channels not in (1, 3):
        raise InputError(f"images have {channels} channels; luminance is known of one or three.")
    if min(height, width) < 8:
        raise InputError(f"images of {height}x{width} pixels have no spectrum to speak of; 8x8 is least.")
    grey = images[:, 0] if channels == 1 else xp.tensordot(images, beside(images, _LUMINANCE), (1, 0))
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    weights = beside(images, window)
    grey = grey - (grey * weights).sum(axis=(1, 2), keepdims=True) / window.sum()
    largest = abs(grey).max(axis=(1, 2), keepdims=True)
    grey = xp.where(largest > 1e-12 * abs(images).max(), grey, 0)  # constant but for rounding
    power = to_host(abs(xp.fft.fft2(grey * weights)) ** 2)
    return power, np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
