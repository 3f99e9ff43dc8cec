"""Convolution of image planes with a small symmetric kernel, an image read once and written once.

A kernel that is even in both axes is a sum of terms, each a row filter and a column filter. A single
term (a Gaussian) takes columns first, straight from the plane, four rows at once, and then their
rows. Several terms take rows first, by one of two row filters:

====== ================================================== ===================================
MIXED  sums of the row's pixels left and right at every   a low-rank kernel
       distance, once, then a mixture of them a term
FOLDED those sums themselves, a term a distance           every kernel: the dense stencil, folded
====== ================================================== ===================================

The plane is walked in strips of columns, narrow enough that the filtered rows which the column
filters look back at stay in the cache, and down each strip in blocks of rows. Nothing is written but
the result; what is between the two passes never leaves the cache.

Taps reach the inner loops as tuples: their number is then known when a loop is compiled, which is
unrolled over the taps and vectorised over the pixels. Indices are unsigned there, since a signed one
might count from the end. Sums are not reordered: a result does not depend on strips, blocks or threads.
"""

from __future__ import annotations

import functools
from typing import Any

from numba import uintp
from numba.cpython.unsafe.tuple import tuple_setitem

from ..arrays import Array
from . import pixels
from .compiling import kernel

BLOCK = 32
"""Output rows between two moves of the rows that the next block needs again."""

_source = kernel(pixels.source)
_sign = kernel(pixels.sign)


@kernel
def _as_tuple(taps: Array, term: int, like: Any) -> Any:
    """A row of `taps` as a tuple of the length of `like`."""
    for k in range(len(like)):
        like = tuple_setitem(like, k, taps[term, k])
    return like


@kernel
def _continuation(first: int, count: int, length: int, boundary: int, index: Array, signs: Array) -> None:
    """Where the places first, first + 1, ... of a continued line of `length` pixels come from."""
    for i in range(count):
        index[i] = _source(first + i, length, boundary)
        signs[i] = _sign(first + i, length) if boundary == pixels.ZERO else 1


@kernel
def _continue_rows(
    plane: Array, y: int, x: int, n: int, boundary: int, index: Array, signs: Array, lines: Array, count: int
) -> None:
    """Rows y, y + 1, ... and in them the n + 2 radius places from `x` on, of the continued plane."""
    height, width = plane.shape
    left, right = max(x, 0), min(x + index.size, width)
    for i in range(count):
        source = uintp(_source(y + i, height, boundary))
        for j in range(left, right):
            lines[uintp(i), uintp(j - x)] = plane[source, uintp(j)]
        for j in range(left - x):
            lines[i, j] = plane[source, index[j]] * signs[j]
        for j in range(right - x, index.size):
            lines[i, j] = plane[source, index[j]] * signs[j]
        if boundary == pixels.ZERO:
            factor = _sign(y + i, height)
            for j in range(index.size):
                lines[i, j] *= factor


@kernel
def _fold_rows(lines: Array, n: int, like: Any, sums: Array, start: int, count: int) -> None:
    """Row filter FOLDED: sums of the pixels at every distance left and right; the middle counts once."""
    radius = len(like) - 1
    # A dense kernel may have fewer distances than `like`, which is filled up with zeros.
    for i in range(count):
        for j in range(n):
            sums[uintp(0), uintp(start + i), uintp(j)] = lines[uintp(i), uintp(j + radius)]
        for k in range(1, sums.shape[0]):
            for j in range(n):
                left, right = uintp(j + radius - k), uintp(j + radius + k)
                sums[uintp(k), uintp(start + i), uintp(j)] = lines[uintp(i), left] + lines[uintp(i), right]


@kernel
def _mix_rows(sums: Array, n: int, taps: Any, filtered: Array, t: int, start: int, count: int) -> None:
    """Row filter MIXED of term `t`, from the sums of `_fold_rows`."""
    for i in range(count):
        for j in range(n):
            total = taps[0] * sums[uintp(0), uintp(i), uintp(j)]
            for k in range(1, len(taps)):
                total += taps[k] * sums[uintp(k), uintp(i), uintp(j)]
            filtered[uintp(t), uintp(start + i), uintp(j)] = total


