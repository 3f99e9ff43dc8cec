"""What every filter can do, and how filters combine.

A filter is a value: a linear operator on the planes of an array, determined by a few parameters.
Filters can be compared, hashed, printed, written to a manifest, and combined: ``f @ g`` applies g
first, ``0.5 * f + 0.5 * g`` mixes, ``f ** n`` applies f n times, and ``f.adjoint`` is the transpose.
"""

from __future__ import annotations

import functools
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import scipy
from numpy.typing import DTypeLike, NDArray

from .. import checks
from ..arrays import (
    NOT_GIVEN,
    AnyArray,
    Array,
    ChannelsFirst,
    as_stack,
    beside,
    borrow,
    borrow_output,
    check_finite,
    check_shape,
    checked_axis,
    empty_laid_out_as,
    empty_like,
    finish_output,
    is_cupy_array,
    may_overlap,
    on_stream_of,
    planes_of,
    put,
    restore,
    to_host,
)
from ..errors import InputError
from ..named import named
from . import bounds, cuda, host, spectral
from .host import Procedure, is_finite
from .parameters import Boundary
from .plan import Plan, check_plan, check_sides
from .scaling import computed_in_range, filter_in_range


class Filter(ABC):
    """A linear filter of image planes. Subclasses are frozen dataclasses.

    A filter that says no more than its `kernel`, its `response` and its ``boundary`` is applied by
    multiplying spectra. Threads may share filters: what is planned for them is not written to, and scratch
    memory is each thread's own.
    """

    queues: ClassVar[bool] = True
    """A filter never waits for its device, so that a step with it can be captured into a CUDA graph."""

    takes_channel_axis: ClassVar[bool] = True
    """As `sobolevflow.maps.Map.takes_channel_axis`."""

    boundary: Boundary
    """Of every filter but the identity and those made of others."""

    # Makes NumPy scalars and arrays leave `*`, `+` and `@` with a filter to the methods below.
    __array_ufunc__: ClassVar[None] = None

    def __call__(
        self, x: AnyArray, out: AnyArray | None = None, *, channel_axis: int | None = NOT_GIVEN
    ) -> AnyArray:
        """Filter every plane of `x`.

        Parameters
        ----------
        x
            Array of NumPy, CuPy, PyTorch, JAX, TensorFlow, or of any library whose arrays have
            ``__dlpack__``: float32 or float64, neither copied nor changed, or float16 or bfloat16, of which
            the result is computed in float32 and rounded, but for float16 on a CUDA device; shape (..., H, W)
            of any size from 1 x 1, any strides. Lists of numbers become arrays of NumPy.
        out
            Where to put the result: library, device, shape and dtype of `x`; may be `x` itself or
            overlap it. Arrays of JAX cannot be written to.
        channel_axis
            The axis that holds colours or other channels, counted from the front or, negative, from the end;
            the last two of the other axes are H and W. So -1 is for arrays (..., H, W, C). None, the default:
            the last two axes are H and W, and all axes before count planes.

        Returns
        -------
        array
            `out`, or a new array: library, device, shape and dtype of `x`, and where a channel axis is given
            its order of axes in memory; C-contiguous otherwise.

        Raises
        ------
        InputError
            If `x` is not a floating array of at least two axes with only finite values, if it cannot
            share its memory (`sobolevflow.arrays.borrow` says when), `out` does not match it, or
            `channel_axis` is no axis of it, or one of only two.

        Warns
        -----
        AssumptionWarning
            If nothing is said of channels, not even None, and the shape is that of pictures with three or
            four colours last. Once, if a tensor of PyTorch requires grad: the result is no part of its graph.

        Notes
        -----
        On a CUDA device the work is queued on the current stream of CuPy, or of PyTorch where the array is
        PyTorch's, and not waited for. So its values are not looked at: NaN in is NaN out.

        Where channels lie between or behind H and W, they are copied into planes, and the result back.
        """
        with on_stream_of(x):
            return self._filter_any(x, out, channel_axis)

    def _filter_any(self, x: AnyArray, out: AnyArray | None, channel_axis: int | None) -> AnyArray:
        memory = borrow(x)
        check_shape(memory)
        axis = checked_axis(channel_axis, memory.shape)
        if out is not None:
            result = borrow_output(out, x)
        else:
            result = empty_like(memory) if axis is None else empty_laid_out_as(memory)
        if not self._filter_array(planes_of(memory, axis), planes_of(result, axis)):
            check_finite(memory)  # what went wrong in the input; if nothing did, the result is too large
        if out is None:
            return restore(result, x)
        finish_output(result, out)
        return out

    def plan(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike = np.float32,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        channel_axis: int | None = NOT_GIVEN,
    ) -> Plan:
        """How the filter is applied to an image, and how far off the result may be.

        Parameters
        ----------
        shape
            Of the image, (..., H, W).
        dtype
            float32 or float64; on a CUDA device float16 too.
        device
            "cpu" or "cuda"; for the latter no device is needed.
        channel_axis
            As in a call: the axis of `shape` that is no side of the planes.

        Returns
        -------
        Plan
            Method, size, rank, bounds on the error, and cost.

        Raises
        ------
        InputError
            If the shape has less than two axes or an empty one, the dtype is another, or there is no such
            channel axis.
        UnknownNameError
            For another device.

        Examples
        --------
        >>> from sobolevflow.filters import Sobolev
        >>> Sobolev(size=11).plan((224, 224)).method
        'dense'
        """
        on_device = checks.one_of(device, "device", ("cpu", "cuda")) == "cuda"
        h, w, dtype = check_plan(shape, dtype, on_device, channel_axis)
        return self._plan(h, w, dtype, on_device)

    @abstractmethod
    def kernel(self, *, normalised: bool = True) -> NDArray[np.float64]:
        """Impulse response (size, size), float64.

        With ``normalised=False``, the entries are those of the kernel on the infinite grid, whose
        sum over a window is below 1; otherwise the window is divided by its sum.
        """

    @abstractmethod
    def response(self, h: int, w: int) -> NDArray[np.float64]:
        """Transfer function (h, w), float64: the filter's eigenvalues on images of h x w pixels.

        Laid out on the grid of the transform that diagonalises the filter: DCT-II for the boundary
        "reflect", FFT (in `numpy.fft.fftfreq` order) for "periodic", DST-I for "zero".
        """

    @property
    def adjoint(self) -> Filter:
        """The filter f* with <f x, y> = <x, f* y> for all images x and y.

        Every family is its own adjoint, whatever its boundary: kernels are even, and so is the way in
        which the image goes on beyond its border. A composition's has the factors the other way round.
        """
        return self

    def to_dict(self) -> dict[str, Any]:
        """Name and resolved parameters as JSON holds them; `filters.from_dict` is the way back."""
        each = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        lists = {name: list(v) if isinstance(v, tuple) else v for name, v in each.items()}
        return {"filter": type(self).__name__, **lists}

    def _filter_array(self, x: Array, out: Array) -> bool:
        """Filter the checked array `x` into `out`, which may overlap it; whether the result is finite."""
        source = as_stack(x.copy() if may_overlap(x, out) else x)
        if out.flags.c_contiguous:
            return filter_in_range(self._filter, source, as_stack(out))
        result = empty_like(x)
        finite = filter_in_range(self._filter, source, as_stack(result))
        put(out, result)
        return finite

    def _filter(self, x: Array, out: Array) -> bool:
        """Filter `x` (P, H, W) into `out`, both C-contiguous and apart; whether the result is finite."""
        return multiplication(self, *x.shape[1:], x.dtype, is_cupy_array(x)).apply(x, out)

    def _plan(self, h: int, w: int, dtype: np.dtype[Any], on_device: bool) -> Plan:
        """The plan for planes h x w, on the host or on a CUDA device."""
        method = multiplication(self, h, w, dtype, on_device)
        return Plan.of(method, dtype, truncation=self._truncation, gain=self._gain)

    def _apply_reference(self, x: Array) -> Array:
        """A new array: the checked input `x`, filtered by NumPy and SciPy alone."""
        return apply_spectrally(self, x)

    @property
    def _truncation(self) -> float:
        """Largest error, for |x| <= 1, of the kernel that is applied against the kernel as a whole.

        The sum of |applied - whole| over the infinite grid, where applied is the window divided by its sum,
        or the sum of its separable terms. Of filters made of others an upper bound, by the triangle
        inequality.
        """
        return 0.0

    @property
    def _gain(self) -> float:
        """An upper bound of |f x| for |x| <= 1: the L1 norm of the kernel."""
        return max(1.0, float(np.abs(self.kernel()).sum()))

    @property
    def _boundaries(self) -> frozenset[Boundary]:
        """The boundary conditions in use; none for the identity."""
        return frozenset((self.boundary,))

    @property
    def _is_spectral(self) -> bool:
        """Whether the filter is applied by multiplying the spectrum."""
        return True

    def __matmul__(self, other: object) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        factors = [f for f in (*_factors(self), *_factors(other)) if not isinstance(f, Identity)]
        return _compose(factors)

    def __mul__(self, weight: object) -> Filter:
        if isinstance(weight, bool) or not isinstance(weight, numbers.Real):
            return NotImplemented
        if not checks.is_number(weight):
            raise InputError(f"a filter was multiplied by {checks.shown(weight)}; the factor must be finite.")
        return Combination(tuple((float(weight) * w, f) for w, f in _weighted(self)))

    __rmul__ = __mul__

    def __neg__(self) -> Filter:
        return self * -1.0

    def __add__(self, other: object) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        return Combination((*_weighted(self), *_weighted(other)))

    def __sub__(self, other: object) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        return self + -other

    def __pow__(self, exponent: Any) -> Filter:
        power = None
        if checks.is_number(exponent) and exponent >= 0:
            if checks.is_integer(exponent) and exponent <= _MOST_PARTS:
                power = _compose([*_factors(self)] * int(exponent))
            elif exponent > 0:
                power = self._fractional_power(float(exponent))
            if power is None and checks.is_integer(exponent):
                raise InputError(
                    f"{self} was raised to the power {checks.shown(exponent)}: that is {float(exponent):.3g} "
                    f"filters, about {float(exponent) * self._flops():.1e} operations a pixel. Up to "
                    f"{_MOST_PARTS} are applied one after another; an exact Sobolev or Gaussian filter has "
                    f"any power in closed form: Sobolev(gamma=...) ** n."
                )
        if power is not None:
            return power
        raise InputError(
            f"{self} was raised to the power {checks.shown(exponent)}; the exponent must be an integer, 0 or "
            "more. Any real number above zero will do for an exact Sobolev filter, whose order it "
            "multiplies, and for an exact Gaussian, whose sigma its root multiplies."
        )

    def _flops(self) -> float:
        """Operations a pixel, on images of the size of a network's input."""
        return self._plan(224, 224, np.dtype(np.float32), on_device=False).flops

    def _fractional_power(self, exponent: float) -> Filter | None:
        """The filter to a power above zero that is no integer; None where there is none in closed form."""
        return None


