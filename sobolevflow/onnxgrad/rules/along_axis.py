"""Adjoints of linear maps along one axis: of copies, as in Pad and Gather, and of resampling.

Along a short axis such a map is a matrix, and its adjoint the product with the transposed one. That matrix
grows with the square of the length; along a long axis an adjoint takes memory in proportion to it:

* copies in a few runs, forwards, backwards or of one sample, as those of Pad are, by slices;
* else, each sample gathers what was made of it, weighted, where no sample went to many more than the others;
* else, all that was made of the samples is scattered to them, by addition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backward import Step
from ..builder import Value

# Entries of a matrix up to which the product is used. On a CPU it is the faster way where an axis is shorter
# than 200 or so; at 512 to 512 entries it takes two to five times as long.
DENSE = 1 << 17
_MOST_RUNS = 8
# How many times the entries that are there a gather may look at.
_WASTE = 4
# The base in which the place of a sample is told: small enough to be told exactly in float32.
_BASE = 1024
_TOLERANCE = 1e-3
_CHUNK = 1 << 20  # numbers that are resampled at once to find out how


@dataclass(frozen=True)
class Taps:
    """A sparse matrix: entry k takes ``weights[k]`` times sample ``sources[k]`` to output ``outputs[k]``."""

    outputs: np.ndarray
    sources: np.ndarray
    weights: np.ndarray

    def dense(self, size: int, out: int) -> np.ndarray:
        """The matrix (out, size)."""
        matrix = np.zeros((out, size))
        np.add.at(matrix, (self.outputs, self.sources), self.weights)
        return matrix


def is_short(size: int, out: int) -> bool:
    """Whether a map from `size` entries to `out` is laid out as a matrix."""
    return size * out <= DENSE


def gather_adjoint(s: Step, g: Value, shape: list[int], axis: int, size: int, sources: np.ndarray) -> Value:
    """Adjoint of y = x[sources] along one axis of `g`, which has `shape`; `size` is the axis' in x."""
    count = len(sources)
    if is_short(size, count):
        matrix = np.zeros((size, count))
        matrix[sources, np.arange(count)] = 1
        return apply_along(s, g, shape, axis, matrix)
    runs = _runs(sources)
    if runs is not None:
        return _from_runs(s, g, axis, size, runs, len(shape))
    return taps_adjoint(s, g, shape, axis, size, Taps(np.arange(count), sources, np.ones(count)))


def apply_along(s: Step, g: Value, shape: list[int], axis: int, matrix: np.ndarray) -> Value:
    """Multiply one axis of `g` by `matrix` (new size, old size)."""
    flat = s.reshape(g, _flat(shape, axis))
    product = s.op("MatMul", s.const(matrix), flat)
    return s.reshape(product, [*shape[:axis], matrix.shape[0], *shape[axis + 1 :]])


