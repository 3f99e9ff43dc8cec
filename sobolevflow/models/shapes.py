"""Pictures of simple shapes and patterns, drawn from a random generator.

The bundled networks are trained on these pictures, so anybody can make as many fresh ones as a
test needs. A class is one function in `_PATTERNS`: given coordinates it returns the signed distance, in
pixels, to the edge of the shape (positive inside). Everything else (place, angle, colours,
shading, noise) is common to all classes and cannot give a class away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sobolevflow import checks
from sobolevflow.capacity import check_fits
from sobolevflow.errors import InputError, UnknownNameError, did_you_mean

Field = NDArray[np.float64]
Pattern = Callable[[Field, Field, np.random.Generator], Field]

SIZE = 96
_BYTES = 3 * 8  # a pixel
"""Edge length of the training pictures; all lengths below are pixels of a picture this large."""

_LUMA = np.array([0.299, 0.587, 0.114])
_MIN_CONTRAST = 0.3


# --- lengths and folds -----------------------------------------------------------------------


def _band(t: Field, period: float, width: float) -> Field:
    """Signed distance to bands of the given width that repeat along t, one centred at 0."""
    return width / 2 - np.abs(t - period * np.round(t / period))


def _union(a: Field, b: Field) -> Field:
    """Inside either shape."""
    distance: Field = np.maximum(a, b)
    return distance


def _intersection(a: Field, b: Field) -> Field:
    """Inside both shapes."""
    distance: Field = np.minimum(a, b)
    return distance


def _triangle_wave(t: Field, period: float) -> Field:
    """Zigzag between -period/4 and period/4 with slopes of one."""
    return np.abs(t - period * np.round(t / period)) - period / 4


def _polar(x: Field, y: Field) -> tuple[Field, Field]:
    return np.hypot(x, y), np.arctan2(y, x)


def _off_centre(x: Field, y: Field, rng: np.random.Generator, reach: float = 22) -> tuple[Field, Field]:
    """Move the origin by up to `reach` pixels from the middle of the picture."""
    return x - rng.uniform(-reach, reach), y - rng.uniform(-reach, reach)


def _scatter(x: Field, y: Field, period: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """Coordinates about the nearest point of a shifted square lattice, turned at random per cell."""
    x, y = x - rng.uniform(0, period), y - rng.uniform(0, period)
    column, row = np.round(x / period), np.round(y / period)
    dx, dy = x - period * column, y - period * row
    turns = rng.uniform(0, 2 * np.pi, size=(8, 8))
    angle = turns[row.astype(int) % 8, column.astype(int) % 8]
    c, s = np.cos(angle), np.sin(angle)
    return c * dx - s * dy, s * dx + c * dy


def _motif_cell(x: Field, y: Field, rng: np.random.Generator) -> tuple[Field, Field, float]:
    """Scatter cells for one motif; also the radius of the largest motif that stays in its cell."""
    period = rng.uniform(27, 56)
    return *_scatter(x, y, period, rng), rng.uniform(0.4, 0.48) * period


# --- the classes -----------------------------------------------------------------------------


def _stripes(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period = rng.uniform(8, 26)
    return _band(x + rng.uniform(0, period), period, rng.uniform(0.4, 0.6) * period)


def _checkers(x: Field, y: Field, rng: np.random.Generator) -> Field:
    side = rng.uniform(8, 22)
    x, y = x + rng.uniform(0, 2 * side), y + rng.uniform(0, 2 * side)
    to_column, to_row = _band(x, 2 * side, side), _band(y, 2 * side, side)
    return np.sign(to_column * to_row) * np.minimum(np.abs(to_column), np.abs(to_row))


def _dots(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period = rng.uniform(13, 32)
    dx, dy = _scatter(x, y, period, rng)
    return rng.uniform(0.27, 0.4) * period - np.hypot(dx, dy)


def _rings(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period = rng.uniform(10, 22)
    radius, _ = _polar(*_off_centre(x, y, rng))
    return _band(radius + rng.uniform(0, period), period, rng.uniform(0.35, 0.6) * period)


def _spiral(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period, arms = rng.uniform(10, 20), rng.integers(1, 4)
    radius, angle = _polar(*_off_centre(x, y, rng))
    turn = rng.choice([-1, 1]) * arms * angle / (2 * np.pi)
    return _band(radius + period * turn, period, rng.uniform(0.35, 0.6) * period)


def _rays(x: Field, y: Field, rng: np.random.Generator) -> Field:
    sector = 2 * np.pi / rng.integers(6, 14)
    radius, angle = _polar(*_off_centre(x, y, rng))
    return radius * _band(angle, sector, rng.uniform(0.4, 0.6) * sector)


def _bricks(x: Field, y: Field, rng: np.random.Generator) -> Field:
    height = rng.uniform(9, 20)
    width, joint = rng.uniform(1.9, 2.6) * height, rng.uniform(0.14, 0.24) * height
    y = y + rng.uniform(0, 2 * height)
    x = x + rng.uniform(0, width) + width / 2 * (np.round(y / height) % 2)
    return _intersection(_band(x, width, width - joint), _band(y, height, height - joint))


def _grid(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period = rng.uniform(11, 27)
    x, y = x + rng.uniform(0, period), y + rng.uniform(0, period)
    line = rng.uniform(0.14, 0.28) * period
    return _union(_band(x, period, line), _band(y, period, line))


def _waves(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period, wavelength = rng.uniform(10, 22), rng.uniform(24, 48)
    slope = rng.uniform(0.9, 1.4)
    phase = 2 * np.pi / wavelength * x + rng.uniform(0, 2 * np.pi)
    crest = slope * wavelength / (2 * np.pi) * np.sin(phase)
    steepness = np.sqrt(1 + (slope * np.cos(phase)) ** 2)
    return _band(y + crest, period, rng.uniform(0.4, 0.6) * period) / steepness


def _zigzag(x: Field, y: Field, rng: np.random.Generator) -> Field:
    period, wavelength = rng.uniform(12, 24), rng.uniform(20, 44)
    slope = rng.uniform(0.8, 1.4)
    crest = slope * _triangle_wave(x + rng.uniform(0, wavelength), wavelength)
    return _band(y + crest, period, rng.uniform(0.4, 0.6) * period) / math.hypot(1, slope)


def _honeycomb(x: Field, y: Field, rng: np.random.Generator) -> Field:
    width = rng.uniform(15, 30)
    x, y = x + rng.uniform(0, width), y + rng.uniform(0, width)
    row = np.sqrt(3) * width
    cells = _union(_hexagon(x, y, width, row), _hexagon(x - width / 2, y - row / 2, width, row))
    return rng.uniform(0.07, 0.13) * width - cells


def _hexagon(x: Field, y: Field, width: float, row: float) -> Field:
    """Distance from inside to the edge of the hexagons on a rectangular lattice of (width, row)."""
    dx, dy = np.abs(x - width * np.round(x / width)), np.abs(y - row * np.round(y / row))
    to_side: Field = np.maximum(dx, dx / 2 + np.sqrt(3) / 2 * dy)
    return width / 2 - to_side


def _stars(x: Field, y: Field, rng: np.random.Generator) -> Field:
    dx, dy, tip = _motif_cell(x, y, rng)
    radius, angle = _polar(dx, dy)
    sector = 2 * np.pi / 5
    folded = np.abs(angle - sector * np.round(angle / sector))
    notch = rng.uniform(0.38, 0.46) * tip
    edge_x, edge_y = notch * np.cos(sector / 2) - tip, notch * np.sin(sector / 2)
    across: Field = edge_x * radius * np.sin(folded) - edge_y * (radius * np.cos(folded) - tip)
    return across / math.hypot(edge_x, edge_y)


def _hearts(x: Field, y: Field, rng: np.random.Generator) -> Field:
    dx, dy, extent = _motif_cell(x, y, rng)
    half = 0.5 * extent
    u, v = (dx - dy) / np.sqrt(2), (dx + dy) / np.sqrt(2)
    u, v = u + half / 4, v + half / 4
    square = half - np.maximum(np.abs(u), np.abs(v))
    lobes = half - np.minimum(np.hypot(u - half, v), np.hypot(u, v - half))
    return _union(square, lobes)


def _crosses(x: Field, y: Field, rng: np.random.Generator) -> Field:
    dx, dy, reach = _motif_cell(x, y, rng)
    dx, dy = np.abs(dx), np.abs(dy)
    bar = rng.uniform(0.2, 0.32) * reach
    return _intersection(reach - np.maximum(dx, dy), bar - np.minimum(dx, dy))


def _triangles(x: Field, y: Field, rng: np.random.Generator) -> Field:
    dx, dy, corner = _motif_cell(x, y, rng)
    to_side: Field = np.maximum(np.abs(dx) * np.sqrt(3) / 2 + dy / 2, -dy)
    return corner / 2 - to_side


def _moons(x: Field, y: Field, rng: np.random.Generator) -> Field:
    dx, dy, radius = _motif_cell(x, y, rng)
    bite = rng.uniform(0.75, 0.9) * radius
    shift = rng.uniform(0.45, 0.6) * radius
    return _intersection(radius - np.hypot(dx, dy), np.hypot(dx - shift, dy) - bite)


_PATTERNS: dict[str, Pattern] = {
    "stripes": _stripes,
    "checkers": _checkers,
    "dots": _dots,
    "rings": _rings,
    "spiral": _spiral,
    "rays": _rays,
    "bricks": _bricks,
    "grid": _grid,
    "waves": _waves,
    "zigzag": _zigzag,
    "honeycomb": _honeycomb,
    "stars": _stars,
    "hearts": _hearts,
    "crosses": _crosses,
    "triangles": _triangles,
    "moons": _moons,
}

CLASSES: tuple[str, ...] = tuple(_PATTERNS)
"""Names of the classes; a label is an index into this tuple."""


# --- from a field to a picture -----------------------------------------------------------------


def _coordinates(size: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Pixel coordinates about the middle of the picture, turned by a random angle."""
    axis = ((np.arange(size) + 0.5) / size - 0.5) * SIZE
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    x, y = axis[None, :], axis[:, None]
    return c * x - s * y, s * x + c * y


