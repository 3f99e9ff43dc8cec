"""What the axes of a layer mean: a layout, and how a new shape changes it.

An axis is a product of factors, outermost first, each a meaning and a length: of (N, H, W, C) cut into
windows, (N H/7 W/7, 49, C), the first axis is (N, H, W) and the second (H, W). So what a Reshape has split
or merged is put together again by the one that undoes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

IMAGES, CHANNELS = "N", "C"
ROWS, COLUMNS, DEPTH = "H", "W", "D"  # positions as the image has them
PLACES = "P"  # positions of another order or number, as tokens behind a class token
MIXED = "M"  # what was positions, before weights mixed them
HEADS = "G"  # what attention has in the place of channels: a map of positions for each
UNKNOWN = "?"

_OF_A_MAP = {ROWS + COLUMNS, PLACES + PLACES}

Factor = tuple[str, int]
Axis = tuple[Factor, ...]


@dataclass(frozen=True)
class Layout:
    """The meaning of each axis of a layer; an axis of length 1 may have none."""

    axes: tuple[Axis, ...]

    @classmethod
    def of(cls, meanings: Iterable[str], shape: Sequence[int]) -> Layout:
        """Axes of one meaning each."""
        return cls(tuple(((meaning, size),) for meaning, size in zip(meanings, shape, strict=True)))

    @property
    def meanings(self) -> tuple[str, ...]:
        """The meanings of each axis, as ``("N", "HW", "C")``."""
        return tuple("".join(meaning for meaning, _ in axis) for axis in self.axes)

    @cached_property
    def channel_axes(self) -> tuple[int, ...]:
        """The axes that channels lie on: several where they are split, none where there are none.

        Where positions and channels share an axis it is one of channels if there is no other, as behind a
        Flatten, and else one of positions, as of an image whose channels have become pixels.
        """
        meanings = self.meanings
        held = [k for k, each in enumerate(meanings) if k and CHANNELS in each]
        pure = [k for k in held if set(meanings[k]) == {CHANNELS}]
        if pure or len(held) == 1:
            return tuple(pure or held)
        free = [k for k, each in enumerate(meanings) if k and not each]  # of one channel
        return tuple(free) if len(free) == 1 else ()

    @property
    def is_map(self) -> bool:
        """Whether it is (N, C, H, W) or (N, H, W, C), with more than one row and column."""
        if (
            len(self.axes) != 4
            or self.channel_axes not in ((1,), (3,))
            or self.meanings[0] not in (IMAGES, "")
        ):
            return False
        places = [k for k in (1, 2, 3) if k != self.channel_axes[0]]
        wide = all(_length(self.axes[k]) > 1 for k in places)
        return wide and "".join(self._place(k) for k in places) in _OF_A_MAP

    @property
    def grid(self) -> tuple[int, int] | None:
        """(H', W') of a layer with one axis of positions, if it is the rows of a map one after another."""
        places = [axis for k, axis in enumerate(self.axes) if k and k not in self.channel_axes]
        if len(places) != 1 or "".join(meaning for meaning, _ in places[0]) != ROWS + COLUMNS:
            return None
        (_, height), (_, width) = places[0]
        return height, width

    @property
    def columns_first(self) -> bool:
        """Whether the columns of the image lie in front of its rows."""
        return [each for each in self.meanings if each in (ROWS, COLUMNS)] == [COLUMNS, ROWS]

    def _place(self, k: int) -> str:
        """The meaning of an axis of positions."""
        return "".join(dict.fromkeys(meaning for meaning in self.meanings[k] if meaning != CHANNELS))

    def resized(self, shape: Sequence[int]) -> Layout:
        """The same axes, of other lengths."""
        return Layout(tuple(self.axis(k, size) for k, size in enumerate(shape)))

    def axis(self, k: int, size: int) -> Axis:
        """An axis, of another length."""
        axis = self.axes[k]
        if _length(axis) == size:
            return axis
        meanings = set(self.meanings[k])
        if len(meanings) == 1:
            return ((meanings.pop(), size),)
        if not meanings:
            return ((UNKNOWN, size),)
        if k == 0 and IMAGES in meanings:
            return ((IMAGES, size),)
        return ((CHANNELS if k in self.channel_axes else PLACES, size),)

    def permuted(self, order: Iterable[int]) -> Layout:
        """Its axes in another order, or some of them."""
        return Layout(tuple(self.axes[k] for k in order))

    def without(self, dropped: Iterable[int]) -> Layout:
        """The axes that are not dropped; negative numbers count from the end."""
        gone = {k % len(self.axes) for k in dropped}
        return Layout(tuple(axis for k, axis in enumerate(self.axes) if k not in gone))

    def renamed(self, k: int, meaning: str) -> Layout:
        """With one axis of one other meaning."""
        return Layout((*self.axes[:k], ((meaning, _length(self.axes[k])),), *self.axes[k + 1 :]))

    def reshaped(self, shape: Sequence[int]) -> Layout:
        """What a Reshape makes of it: axes merged and split; unknown where the lengths do not tell."""
        factors = [factor for axis in self.axes for factor in (axis or (("", 1),))]
        if math.prod(shape) != math.prod(size for _, size in factors) or 0 in shape:
            return Layout.of(UNKNOWN * len(shape), shape)
        axes: list[Axis] = []
        for some, sizes in _groups(factors, shape):
            axes += _divided(some, sizes)
        return Layout(tuple(axes))


def _length(axis: Axis) -> int:
    return math.prod(size for _, size in axis)


def _groups(factors: Sequence[Factor], shape: Sequence[int]) -> Iterable[tuple[list[Factor], Sequence[int]]]:
    """The shortest runs of factors and of new lengths with equal products; all together are equal."""
    i = j = 0
    while i < len(factors) or j < len(shape):
        first, start = i, j
        i, j = min(i + 1, len(factors)), min(j + 1, len(shape))
        have, want = math.prod(size for _, size in factors[first:i]), math.prod(shape[start:j])
        while have != want:
            if have < want:
                have, i = have * factors[i][1], i + 1
            else:
                want, j = want * shape[j], j + 1
        yield list(factors[first:i]), shape[start:j]


def _divided(factors: list[Factor], sizes: Sequence[int]) -> list[Axis]:
    """Factors dealt out to axes of these lengths, the outermost first, and divided where that goes."""
    left = [factor for factor in factors if factor[1] != 1 or factor[0] == IMAGES] or factors
    if len(sizes) == 1:
        return [_merged(left)]
    axes: list[Axis] = []
    for size in sizes:
        axis: list[Factor] = []
        while size > 1 and left:
            meaning, length = left.pop(0)
            shared = math.gcd(length, size)
            if shared != min(length, size):
                return [((UNKNOWN, each),) if each > 1 else () for each in sizes]
            axis.append((meaning, shared))
            size //= shared
            if length > shared:
                left.insert(0, (meaning, length // shared))
        axes.append(_merged(axis))
    return axes


def _merged(factors: Iterable[Factor]) -> Axis:
    """Neighbours of one meaning made one; what has no meaning left out."""
    axis: list[Factor] = []
    for meaning, size in factors:
        if not meaning:
            continue
        if axis and axis[-1][0] == meaning:
            axis[-1] = (meaning, axis[-1][1] * size)
        else:
            axis.append((meaning, size))
    return tuple(axis)