@named("operator", "identity")
@dataclass(frozen=True)
class Identity(Filter):
    """The filter that changes nothing: K_f of a purely elastic scheme, K_e of a purely fluid one."""

    def kernel(self, *, normalised: bool = True) -> NDArray[np.float64]:
        """[[1.0]]."""
        return np.ones((1, 1))

    def response(self, h: int, w: int) -> NDArray[np.float64]:
        """Ones, (h, w)."""
        return np.ones(check_sides(h, w))

    def _filter(self, x: Array, out: Array) -> bool:
        method: Procedure = procedures_for(is_cupy_array(x)).Copy(x.dtype)
        return method.apply(x, out)

    def _plan(self, h: int, w: int, dtype: np.dtype[Any], on_device: bool) -> Plan:
        return Plan.of(procedures_for(on_device).Copy(dtype), dtype)

    def _apply_reference(self, x: Array) -> Array:
        return x.copy()

    @property
    def _boundaries(self) -> frozenset[Boundary]:
        return frozenset()


@dataclass(frozen=True)
class _Compound(Filter):
    """A filter made of others; where all of them are spectral, one transform serves them together."""

    def __post_init__(self) -> None:
        parts = self._parts
        if not parts or not all(isinstance(f, Filter) for f in parts):
            made = type(self).__name__
            raise InputError(f"a {made} is made of one filter or more; {checks.shown(parts)} is not.")
        if self._leaves > _MOST_PARTS or self._depth > _DEEPEST:
            flops = sum(f._flops() for f in parts[:1]) * self._leaves
            raise InputError(
                f"a filter was made of {self._leaves} others, {self._depth} levels deep: about {flops:.1e} "
                f"operations a pixel. It may have {_MOST_PARTS} parts and {_DEEPEST} levels; apply some of "
                f"them first, and the others to the result."
            )

    @functools.cached_property
    def _leaves(self) -> int:
        """How many filters it comes down to, each counted as often as it is applied."""
        return sum(f._leaves if isinstance(f, _Compound) else 1 for f in self._parts)

    @functools.cached_property
    def _depth(self) -> int:
        """How many levels of filters made of others there are."""
        return 1 + max(f._depth if isinstance(f, _Compound) else 0 for f in self._parts)

    def _filter(self, x: Array, out: Array) -> bool:
        return super()._filter(x, out) if self._is_spectral else self._filter_by_parts(x, out)

    def _plan(self, h: int, w: int, dtype: np.dtype[Any], on_device: bool) -> Plan:
        if self._is_spectral:
            return super()._plan(h, w, dtype, on_device)
        plans = [f._plan(h, w, dtype, on_device) for f in self._parts]
        return Plan(
            method="parts",
            truncation=self._truncation,
            rounding=self._through([plan.rounding for plan in plans])
            + self._own_roundings * bounds.unit(dtype),
            flops=sum(plan.flops for plan in plans),
            bytes=sum(plan.bytes for plan in plans),
        )

    def _apply_reference(self, x: Array) -> Array:
        return super()._apply_reference(x) if self._is_spectral else self._apply_parts(x)

    @property
    @abstractmethod
    def _parts(self) -> tuple[Filter, ...]:
        """The filters it is made of."""

    @abstractmethod
    def _filter_by_parts(self, x: Array, out: Array) -> bool:
        """As `_filter`, part by part."""

    @abstractmethod
    def _apply_parts(self, x: Array) -> Array:
        """As `_apply_reference`, part by part."""

    @abstractmethod
    def _through(self, errors: Sequence[float]) -> float:
        """The largest error of the whole, for |x| <= 1, from those of the parts."""

    @property
    def _own_roundings(self) -> float:
        """Roundings of what is done beside the parts, in units."""
        return 0.0

    @property
    def _truncation(self) -> float:
        return self._through([f._truncation for f in self._parts])

    @property
    def _boundaries(self) -> frozenset[Boundary]:
        return frozenset[Boundary]().union(*(f._boundaries for f in self._parts))

    @property
    def _is_spectral(self) -> bool:
        return len(self._boundaries) == 1 and all(f._is_spectral for f in self._parts)

    def _require_one_boundary(self) -> None:
        if len(self._boundaries) > 1:
            raise InputError(
                f"the boundaries {', '.join(sorted(self._boundaries))} are mixed in one filter, and no "
                f"transform diagonalises them together. Give all parts one boundary."
            )