def _flat(shape: list[int], axis: int) -> tuple[int, int, int]:
    """The shape with the axes in front of one, and those behind it, as one each."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@dataclass(frozen=True)
class _Run:
    """Outputs from `start` to `stop` that copy the samples from `first` on, step by step."""

    start: int
    stop: int
    first: int
    step: int

    @property
    def lowest(self) -> int:
        """The lowest sample."""
        return self.first if self.step >= 0 else self.first - (self.stop - self.start - 1)


def _runs(sources: np.ndarray) -> list[_Run] | None:
    """The sources as a few runs; None if they are not."""
    steps, runs, start = np.diff(sources), list[_Run](), 0
    while start < len(sources):
        if len(runs) == _MOST_RUNS:
            return None
        step = int(steps[start]) if start < len(steps) and abs(steps[start]) <= 1 else 1
        breaks = steps[start:] != step
        stop = start + int(breaks.argmax()) + 1 if breaks.any() else len(sources)
        runs.append(_Run(start, stop, int(sources[start]), step))
        start = stop
    return runs


def _from_runs(s: Step, g: Value, axis: int, size: int, runs: list[_Run], rank: int) -> Value:
    parts = []
    for run in runs:
        part, count = _slice(s, g, axis, run), run.stop - run.start
        if run.step == 0 and count > 1:
            part, count = s.sum(part, [axis], keepdims=True), 1
        pads = [0] * (2 * rank)
        pads[axis], pads[rank + axis] = run.lowest, size - run.lowest - count
        parts.append(s.op("Pad", part, s.ints(pads)) if any(pads) else part)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _slice(s: Step, g: Value, axis: int, run: _Run) -> Value:
    if run.step >= 0:
        return s.op("Slice", g, s.ints([run.start]), s.ints([run.stop]), s.ints([axis]))
    before = run.start - 1 if run.start else np.iinfo(np.int64).min
    return s.op("Slice", g, s.ints([run.stop - 1]), s.ints([before]), s.ints([axis]), s.ints([-1]))


def taps_adjoint(s: Step, g: Value, shape: list[int], axis: int, size: int, taps: Taps) -> Value:
    """Adjoint of a sparse matrix along one axis of `g`, in memory in proportion to its entries."""
    order = np.argsort(taps.sources, kind="stable")
    taps = Taps(taps.outputs[order], taps.sources[order], taps.weights[order])
    counts = np.bincount(taps.sources, minlength=size)
    flat, few = _flat(shape, axis), int(counts.max()) * size <= _WASTE * max(len(taps.sources), size)
    adjoint = _gathered if few else _scattered
    found = adjoint(s, s.reshape(g, flat), flat, counts, taps)
    return s.reshape(found, [*shape[:axis], size, *shape[axis + 1 :]])


def _gathered(s: Step, g: Value, flat: tuple[int, int, int], counts: np.ndarray, taps: Taps) -> Value:
    """Each sample's weighted sum over what was made of it: the k-th of each, for all k, in one gather."""
    size, most = len(counts), max(int(counts.max()), 1)
    rank = np.arange(len(taps.sources)) - np.repeat(np.cumsum(counts) - counts, counts)
    where, factor = np.zeros((most, size), np.int64), np.zeros((most, size, 1))
    where[rank, taps.sources], factor[rank, taps.sources, 0] = taps.outputs, taps.weights
    taken = s.op("Gather", g, s.const(where.reshape(-1), np.int64), axis=1)
    if most == 1:
        return taken if (factor == 1).all() else taken * factor[0]
    return s.sum(s.reshape(taken, (flat[0], most, size, flat[2])) * factor, [1])


def _scattered(s: Step, g: Value, flat: tuple[int, int, int], counts: np.ndarray, taps: Taps) -> Value:
    """All that was made of the samples, weighted, added to them."""
    before, _, after = flat
    shares = s.op("Gather", g, s.const(taps.outputs, np.int64), axis=1)
    if not (taps.weights == 1).all():
        shares = shares * taps.weights[:, None]
    where = s.const(taps.sources.reshape(1, -1, 1), np.int64)
    where = s.expand(where, (before, len(taps.sources), after))
    blank = s.expand(0, (before, len(counts), after))
    return s.op("ScatterElements", blank, where, shares, axis=1, reduction="add")


def taps_of(resample: Callable[[np.ndarray], np.ndarray], size: int, out: int, width: int) -> Taps:
    """The matrix of a resampling along an axis, found from what it makes of combs.

    Parameters
    ----------
    resample : callable
        From rows (N, size) to rows (N, out), float32.
    width : int
        How many neighbours an output may take. If there are more, that is noticed, and combs are tried that
        are further apart.
    """
    while True:
        period = min(width, size)
        found = _taps_of(resample, size, out, period)
        if found is not None:
            return found
        width *= 2


def _taps_of(resample: Callable[[np.ndarray], np.ndarray], size: int, out: int, period: int) -> Taps | None:
    """The taps, if no output takes two samples that are `period` apart: then a comb shows one weight each.

    Which tooth it is the weight of, is told by combs whose teeth are numbered, in two digits.
    """
    teeth = np.arange(size) // period
    digits = [np.ones(size), 1 + teeth % _BASE, 1 + teeth // _BASE]
    parts = []
    together = max(_CHUNK // (len(digits) * size), 1)
    for start in range(0, period, together):
        offsets = np.arange(start, min(start + together, period))
        combs = (np.arange(size) % period == offsets[:, None])[:, None] * np.asarray(digits, np.float32)
        made = resample(combs.reshape(-1, size).astype(np.float32)).reshape(len(offsets), len(digits), out)
        weight, *numbered = np.moveaxis(made, 1, 0).astype(np.float64)
        offset, output = np.nonzero(made.any(axis=1))
        weight = weight[offset, output]
        if not weight.all():
            return None
        low, high = (n[offset, output] / weight - 1 for n in numbered)
        if any(np.abs(digit - np.rint(digit)).max(initial=0) > _TOLERANCE for digit in (low, high)):
            return None
        tooth = np.rint(low) + _BASE * np.rint(high)
        parts.append((output, (tooth * period).astype(np.int64) + offsets[offset], weight))
    outputs, sources, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Taps(outputs, sources, weights)