def _two_colours(rng: np.random.Generator) -> Field:
    """Two RGB colours (2, 3) that differ by at least `_MIN_CONTRAST` in luma."""
    while True:
        colours = rng.uniform(0, 1, size=(2, 3))
        if abs((colours[0] - colours[1]) @ _LUMA) >= _MIN_CONTRAST:
            return colours


def _shade(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Brightness of a soft light: it varies linearly across the picture, by up to a fifth in all."""
    slope = rng.uniform(-0.2, 0.2, size=2) / SIZE
    brightness: Field = 1 + slope[0] * x + slope[1] * y
    return brightness


def draw(name: str, rng: np.random.Generator, size: int = SIZE) -> NDArray[np.float32]:
    """Draw one picture of a class.

    Parameters
    ----------
    name : str
        One of `CLASSES`.
    rng : numpy.random.Generator
        Source of place, angle, scale, colours, shading and noise.
    size : int
        Edge length in pixels; the shapes scale with it.

    Returns
    -------
    numpy.ndarray
        float32, (3, size, size), RGB in [0, 1].

    Raises
    ------
    UnknownNameError
        If there is no such class.
    InputError
        If `size` is not positive.

    Notes
    -----
    About one millisecond at the default size.
    """
    size = checks.count(size, "size")
    check_fits(_BYTES * size**2, f"a picture of {size}x{size} pixels", "draw a smaller one")
    if not isinstance(rng, np.random.Generator):
        checks.refuse(rng, "rng", "one such as numpy.random.default_rng(0)")
    if checks.text(name, "a picture class", "the name of one") not in _PATTERNS:
        raise UnknownNameError(
            f"No picture class {name!r}: the classes are {', '.join(CLASSES)}.{did_you_mean(name, CLASSES)}"
        )
    x, y = _coordinates(size, rng)
    softness = rng.uniform(1.0, 2.5) * SIZE / size
    coverage = np.clip(0.5 + _PATTERNS[name](x, y, rng) / softness, 0, 1)
    back, front = _two_colours(rng)[:, :, None, None]
    picture: Field = (back + (front - back) * coverage) * _shade(x, y, rng)
    picture += rng.uniform(0, 0.06) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture, 0, 1).astype(np.float32)


def generate(
    n: int, rng: np.random.Generator, size: int = SIZE, classes: Sequence[str] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw pictures with their labels, all classes equally often, in random order.

    Parameters
    ----------
    n : int
        How many pictures.
    rng : numpy.random.Generator
        The only source of randomness: equal generators give equal pictures.
    size : int
        Edge length in pixels.
    classes : sequence of str, optional
        Draw only these; all of `CLASSES` by default.

    Returns
    -------
    images : numpy.ndarray
        float32, (n, 3, size, size), RGB in [0, 1].
    labels : numpy.ndarray
        int64, (n,), indices into `CLASSES` also where `classes` is given.

    Raises
    ------
    UnknownNameError
        If `classes` holds a name that is not in `CLASSES`.
    InputError
        If `n` is negative, `classes` is empty or `size` is not positive.
    """
    names = CLASSES if classes is None else tuple(classes)
    if n < 0 or not names:
        raise InputError(
            f"Cannot draw {n} pictures of {len(names)} classes: both must be at least zero and one."
        )
    order = rng.permutation(np.arange(n) % len(names))
    images = np.empty((n, 3, size, size), np.float32)
    for image, i in zip(images, order, strict=True):
        image[...] = draw(names[i], rng, size)
    labels = np.array([CLASSES.index(names[i]) for i in order], np.int64)
    return images, labels