@dataclass(frozen=True)
class Composition(_Compound):
    """Filters applied one after another, the last first: made by ``f @ g`` and ``f ** n``."""

    factors: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.factors, tuple):
            checks.refuse(self.factors, "factors", "a tuple of filters")
        super().__post_init__()

    def kernel(self, *, normalised: bool = True) -> NDArray[np.float64]:
        """Convolution of the factors' kernels (on the infinite grid); the sizes add up."""
        return functools.reduce(_convolve_fully, (f.kernel(normalised=normalised) for f in self.factors))

    def response(self, h: int, w: int) -> NDArray[np.float64]:
        """Product of the factors' transfer functions; InputError where their boundaries differ."""
        h, w = check_sides(h, w)
        self._require_one_boundary()
        return functools.reduce(np.multiply, (f.response(h, w) for f in self.factors))

    @property
    def adjoint(self) -> Composition:
        """The factors' adjoints in reverse order: (f g)* = g* f*."""
        return Composition(tuple(f.adjoint for f in reversed(self.factors)))

    def to_dict(self) -> dict[str, Any]:
        """The factors' dictionaries in order."""
        return {"filter": "Composition", "factors": [f.to_dict() for f in self.factors]}

    @property
    def _parts(self) -> tuple[Filter, ...]:
        return self.factors

    @property
    def _gain(self) -> float:
        return math.prod(f._gain for f in self.factors)

    def _through(self, errors: Sequence[float]) -> float:
        gains = [f._gain for f in self.factors]
        others = (math.prod(gains[:i] + gains[i + 1 :]) for i in range(len(gains)))
        return sum(error * other for error, other in zip(errors, others, strict=True))

    def _filter_by_parts(self, x: Array, out: Array) -> bool:
        # Results alternate between two arrays, so that the last one is `out`.
        spare = empty_like(out)
        targets = (out, spare)
        finite = True
        for i, f in reversed(list(enumerate(self.factors))):
            to = targets[i % 2]
            finite = f._filter(x, to)
            x = to
        return finite

    def _apply_parts(self, x: Array) -> Array:
        for f in reversed(self.factors):
            x = f._apply_reference(x)
        return x