def _column_filters(add: bool) -> Any:
    """The column filter of the first term, or those of all others, which add to its result.

    A branch in the inner loop would keep the compiler from vectorising it, so that `add` is a constant.
    """

    @kernel
    def filter_columns(
        filtered: Array, columns: Array, like: Any, out: Array, y: int, x0: int, n: int, count: int
    ) -> None:
        """`count` rows of `out` from y on, four at once while there are four: they share what they read."""
        radius = len(like) - 1
        terms = range(1, columns.shape[0]) if add else range(1)
        for i in range(0, count - 3, 4):
            for t in terms:
                taps = _as_tuple(columns, t, like)
                for j in range(n):
                    x, to = uintp(j), uintp(x0 + j)
                    a = taps[0] * filtered[uintp(t), uintp(i + radius), x]
                    b = taps[0] * filtered[uintp(t), uintp(i + radius + 1), x]
                    c = taps[0] * filtered[uintp(t), uintp(i + radius + 2), x]
                    d = taps[0] * filtered[uintp(t), uintp(i + radius + 3), x]
                    for k in range(1, radius + 1):
                        o, u = i + radius - k, i + radius + k
                        a += taps[k] * (filtered[uintp(t), uintp(o), x] + filtered[uintp(t), uintp(u), x])
                        b += taps[k] * (
                            filtered[uintp(t), uintp(o + 1), x] + filtered[uintp(t), uintp(u + 1), x]
                        )
                        c += taps[k] * (
                            filtered[uintp(t), uintp(o + 2), x] + filtered[uintp(t), uintp(u + 2), x]
                        )
                        d += taps[k] * (
                            filtered[uintp(t), uintp(o + 3), x] + filtered[uintp(t), uintp(u + 3), x]
                        )
                    if add:
                        a += out[uintp(y + i), to]
                        b += out[uintp(y + i + 1), to]
                        c += out[uintp(y + i + 2), to]
                        d += out[uintp(y + i + 3), to]
                    out[uintp(y + i), to] = a
                    out[uintp(y + i + 1), to] = b
                    out[uintp(y + i + 2), to] = c
                    out[uintp(y + i + 3), to] = d
        for i in range(count - count % 4, count):
            for t in terms:
                taps = _as_tuple(columns, t, like)
                for j in range(n):
                    x, to = uintp(j), uintp(x0 + j)
                    a = taps[0] * filtered[uintp(t), uintp(i + radius), x]
                    for k in range(1, radius + 1):
                        o, u = uintp(i + radius - k), uintp(i + radius + k)
                        a += taps[k] * (filtered[uintp(t), o, x] + filtered[uintp(t), u, x])
                    if add:
                        a += out[uintp(y + i), to]
                    out[uintp(y + i), to] = a

    return filter_columns


_set_columns = _column_filters(add=False)
_add_columns = _column_filters(add=True)


@functools.partial(kernel, fastmath=frozenset({"contract", "reassoc"}))
def _poison(out: Array, y: int, x0: int, n: int, count: int) -> Any:
    """Zero, or NaN where a value is not finite."""
    zero = out.dtype.type(0)
    poison = zero
    for i in range(count):
        for j in range(n):
            poison += out[uintp(y + i), uintp(x0 + j)] * zero
    return poison


@kernel
def _keep_rows(filtered: Array, count: int, n: int) -> None:
    """Move the last `count` rows to the front."""
    for t in range(filtered.shape[0]):
        for i in range(count):
            for j in range(n):
                filtered[uintp(t), uintp(i), uintp(j)] = filtered[uintp(t), uintp(BLOCK + i), uintp(j)]


