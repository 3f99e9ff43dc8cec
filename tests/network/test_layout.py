"""The meaning of axes, held against arrays that carry the coordinates of what they mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sobolevflow.network.layout import Layout


def varies(coordinate: np.ndarray, axis: int) -> bool:
    """Whether an array changes along an axis."""
    return bool(np.any(np.diff(coordinate, axis=axis)))


def check(layout: Layout, coordinates: dict[str, np.ndarray]) -> None:
    """Every axis means what its coordinates say; what is unknown claims nothing."""
    for k, (axis, meaning) in enumerate(zip(layout.axes, layout.meanings, strict=True)):
        size = next(iter(coordinates.values())).shape[k]
        assert math.prod(n for _, n in axis) == size
        if "?" in meaning:
            continue
        for name, values in coordinates.items():
            if varies(values, k):
                assert name in meaning
        for name, length in axis:
            if length > 1:
                assert varies(coordinates[name], k)


@st.composite
def moves(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]]:
    """A shape of (N, C, H, W), and transpositions and reshapes of it."""
    sizes = st.sampled_from((1, 2, 3, 4, 6))
    start = tuple(draw(st.tuples(sizes, sizes, sizes, sizes)))
    shape, steps = list(start), []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            order = tuple(draw(st.permutations(range(len(shape)))))
            steps.append(("transpose", order))
            shape = [shape[k] for k in order]
            continue
        left = math.prod(shape)
        new: list[int] = []
        while left > 1 and len(new) < 5:
            size = draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0]))
            new.append(size)
            left //= size
        shape = [*new, left] if left > 1 or not new else new
        steps.append(("reshape", tuple(shape)))
    return start, steps


@settings(max_examples=300)
@given(moves())
def test_axes_mean_what_their_coordinates_say(
    case: tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]],
) -> None:
    shape, steps = case
    layout = Layout.of("NCHW", shape)
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij")
    coordinates = dict(zip("NCHW", grids, strict=True))
    for step, how in steps:
        if step == "transpose":
            layout = layout.permuted(how)
            coordinates = {name: values.transpose(how) for name, values in coordinates.items()}
        else:
            layout = layout.reshaped(how)
            coordinates = {name: values.reshape(how) for name, values in coordinates.items()}
        check(layout, coordinates)


NHWC = Layout.of("NHWC", (1, 14, 21, 8))


@pytest.mark.parametrize(
    ("shape", "meanings", "channels"),
    [
        ((1, 294, 8), ("N", "HW", "C"), (2,)),
        ((294, 8), ("NHW", "C"), (1,)),
        ((1, 14 * 21 * 8), ("N", "HWC"), (1,)),
        ((1, 14, 21, 4, 2), ("N", "H", "W", "C", "C"), (3, 4)),
        ((1, 2, 7, 3, 7, 8), ("N", "H", "H", "W", "W", "C"), (5,)),
        ((1, 14, 21, 1, 8), ("N", "H", "W", "", "C"), (4,)),
        ((1, 21, 14, 8), ("N", "?", "?", "C"), (3,)),
        ((1, 14, 168), ("N", "H", "WC"), (2,)),
        ((5, 7), ("?", "?"), ()),
    ],
)
def test_a_reshape_merges_and_splits(
    shape: tuple[int, ...], meanings: tuple[str, ...], channels: tuple[int, ...]
) -> None:
    found = NHWC.reshaped(shape)
    assert found.meanings == meanings
    assert found.channel_axes == channels


def test_windows_are_put_together_again() -> None:
    cut = NHWC.reshaped((1, 2, 7, 3, 7, 8)).permuted((0, 1, 3, 2, 4, 5)).reshaped((6, 49, 8))
    assert cut.meanings == ("NHW", "HW", "C")
    assert cut.channel_axes == (2,)
    assert not cut.is_map
    back = cut.reshaped((1, 2, 3, 7, 7, 8)).permuted((0, 1, 3, 2, 4, 5)).reshaped((1, 14, 21, 8))
    assert back == NHWC
    assert back.is_map


@pytest.mark.parametrize("left", [1, 3])
def test_channels_become_pixels_and_pixels_channels(left: int) -> None:
    small = Layout.of("NCHW", (1, 4 * left, 5, 6))
    large = small.reshaped((1, left, 2, 2, 5, 6)).permuted((0, 1, 4, 2, 5, 3)).reshaped((1, left, 10, 12))
    assert large.channel_axes == (1,)
    assert large.is_map
    gathered = Layout.of("NHWC", (1, 6, 8, 3)).reshaped((1, 3, 2, 4, 2, 3)).permuted((0, 1, 3, 2, 4, 5))
    assert gathered.reshaped((1, 3, 4, 12)).channel_axes == (3,)


@pytest.mark.parametrize(
    ("layout", "axis"),
    [
        (Layout.of("NC", (1, 8)).reshaped((1, 1, 1, 8)), 3),
        (Layout.of("NC", (1, 8)).reshaped((1, 8, 1, 1)), 1),
        (Layout.of("NHWC", (1, 1, 1, 8)), 3),
        (Layout.of("NHWC", (1, 1, 1, 8)).reshaped((1, 8)), 1),
        (Layout.of("NCHW", (1, 8, 1, 1)).reshaped((1, 8)), 1),
        (Layout.of("NCHW", (1, 1, 4, 5)), 1),
    ],
)
def test_axes_of_length_one(layout: Layout, axis: int) -> None:
    assert layout.channel_axes == (axis,)
    assert not layout.is_map or axis == 1


def test_the_grid_of_tokens() -> None:
    assert NHWC.reshaped((1, 294, 8)).grid == (14, 21)
    assert Layout.of("NCHW", (1, 8, 14, 21)).reshaped((1, 8, 294)).grid == (14, 21)
    assert NHWC.permuted((0, 2, 1, 3)).reshaped((1, 294, 8)).grid is None
    assert NHWC.reshaped((1, 294, 8)).resized((1, 295, 8)).grid is None
    assert NHWC.grid is None