@dataclass(frozen=True)
class Combination(_Compound):
    """A weighted sum of filters: made by ``a * f + b * g``."""

    terms: tuple[tuple[float, Filter], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple) or not all(
            isinstance(term, tuple) and len(term) == 2 for term in self.terms
        ):
            checks.refuse(self.terms, "terms", "a tuple of pairs (weight, filter)")
        super().__post_init__()
        for weight, _ in self.terms:
            if not checks.is_number(weight):
                checks.refuse(weight, "a filter's weight", "a finite number")

    def kernel(self, *, normalised: bool = True) -> NDArray[np.float64]:
        """Weighted sum of the terms' kernels, in a window as large as the largest."""
        kernels = [(weight, f.kernel(normalised=normalised)) for weight, f in self.terms]
        size = max(kernel.shape[0] for _, kernel in kernels)
        return sum((w * np.pad(k, (size - k.shape[0]) // 2) for w, k in kernels), np.zeros((size, size)))

    def response(self, h: int, w: int) -> NDArray[np.float64]:
        """Weighted sum of the transfer functions; InputError where their boundaries differ."""
        h, w = check_sides(h, w)
        self._require_one_boundary()
        return sum((weight * f.response(h, w) for weight, f in self.terms), np.zeros((h, w)))

    @property
    def adjoint(self) -> Combination:
        """The sum of the terms' adjoints; weights are real."""
        return Combination(tuple((weight, f.adjoint) for weight, f in self.terms))

    def to_dict(self) -> dict[str, Any]:
        """Weights and dictionaries of the terms in order."""
        return {
            "filter": "Combination",
            "terms": [{"weight": weight, **f.to_dict()} for weight, f in self.terms],
        }

    @property
    def _parts(self) -> tuple[Filter, ...]:
        return tuple(f for _, f in self.terms)

    @property
    def _gain(self) -> float:
        return self._through([f._gain for f in self._parts])

    def _through(self, errors: Sequence[float]) -> float:
        return sum(abs(weight) * error for (weight, _), error in zip(self.terms, errors, strict=True))

    @property
    def _own_roundings(self) -> float:
        return (len(self.terms) + 1) * self._gain

    def _filter_by_parts(self, x: Array, out: Array) -> bool:
        (weight, first), *others = self.terms
        finite = first._filter(x, out)
        out *= out.dtype.type(weight)
        part = empty_like(out)
        for weight, f in others:
            finite &= f._filter(x, part)
            part *= part.dtype.type(weight)
            out += part
        return finite and is_finite(out)

    def _apply_parts(self, x: Array) -> Array:
        total = np.zeros_like(x)
        for weight, f in self.terms:
            total += weight * f._apply_reference(x)
        return total


_MOST_PARTS = 1024
"""Filters that a filter may be made of: all of them are applied, compared, printed and written down."""
_DEEPEST = 64  # levels; every one of them is a call within a call


@functools.lru_cache(maxsize=32)
def multiplication(f: Filter, h: int, w: int, dtype: np.dtype[Any], on_device: bool) -> Procedure:
    """The method that multiplies spectra by the response of `f`, which must have one boundary."""
    (boundary,) = f._boundaries
    given = f.response(h, w), boundary, dtype, f._gain
    method: Procedure = procedures_for(on_device).multiplication(*given)
    return method


def procedures_for(on_device: bool) -> Any:
    """The module with the procedures for CUDA devices, or for the host."""
    return cuda if on_device else host


def apply_spectrally(f: Filter, x: Array) -> Array:
    """Multiply the spectrum of `x` by the response of `f`, by SciPy's transforms alone."""
    (boundary,) = f._boundaries
    return spectral.multiply(x, f.response(*x.shape[-2:]).astype(x.dtype), boundary)


def check_filter(f: object) -> None:
    """InputError unless it is a filter."""
    if not isinstance(f, Filter):
        checks.refuse(f, "f", "a filter", "For instance Sobolev(gamma=4).")


def inverse(f: Filter, y: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:
    """The planes that `f` filters to `y`, by SciPy's transforms.

    Parameters
    ----------
    f
        A filter of one boundary condition, whose response is nowhere 0. Strong ones have responses so small
        that the rounding of `y` is all there is to see: use float64.
    y
        Array (..., H, W) as for ``f(y)``. The transforms are made on the host.
    channel_axis
        As in ``f(y)``.

    Returns
    -------
    array
        Library, device, shape and dtype of `y`.

    Raises
    ------
    InputError
        If `f` mixes boundary conditions, its response has a zero, or there is no such channel axis.
    """
    check_filter(f)
    if isinstance(f, _Compound):
        f._require_one_boundary()
    boundary: Boundary = next(iter(f._boundaries), "reflect")
    memory = borrow(y, "y")
    view = ChannelsFirst.borrow(to_host(memory), channel_axis, "y")
    response = f.response(*view.images.shape[-2:])
    if not response.all():
        raise InputError(
            f"{f!r} has a response with zeros on images of {view.images.shape[-2:]}, so it has no inverse."
        )
    factors = (1 / response).astype(view.memory.dtype)
    planes = computed_in_range(lambda x: spectral.multiply(x, factors, boundary), view.images)
    return restore(beside(memory, view.lend(planes)), y)


def _convolve_fully(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(a, len(b) // 2)
    return np.asarray(scipy.ndimage.convolve(padded, b, mode="constant"))


def _factors(f: Filter) -> tuple[Filter, ...]:
    return f.factors if isinstance(f, Composition) else (f,)


def _weighted(f: Filter) -> tuple[tuple[float, Filter], ...]:
    return f.terms if isinstance(f, Combination) else ((1.0, f),)


def _compose(factors: Iterable[Filter]) -> Filter:
    factors = tuple(factors)
    if not factors:
        return Identity()
    return factors[0] if len(factors) == 1 else Composition(factors)