@kernel
def _filter_strip(
    plane: Array,
    out: Array,
    columns: Array,
    rows: Array,
    like: Any,
    folded: bool,
    boundary: int,
    y0: int,
    y1: int,
    x0: int,
    n: int,
    lines: Array,
    sums: Array,
    filtered: Array,
    index: Array,
    signs: Array,
) -> Any:
    radius, terms = len(like) - 1, columns.shape[0]
    poison = out.dtype.type(0)
    index, signs = index[: n + 2 * radius], signs[: n + 2 * radius]
    _continuation(x0 - radius, n + 2 * radius, plane.shape[1], boundary, index, signs)
    for y in range(y0, y1, BLOCK):
        have = 2 * radius if y > y0 else 0
        _keep_rows(filtered, have, n)
        height = min(BLOCK, y1 - y)
        count = height + 2 * radius - have
        _continue_rows(plane, y - radius + have, x0 - radius, n, boundary, index, signs, lines, count)
        if folded:
            _fold_rows(lines, n, like, filtered, have, count)
        else:
            _fold_rows(lines, n, like, sums, 0, count)
            for t in range(terms):
                _mix_rows(sums, n, _as_tuple(rows, t, like), filtered, t, have, count)
        _set_columns(filtered, columns, like, out, y, x0, n, height)
        if terms > 1:
            _add_columns(filtered, columns, like, out, y, x0, n, height)
        poison += _poison(out, y, x0, n, height)
    return poison


@kernel
def _filter_four_columns(source: Array, y: int, x: int, n: int, taps: Any, lines: Array, to: int) -> None:
    """Column filter of four rows, from rows y to y + 2 radius + 3 and columns x to x + n of `source`."""
    radius = len(taps) - 1
    for j in range(n):
        at, place = uintp(x + j), uintp(to + j)
        a = taps[0] * source[uintp(y + radius), at]
        b = taps[0] * source[uintp(y + radius + 1), at]
        c = taps[0] * source[uintp(y + radius + 2), at]
        d = taps[0] * source[uintp(y + radius + 3), at]
        for k in range(1, radius + 1):
            o, u = y + radius - k, y + radius + k
            a += taps[k] * (source[uintp(o), at] + source[uintp(u), at])
            b += taps[k] * (source[uintp(o + 1), at] + source[uintp(u + 1), at])
            c += taps[k] * (source[uintp(o + 2), at] + source[uintp(u + 2), at])
            d += taps[k] * (source[uintp(o + 3), at] + source[uintp(u + 3), at])
        lines[uintp(0), place] = a
        lines[uintp(1), place] = b
        lines[uintp(2), place] = c
        lines[uintp(3), place] = d


@kernel
def _filter_lines(lines: Array, n: int, taps: Any, out: Array, y: int, x0: int, count: int) -> None:
    """Row filter of the first `count` lines into `out`."""
    radius = len(taps) - 1
    for i in range(count):
        for j in range(n):
            total = taps[0] * lines[uintp(i), uintp(j + radius)]
            for k in range(1, radius + 1):
                left, right = uintp(j + radius - k), uintp(j + radius + k)
                total += taps[k] * (lines[uintp(i), left] + lines[uintp(i), right])
            out[uintp(y + i), uintp(x0 + j)] = total


@kernel
def _filter_strip_separably(
    plane: Array,
    out: Array,
    columns: Array,
    rows: Array,
    like: Any,
    boundary: int,
    y0: int,
    y1: int,
    x0: int,
    n: int,
    lines: Array,
    window: Array,
    index: Array,
    signs: Array,
) -> Any:
    """One term: columns first, straight from the plane, then rows, from a copy of four lines."""
    height, width = plane.shape
    radius = len(like) - 1
    poison = out.dtype.type(0)
    index, signs = index[: n + 2 * radius], signs[: n + 2 * radius]
    first = x0 - radius
    left, right = max(first, 0), min(x0 + n + radius, width)
    _continuation(first, n + 2 * radius, width, boundary, index, signs)
    for y in range(y0, y1, 4):
        if radius <= y <= height - radius - 4:
            _filter_four_columns(
                plane, y - radius, left, right - left, _as_tuple(columns, 0, like), lines, left - first
            )
            for i in range(4):
                for j in range(left - first):
                    lines[i, j] = lines[i, index[j] - first] * signs[j]
                for j in range(right - first, n + 2 * radius):
                    lines[i, j] = lines[i, index[j] - first] * signs[j]
        else:
            _continue_rows(plane, y - radius, first, n, boundary, index, signs, window, 2 * radius + 4)
            _filter_four_columns(window, 0, 0, n + 2 * radius, _as_tuple(columns, 0, like), lines, 0)
        count = min(4, y1 - y)
        _filter_lines(lines, n, _as_tuple(rows, 0, like), out, y, x0, count)
        poison += _poison(out, y, x0, n, count)
    return poison


