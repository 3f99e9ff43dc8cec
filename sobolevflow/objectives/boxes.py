"""Boxes in an image, as NumPy cuts them, ``u[..., y0:y1, x0:x1]``, and how far two of them overlap."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..arrays import borrow_numbers, library, shape_of, to_host
from ..errors import InputError

Box = tuple[float, float, float, float]
Boxes = Sequence[float] | Sequence[Sequence[float]] | np.ndarray | None

_WANTED = "(y0, x0, y1, x1) with y0 < y1 and x0 < x1, or a list of them"
_BEYOND = 2.0  # up to which numbers are relative: objects go beyond the edge, and no box has two pixels
_AT_THE_END = re.compile(r"(.*)@([^@,]+,[^@,]+,[^@,]+,[^@,]+)", re.DOTALL)


def as_boxes(value: Any) -> tuple[Box, ...]:
    """One box or several, in a sequence or an array of any library, as a tuple of them."""
    if library(value) is not None:
        if len(shape_of(value)) not in (1, 2):
            checks.refuse(value, "box", _WANTED)
        value = to_host(borrow_numbers(value, "box")).tolist()
    each = checks.entries(value, "box", _WANTED)
    if all(map(checks.is_number, each)):
        each = [each]
    return tuple(_as_box(box) for box in each) or checks.refuse(value, "box", _WANTED)


def _as_box(value: Any) -> Box:
    corners = checks.entries(value, "box", _WANTED)
    if len(corners) != 4 or not all(map(checks.is_number, corners)):
        checks.refuse(value, "box", _WANTED)
    y0, x0, y1, x1 = map(float, corners)
    if not (y0 < y1 and x0 < x1):
        checks.refuse(value, "box", _WANTED)
    return y0, x0, y1, x1


def relative(box: Box, size: tuple[int, int]) -> Box:
    """The box relative to an image of that height and width; of numbers of which one is above 2, pixels.

    Raises
    ------
    InputError
        It has no part of the image.
    """
    y0, x0, y1, x1 = box
    if max(box) > _BEYOND:
        height, width = size
        y0, x0, y1, x1 = y0 / height, x0 / width, y1 / height, x1 / width
    if not (y0 < 1 and x0 < 1 and y1 > 0 and x1 > 0):
        raise InputError(
            f"box {spelled_box(box)} lies outside of the image of {size[0]}x{size[1]}; it is "
            "(y0, x0, y1, x1), relative to the image, from 0 to 1, or in pixels of what the network sees"
        )
    return y0, x0, y1, x1


def spelled_box(box: Box) -> str:
    """A box as the command line takes it."""
    return ",".join(f"{number:g}" for number in box)


def overlaps(boxes: np.ndarray, box: Box) -> np.ndarray:
    """Intersection over union of boxes, (..., 4), with one."""
    low, high = np.maximum(boxes[..., :2], box[:2]), np.minimum(boxes[..., 2:], box[2:])
    inside = np.clip(high - low, 0, None).prod(axis=-1)
    own = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)
    union = own + (box[2] - box[0]) * (box[3] - box[1]) - inside
    return np.asarray(inside / union)


def at_box(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, Box | None]]:
    """A parser of ``TEXT[@y0,x0,y1,x1]``, on the command line, with that of what stands before it."""

    def parsed(text: str) -> tuple[Any, Box | None]:
        found = _AT_THE_END.fullmatch(text)
        if found is None:
            return parse(text), None
        before, corners = found.groups()
        try:
            (box,) = as_boxes([float(each) for each in corners.split(",")])
        except (ValueError, InputError):
            raise ValueError(f"{corners!r} is no box; write Y0,X0,Y1,X1 with Y0 < Y1 and X0 < X1") from None
        return parse(before), box

    return parsed


def of_all(given: Sequence[tuple[Any, Box | None]], flag: str) -> tuple[list[Any], list[Box] | None]:
    """What stood before the boxes, and the boxes; InputError where only some have one."""
    each, boxes = zip(*given, strict=True)
    known = [box for box in boxes if box is not None]
    if known and len(known) < len(boxes):
        raise InputError(f"several {flag} have a box each, or none has one")
    return list(each), known or None