@kernel
def _split(work: Array, height: int, width: int) -> Any:
    """The beginning of a piece of memory as an array (height, width), and what is left of it."""
    return work[: height * width].reshape(height, width), work[height * width :]


@kernel
def _rows_of(p: int, blocks: int, height: int, start: int, stop: int) -> tuple[int, int]:
    """The rows of plane `p` that are in the blocks from `start` to `stop`, counted through all planes."""
    return BLOCK * max(start - p * blocks, 0), min(BLOCK * (stop - p * blocks), height)


def scratch(terms: int, radius: int, folded: bool, strip: int) -> int:
    """How many numbers of scratch memory a kernel takes."""
    tall, wide = BLOCK + 2 * radius, strip + 2 * radius
    if terms == 1 and not folded:
        return (2 * radius + 9) * wide
    return (terms + (0 if folded else radius + 1)) * tall * strip + (tall + 1) * wide


@kernel
def convolve_separably(
    x: Array,
    out: Array,
    columns: Array,
    rows: Array,
    like: Any,
    boundary: int,
    strip: int,
    work: Array,
    places: Array,
    start: int,
    stop: int,
) -> bool:
    """Convolve some blocks of a stack of planes with a kernel of one term; see `convolve`."""
    height, width = x.shape[1:]
    radius = len(like) - 1
    wide = strip + 2 * radius
    lines, work = _split(work, 4, wide)
    window, signs = _split(work, 2 * radius + 4, wide)
    poison = x.dtype.type(0)
    blocks = (height + BLOCK - 1) // BLOCK
    for p in range(start // blocks, (stop + blocks - 1) // blocks):
        y0, y1 = _rows_of(p, blocks, height, start, stop)
        for x0 in range(0, width, strip):
            n = min(strip, width - x0)
            poison += _filter_strip_separably(
                x[p], out[p], columns, rows, like, boundary, y0, y1, x0, n, lines, window, places, signs
            )
    return bool(poison == 0)


@kernel
def convolve(
    x: Array,
    out: Array,
    columns: Array,
    rows: Array,
    like: Any,
    folded: bool,
    boundary: int,
    strip: int,
    work: Array,
    places: Array,
    start: int,
    stop: int,
) -> bool:
    """Convolve some blocks of a stack of planes with a kernel of any number of terms.

    Parameters
    ----------
    x
        (P, H, W), C-contiguous, read only.
    out
        (P, H, W) of the dtype of `x`, which it must not overlap.
    columns, rows
        (terms, radius + 1) of that dtype: the taps of every term from the middle outwards. Where the row
        filter is FOLDED, term l stands for the distance l along the row, and `rows` is not looked at.
    like
        A tuple of radius + 1 scalars of that dtype.
    folded
        Whether the row filter is FOLDED, not MIXED.
    boundary
        REFLECT, PERIODIC or ZERO of `kernels.pixels`.
    strip
        Columns that are filtered together, at most W; all of them in the separable kernel with PERIODIC.
    work, places
        Scratch memory: `scratch` numbers of that dtype, and strip + 2 radius integers.
    start, stop
        Which blocks of BLOCK rows, counted through all planes; the last of a plane may have less.

    Returns
    -------
    bool
        Whether all of the rows written are finite.
    """
    height, width = x.shape[1:]
    radius, terms = len(like) - 1, columns.shape[0]
    tall, wide = BLOCK + 2 * radius, strip + 2 * radius
    filtered, work = _split(work, terms * tall, strip)
    sums, work = _split(work, 0 if folded else (radius + 1) * tall, strip)
    lines, signs = _split(work, tall, wide)
    filtered = filtered.reshape(terms, tall, strip)
    sums = sums.reshape(sums.shape[0] // tall, tall, strip)
    poison = x.dtype.type(0)
    blocks = (height + BLOCK - 1) // BLOCK
    for p in range(start // blocks, (stop + blocks - 1) // blocks):
        y0, y1 = _rows_of(p, blocks, height, start, stop)
        for x0 in range(0, width, strip):
            n = min(strip, width - x0)
            poison += _filter_strip(
                x[p],
                out[p],
                columns,
                rows,
                like,
                folded,
                boundary,
                y0,
                y1,
                x0,
                n,
                lines,
                sums,
                filtered,
                places,
                signs,
            )
    return bool(poison == 0)
